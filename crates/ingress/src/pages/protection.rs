//! Pages for requests that are not let through, and for apps that are closed.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::{self, HeaderValue};
use weir_model::protection::Maintenance;

use super::{Page, scope_arguments};

/// Who is told nothing of an end comes again after so many seconds.
const MAINTENANCE_RETRY_SECONDS: u32 = 120;

impl Page {
    /// The body is larger than what is let through, or has turned out to be.
    pub(crate) fn body_too_large(title: &str, most: u64) -> Self {
        let detail = format!("{title} takes requests with at most {} ({most} bytes).", size(most));
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            "This request is too large",
            detail,
        )
        .hint("max_body = \"…\"   in weir.toml, in [limits] or in the [[route]], sets the limit".to_owned())
    }

    /// The body came so slowly that it is not waited for any longer.
    pub(crate) fn body_too_slow(bytes_per_s: u64) -> Self {
        let detail = format!("The body of the request came with less than {bytes_per_s} bytes per second.");
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "body-too-slow",
            "This request came too slowly",
            detail,
        )
    }

    /// The head has too many bytes or fields.
    pub(crate) fn head_too_large(what: &str, most: usize, option: &str) -> Self {
        let detail = format!("The head of the request has more than {most} {what}, and is not passed on.");
        Self::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "head-too-large",
            "This request is too large",
            detail,
        )
        .hint(format!("weir up {option} …   sets the limit of this Weir\nIn a browser, old cookies are the usual cause: delete those of this site."))
    }

    /// The address that was asked for is too long.
    pub(crate) fn target_too_long(most: usize) -> Self {
        let detail = format!("The address that was asked for has more than {most} bytes, and is not passed on.");
        Self::new(
            StatusCode::URI_TOO_LONG,
            "target-too-long",
            "This address is too long",
            detail,
        )
        .hint("weir up --target-bytes …   sets the limit of this Weir".to_owned())
    }

    /// More requests than are let through.
    pub(crate) fn too_many_requests(title: &str, wait: Duration) -> Self {
        let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
        let detail = format!("{title} lets only so many requests through. Try again in {seconds} s.");
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate",
            "These are too many requests",
            detail,
        )
        .hint("rate = \"…\"   in weir.toml, in [limits] or in the [[route]], sets the limit".to_owned())
        .retry_after(seconds)
    }

    /// The browser may see what is closed for maintenance, from now on.
    pub(crate) fn let_through(cookie: HeaderValue) -> Self {
        let page = Self::new(
            StatusCode::SEE_OTHER,
            "bypass",
            "You get through",
            "This browser gets through until the maintenance ends.".to_owned(),
        );
        Self {
            location: Some(Box::new(HeaderValue::from_static("/"))),
            field: Some(Box::new((header::SET_COOKIE, cookie))),
            ..page
        }
    }

    /// It cannot be told who the client behind a proxy is.
    pub(crate) fn ambiguous_client(problem: &str) -> Self {
        let detail = format!("{problem}, so that nobody can tell for whom the proxy before this Weir speaks.");
        Self::new(
            StatusCode::BAD_REQUEST,
            "ambiguous-client",
            "This request is not valid",
            detail,
        )
        .hint("weir up --proxy-header …   says which of them the proxy writes".to_owned())
    }

    /// A client behind a proxy has as many requests at once as it may.
    pub(crate) fn too_many_at_once(most: usize) -> Self {
        let detail = format!("Your address has {most} requests here that have not ended. Try again in a moment.");
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-at-once",
            "These are too many requests",
            detail,
        )
        .hint("weir up --connections-per-address …   sets the limit of this Weir".to_owned())
        .retry_after(1)
    }

    /// The address is not let through.
    pub(crate) fn address_refused(title: &str) -> Self {
        let detail = format!("{title} is not open to your address here.");
        Self::new(
            StatusCode::FORBIDDEN,
            "address-refused",
            "This is not open to everybody",
            detail,
        )
        .hint("allow, deny   in the [[route]] in weir.toml say who may pass".to_owned())
    }

    /// A name and a password are needed, or those that came are wrong.
    pub(crate) fn password_wanted(title: &str) -> Self {
        let detail = format!("{title} asks for a name and a password here.");
        let page = Self::new(
            StatusCode::UNAUTHORIZED,
            "password-wanted",
            "This is not open to everybody",
            detail,
        )
        .hint(format!(
            "weir access list {}   shows who has one",
            scope_arguments(title)
        ));
        let realm: String = title
            .chars()
            .filter(|c| c.is_ascii() && !matches!(c, '"' | '\\'))
            .collect();
        let challenge = HeaderValue::from_str(&format!("Basic realm=\"{realm}\", charset=\"UTF-8\""));
        Self {
            field: challenge
                .ok()
                .map(|challenge| Box::new((header::WWW_AUTHENTICATE, challenge))),
            ..page
        }
    }

    /// Too many wrong passwords came from there.
    pub(crate) fn too_many_passwords(title: &str, wait: Duration) -> Self {
        let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
        let detail = format!("Too many wrong passwords for {title} came from your address. Try again in {seconds} s.");
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "passwords",
            "These were too many passwords",
            detail,
        )
        .retry_after(seconds)
    }

    /// So many passwords are being checked that this one cannot be.
    pub(crate) fn passwords_busy() -> Self {
        let detail = "Weir is checking too many passwords at this moment.".to_owned();
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "passwords-busy",
            "Try again in a moment",
            detail,
        )
        .retry_after(1)
    }

    /// The owner has closed it for a while.
    pub(crate) fn maintenance(title: &str, maintenance: &Arc<Maintenance>, now_ms: i64) -> Self {
        let left = maintenance.until_ms.map(|until| (until - now_ms).max(0) / 1000);
        let retry = left.and_then(|left| u32::try_from(left).ok()).filter(|left| *left > 0);
        let detail = match &maintenance.message {
            Some(message) => message.clone(),
            None => format!("{title} is closed for maintenance. Nothing of it is lost."),
        };
        let page = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "maintenance",
            "Closed for maintenance",
            detail,
        )
        .hint(format!("weir maintenance off {}", scope_arguments(title)))
        .retry_after(retry.unwrap_or(MAINTENANCE_RETRY_SECONDS));
        Self {
            closed: Some(Arc::clone(maintenance)),
            ..page
        }
    }
}

/// A size as people write it.
fn size(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let whole = units
        .iter()
        .find(|(_, shift)| bytes >= 1 << shift && bytes.is_multiple_of(1 << shift));
    whole.map_or_else(
        || format!("{bytes} bytes"),
        |(unit, shift)| format!("{} {unit}", bytes >> shift),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::Format;

    #[test]
    fn sizes_are_shown_as_they_were_written() {
        assert_eq!(size(10 << 30), "10 GiB");
        assert_eq!(size(1536 << 10), "1536 KiB");
        assert_eq!(size(1001), "1001 bytes");
    }

    #[test]
    fn an_owners_page_is_shown_as_it_is_and_may_load_and_run_nothing() {
        let maintenance = Arc::new(Maintenance {
            page: Some("<h1>Back at two</h1><script>alert(1)</script>".to_owned()),
            until_ms: Some(70_000),
            ..Maintenance::default()
        });
        let page = Page::maintenance("shop", &maintenance, 10_000);
        assert!(page.html().contains("<script>"));
        let answer = page.answer(Format::Html);
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["retry-after"]),
            (503, &HeaderValue::from(60))
        );
        let policy = answer.headers()["content-security-policy"].to_str().unwrap();
        assert!(
            policy.contains("default-src 'none'") && !policy.contains("script-src"),
            "{policy}"
        );
    }
}
