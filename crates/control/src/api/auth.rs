//! Who asks, and what they may. Tokens are 256 random bits, so guessing is hopeless and a
//! plain SHA-256 at rest is enough; the limit on failed log-ins only keeps the noise down and
//! never locks out somebody who holds a right token.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, Method, StatusCode, header, request};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use weir_model::policy::{Grant, Permission, Place, Power, Reach, Rights, Role};
use weir_model::project::{Project, Scope, Token};
use weir_model::{TokenId, UnixMillis};
use weir_store::{Member, ServiceAccount, SignIn, Store, User};

use super::browser;
use super::error::ApiError;
use crate::clock::Clock;
use crate::config::Config;
use crate::context::Context;
use crate::secrets::{Secret, hex, random_bytes, write_private};

/// Begins every token, so that tools that look for leaked secrets know it.
const PREFIX: &str = "weir_";
/// The user of basic authentication.
const USER: &str = "weir";
/// Failed log-ins of one address in [`WINDOW_MS`] after which the answer is 429.
const FAILURES: u32 = 20;
const WINDOW_MS: i64 = 60_000;
/// Most addresses that are remembered.
const ADDRESSES: usize = 10_000;
/// The last use of a token is noted once in so long.
const USED_MS: i64 = 60_000;
/// Names the row of the token in `DIR/admin-token`.
const ADMIN_SETTING: &str = "admin-token-id";

/// Who it is.
#[derive(Debug, Clone)]
pub enum Who {
    /// A token that acts for itself.
    Token(Token),
    /// A service account, by one of its tokens.
    ServiceAccount(Token, ServiceAccount),
    /// A person, in a browser.
    Person(Box<User>, Box<SignIn>),
}

/// Who asks, and what they may.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who it is.
    pub who: Who,
    /// What they may.
    pub rights: Rights,
}

impl Caller {
    /// The name for others: that of the token, or the mail address.
    pub fn name(&self) -> &str {
        match &self.who {
            Who::Token(token) => &token.name,
            Who::ServiceAccount(_, account) => &account.name,
            Who::Person(user, _) => &user.email,
        }
    }

    /// The name within a sentence.
    pub(super) fn title(&self) -> String {
        match &self.who {
            Who::Token(token) => format!("the token `{}`", token.name),
            Who::ServiceAccount(_, account) => format!("the service account `{}`", account.name),
            Who::Person(user, _) => user.email.clone(),
        }
    }

    /// What tells them apart from all others for good: an identity with its prefix.
    pub fn identity(&self) -> String {
        match &self.who {
            Who::Token(token) => token.id.to_string(),
            Who::ServiceAccount(_, account) => account.id.to_string(),
            Who::Person(user, _) => user.id.to_string(),
        }
    }

    /// The person who asks, and where she is signed in; a token is nobody.
    pub fn person(&self) -> Result<(&User, &SignIn), ApiError> {
        match &self.who {
            Who::Person(user, sign_in) => Ok((user, sign_in)),
            _ => Err(ApiError::forbidden(format!("{} is no person", self.title()))
                .with_hint("sign in with a mail address and a password; a token has no settings of its own")),
        }
    }

    /// Fails unless they look after the whole Weir.
    pub fn require_platform(&self) -> Result<(), ApiError> {
        if self.rights.may(Permission::Platform, Place::Platform) {
            return Ok(());
        }
        Err(self.refusal(Permission::Platform, "weir"))
    }

    /// Whether they may look at the money of a project.
    pub fn sees_money(&self, project: &Project) -> bool {
        let place = Place::Project(project.account, project.id);
        self.rights.may(Permission::SeeMoney, place)
    }
}

/// So often it is looked whether who has something open still may.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

impl Caller {
    /// What they may now; `None` if they are signed out, or the token is gone.
    pub(super) async fn rights_now(&self, context: &Context) -> Result<Option<Rights>, ApiError> {
        let store = &context.store;
        let now_ms = context.clock.now_ms();
        match &self.who {
            Who::Person(user, sign_in) => {
                let holds = |one: &SignIn| {
                    one.id == sign_in.id && now_ms < one.expires_ms && now_ms - one.used_ms < browser::IDLE_MS
                };
                if !store.sign_in_list(user.id).await?.iter().any(holds) {
                    return Ok(None);
                }
                Ok(Some(crate::people::rights_of(store, user.id).await?))
            }
            Who::Token(token) | Who::ServiceAccount(token, _) => {
                let found = store.token_by_secret_sha256(&token.secret_sha256).await?;
                match found.filter(|token| token.expires_ms.is_none_or(|expires_ms| now_ms < expires_ms)) {
                    Some(token) => Ok(by_token(context, token).await.ok().map(|caller| caller.rights)),
                    None => Ok(None),
                }
            }
        }
    }

    /// Returns once they are signed out, or may something else than when they asked: what they have open
    /// ends then, and they ask anew.
    pub(super) async fn changed(self, context: Context) {
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            match self.rights_now(&context).await {
                Ok(Some(rights)) if rights == self.rights => {}
                Ok(_) => return,
                // Nobody loses anything because the database is busy.
                Err(error) => tracing::debug!(%error, "it is not known whether somebody still may"),
            }
        }
    }
}

/// Finds out who asks: by a token, or by the cookie of a browser. The token counts where both come.
/// Fails with 401, or 429 after many failures of one address.
pub async fn authenticate(
    context: &Context,
    limiter: &Limiter,
    parts: &request::Parts,
    peer: IpAddr,
) -> Result<Caller, ApiError> {
    if parts.headers.contains_key(header::AUTHORIZATION) {
        return authenticate_token(context, limiter, &parts.headers, peer).await;
    }
    match browser::secret_of(&parts.headers) {
        Some(secret) => browser::authenticate(context, parts, &secret, peer).await,
        // A browser would ask its user for a name and a password by itself.
        None if parts.headers.contains_key("sec-fetch-mode") => Err(browser::signed_out()),
        None => Err(unauthorized("a token is needed")),
    }
}

/// Finds out who asks from `Authorization: Bearer TOKEN` or basic authentication (user `weir`,
/// the token as password). Fails with 401, or 429 after many failures of one address.
pub async fn authenticate_token(
    context: &Context,
    limiter: &Limiter,
    headers: &HeaderMap,
    peer: IpAddr,
) -> Result<Caller, ApiError> {
    let now_ms = context.clock.now_ms();
    let Some(authorization) = headers.get(header::AUTHORIZATION) else {
        return Err(unauthorized("a token is needed"));
    };
    let secret = authorization.to_str().ok().and_then(token_of);
    let token = match secret {
        Some(secret) => token_by_secret(&context.store, &secret).await?,
        None => None,
    };
    match token {
        Some(token) if token.expires_ms.is_none_or(|expires_ms| now_ms < expires_ms) => {
            if token.used_ms.is_none_or(|used_ms| now_ms - used_ms >= USED_MS) {
                context.store.token_touch(token.id, now_ms).await?;
            }
            by_token(context, token).await
        }
        other => {
            limiter.failed(peer, now_ms)?;
            let reason = if other.is_some() {
                "the token has expired"
            } else {
                "the token is not known here"
            };
            Err(unauthorized(reason))
        }
    }
}

/// What a token may: what its scope says, or what the roles of its service account say, within the scope.
async fn by_token(context: &Context, token: Token) -> Result<Caller, ApiError> {
    if let Some(id) = token.service_account {
        let account = context.store.service_account_by_id(id).await?;
        // It goes with its tokens, so that this is only seen in the moment in between.
        let account = account.ok_or_else(|| unauthorized("the token is not known here"))?;
        let memberships = context.store.membership_list_of(Member::ServiceAccount(id)).await?;
        let scope = token.scope;
        let grants = memberships.iter().map(|membership| Grant {
            power: Power::Within(membership.role, scope),
            reach: membership.reach,
        });
        let rights = Rights::new(grants.collect());
        return Ok(Caller {
            who: Who::ServiceAccount(token, account),
            rights,
        });
    }
    let for_all = token.project.is_none() && token.scope == Scope::Admin;
    let power = if for_all && is_admin_file_token(&context.store, token.id).await? {
        // Who can read DIR/admin-token has the machine, and may make owners.
        Power::Role(Role::Owner)
    } else {
        Power::Token(token.scope)
    };
    let reach = token.project.map_or(Reach::Platform, Reach::Project);
    Ok(Caller {
        who: Who::Token(token),
        rights: Rights::new(vec![Grant { power, reach }]),
    })
}

fn unauthorized(reason: &str) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", reason.to_owned())
        .with_detail(
            "send `Authorization: Bearer TOKEN`, or basic authentication with user `weir` and the token as password",
        )
        .with_hint("`weir login` stores a token; on the machine itself the admin token is in DIR/admin-token")
}

/// The token in the value of an `Authorization` header.
fn token_of(authorization: &str) -> Option<Secret> {
    let (scheme, rest) = authorization.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Secret::new(rest.to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    (user == USER).then(|| Secret::new(password.to_owned()))
}

pub(crate) async fn token_by_secret(store: &Store, secret: &Secret) -> Result<Option<Token>, ApiError> {
    // 43 characters of base64 are 32 bytes; anything else need not bother the store.
    if !secret.expose().starts_with(PREFIX) || secret.expose().len() != PREFIX.len() + 43 {
        return Ok(None);
    }
    let hash = hash_of(secret);
    let token = store.token_by_secret_sha256(&hash).await?;
    Ok(token.filter(|token| bool::from(token.secret_sha256.as_bytes().ct_eq(hash.as_bytes()))))
}

/// SHA-256 of a token, in hex, as it is kept.
pub fn hash_of(secret: &Secret) -> String {
    hex(&Sha256::digest(secret.expose().as_bytes()))
}

/// A new token: `weir_` and 43 characters.
pub fn new_secret() -> Secret {
    Secret::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random_bytes::<32>())))
}

/// Sees to it that the token in `DIR/admin-token` exists and works: makes it on the first
/// start, and takes over one that was put there by hand.
pub async fn ensure_admin_token(config: &Config, store: &Store, clock: &dyn Clock) -> anyhow::Result<()> {
    let secret = read_or_create(&config.admin_token_file())?;
    let hash = hash_of(&secret);
    if store.token_by_secret_sha256(&hash).await?.is_some() {
        return Ok(());
    }
    if let Some(old) = store
        .setting_get(ADMIN_SETTING)
        .await?
        .and_then(|id| id.parse::<TokenId>().ok())
    {
        store.token_delete(old).await?;
    }
    let now_ms = clock.now_ms();
    let token = Token {
        id: TokenId::from_parts(now_ms, clock.random()),
        name: "admin".to_owned(),
        secret_sha256: hash,
        scope: Scope::Admin,
        project: None,
        created_ms: now_ms,
        expires_ms: None,
        service_account: None,
        used_ms: None,
    };
    store.token_insert(&token).await?;
    store.setting_set(ADMIN_SETTING, &token.id.to_string()).await?;
    Ok(())
}

/// Whether this is the token in `DIR/admin-token`, which cannot be deleted.
pub async fn is_admin_file_token(store: &Store, id: TokenId) -> Result<bool, ApiError> {
    Ok(store.setting_get(ADMIN_SETTING).await?.as_deref() == Some(id.to_string().as_str()))
}

fn read_or_create(path: &Path) -> anyhow::Result<Secret> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let secret = Secret::new(text.trim().to_owned());
            anyhow::ensure!(
                secret.expose().starts_with(PREFIX) && secret.expose().len() == PREFIX.len() + 43,
                "{} does not hold a token; remove the file and start again to get a new one",
                path.display()
            );
            Ok(secret)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let secret = new_secret();
            write_private(path, format!("{}\n", secret.expose()).as_bytes())
                .map_err(|error| anyhow::anyhow!("cannot write {}: {error}", path.display()))?;
            Ok(secret)
        }
        Err(error) => Err(anyhow::anyhow!("cannot read {}: {error}", path.display())),
    }
}

/// Counts failed log-ins by address.
#[derive(Debug, Default)]
pub struct Limiter {
    failures: Mutex<HashMap<IpAddr, (UnixMillis, u32)>>,
}

impl Limiter {
    /// Counts a failure. Fails with 429 where there were too many.
    pub(super) fn failed(&self, peer: IpAddr, now_ms: UnixMillis) -> Result<(), ApiError> {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= ADDRESSES {
            failures.retain(|_, (since_ms, _)| now_ms - *since_ms < WINDOW_MS);
        }
        if failures.len() >= ADDRESSES {
            failures.clear();
        }
        let entry = failures.entry(peer).or_insert((now_ms, 0));
        if now_ms - entry.0 >= WINDOW_MS {
            *entry = (now_ms, 0);
        }
        entry.1 += 1;
        if entry.1 <= FAILURES {
            return Ok(());
        }
        let mut error = ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-failures",
            "too many log-ins failed",
        );
        error.retry_after_s = u32::try_from((entry.0 + WINDOW_MS - now_ms) / 1000 + 1).ok();
        Err(error.with_hint("check the token (`weir login`), and try again in a minute"))
    }
}

/// The address that a request came from.
pub fn peer_of(parts: &request::Parts) -> IpAddr {
    super::peer::of(&parts.extensions)
}

/// A browser that shows somebody else's page must not change anything here, whatever it has
/// remembered: what changes state, or opens a terminal, must come from a page of this server or
/// from no page at all.
pub fn check_origin(parts: &request::Parts) -> Result<(), ApiError> {
    let upgrade = parts.headers.contains_key(header::UPGRADE);
    if matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS) && !upgrade {
        return Ok(());
    }
    let text = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let foreign_site = matches!(text("sec-fetch-site"), Some("cross-site" | "same-site"));
    let host = text("host").or_else(|| parts.uri.authority().map(http::uri::Authority::as_str));
    let foreign_origin = text("origin").is_some_and(|origin| {
        origin
            .split_once("://")
            .map(|(_, authority)| authority.to_ascii_lowercase())
            != host.map(str::to_ascii_lowercase)
    });
    if foreign_site || foreign_origin {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "cross-origin",
            "a page of another origin may not change anything here",
        )
        .with_hint("call the API from a program, or from a page of the same origin"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn parts(method: Method, headers: &[(&str, &str)]) -> request::Parts {
        let mut request = http::Request::builder().method(method).uri("/v1/projects");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_foreign_page_may_look_but_not_change() {
        let foreign = [("host", "127.0.0.1:8081"), ("origin", "http://evil.example")];
        assert!(check_origin(&parts(Method::GET, &foreign)).is_ok());
        assert!(check_origin(&parts(Method::POST, &foreign)).is_err());
        assert!(check_origin(&parts(Method::POST, &[("host", "a:1"), ("origin", "null")])).is_err());
        assert!(
            check_origin(&parts(
                Method::DELETE,
                &[("host", "a:1"), ("sec-fetch-site", "cross-site")]
            ))
            .is_err()
        );
        assert!(
            check_origin(&parts(
                Method::GET,
                &[("host", "a:1"), ("origin", "http://b"), ("upgrade", "websocket")]
            ))
            .is_err()
        );
        assert!(check_origin(&parts(Method::POST, &[("host", "a:1"), ("origin", "http://A:1")])).is_ok());
        assert!(check_origin(&parts(Method::POST, &[("host", "a:1")])).is_ok());
    }

    #[test]
    fn tokens_come_as_bearer_or_as_password_of_weir() {
        let token = |text: &str| token_of(text).map(Secret::into_exposed);
        assert_eq!(token("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(token("bearer  abc ").as_deref(), Some("abc"));
        assert_eq!(
            token(&format!("Basic {}", STANDARD.encode("weir:abc"))).as_deref(),
            Some("abc")
        );
        assert_eq!(token(&format!("Basic {}", STANDARD.encode("root:abc"))), None);
        assert_eq!(token("Basic %%%"), None);
        assert_eq!(token("Digest abc"), None);
        let secret = new_secret();
        assert_eq!(secret.expose().len(), PREFIX.len() + 43);
    }

    #[test]
    fn many_failures_are_slowed_down_and_forgotten_after_a_minute() {
        let limiter = Limiter::default();
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        for _ in 0..FAILURES {
            assert!(limiter.failed(peer, 1_000).is_ok());
        }
        assert_eq!(
            limiter.failed(peer, 1_000).unwrap_err().status,
            StatusCode::TOO_MANY_REQUESTS
        );
        assert!(limiter.failed(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 1_000).is_ok());
        assert!(limiter.failed(peer, 1_000 + WINDOW_MS).is_ok());
    }
}
