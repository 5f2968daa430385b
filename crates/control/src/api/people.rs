//! People: who has which role where, and links by which they get one.

use std::sync::OnceLock;

use axum::extract::{FromRequest as _, Request, State};
use axum::response::Response;
use axum::{Extension, Json};
use http::StatusCode;
use weir_api::{
    AcceptInvitation, CreateInvitation, Invitation, InvitationOffer, InvitationSecret, Person, ResetLink, RoleGrant,
    RoleRights, RoleTable, SessionState, SetGrants, SignedIn, UpdatePerson,
};
use weir_model::policy::{Permission, Place, Role};
use weir_store::User;

use super::auth::{Caller, Who, hash_of, peer_of};
use super::error::ApiError;
use super::extract::{JsonBody, PathOf};
use super::guard::Need;
use super::present::instant;
use super::{Api, browser, me, openapi, sign_in};
use crate::audit::Notes;
use crate::people::throttle::Source;
use crate::people::{self, Changed, Crowd, Scopes, find_person, invite, last_owner, last_seen, require_giving};

/// So much of the name of a role is written down; the right ones are shorter.
const ROLE_NOTED: usize = 32;

/// What the roles may: from the one table that every request is decided by.
#[utoipa::path(get, path = "/v1/roles", tag = "people", responses((status = 200, body = RoleTable)))]
pub(super) async fn list_roles(State(api): State<Api>) -> Json<RoleTable> {
    // It follows from the program alone.
    static TABLE: OnceLock<RoleTable> = OnceLock::new();
    Json(TABLE.get_or_init(|| role_table(&api)).clone())
}

fn role_table(api: &Api) -> RoleTable {
    let document = openapi::document();
    let endpoints = super::build(api.context.clone()).1;
    let may = |role: Role| {
        let allowed = endpoints.iter().filter(|endpoint| match endpoint.need {
            Need::Open | Need::SignedIn => true,
            Need::Right(permission, _) => role.allows(permission),
        });
        let mut may: Vec<String> = allowed
            .filter_map(|endpoint| openapi::operation_of(&document, &endpoint.method, endpoint.path))
            .collect();
        may.sort();
        may
    };
    let roles = Role::ALL.map(|role| {
        let permissions = Permission::ALL
            .into_iter()
            .filter(|permission| role.allows(*permission));
        RoleRights {
            role: role.to_string(),
            permissions: permissions.map(|permission| permission.as_str().to_owned()).collect(),
            may: may(role),
        }
    });
    RoleTable { roles: roles.into() }
}

/// People with a role in what the one who asks looks after, with these roles.
#[utoipa::path(get, path = "/v1/people", tag = "people", responses((status = 200, body = Vec<Person>)))]
pub(super) async fn list_people(State(api): State<Api>, caller: Caller) -> Result<Json<Vec<Person>>, ApiError> {
    let crowd = Crowd::of(&api.context).await?;
    let looks_after = |place| caller.rights.may(Permission::People, place);
    let mut answer = Vec::new();
    let seen_ms = api.context.store.sign_in_last_used().await?;
    for user in api.context.store.user_list().await? {
        if looks_after(Place::Platform) || !crowd.roles_of(user.id, looks_after).is_empty() {
            answer.push(crowd.person(&user, seen_ms.get(&user.id).copied(), looks_after));
        }
    }
    Ok(Json(answer))
}

async fn shown(api: &Api, caller: &Caller, user: &User) -> Result<Json<Person>, ApiError> {
    let crowd = Crowd::of(&api.context).await?;
    let seen_ms = last_seen(&api.context.store, user.id).await?;
    Ok(Json(crowd.person(user, seen_ms, |place| {
        caller.rights.may(Permission::People, place)
    })))
}

/// Sets the roles of somebody, in place of those that the one who asks looks after.
#[utoipa::path(put, path = "/v1/people/{person}/grants", tag = "people", params(("person" = String, Path, description = "Identity or mail address")), request_body = SetGrants, responses((status = 200, body = Person)))]
pub(super) async fn set_grants(
    State(api): State<Api>,
    caller: Caller,
    PathOf(person): PathOf<String>,
    Extension(notes): Extension<Notes>,
    JsonBody(request): JsonBody<SetGrants>,
) -> Result<Json<Person>, ApiError> {
    note_grants(&api, &notes, &request.grants).await?;
    let (user, changed) = people::set_grants(&api.context, &caller, &person, &request.grants).await?;
    notes.target(&user.email);
    note_changed(&notes, &changed);
    shown(&api, &caller, &user).await
}

/// Notes which roles are asked for, each where it is.
pub(super) async fn note_grants(api: &Api, notes: &Notes, grants: &[RoleGrant]) -> Result<(), ApiError> {
    // More are refused in a moment, and nobody is to wait for what is written down of them.
    if grants.len() > people::GRANTS {
        notes.detail(&format!("{} roles", grants.len()));
        return Ok(());
    }
    let scopes = Scopes::of(&api.context).await?;
    for grant in grants {
        let role: String = grant.role.chars().take(ROLE_NOTED).collect();
        match scopes.parse(&grant.scope) {
            Ok(place) => notes.also_at(&grant.scope, place, &role),
            Err(_) => notes.detail(&format!("{} of {}", grant.role, grant.scope)),
        }
    }
    Ok(())
}

/// Notes what has come of it in place of what was asked for.
pub(super) fn note_changed(notes: &Notes, changed: &[Changed]) {
    if changed.is_empty() {
        return notes.everywhere("nothing was to change");
    }
    notes.nowhere();
    for one in changed {
        notes.also_at(&one.scope, one.place, &one.words);
    }
}

/// Somebody, if all that they are could be given by the one who asks; so nobody takes over, or throws
/// out, somebody who is more.
async fn somebody_below(api: &Api, caller: &Caller, wanted: &str) -> Result<User, ApiError> {
    let (user, crowd) = find_person(&api.context, caller, wanted).await?;
    for (membership, place, scope) in crowd.roles_of(user.id, |_| true) {
        require_giving(caller, membership.role, place, &scope)?;
    }
    Ok(user)
}

/// Keeps somebody out, or lets them in again. All their sessions end.
#[utoipa::path(patch, path = "/v1/people/{person}", tag = "people", params(("person" = String, Path, description = "Identity or mail address")), request_body = UpdatePerson, responses((status = 200, body = Person)))]
pub(super) async fn update_person(
    State(api): State<Api>,
    caller: Caller,
    PathOf(person): PathOf<String>,
    Extension(notes): Extension<Notes>,
    JsonBody(request): JsonBody<UpdatePerson>,
) -> Result<Json<Person>, ApiError> {
    let disabled = match request.state.as_str() {
        "active" => false,
        "suspended" => true,
        _ => return Err(ApiError::invalid("the state is `active` or `suspended`")),
    };
    let user = somebody_below(&api, &caller, &person).await?;
    notes.target(&user.email);
    notes.detail(&request.state);
    if !api.context.store.user_set_disabled(user.id, disabled).await? {
        return Err(last_owner());
    }
    shown(&api, &caller, &User { disabled, ..user }).await
}

/// Removes somebody with all roles. The audit log keeps the name.
#[utoipa::path(delete, path = "/v1/people/{person}", tag = "people", params(("person" = String, Path, description = "Identity or mail address")), responses((status = 204)))]
pub(super) async fn delete_person(
    State(api): State<Api>,
    caller: Caller,
    PathOf(person): PathOf<String>,
    Extension(notes): Extension<Notes>,
) -> Result<StatusCode, ApiError> {
    let user = somebody_below(&api, &caller, &person).await?;
    notes.target(&user.email);
    match api.context.store.user_delete(user.id).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(last_owner()),
    }
}

/// Makes a link by which somebody sets a new password; it works once, for a day.
#[utoipa::path(post, path = "/v1/people/{person}/password-reset", tag = "people", params(("person" = String, Path, description = "Identity or mail address")), responses((status = 201, body = ResetLink)))]
pub(super) async fn create_password_reset(
    State(api): State<Api>,
    caller: Caller,
    PathOf(person): PathOf<String>,
    Extension(notes): Extension<Notes>,
) -> Result<(StatusCode, Json<ResetLink>), ApiError> {
    let user = somebody_below(&api, &caller, &person).await?;
    notes.target(&user.email);
    let secret = invite::new_secret();
    let now_ms = api.context.clock.now_ms();
    let expires_ms = now_ms + invite::RESET_MS;
    let store = &api.context.store;
    store
        .password_reset_insert(user.id, &hash_of(&secret), now_ms, expires_ms)
        .await?;
    let secret = secret.into_exposed();
    Ok((
        StatusCode::CREATED,
        Json(ResetLink {
            path: format!("/password-reset#{secret}"),
            secret,
            expires: instant(expires_ms),
        }),
    ))
}

/// Takes the second factor of somebody away who has lost it.
#[utoipa::path(delete, path = "/v1/people/{person}/totp", tag = "people", params(("person" = String, Path, description = "Identity or mail address")), responses((status = 204)))]
pub(super) async fn delete_second_factor(
    State(api): State<Api>,
    caller: Caller,
    PathOf(person): PathOf<String>,
    Extension(notes): Extension<Notes>,
) -> Result<StatusCode, ApiError> {
    let user = somebody_below(&api, &caller, &person).await?;
    notes.target(&user.email);
    api.context.store.totp_remove(user.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Where somebody is signed in, last used first.
#[utoipa::path(get, path = "/v1/people/{person}/sessions", tag = "people", params(("person" = String, Path, description = "Identity or mail address")), responses((status = 200, body = Vec<SignedIn>)))]
pub(super) async fn list_sessions_of(
    State(api): State<Api>,
    caller: Caller,
    PathOf(person): PathOf<String>,
) -> Result<Json<Vec<SignedIn>>, ApiError> {
    let (user, _) = find_person(&api.context, &caller, &person).await?;
    me::sessions_of(&api, &user, None).await.map(Json)
}

/// Ends one session of somebody.
#[utoipa::path(delete, path = "/v1/people/{person}/sessions/{session}", tag = "people", params(("person" = String, Path, description = "Identity or mail address"), ("session" = String, Path, description = "Identity of the session")), responses((status = 204)))]
pub(super) async fn revoke_session_of(
    State(api): State<Api>,
    caller: Caller,
    PathOf((person, session)): PathOf<(String, String)>,
    Extension(notes): Extension<Notes>,
) -> Result<StatusCode, ApiError> {
    let user = somebody_below(&api, &caller, &person).await?;
    notes.target(&format!("{} {session}", user.email));
    me::end_one(&api, &user, &session).await
}

/// Signs somebody out everywhere.
#[utoipa::path(delete, path = "/v1/people/{person}/sessions", tag = "people", params(("person" = String, Path, description = "Identity or mail address")), responses((status = 204)))]
pub(super) async fn revoke_sessions_of(
    State(api): State<Api>,
    caller: Caller,
    PathOf(person): PathOf<String>,
    Extension(notes): Extension<Notes>,
) -> Result<StatusCode, ApiError> {
    let user = somebody_below(&api, &caller, &person).await?;
    notes.target(&user.email);
    for one in api.context.store.sign_in_list(user.id).await? {
        api.context.store.sign_in_delete(user.id, one.id).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Invitations that are open.
#[utoipa::path(get, path = "/v1/invitations", tag = "people", responses((status = 200, body = Vec<Invitation>)))]
pub(super) async fn list_invitations(
    State(api): State<Api>,
    caller: Caller,
) -> Result<Json<Vec<Invitation>>, ApiError> {
    let scopes = Scopes::of(&api.context).await?;
    let found = invite::list(&api.context, &caller).await?;
    Ok(Json(
        found.iter().map(|one| invite::shown(&scopes, one, None)).collect(),
    ))
}

/// Makes a link by which somebody gets roles. It is shown once.
#[utoipa::path(post, path = "/v1/invitations", tag = "people", request_body = CreateInvitation, responses((status = 201, body = Invitation)))]
pub(super) async fn create_invitation(
    State(api): State<Api>,
    caller: Caller,
    Extension(notes): Extension<Notes>,
    JsonBody(request): JsonBody<CreateInvitation>,
) -> Result<(StatusCode, Json<Invitation>), ApiError> {
    notes.target(request.email.as_deref().unwrap_or("whoever has the link"));
    note_grants(&api, &notes, &request.grants).await?;
    let (invitation, secret) = invite::create(&api.context, &caller, &request).await?;
    let scopes = Scopes::of(&api.context).await?;
    Ok((
        StatusCode::CREATED,
        Json(invite::shown(&scopes, &invitation, Some(secret))),
    ))
}

/// Takes an invitation back.
#[utoipa::path(delete, path = "/v1/invitations/{invitation}", tag = "people", params(("invitation" = String, Path, description = "Identity")), responses((status = 204)))]
pub(super) async fn delete_invitation(
    State(api): State<Api>,
    caller: Caller,
    PathOf(id): PathOf<String>,
    Extension(notes): Extension<Notes>,
) -> Result<StatusCode, ApiError> {
    let open = invite::list(&api.context, &caller).await?;
    let found = open.iter().find(|invitation| invitation.id.to_string() == id);
    let found = found.ok_or_else(invite::no_such_invitation)?;
    let scopes = Scopes::of(&api.context).await?;
    note_grants(&api, &notes, &invite::grants(&scopes, found)).await?;
    api.context.store.invitation_delete(found.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What an invitation offers, to who has the link.
#[utoipa::path(post, path = "/v1/invitations/look", tag = "people", request_body = InvitationSecret, responses((status = 200, body = InvitationOffer)))]
pub(super) async fn look_at_invitation(
    State(api): State<Api>,
    JsonBody(request): JsonBody<InvitationSecret>,
) -> Result<Json<InvitationOffer>, ApiError> {
    let invitation = invite::look(&api.context, &request.secret).await?;
    let scopes = Scopes::of(&api.context).await?;
    Ok(Json(InvitationOffer {
        grants: invite::grants(&scopes, &invitation),
        expires: instant(invitation.expires_ms),
        email: invitation.email,
        created_by: invitation.created_by,
    }))
}

/// Accepts an invitation, as somebody new or as who is signed in, and signs in.
#[utoipa::path(post, path = "/v1/invitations/accept", tag = "people", request_body = AcceptInvitation, responses((status = 201, body = SessionState)))]
pub(super) async fn accept_invitation(
    State(api): State<Api>,
    Extension(notes): Extension<Notes>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let (headers, peer) = (parts.headers.clone(), peer_of(&parts));
    // Who is signed in is asked for all that a change needs.
    let found = browser::sign_in_of(&api.context, &headers).await?;
    let signed_in = match found.filter(|(_, sign_in)| !sign_in.waits) {
        Some(_) => match super::auth::authenticate(&api.context, &api.limiter, &parts, peer)
            .await?
            .who
        {
            Who::Person(user, _) => Some(*user),
            _ => None,
        },
        None => None,
    };
    let request = Request::from_parts(parts, body);
    let JsonBody(request) = JsonBody::<AcceptInvitation>::from_request(request, &api).await?;
    let is_new = signed_in.is_none();
    let source = Source::address(peer);
    let invitation = match invite::look(&api.context, &request.secret).await {
        Ok(invitation) => invitation,
        Err(error) => {
            // Who has the link is not kept out by those who guess from the same address.
            api.throttle.begin(&source, None, api.context.clock.now_ms())?;
            return Err(error);
        }
    };
    let user = invite::accept(&api.context, &api.passwords, (invitation, &source), signed_in, request).await?;
    notes.who(Some(user.id.to_string()), &user.email);
    let how = if is_new { "invitation" } else { "password" };
    // Who was signed in has shown the second factor already.
    let how = if user.totp_secret.is_some() { "totp" } else { how };
    sign_in::enter(&api, &headers, peer, &user, how, StatusCode::CREATED).await
}
