//! People in browsers: the cookie by which they are known, and what keeps other pages from using it.
//!
//! The secret of a sign-in is 256 random bits in a cookie that scripts cannot read; only its hash is
//! kept. What changes something needs a second text in a header, which only a page of this server
//! can know, besides the origin that all changes are checked for.

use std::net::IpAddr;

use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header, request};
use subtle::ConstantTimeEq as _;
use weir_model::cookie::{DEVICE, SESSION, SESSION_BEHIND_TLS};
use weir_model::{SignInId, UnixMillis};
use weir_store::{SignIn, User};

use super::auth::{Caller, Who, hash_of};
use super::error::ApiError;
use crate::context::Context;
use crate::people;
use crate::secrets::{Sealer, Secret, random_bytes};

/// The header with the text that only a page of this server knows.
const CSRF: &str = "x-weir-csrf";
/// A sign-in ends so long after its last use, and so long after it began.
pub(crate) const IDLE_MS: i64 = 30 * 86_400_000;
pub(crate) const LONGEST_MS: i64 = 90 * 86_400_000;
/// The second factor has to come within this.
const WAITS_MS: i64 = 10 * 60_000;
/// The last use is noted once in so long.
const USED_MS: i64 = 60_000;
const AGENT_CHARACTERS: usize = 200;

/// The cookies of a name, in the order in which they came.
fn cookies<'a>(headers: &'a HeaderMap, wanted: &'a str) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(move |(name, _)| *name == wanted)
        .map(|(_, value)| value)
}

/// The secret in the cookie. One that only a host with TLS can have set goes first.
pub(super) fn secret_of(headers: &HeaderMap) -> Option<Secret> {
    let found = cookies(headers, SESSION_BEHIND_TLS)
        .chain(cookies(headers, SESSION).filter(|_| !is_over_tls(headers)))
        .find(|value| value.len() == 43);
    found.map(|value| Secret::new(value.to_owned()))
}

/// Whether the browser speaks TLS, be it to a proxy before this server.
fn is_over_tls(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    text("origin").is_some_and(|origin| origin.starts_with("https://"))
        || text("x-forwarded-proto").is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"))
}

/// The answer to a browser in which nobody is signed in (any more).
pub(super) fn signed_out() -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "signed-out", "you are not signed in")
        .with_hint("sign in; a session ends 30 days after its last use")
}

/// The sign-in of a request and whose it is, if it holds; also one that waits for the second factor.
pub(super) async fn sign_in_of(context: &Context, headers: &HeaderMap) -> Result<Option<(User, SignIn)>, ApiError> {
    match secret_of(headers) {
        Some(secret) => find(context, &secret).await,
        None => Ok(None),
    }
}

async fn find(context: &Context, secret: &Secret) -> Result<Option<(User, SignIn)>, ApiError> {
    let hash = hash_of(secret);
    let Some(sign_in) = context.store.sign_in_by_secret_sha256(&hash).await? else {
        return Ok(None);
    };
    let same = bool::from(sign_in.secret_sha256.as_bytes().ct_eq(hash.as_bytes()));
    let now_ms = context.clock.now_ms();
    if !same || now_ms >= sign_in.expires_ms || now_ms - sign_in.used_ms >= IDLE_MS {
        return Ok(None);
    }
    let user = context.store.user_by_id(sign_in.user).await?;
    Ok(user.filter(|user| !user.disabled).map(|user| (user, sign_in)))
}

/// Who asks, by the cookie.
pub(super) async fn authenticate(
    context: &Context,
    parts: &request::Parts,
    secret: &Secret,
    peer: IpAddr,
) -> Result<Caller, ApiError> {
    let Some((user, sign_in)) = find(context, secret).await? else {
        return Err(signed_out());
    };
    if sign_in.waits {
        return Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            "second-factor-needed",
            "the code of the second factor is needed",
        )
        .with_hint("send it to POST /v1/session/second-factor"));
    }
    check_page(&context.sealer, parts, &sign_in)?;
    let now_ms = context.clock.now_ms();
    if now_ms - sign_in.used_ms >= USED_MS {
        context
            .store
            .sign_in_touch(sign_in.id, now_ms, &peer.to_string())
            .await?;
    }
    let rights = people::rights_of(&context.store, user.id).await?;
    Ok(Caller {
        who: Who::Person(Box::new(user), Box::new(sign_in)),
        rights,
    })
}

/// Fails unless what changes something, or opens a terminal, comes from a page of this server.
fn check_page(sealer: &Sealer, parts: &request::Parts, sign_in: &SignIn) -> Result<(), ApiError> {
    // Browsers let no page set headers of a WebSocket, but always say which page it is.
    if parts.headers.contains_key(header::UPGRADE) {
        return match parts.headers.contains_key(header::ORIGIN) {
            true => Ok(()),
            false => Err(no_csrf("a terminal is opened by a page of this server only")),
        };
    }
    if matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let sent = parts.headers.get(CSRF).map_or(&b""[..], HeaderValue::as_bytes);
    if bool::from(sent.ct_eq(csrf_of(sealer, sign_in).as_bytes())) {
        return Ok(());
    }
    Err(no_csrf("the header X-Weir-CSRF is missing, or is of another session"))
}

fn no_csrf(words: &str) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "csrf", words)
        .with_hint("GET /v1/session tells what belongs into X-Weir-CSRF; programs use a token instead of a cookie")
}

/// What belongs into the header of requests of a sign-in.
pub(super) fn csrf_of(sealer: &Sealer, sign_in: &SignIn) -> String {
    sealer.fingerprint(&[b"csrf", sign_in.secret_sha256.as_bytes()])
}

/// Gives a sign-in that goes on another secret, after its owner has changed the password: what is open in
/// that browser, terminals too, stays open.
pub(super) async fn renew(context: &Context, sign_in: &SignIn) -> Result<(SignIn, Secret), ApiError> {
    let secret = Secret::new(URL_SAFE_NO_PAD.encode(random_bytes::<32>()));
    let renewed = SignIn {
        secret_sha256: hash_of(&secret),
        ..sign_in.clone()
    };
    let store = &context.store;
    if store.sign_in_rotate(renewed.id, &renewed.secret_sha256).await? {
        return Ok((renewed, secret));
    }
    Err(signed_out())
}

/// Signs somebody in: a new identity and a new secret each time, so that nobody can have fixed them
/// before. The one that the browser had ends, whoever's it was.
pub(super) async fn begin(
    context: &Context,
    headers: &HeaderMap,
    peer: IpAddr,
    user: &User,
    how: &str,
    waits: bool,
) -> Result<(SignIn, Secret), ApiError> {
    let now_ms = context.clock.now_ms();
    let secret = Secret::new(URL_SAFE_NO_PAD.encode(random_bytes::<32>()));
    let old = sign_in_of(context, headers).await?.map(|(_, old)| old.id);
    let agent = headers.get(header::USER_AGENT).map_or(&b""[..], HeaderValue::as_bytes);
    let agent: String = String::from_utf8_lossy(agent)
        .chars()
        .filter(|character| !character.is_control())
        .take(AGENT_CHARACTERS)
        .collect();
    let sign_in = SignIn {
        id: SignInId::from_parts(now_ms, context.clock.random()),
        secret_sha256: hash_of(&secret),
        user: user.id,
        how: how.to_owned(),
        waits,
        address: peer.to_string(),
        agent,
        created_ms: now_ms,
        used_ms: now_ms,
        expires_ms: now_ms + if waits { WAITS_MS } else { LONGEST_MS },
    };
    context.store.sign_in_insert(&sign_in, old).await?;
    Ok((sign_in, secret))
}

/// Gives the browser its cookies.
pub(super) fn set_cookies(
    response: &mut Response,
    context: &Context,
    headers: &HeaderMap,
    sign_in: &SignIn,
    secret: &Secret,
) {
    let seconds = (sign_in.expires_ms - context.clock.now_ms()).max(0) / 1000;
    set(response, headers, secret.expose(), seconds);
    if !sign_in.waits {
        let device = device_of(&context.sealer, sign_in, context.clock.now_ms());
        let secure = if is_over_tls(headers) { "; Secure" } else { "" };
        append(
            response,
            &format!("{DEVICE}={device}; Path=/v1/session; Max-Age=31536000; HttpOnly; SameSite=Strict{secure}"),
        );
    }
}

/// Takes the cookie away.
pub(super) fn take_cookie(response: &mut Response, headers: &HeaderMap) {
    set(response, headers, "", 0);
}

fn set(response: &mut Response, headers: &HeaderMap, value: &str, seconds: i64) {
    let (name, secure) = match is_over_tls(headers) {
        true => (SESSION_BEHIND_TLS, "; Secure"),
        false => (SESSION, ""),
    };
    append(
        response,
        &format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"),
    );
}

fn append(response: &mut Response, cookie: &str) {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    super::guard::private(response);
}

/// What a browser shows later, to be known as one in which this person was signed in: user, instant,
/// and a hash that only this Weir can make.
fn device_of(sealer: &Sealer, sign_in: &SignIn, now_ms: UnixMillis) -> String {
    let claim = format!("{}.{now_ms}", sign_in.user);
    let proof = sealer.fingerprint(&[b"device", claim.as_bytes()]);
    format!("{claim}.{proof}")
}

/// Which known browser of this person it is; `None` if it is none.
pub(super) fn known_device(sealer: &Sealer, headers: &HeaderMap, user: &User) -> Option<String> {
    let own = format!("{}.", user.id);
    cookies(headers, DEVICE).find_map(|value| {
        let (claim, proof) = value.rsplit_once('.')?;
        let right = sealer.fingerprint(&[b"device", claim.as_bytes()]);
        (claim.starts_with(&own) && bool::from(right.as_bytes().ct_eq(proof.as_bytes()))).then(|| claim.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn behind_tls_only_the_cookie_counts_that_no_other_host_can_set() {
        let (one, two) = ("a".repeat(43), "b".repeat(43));
        let secret = |pairs: &[(&'static str, &str)]| secret_of(&headers(pairs)).map(Secret::into_exposed);
        let both = format!("x=1; weir={one}; __Host-weir={two}");
        assert_eq!(secret(&[("cookie", &both)]), Some(two.clone()));
        assert_eq!(secret(&[("cookie", &format!("weir={one}"))]), Some(one.clone()));
        let tls = ("origin", "https://weir.example.org");
        assert_eq!(secret(&[("cookie", &format!("weir={one}")), tls]), None);
        assert_eq!(secret(&[("cookie", &both), tls]), Some(two));
        assert_eq!(secret(&[("cookie", "weir=short")]), None);
        assert_eq!(secret(&[("cookie", &format!("weird={one}"))]), None);
    }
}
