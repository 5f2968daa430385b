//! What is posted to receivers that people have named: signed, and only where it may go.

use std::path::Path;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use super::call::{self, Call, Trust};
use super::{address, signature};
use crate::secrets::Secret;

/// Posts to receivers.
#[derive(Debug, Clone)]
pub(crate) struct Poster {
    trust: Trust,
}

/// What is posted, and where to.
#[derive(Debug)]
pub(crate) struct Post<'a> {
    pub(crate) url: &'a str,
    /// It may lead to the machine itself and to private networks.
    pub(crate) private: bool,
    pub(crate) secret: &'a Secret,
    /// For `weir-kind`.
    pub(crate) kind: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) body: String,
}

impl Poster {
    /// One that believes the authorities of a bundle in PEM, or where there is none those of the
    /// machine.
    pub(crate) fn new(bundle: Option<&Path>) -> Self {
        Self {
            trust: Trust::load(bundle),
        }
    }

    /// Posts once. Fails with words that the one who gave the URL may see.
    pub(crate) async fn post(&self, post: Post<'_>, now_ms: i64) -> Result<(), String> {
        let signed = signature::sign(post.secret, now_ms.div_euclid(1_000), post.body.as_bytes());
        let mut headers = HeaderMap::new();
        for (name, value) in [
            (HeaderName::from_static(signature::HEADER), signed.as_str()),
            (HeaderName::from_static("weir-kind"), post.kind),
            (header::CONTENT_TYPE, post.content_type),
        ] {
            headers.insert(name, HeaderValue::try_from(value).map_err(|error| error.to_string())?);
        }
        let call = Call {
            method: Method::POST,
            url: address::check_url(post.url, post.private)?,
            private: post.private,
            headers,
            body: post.body,
        };
        let status = call::ask(call, &self.trust).await?.status;
        if status.is_success() {
            Ok(())
        } else {
            Err(format!("the receiver answered {status}"))
        }
    }
}
