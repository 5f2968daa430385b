//! What is one's own: name, sessions, password, second factor.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::{HeaderMap, HeaderValue, StatusCode};
use percent_encoding::percent_decode;
use weir_api::{ChangePassword, Me, PasswordChanged, RecoveryCodes, SecondFactor, SignedIn, TotpSecret, UpdateMe};
use weir_store::{SignIn, User};

use super::auth::Caller;
use super::error::ApiError;
use super::extract::{JsonBody, PathOf};
use super::present::instant;
use super::sign_in::{me_of, totp_place};
use super::{Api, browser};
use crate::audit::Notes;
use crate::people::throttle::Source;
use crate::people::{check_name, password, totp};
use crate::secrets::Secret;

/// Changes name or language.
#[utoipa::path(patch, path = "/v1/me", tag = "session", request_body = UpdateMe, responses((status = 200, body = Me)))]
pub(super) async fn update_me(
    State(api): State<Api>,
    caller: Caller,
    JsonBody(request): JsonBody<UpdateMe>,
) -> Result<Json<Me>, ApiError> {
    let (user, sign_in) = caller.person()?;
    let name = request.name.as_deref().map(check_name).transpose()?;
    let language = match request.language.as_deref() {
        None => None,
        Some(language @ ("en" | "ru")) => Some(language.to_owned()),
        Some(_) => return Err(ApiError::invalid("the language is `en` or `ru`")),
    };
    let changed = User {
        name: name.unwrap_or_else(|| user.name.clone()),
        language: language.unwrap_or_else(|| user.language.clone()),
        ..user.clone()
    };
    let store = &api.context.store;
    store.user_rename(user.id, &changed.name, &changed.language).await?;
    me_of(&api, &changed, sign_in).await.map(Json)
}

/// Where one is signed in, last used first.
#[utoipa::path(get, path = "/v1/me/sessions", tag = "session", responses((status = 200, body = Vec<SignedIn>)))]
pub(super) async fn list_sessions(State(api): State<Api>, caller: Caller) -> Result<Json<Vec<SignedIn>>, ApiError> {
    let (user, current) = caller.person()?;
    sessions_of(&api, user, Some(current)).await.map(Json)
}

/// Where somebody is signed in, last used first.
pub(super) async fn sessions_of(api: &Api, user: &User, current: Option<&SignIn>) -> Result<Vec<SignedIn>, ApiError> {
    let now_ms = api.context.clock.now_ms();
    let found = api.context.store.sign_in_list(user.id).await?.into_iter();
    let holds = found.filter(|one| now_ms < one.expires_ms && now_ms - one.used_ms < browser::IDLE_MS && !one.waits);
    let shown = holds.map(|one| SignedIn {
        id: one.id.to_string(),
        created: instant(one.created_ms),
        last_used: instant(one.used_ms),
        expires: instant(one.expires_ms.min(one.used_ms + browser::IDLE_MS)),
        address: one.address,
        agent: one.agent,
        method: one.how,
        current: current.is_some_and(|current| current.id == one.id),
    });
    Ok(shown.collect())
}

/// Ends one of one's sessions.
#[utoipa::path(delete, path = "/v1/me/sessions/{session}", tag = "session", params(("session" = String, Path, description = "Identity of the session")), responses((status = 204)))]
pub(super) async fn revoke_session(
    State(api): State<Api>,
    caller: Caller,
    PathOf(id): PathOf<String>,
) -> Result<StatusCode, ApiError> {
    let (user, _) = caller.person()?;
    end_one(&api, user, &id).await
}

/// Ends one session of somebody.
pub(super) async fn end_one(api: &Api, user: &User, id: &str) -> Result<StatusCode, ApiError> {
    let missing = || {
        ApiError::not_found("session-not-found", "there is no such session")
            .with_hint("list one's own at /v1/me/sessions, those of others with `weir sessions list EMAIL`")
    };
    let id = id.parse().map_err(|_| missing())?;
    match api.context.store.sign_in_delete(user.id, id).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(missing()),
    }
}

/// Ends all of one's sessions but the one that asks.
#[utoipa::path(delete, path = "/v1/me/sessions", tag = "session", responses((status = 204)))]
pub(super) async fn revoke_sessions(State(api): State<Api>, caller: Caller) -> Result<StatusCode, ApiError> {
    let (user, current) = caller.person()?;
    api.context.store.sign_in_delete_others(user.id, current.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn source_of(sign_in: &SignIn) -> Source {
    Source::Device(format!("{}.{}", sign_in.user, sign_in.id))
}

/// Fails unless it is the password of who is signed in. Tries are counted apart from those to sign in.
async fn require_password(api: &Api, caller: &Caller, given: &Secret) -> Result<(), ApiError> {
    let (user, sign_in) = caller.person()?;
    let source = source_of(sign_in);
    api.throttle.begin(&source, None, api.context.clock.now_ms())?;
    let hash = user.password_hash.as_deref();
    if !api.passwords.is_right(&source, hash, given).await? {
        return Err(
            ApiError::new(StatusCode::UNAUTHORIZED, "wrong-password", "this is not your password")
                .with_hint("an administrator can make a link to set a new one: `weir people reset EMAIL`"),
        );
    }
    api.throttle.succeeded(&source, user.id);
    Ok(())
}

/// Changes the password. The session that asks goes on under a new cookie; all others end.
#[utoipa::path(put, path = "/v1/me/password", tag = "session", request_body = ChangePassword, responses((status = 200, body = PasswordChanged)))]
pub(super) async fn change_password(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    JsonBody(request): JsonBody<ChangePassword>,
) -> Result<Response, ApiError> {
    let (user, sign_in) = caller.person()?;
    require_password(&api, &caller, &Secret::new(request.current)).await?;
    let chosen = Secret::new(request.new);
    password::check(chosen.expose(), &user.email)?;
    let hash = api.passwords.hash(&source_of(sign_in), &chosen).await?;
    let context = &api.context;
    context.store.user_set_password(user.id, &hash).await?;
    let (renewed, secret) = browser::renew(context, sign_in).await?;
    let ended = context.store.sign_in_delete_others(user.id, renewed.id).await?;
    let answer = PasswordChanged {
        ended,
        csrf: browser::csrf_of(&context.sealer, &renewed),
    };
    let mut response = Json(answer).into_response();
    browser::set_cookies(&mut response, context, &headers, &renewed, &secret);
    Ok(response)
}

/// Taking a second factor away asks for the password; putting another one in its place must not go
/// without, or a browser that somebody has left open would be enough.
fn ensure_no_totp(user: &User) -> Result<(), ApiError> {
    if user.totp_secret.is_none() {
        return Ok(());
    }
    Err(
        ApiError::conflict("second-factor-on", "there is a second factor already")
            .with_hint("take it away first, which asks for the password; then set up the new one"),
    )
}

/// Makes a secret for a second factor; it is in force once a code confirms it.
#[utoipa::path(post, path = "/v1/me/totp", tag = "session", responses((status = 201, body = TotpSecret)))]
pub(super) async fn create_totp(
    State(api): State<Api>,
    caller: Caller,
) -> Result<(StatusCode, Json<TotpSecret>), ApiError> {
    let (user, _) = caller.person()?;
    ensure_no_totp(user)?;
    let secret = totp::new_secret();
    let sealed = api.context.sealer.seal_text(&totp_place(user), secret.expose())?;
    api.context.store.totp_propose(user.id, &sealed).await?;
    let uri = totp::uri(&secret, &user.email, "Weir");
    Ok((
        StatusCode::CREATED,
        Json(TotpSecret {
            qr: totp::picture(&uri)?,
            uri,
            secret: secret.into_exposed(),
        }),
    ))
}

/// Confirms it by a code. The answer has the recovery codes, which are not shown again.
#[utoipa::path(put, path = "/v1/me/totp", tag = "session", request_body = SecondFactor, responses((status = 200, body = RecoveryCodes)))]
pub(super) async fn confirm_totp(
    State(api): State<Api>,
    caller: Caller,
    Extension(notes): Extension<Notes>,
    JsonBody(request): JsonBody<SecondFactor>,
) -> Result<Json<RecoveryCodes>, ApiError> {
    let (user, _) = caller.person()?;
    ensure_no_totp(user)?;
    let context = &api.context;
    let Some(sealed) = &user.totp_pending else {
        return Err(
            ApiError::conflict("no-secret", "there is no second factor to be confirmed")
                .with_hint("begin with POST /v1/me/totp"),
        );
    };
    let secret = context.sealer.open_text(&totp_place(user), sealed)?;
    let wrong = || {
        ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "wrong-code", "the code is wrong")
            .with_hint("look whether the clock of the telephone is right, and take the next code")
    };
    let step = totp::step_of(&secret, &request.code, context.clock.now_ms()).ok_or_else(wrong)?;
    let codes = totp::recovery_codes();
    let hashes: Vec<String> = codes
        .iter()
        .map(|code| totp::recovery_hash(&context.sealer, user.id, code.expose()))
        .collect();
    if !context.store.totp_confirm(user.id, sealed, step, &hashes).await? {
        return Err(wrong());
    }
    notes.detail("the second factor is on");
    Ok(Json(RecoveryCodes {
        codes: codes.into_iter().map(Secret::into_exposed).collect(),
    }))
}

/// Takes the second factor away. The password stands in the header `X-Weir-Password`, percent-encoded.
#[utoipa::path(delete, path = "/v1/me/totp", tag = "session", params(("X-Weir-Password" = String, Header, description = "The password, in UTF-8, percent-encoded")), responses((status = 204)))]
pub(super) async fn delete_totp(
    State(api): State<Api>,
    caller: Caller,
    Extension(notes): Extension<Notes>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let (user, _) = caller.person()?;
    let given = headers.get("x-weir-password").map_or(&b""[..], HeaderValue::as_bytes);
    let given = percent_decode(given).decode_utf8_lossy().into_owned();
    require_password(&api, &caller, &Secret::new(given)).await?;
    api.context.store.totp_remove(user.id).await?;
    notes.detail("the second factor is off");
    Ok(StatusCode::NO_CONTENT)
}
