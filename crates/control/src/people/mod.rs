//! People and programs: who they are, what they may do where, how they come in.

pub(crate) mod invite;
pub(crate) mod password;
pub(crate) mod scope;
pub(crate) mod service;
pub(crate) mod throttle;
pub(crate) mod totp;

use std::collections::BTreeMap;

use weir_api::{Person, RoleGrant};
use weir_model::policy::{Grant, Permission, Place, Power, Rights, Role};
use weir_model::{MembershipId, UnixMillis, UserId};
use weir_store::{Member, Membership, Store, StoreError, User};

use crate::api::ApiError;
use crate::api::auth::Caller;
use crate::api::present::instant;
use crate::context::Context;
pub(crate) use scope::Scopes;

/// Most people, and roles of one of them: every list is bounded.
pub(crate) const PEOPLE: usize = 5_000;
pub(crate) const GRANTS: usize = 200;
const NAME_CHARACTERS: usize = 80;

/// All that a person may.
pub(crate) async fn rights_of(store: &Store, user: UserId) -> Result<Rights, StoreError> {
    let memberships = store.membership_list_of(Member::User(user)).await?;
    let grants = memberships.iter().map(|membership| Grant {
        power: Power::Role(membership.role),
        reach: membership.reach,
    });
    Ok(Rights::new(grants.collect()))
}

/// A name that is fit to be shown.
pub(crate) fn check_name(name: &str) -> Result<String, ApiError> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > NAME_CHARACTERS || name.contains(char::is_control) {
        return Err(ApiError::invalid(format!(
            "a name has 1 to {NAME_CHARACTERS} printable characters"
        )));
    }
    Ok(name.to_owned())
}

/// A mail address in lower case, by which people are told apart.
pub(crate) fn check_email(email: &str) -> Result<String, ApiError> {
    let email = email.trim().to_lowercase();
    crate::billing::check_email(&email).map_err(ApiError::invalid)?;
    Ok(email)
}

/// Roles as the one who asks writes them, with where each is.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) role: Role,
    pub(crate) place: Place,
    pub(crate) scope: String,
}

/// Reads roles. Fails with 404 for what the one who asks may not know of.
pub(crate) fn read_grants(scopes: &Scopes, caller: &Caller, grants: &[RoleGrant]) -> Result<Vec<Asked>, ApiError> {
    if grants.len() > GRANTS {
        return Err(ApiError::invalid(format!("one has {GRANTS} roles at most")));
    }
    let mut asked: Vec<Asked> = Vec::new();
    for grant in grants {
        let role: Role = grant.role.parse().map_err(|words: String| ApiError::invalid(words))?;
        let place = match scopes.parse(&grant.scope) {
            Ok(place) if caller.rights.knows(place) => place,
            _ => return Err(scopes.missing(&caller.rights, &grant.scope)),
        };
        if asked.iter().any(|other| other.place == place) {
            return Err(ApiError::invalid(format!("there are two roles for `{}`", grant.scope))
                .with_hint("the higher one holds what the lower one holds; leave the other out"));
        }
        asked.push(Asked {
            role,
            place,
            scope: grant.scope.clone(),
        });
    }
    Ok(asked)
}

/// Fails unless the one who asks may give, or take, a role somewhere. What is named by them is known to
/// them; where somebody else has a role is not told to those who do not know of it.
pub(crate) fn require_giving(caller: &Caller, role: Role, place: Place, scope: &str) -> Result<(), ApiError> {
    caller.require(Permission::People, place, scope, roles_elsewhere)?;
    if caller.rights.may_give(role, place) {
        return Ok(());
    }
    Err(ApiError::forbidden(format!(
        "you cannot give or take the role `{role}` in {scope}: it is more than you have there"
    ))
    .with_hint(format!("ask somebody who is `{role}` there, or an owner")))
}

/// The answer where somebody has a role in what the one who asks does not know of.
fn roles_elsewhere() -> ApiError {
    ApiError::forbidden("there are roles in something that you do not look after")
        .with_hint("take away the roles that you gave, or ask an owner of the whole Weir")
}

/// The answer where nobody would own the Weir any more.
pub(crate) fn last_owner() -> ApiError {
    ApiError::conflict("last-owner", "nobody would own this Weir any more")
        .with_hint("make somebody else an owner first: `weir people role EMAIL owner --scope weir`")
}

/// The answer for somebody who is not there, or of whom the one who asks may not know.
pub(crate) fn no_such_person() -> ApiError {
    ApiError::not_found("person-not-found", "there is no such person").with_hint("list them with `weir people list`")
}

/// A role that is given now.
pub(crate) fn membership(context: &Context, caller_name: &str, member: Member, asked: &Asked) -> Membership {
    let now_ms = context.clock.now_ms();
    Membership {
        id: MembershipId::from_parts(now_ms, context.clock.random()),
        member,
        role: asked.role,
        reach: asked.place.reach(),
        created_by: caller_name.to_owned(),
        created_ms: now_ms,
    }
}

/// Everything that is needed to tell of people.
pub(crate) struct Crowd {
    scopes: Scopes,
    memberships: BTreeMap<UserId, Vec<Membership>>,
}

impl Crowd {
    /// Reads it.
    pub(crate) async fn of(context: &Context) -> Result<Self, ApiError> {
        let mut memberships: BTreeMap<UserId, Vec<Membership>> = BTreeMap::new();
        for membership in context.store.membership_list().await? {
            if let Member::User(user) = membership.member {
                memberships.entry(user).or_default().push(membership);
            }
        }
        Ok(Self {
            scopes: Scopes::of(context).await?,
            memberships,
        })
    }

    /// The roles of somebody in what `seen` says yes to.
    pub(crate) fn roles_of(&self, user: UserId, seen: impl Fn(Place) -> bool) -> Vec<(&Membership, Place, String)> {
        let own = self.memberships.get(&user).into_iter().flatten();
        own.filter_map(|membership| {
            let (place, scope) = self.scopes.find(membership.reach)?;
            seen(place).then_some((membership, place, scope))
        })
        .collect()
    }

    /// A person as the API tells of them, with the roles that `seen` says yes to.
    pub(crate) fn person(&self, user: &User, last_seen_ms: Option<UnixMillis>, seen: impl Fn(Place) -> bool) -> Person {
        let roles = self.roles_of(user.id, seen);
        Person {
            id: user.id.to_string(),
            name: user.name.clone(),
            email: user.email.clone(),
            language: Some(user.language.clone()).filter(|language| !language.is_empty()),
            state: if user.disabled { "suspended" } else { "active" }.to_owned(),
            grants: roles
                .into_iter()
                .map(|(membership, _, scope)| RoleGrant {
                    role: membership.role.to_string(),
                    scope,
                })
                .collect(),
            totp: user.totp_secret.is_some(),
            created: instant(user.created_ms),
            last_seen: last_seen_ms.map(instant),
        }
    }

    /// Roles, with those for an account repeated for each of its projects: whoever shows what somebody may
    /// needs to know no accounts.
    pub(crate) fn spread(&self, grants: &[RoleGrant]) -> Vec<RoleGrant> {
        let mut all = grants.to_vec();
        for grant in grants {
            if let Ok(Place::Account(account)) = self.scopes.parse(&grant.scope) {
                all.extend(self.scopes.projects_of(account).map(|project| RoleGrant {
                    role: grant.role.clone(),
                    scope: project.to_owned(),
                }));
            }
        }
        all
    }
}

/// When somebody was last seen.
pub(crate) async fn last_seen(store: &Store, user: UserId) -> Result<Option<UnixMillis>, StoreError> {
    Ok(store.sign_in_list(user).await?.first().map(|sign_in| sign_in.used_ms))
}

/// The person of an identity or a mail address, if the one who asks looks after people where they
/// have a role, or everywhere.
pub(crate) async fn find_person(context: &Context, caller: &Caller, wanted: &str) -> Result<(User, Crowd), ApiError> {
    let found = match wanted.parse::<UserId>() {
        Ok(id) => context.store.user_by_id(id).await?,
        Err(_) => context.store.user_by_email(&wanted.to_lowercase()).await?,
    };
    let user = found.ok_or_else(no_such_person)?;
    let crowd = Crowd::of(context).await?;
    let looks_after = |place| caller.rights.may(Permission::People, place);
    if looks_after(Place::Platform) || !crowd.roles_of(user.id, looks_after).is_empty() {
        return Ok((user, crowd));
    }
    Err(no_such_person())
}

/// A role that was given or taken away.
#[derive(Debug)]
pub(crate) struct Changed {
    pub(crate) place: Place,
    pub(crate) scope: String,
    /// For the audit log: `developer`, or `no developer any more`.
    pub(crate) words: String,
}

/// Gives somebody these roles in place of those that the one who asks looks after; others stay.
pub(crate) async fn set_grants(
    context: &Context,
    caller: &Caller,
    wanted: &str,
    grants: &[RoleGrant],
) -> Result<(User, Vec<Changed>), ApiError> {
    let (user, crowd) = find_person(context, caller, wanted).await?;
    let member = Member::User(user.id);
    let present = crowd.roles_of(user.id, |place| caller.rights.may(Permission::People, place));
    let changed = change_roles(context, caller, &crowd.scopes, member, &present, grants).await?;
    Ok((user, changed))
}

/// Gives a member these roles in place of the present ones that the one who asks looks after.
pub(crate) async fn change_roles(
    context: &Context,
    caller: &Caller,
    scopes: &Scopes,
    member: Member,
    present: &[(&Membership, Place, String)],
    grants: &[RoleGrant],
) -> Result<Vec<Changed>, ApiError> {
    let asked = read_grants(scopes, caller, grants)?;
    let same = |asked: &Asked, has: &Membership| asked.place.reach() == has.reach && asked.role == has.role;
    let mut changed = Vec::new();
    let mut remove = Vec::new();
    for (membership, place, scope) in present {
        if !asked.iter().any(|asked| same(asked, membership)) {
            require_giving(caller, membership.role, *place, scope)?;
            remove.push(membership.id);
            changed.push(Changed {
                place: *place,
                scope: scope.clone(),
                words: format!("no {} any more", membership.role),
            });
        }
    }
    let mut add = Vec::new();
    for asked in &asked {
        if !present.iter().any(|(membership, _, _)| same(asked, membership)) {
            require_giving(caller, asked.role, asked.place, &asked.scope)?;
            add.push(membership(context, caller.name(), member, asked));
            changed.push(Changed {
                place: asked.place,
                scope: asked.scope.clone(),
                words: asked.role.to_string(),
            });
        }
    }
    if context.store.membership_change(&remove, &add).await? {
        return Ok(changed);
    }
    Err(last_owner())
}
