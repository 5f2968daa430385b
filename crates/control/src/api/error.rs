//! What goes wrong, as people and scripts see it. The public words and the inner cause are
//! different fields: the cause is logged once, here, and never sent.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use weir_api::{EntryProblem, Problem};
use weir_model::InvalidName;
use weir_store::StoreError;

use crate::deploy::DeployError;
use crate::secrets::SecretError;

/// An answer that says what is wrong, where, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// HTTP status.
    pub status: StatusCode,
    /// Stable and machine-readable.
    pub kind: &'static str,
    /// One line for people.
    pub title: Box<str>,
    /// More for people.
    pub detail: Option<Box<str>>,
    /// The next step.
    pub hint: Option<Box<str>>,
    /// What is wrong with entries of a list.
    pub entries: Vec<EntryProblem>,
    /// Seconds after which trying again may help.
    pub retry_after_s: Option<u32>,
    /// For the log of Weir only.
    pub cause: Option<Box<str>>,
}

impl ApiError {
    /// An error with its public words.
    pub fn new(status: StatusCode, kind: &'static str, title: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            title: title.into().into_boxed_str(),
            detail: None,
            hint: None,
            entries: Vec::new(),
            retry_after_s: None,
            cause: None,
        }
    }

    /// The input breaks a rule: 422.
    pub fn invalid(title: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-input", title)
    }

    /// The state of things forbids it: 409.
    pub fn conflict(kind: &'static str, title: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, kind, title)
    }

    /// There is no such thing, or the token may not see it: 404.
    pub fn not_found(kind: &'static str, title: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, kind, title)
    }

    /// The token may not do this: 403.
    pub fn forbidden(title: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", title)
    }

    /// Weir itself failed: 500. `cause` goes to the log.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        let mut error = Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "Weir failed; this is not your fault",
        );
        error.cause = Some(cause.to_string().into_boxed_str());
        error.with_hint("look into the log of `weir up`, and try again")
    }

    /// Adds what is more to say.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into().into_boxed_str());
        self
    }

    /// Adds the next step.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into().into_boxed_str());
        self
    }

    /// The public part.
    pub fn problem(&self) -> Problem {
        Problem {
            kind: self.kind.to_owned(),
            title: self.title.to_string(),
            status: self.status.as_u16(),
            detail: self.detail.as_deref().map(str::to_owned),
            hint: self.hint.as_deref().map(str::to_owned),
            entries: self.entries.clone(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if let Some(cause) = &self.cause {
            tracing::error!(error.kind = self.kind, error.cause = %cause, "a request failed: {cause}");
        }
        let body = serde_json::to_vec(&self.problem()).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        // Other kinds are for browsers, which would ask their user for a name by themselves.
        if self.status == StatusCode::UNAUTHORIZED && self.kind == "unauthorized" {
            headers.append(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"weir\", charset=\"UTF-8\""),
            );
            headers.append(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"weir\""),
            );
        }
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.title)
    }
}

impl std::error::Error for ApiError {}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Conflict { .. } => Self::conflict("name-taken", error.to_string()),
            StoreError::NotFound(_) => Self::not_found("not-found", error.to_string()),
            StoreError::Unavailable(_) => {
                let mut answer = Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "store-unavailable",
                    "the database does not answer",
                );
                answer.cause = Some(error.to_string().into_boxed_str());
                answer.retry_after_s = Some(1);
                answer.with_hint("try again in a moment")
            }
            StoreError::Full(_) => {
                let mut answer = Self::new(
                    StatusCode::INSUFFICIENT_STORAGE,
                    "disk-full",
                    "the disk of this machine is full; nothing was changed",
                );
                answer.cause = Some(error.to_string().into_boxed_str());
                answer.with_hint("free some space on the machine (`df -h`), then try again; what runs goes on running")
            }
            StoreError::Internal(_) => Self::internal(&error),
        }
    }
}

impl From<DeployError> for ApiError {
    fn from(error: DeployError) -> Self {
        match error {
            DeployError::Refused(reason) => Self::conflict("cannot-deploy", reason)
                .with_hint("see what runs with `weir status` and what can be deployed with `weir releases`"),
            DeployError::Store(error) => error.into(),
            DeployError::Secret(error) => error.into(),
        }
    }
}

impl From<SecretError> for ApiError {
    fn from(error: SecretError) -> Self {
        Self::internal(error)
    }
}

impl From<InvalidName> for ApiError {
    fn from(error: InvalidName) -> Self {
        Self::invalid(error.to_string())
            .with_hint("names are lower case, for example `shop` or `shop-2`; variables look like `API_KEY`")
    }
}
