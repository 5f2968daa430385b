//! Signing in and out.

use std::convert::Infallible;
use std::net::IpAddr;

use axum::Extension;
use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, request};
use weir_api::{CreateSession, Me, SecondFactor, SessionState, Setup, UseReset};
use weir_model::policy::{Place, Role};
use weir_store::{Member, SignIn, User};

use super::Api;
use super::auth::{Caller, hash_of, is_admin_file_token, peer_of, token_by_secret};
use super::browser;
use super::error::ApiError;
use super::extract::JsonBody;
use crate::audit::Notes;
use crate::console_hosts;
use crate::people::throttle::Source;
use crate::people::{Asked, Crowd, check_email, check_name, invite, membership, password, scope, totp};
use crate::secrets::{Sealer, Secret};

/// The address of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(IpAddr);

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut request::Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(peer_of(parts)))
    }
}

/// How far the one who asks is in signing in. Needs nothing, and is always answered.
#[utoipa::path(get, path = "/v1/session", tag = "session", responses((status = 200, body = SessionState)))]
pub(super) async fn get_session(State(api): State<Api>, headers: HeaderMap) -> Result<Response, ApiError> {
    let found = browser::sign_in_of(&api.context, &headers).await?;
    let state = match found {
        Some((user, sign_in)) => state_of(&api, &user, &sign_in).await?,
        None if api.context.store.user_any().await? => bare("signed-out"),
        None => bare("setup"),
    };
    let mut response = Json(state).into_response();
    super::guard::private(&mut response);
    Ok(response)
}

fn bare(state: &str) -> SessionState {
    SessionState {
        state: state.to_owned(),
        csrf: None,
        me: None,
        providers: Vec::new(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

async fn state_of(api: &Api, user: &User, sign_in: &SignIn) -> Result<SessionState, ApiError> {
    let csrf = Some(browser::csrf_of(&api.context.sealer, sign_in));
    if sign_in.waits {
        return Ok(SessionState {
            csrf,
            ..bare("second-factor")
        });
    }
    Ok(SessionState {
        csrf,
        me: Some(me_of(api, user, sign_in).await?),
        ..bare("signed-in")
    })
}

/// Who is signed in, for herself.
pub(super) async fn me_of(api: &Api, user: &User, sign_in: &SignIn) -> Result<Me, ApiError> {
    let crowd = Crowd::of(&api.context).await?;
    let person = crowd.person(user, Some(sign_in.used_ms), |_| true);
    Ok(Me {
        may: crowd.spread(&person.grants),
        person,
        session: sign_in.id.to_string(),
        totp: user.totp_secret.is_some(),
        password: user.password_hash.is_some(),
    })
}

/// Signs somebody in and tells how far that went.
pub(super) async fn enter(
    api: &Api,
    headers: &HeaderMap,
    peer: IpAddr,
    user: &User,
    how: &str,
    status: StatusCode,
) -> Result<Response, ApiError> {
    let waits = user.totp_secret.is_some() && matches!(how, "password" | "reset");
    let (sign_in, secret) = browser::begin(&api.context, headers, peer, user, how, waits).await?;
    if !waits && let Err(error) = console_hosts::learn(&api.context, headers, user).await {
        tracing::warn!(?error, "the host name of the console was not noted");
    }
    let state = state_of(api, user, &sign_in).await?;
    let mut response = (status, Json(state)).into_response();
    browser::set_cookies(&mut response, &api.context, headers, &sign_in, &secret);
    Ok(response)
}

/// Makes the first person, who owns everything, with the token in `DIR/admin-token`. Possible only while
/// there is nobody.
#[utoipa::path(post, path = "/v1/setup", tag = "session", request_body = Setup, responses((status = 201, body = SessionState)))]
pub(super) async fn set_up(
    State(api): State<Api>,
    Peer(address): Peer,
    headers: HeaderMap,
    Extension(notes): Extension<Notes>,
    JsonBody(request): JsonBody<Setup>,
) -> Result<Response, ApiError> {
    let context = &api.context;
    let secret = Secret::new(request.admin_token);
    let token = token_by_secret(&context.store, &secret).await?;
    let is_admin = match token {
        Some(token) => is_admin_file_token(&context.store, token.id).await?,
        None => false,
    };
    if !is_admin {
        api.limiter.failed(address, context.clock.now_ms())?;
        return Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            "wrong-admin-token",
            "this is not the admin token of this Weir",
        )
        .with_hint("it is in the file DIR/admin-token on the machine of `weir up`"));
    }
    let email = check_email(&request.email)?;
    let name = check_name(&request.name)?;
    let chosen = Secret::new(request.password);
    password::check(chosen.expose(), &email)?;
    let hash = api.passwords.hash(&Source::address(address), &chosen).await?;
    let user = invite::person(context, email, name, hash)?;
    let owner = Asked {
        role: Role::Owner,
        place: Place::Platform,
        scope: scope::ALL.to_owned(),
    };
    let role = membership(context, "setup", Member::User(user.id), &owner);
    if !context.store.user_insert_first(&user, &role).await? {
        return Err(
            ApiError::conflict("already-set-up", "there is somebody already").with_hint(
                "sign in, or ask an owner for an invitation; with the admin token `weir people invite EMAIL --role owner --scope weir` makes one",
            ),
        );
    }
    notes.who(Some(user.id.to_string()), &user.email);
    notes.detail("the first owner");
    enter(&api, &headers, address, &user, "setup", StatusCode::CREATED).await
}

fn wrong() -> ApiError {
    ApiError::new(
        StatusCode::UNAUTHORIZED,
        "wrong-credentials",
        "the mail address or the password is wrong",
    )
    .with_hint("an administrator can make a link to set a new password: `weir people reset EMAIL`")
}

/// From where somebody tries to be this person.
pub(super) fn source_of(sealer: &Sealer, headers: &HeaderMap, peer: IpAddr, user: Option<&User>) -> Source {
    let device = user.and_then(|user| browser::known_device(sealer, headers, user));
    device.map_or_else(|| Source::address(peer), Source::Device)
}

/// Signs in with a mail address and a password.
#[utoipa::path(post, path = "/v1/session", tag = "session", request_body = CreateSession, responses((status = 200, body = SessionState)))]
pub(super) async fn create_session(
    State(api): State<Api>,
    Peer(address): Peer,
    headers: HeaderMap,
    Extension(notes): Extension<Notes>,
    JsonBody(request): JsonBody<CreateSession>,
) -> Result<Response, ApiError> {
    let context = &api.context;
    let email: String = request.email.trim().to_lowercase().chars().take(254).collect();
    // What is no address may be a password in the wrong field.
    notes.who(None, if email.contains('@') { &email } else { "no mail address" });
    let user = context.store.user_by_email(&email).await?;
    let source = source_of(&context.sealer, &headers, address, user.as_ref());
    let id = user.as_ref().map(|user| user.id);
    api.throttle.begin(&source, id, context.clock.now_ms())?;
    let hash = user.as_ref().filter(|user| !user.disabled);
    let hash = hash.and_then(|user| user.password_hash.as_deref());
    let right = api
        .passwords
        .is_right(&source, hash, &Secret::new(request.password))
        .await?;
    let Some(user) = user.filter(|_| right) else {
        return Err(wrong());
    };
    notes.who(Some(user.id.to_string()), &user.email);
    match user.totp_secret {
        // What was tried before goes on counting until the code is right, too.
        Some(_) => notes.detail("the password; the code is still to come"),
        None => api.throttle.succeeded(&source, user.id),
    }
    enter(&api, &headers, address, &user, "password", StatusCode::OK).await
}

/// Gives the code of the second factor, after the password.
#[utoipa::path(post, path = "/v1/session/second-factor", tag = "session", request_body = SecondFactor, responses((status = 200, body = SessionState)))]
pub(super) async fn confirm_session(
    State(api): State<Api>,
    Peer(address): Peer,
    headers: HeaderMap,
    Extension(notes): Extension<Notes>,
    JsonBody(request): JsonBody<SecondFactor>,
) -> Result<Response, ApiError> {
    let found = browser::sign_in_of(&api.context, &headers).await?;
    let Some((user, _)) = found.filter(|(_, sign_in)| sign_in.waits) else {
        return Err(browser::signed_out());
    };
    notes.who(Some(user.id.to_string()), &user.email);
    let source = source_of(&api.context.sealer, &headers, address, Some(&user));
    api.throttle.begin(&source, Some(user.id), api.context.clock.now_ms())?;
    let Some(how) = check_code(&api, &user, &request.code).await? else {
        return Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            "wrong-code",
            "the code is wrong, or was used already",
        )
        .with_hint("take the next one, or a recovery code"));
    };
    api.throttle.succeeded(&source, user.id);
    notes.detail(how);
    enter(&api, &headers, address, &user, how, StatusCode::OK).await
}

/// How a code was right, if it was. Each is good once.
async fn check_code(api: &Api, user: &User, code: &str) -> Result<Option<&'static str>, ApiError> {
    let context = &api.context;
    let Some(sealed) = &user.totp_secret else {
        return Ok(None);
    };
    let secret = context.sealer.open_text(&totp_place(user), sealed)?;
    if let Some(step) = totp::step_of(&secret, code, context.clock.now_ms()) {
        return Ok(context.store.totp_take(user.id, step).await?.then_some("totp"));
    }
    let hash = totp::recovery_hash(&context.sealer, user.id, code);
    let taken = context.store.recovery_code_take(user.id, &hash).await?;
    Ok(taken.then_some("recovery-code"))
}

/// The place for which the secret of a second factor is sealed.
pub(super) fn totp_place(user: &User) -> String {
    format!("totp\0{}", user.id)
}

/// Signs out, here.
#[utoipa::path(delete, path = "/v1/session", tag = "session", responses((status = 204)))]
pub(super) async fn end_session(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (user, sign_in) = caller.person()?;
    api.context.store.sign_in_delete(user.id, sign_in.id).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    browser::take_cookie(&mut response, &headers);
    Ok(response)
}

/// Sets a new password by a link that an administrator has made. All sessions end; the second factor
/// stays.
#[utoipa::path(post, path = "/v1/password-resets/use", tag = "session", request_body = UseReset, responses((status = 200, body = SessionState)))]
pub(super) async fn use_password_reset(
    State(api): State<Api>,
    Peer(address): Peer,
    headers: HeaderMap,
    Extension(notes): Extension<Notes>,
    JsonBody(request): JsonBody<UseReset>,
) -> Result<Response, ApiError> {
    let missing = || {
        ApiError::not_found("reset-not-found", "this link holds no more, or was used already")
            .with_hint("ask an administrator for a new one: `weir people reset EMAIL`")
    };
    let context = &api.context;
    let hash = hash_of(&Secret::new(request.secret));
    let user = context.store.password_reset_user(&hash, context.clock.now_ms()).await?;
    let Some(user) = user.filter(|user| !user.disabled) else {
        // Who has the link is not kept out by those who guess from the same address.
        api.throttle
            .begin(&Source::address(address), None, context.clock.now_ms())?;
        return Err(missing());
    };
    notes.who(Some(user.id.to_string()), &user.email);
    let chosen = Secret::new(request.password);
    password::check(chosen.expose(), &user.email)?;
    let new = api.passwords.hash(&Source::address(address), &chosen).await?;
    let now_ms = context.clock.now_ms();
    if !context.store.password_reset_use(&hash, &new, now_ms).await? {
        return Err(missing());
    }
    enter(&api, &headers, address, &user, "reset", StatusCode::OK).await
}
