//! Service accounts: programs with roles and tokens of their own.

use std::collections::BTreeMap;

use weir_api::{CreateServiceAccount, CreateServiceToken, RoleGrant};
use weir_model::policy::{Permission, Place};
use weir_model::project::{Scope, Token};
use weir_model::{ServiceAccountId, TokenId};
use weir_store::{Member, Membership, ServiceAccount};

use super::{Changed, Scopes, change_roles, membership, read_grants, require_giving};
use crate::api::ApiError;
use crate::api::auth::{Caller, hash_of, new_secret};
use crate::api::present::{self, instant};
use crate::context::Context;
use crate::secrets::Secret;
use crate::tokens;

/// Most service accounts of a project with its environments, of an account, and of the whole.
const ACCOUNTS: i64 = 100;
/// Most tokens of one.
const TOKENS: i64 = 20;
const NAME_CHARACTERS: usize = 40;

/// The answer for one that does not exist, or that the one who asks may not know of.
pub(crate) fn no_such_account() -> ApiError {
    ApiError::not_found("service-account-not-found", "there is no such service account")
        .with_hint("list them with `weir service-account list`")
}

/// Makes one, with a role. It belongs to where its role is.
pub(crate) async fn create(
    context: &Context,
    caller: &Caller,
    request: &CreateServiceAccount,
) -> Result<ServiceAccount, ApiError> {
    let name = request.name.as_str();
    let fits = (1..=NAME_CHARACTERS).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !fits {
        return Err(ApiError::invalid(format!(
            "the name of a service account has 1 to {NAME_CHARACTERS} of a-z, 0-9 and -"
        )));
    }
    let scopes = Scopes::of(context).await?;
    let asked = read_grants(&scopes, caller, std::slice::from_ref(&request.grant))?;
    let Some(asked) = asked.first() else {
        return Err(ApiError::invalid("a service account needs a role"));
    };
    require_giving(caller, asked.role, asked.place, &asked.scope)?;
    let home = asked.place.reach();
    if context.store.service_account_count(home).await? >= ACCOUNTS {
        return Err(ApiError::conflict(
            "too-many",
            format!("one project has {ACCOUNTS} service accounts at most, and so has an account or the whole"),
        )
        .with_hint("remove some: `weir service-account list`"));
    }
    let now_ms = context.clock.now_ms();
    let account = ServiceAccount {
        id: ServiceAccountId::from_parts(now_ms, context.clock.random()),
        name: name.to_owned(),
        home,
        created_by: caller.name().to_owned(),
        created_ms: now_ms,
    };
    let role = membership(context, caller.name(), Member::ServiceAccount(account.id), asked);
    context.store.service_account_insert(&account, &role).await?;
    Ok(account)
}

/// Those that the one who asks looks after.
pub(crate) async fn list(context: &Context, caller: &Caller) -> Result<Vec<weir_api::ServiceAccount>, ApiError> {
    let programs = Programs::of(context).await?;
    let accounts = context.store.service_account_list().await?;
    let looks_after = |account: &&ServiceAccount| {
        let home = programs.home_of(account);
        home.is_some_and(|(place, _)| caller.rights.may(Permission::People, place))
    };
    let own = accounts.iter().filter(looks_after);
    Ok(own.map(|account| programs.shown(caller, account)).collect())
}

/// The account of an identity in the path. The guard has seen to it that the one who asks looks after it.
pub(crate) async fn find(context: &Context, id: &str) -> Result<ServiceAccount, ApiError> {
    let id = id.parse().map_err(|_| no_such_account())?;
    let found = context.store.service_account_by_id(id).await?;
    found.ok_or_else(no_such_account)
}

/// Makes a token. Whoever has it may what the account may, so only somebody makes one who could give
/// all of the account's roles.
pub(crate) async fn create_token(
    context: &Context,
    caller: &Caller,
    account: &ServiceAccount,
    request: &CreateServiceToken,
) -> Result<(Token, Secret), ApiError> {
    let scopes = Scopes::of(context).await?;
    for role in context
        .store
        .membership_list_of(Member::ServiceAccount(account.id))
        .await?
    {
        if let Some((place, scope)) = scopes.find(role.reach) {
            require_giving(caller, role.role, place, &scope)?;
        }
    }
    let name = tokens::check_name(&request.name)?;
    let scope: Scope = request
        .scope
        .as_deref()
        .unwrap_or("admin")
        .parse()
        .map_err(|words: String| ApiError::invalid(words))?;
    let now_ms = context.clock.now_ms();
    let expires_ms = tokens::expiry(request.expires_days, now_ms)?;
    if context.store.token_count_of(account.id).await? >= TOKENS {
        return Err(
            ApiError::conflict("too-many", format!("a service account has {TOKENS} tokens at most"))
                .with_hint("remove those that are not used: `weir service-account list` says when each was"),
        );
    }
    let secret = new_secret();
    let token = Token {
        id: TokenId::from_parts(now_ms, context.clock.random()),
        name,
        secret_sha256: hash_of(&secret),
        scope,
        project: None,
        created_ms: now_ms,
        expires_ms,
        service_account: Some(account.id),
        used_ms: None,
    };
    context.store.token_insert(&token).await?;
    Ok((token, secret))
}

/// Gives one these roles in place of those that the one who asks looks after; others stay.
pub(crate) async fn set_grants(
    context: &Context,
    caller: &Caller,
    account: &ServiceAccount,
    grants: &[RoleGrant],
) -> Result<Vec<Changed>, ApiError> {
    let programs = Programs::of(context).await?;
    let looks_after = |place| caller.rights.may(Permission::People, place);
    let present = programs.roles_of(account.id, looks_after);
    let member = Member::ServiceAccount(account.id);
    change_roles(context, caller, &programs.scopes, member, &present, grants).await
}

/// Everything that is needed to tell of service accounts, read once for all of them.
pub(crate) struct Programs {
    scopes: Scopes,
    memberships: BTreeMap<ServiceAccountId, Vec<Membership>>,
    tokens: BTreeMap<ServiceAccountId, Vec<Token>>,
}

impl Programs {
    /// Reads it.
    pub(crate) async fn of(context: &Context) -> Result<Self, ApiError> {
        let mut memberships: BTreeMap<ServiceAccountId, Vec<Membership>> = BTreeMap::new();
        for membership in context.store.membership_list().await? {
            if let Member::ServiceAccount(account) = membership.member {
                memberships.entry(account).or_default().push(membership);
            }
        }
        let mut tokens: BTreeMap<ServiceAccountId, Vec<Token>> = BTreeMap::new();
        for token in context.store.token_list().await? {
            if let Some(account) = token.service_account {
                tokens.entry(account).or_default().push(token);
            }
        }
        Ok(Self {
            scopes: Scopes::of(context).await?,
            memberships,
            tokens,
        })
    }

    fn roles_of(&self, account: ServiceAccountId, seen: impl Fn(Place) -> bool) -> Vec<(&Membership, Place, String)> {
        let own = self.memberships.get(&account).into_iter().flatten();
        let own = own.filter_map(|membership| {
            let (place, scope) = self.scopes.find(membership.reach)?;
            seen(place).then_some((membership, place, scope))
        });
        own.collect()
    }

    /// Where one belongs; `None` if that is gone.
    pub(crate) fn home_of(&self, account: &ServiceAccount) -> Option<(Place, String)> {
        self.scopes.find(account.home)
    }

    /// One as the API tells of it, with the roles that the one who asks looks after.
    pub(crate) fn shown(&self, caller: &Caller, account: &ServiceAccount) -> weir_api::ServiceAccount {
        let roles = self.roles_of(account.id, |place| caller.rights.may(Permission::People, place));
        let grants = roles.into_iter().map(|(membership, _, scope)| RoleGrant {
            role: membership.role.to_string(),
            scope,
        });
        let tokens = self.tokens.get(&account.id).into_iter().flatten();
        weir_api::ServiceAccount {
            id: account.id.to_string(),
            name: account.name.clone(),
            scope: self.home_of(account).map(|(_, scope)| scope).unwrap_or_default(),
            grants: grants.collect(),
            created: instant(account.created_ms),
            created_by: account.created_by.clone(),
            tokens: tokens.map(|token| present::token_of(token, None)).collect(),
        }
    }
}
