//! What a host says before any of its routes: where everybody is sent, and what those who come
//! with TLS are told.

use http::header::HeaderValue;
use http::uri::PathAndQuery;
use weir_model::route::HostRoutes;

use super::Tls;
use crate::headers::RequestedHost;
use crate::serve::Origin;

/// What one host says, ready to be said.
#[derive(Debug, Default)]
pub(crate) struct HostPolicy {
    /// Those who come without TLS are sent to the same address with it.
    to_https: bool,
    /// Another host that everybody is sent to.
    to_host: Option<Box<str>>,
    /// For those who come with TLS: `Strict-Transport-Security`.
    hsts: Option<HeaderValue>,
}

impl HostPolicy {
    pub(crate) fn of(name: &str, host: &HostRoutes) -> Self {
        let seconds = host.https.hsts_s;
        let hsts = (seconds > 0).then(|| HeaderValue::from_str(&format!("max-age={seconds}")).ok());
        let elsewhere = host.redirect_to.as_deref().filter(|to| *to != name);
        Self {
            to_https: host.https.redirect,
            to_host: elsewhere.map(Box::from),
            hsts: hsts.flatten(),
        }
    }

    /// What a client is told that comes this way.
    pub(crate) fn hsts(&self, origin: &Origin) -> Option<HeaderValue> {
        self.hsts.as_ref().filter(|_| origin.secure).cloned()
    }

    /// Where a request is sent instead of being served.
    pub(crate) fn elsewhere(
        &self,
        tls: &Tls,
        origin: &Origin,
        host: &RequestedHost,
        target: &PathAndQuery,
    ) -> Option<String> {
        let has_tls = origin.secure;
        if self.to_host.is_none() && (has_tls || !self.to_https) {
            return None;
        }
        let target = target.as_str();
        let name = self.to_host.as_deref().unwrap_or(&host.name);
        // Where a proxy makes the TLS, it has the certificates.
        let is_outside = origin.secure && origin.session.is_none();
        let gets_tls = (has_tls || self.to_https) && (is_outside || tls.serves(name));
        // `OPTIONS *` is about nothing that could be elsewhere.
        if (self.to_host.is_none() && !gets_tls) || !target.starts_with('/') {
            return None;
        }
        let (scheme, usual) = if gets_tls { ("https", 443) } else { ("http", 80) };
        let port = if gets_tls == has_tls {
            // The one by which the client came, which may not be the one we listen on.
            host.port()
        } else if gets_tls {
            tls.ports.https
        } else {
            Some(tls.ports.http)
        };
        Some(match port {
            Some(port) if port != usual => format!("{scheme}://{name}:{port}{target}"),
            _ => format!("{scheme}://{name}{target}"),
        })
    }
}
