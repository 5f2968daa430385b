//! Invitations, and links to set a password: secrets that are shown once and work once.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use weir_api::{AcceptInvitation, CreateInvitation, RoleGrant};
use weir_model::policy::Permission;
use weir_model::{InvitationId, UserId};
use weir_store::{Invitation, Member, User};

use super::password::Passwords;
use super::throttle::Source;
use super::{Asked, PEOPLE, Scopes, check_email, check_name, membership, password, read_grants, require_giving};
use crate::api::ApiError;
use crate::api::auth::{Caller, hash_of};
use crate::api::present::instant;
use crate::context::Context;
use crate::secrets::{Secret, random_bytes};

const DAY_MS: i64 = 86_400_000;
const DAYS: u32 = 7;
const MOST_DAYS: u32 = 30;
/// Open invitations of one who invites.
const OPEN: i64 = 100;
/// A link to set a password holds so long.
pub(crate) const RESET_MS: i64 = DAY_MS;

/// A secret for a link: 256 random bits.
pub(crate) fn new_secret() -> Secret {
    Secret::new(URL_SAFE_NO_PAD.encode(random_bytes::<32>()))
}

/// The answer for one that is not there, was used, or is past.
pub(crate) fn no_such_invitation() -> ApiError {
    ApiError::not_found(
        "invitation-not-found",
        "there is no such invitation, or it holds no more",
    )
    .with_hint("ask for a new one: `weir people invite`")
}

/// Makes an invitation.
pub(crate) async fn create(
    context: &Context,
    caller: &Caller,
    request: &CreateInvitation,
) -> Result<(Invitation, Secret), ApiError> {
    let scopes = Scopes::of(context).await?;
    let asked = read_grants(&scopes, caller, &request.grants)?;
    if asked.is_empty() {
        return Err(ApiError::invalid("an invitation needs a role")
            .with_hint("for example `weir people invite anna@example.org --role developer --scope shop`"));
    }
    for asked in &asked {
        require_giving(caller, asked.role, asked.place, &asked.scope)?;
    }
    let days = request.expires_days.unwrap_or(DAYS);
    if !(1..=MOST_DAYS).contains(&days) {
        return Err(ApiError::invalid(format!("an invitation holds 1 to {MOST_DAYS} days")));
    }
    let now_ms = context.clock.now_ms();
    let open = context.store.invitation_count_of(&caller.identity(), now_ms).await?;
    if open >= OPEN {
        return Err(
            ApiError::conflict("too-many", format!("{OPEN} invitations of one are open at most"))
                .with_hint("take some back: `weir people invitations`"),
        );
    }
    let secret = new_secret();
    let invitation = Invitation {
        id: InvitationId::from_parts(now_ms, context.clock.random()),
        secret_sha256: hash_of(&secret),
        email: request.email.as_deref().map(check_email).transpose()?,
        roles: asked.iter().map(|asked| (asked.role, asked.place.reach())).collect(),
        created_by: caller.name().to_owned(),
        created_by_id: Some(caller.identity()),
        created_ms: now_ms,
        expires_ms: now_ms + i64::from(days) * DAY_MS,
        used_ms: None,
    };
    context.store.invitation_insert(&invitation).await?;
    Ok((invitation, secret))
}

/// Those that are open, and all of whose roles the one who asks looks after.
pub(crate) async fn list(context: &Context, caller: &Caller) -> Result<Vec<Invitation>, ApiError> {
    let scopes = Scopes::of(context).await?;
    let now_ms = context.clock.now_ms();
    let mut invitations = context.store.invitation_list().await?;
    invitations.retain(|invitation| {
        let looks_after = |reach| {
            let place = scopes.find(reach);
            place.is_some_and(|(place, _)| caller.rights.may(Permission::People, place))
        };
        invitation.expires_ms > now_ms
            && invitation.roles.iter().any(|(_, reach)| looks_after(*reach))
            && invitation
                .roles
                .iter()
                .all(|(_, reach)| looks_after(*reach) || scopes.find(*reach).is_none())
    });
    Ok(invitations)
}

/// The roles as people write them; what is gone is left out.
pub(crate) fn grants(scopes: &Scopes, invitation: &Invitation) -> Vec<RoleGrant> {
    let roles = invitation.roles.iter().filter_map(|(role, reach)| {
        Some(RoleGrant {
            role: role.to_string(),
            scope: scopes.find(*reach)?.1,
        })
    });
    roles.collect()
}

/// As the API tells of it; with the secret only once.
pub(crate) fn shown(scopes: &Scopes, invitation: &Invitation, secret: Option<Secret>) -> weir_api::Invitation {
    let secret = secret.map(Secret::into_exposed);
    weir_api::Invitation {
        id: invitation.id.to_string(),
        email: invitation.email.clone(),
        grants: grants(scopes, invitation),
        created: instant(invitation.created_ms),
        expires: instant(invitation.expires_ms),
        created_by: invitation.created_by.clone(),
        link: secret.as_ref().map(|secret| format!("/invitation#{secret}")),
        secret,
    }
}

/// The invitation of a secret that holds.
pub(crate) async fn look(context: &Context, secret: &str) -> Result<Invitation, ApiError> {
    let hash = hash_of(&Secret::new(secret.to_owned()));
    let found = context
        .store
        .invitation_by_secret_sha256(&hash, context.clock.now_ms())
        .await?;
    found.ok_or_else(no_such_invitation)
}

/// Gives the roles to who is signed in, or to somebody new. The answer is who has them now.
pub(crate) async fn accept(
    context: &Context,
    passwords: &Passwords,
    (invitation, source): (Invitation, &Source),
    signed_in: Option<User>,
    request: AcceptInvitation,
) -> Result<User, ApiError> {
    let now_ms = context.clock.now_ms();
    let (user, is_new) = match signed_in {
        Some(user) => {
            if invitation.email.as_ref().is_some_and(|email| *email != user.email) {
                return Err(
                    ApiError::conflict("another-person", "this invitation is for another mail address")
                        .with_hint("sign out, or ask for an invitation for your own address"),
                );
            }
            (user, false)
        }
        None => (
            new_user(context, passwords, (&invitation, source), request).await?,
            true,
        ),
    };
    let scopes = Scopes::of(context).await?;
    let has = context.store.membership_list_of(Member::User(user.id)).await?;
    let asked = invitation.roles.iter().filter_map(|(role, reach)| {
        let (place, scope) = scopes.find(*reach)?;
        // Who has a role there already keeps it: an invitation must not take rights away.
        let keeps = has.iter().any(|membership| membership.reach == *reach);
        (!keeps).then_some(Asked {
            role: *role,
            place,
            scope,
        })
    });
    let add: Vec<_> = asked
        .map(|asked| membership(context, &invitation.created_by, Member::User(user.id), &asked))
        .collect();
    let new = is_new.then_some(&user);
    if context
        .store
        .invitation_accept(invitation.id, now_ms, new, &add)
        .await?
    {
        return Ok(user);
    }
    Err(no_such_invitation())
}

async fn new_user(
    context: &Context,
    passwords: &Passwords,
    (invitation, source): (&Invitation, &Source),
    request: AcceptInvitation,
) -> Result<User, ApiError> {
    let missing = |what: &str| ApiError::invalid(format!("`{what}` is needed from somebody who is new"));
    let email = match (&invitation.email, &request.email) {
        (Some(invited), Some(given)) if check_email(given)? != *invited => {
            return Err(ApiError::conflict(
                "another-person",
                "this invitation is for another mail address",
            ));
        }
        (Some(invited), _) => invited.clone(),
        (None, Some(given)) => check_email(given)?,
        (None, None) => return Err(missing("email")),
    };
    let name = check_name(&request.name.ok_or_else(|| missing("name"))?)?;
    let secret = Secret::new(request.password.ok_or_else(|| missing("password"))?);
    password::check(secret.expose(), &email)?;
    if context.store.user_by_email(&email).await?.is_some() {
        return Err(
            ApiError::conflict("email-taken", "there is somebody with this mail address already")
                .with_hint("sign in first, then accept the invitation"),
        );
    }
    if context.store.user_list().await?.len() >= PEOPLE {
        return Err(ApiError::conflict(
            "too-many",
            format!("one Weir has {PEOPLE} people at most"),
        ));
    }
    person(context, email, name, passwords.hash(source, &secret).await?)
}

/// Somebody new.
pub(crate) fn person(context: &Context, email: String, name: String, hash: String) -> Result<User, ApiError> {
    let now_ms = context.clock.now_ms();
    Ok(User {
        id: UserId::from_parts(now_ms, context.clock.random()),
        email,
        name,
        password_hash: Some(hash),
        totp_secret: None,
        totp_pending: None,
        totp_step: 0,
        language: String::new(),
        disabled: false,
        created_ms: now_ms,
    })
}
