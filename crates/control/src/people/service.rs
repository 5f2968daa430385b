//! Service accounts: programs with roles and tokens of their own.

use weir_api::{CreateServiceAccount, CreateServiceToken, RoleGrant};
use weir_model::policy::{Permission, Reach};
use weir_model::project::{Scope, Token};
use weir_model::{ServiceAccountId, TokenId};
use weir_store::{Member, ServiceAccount};

use super::{Scopes, membership, read_grants, require_giving};
use crate::api::ApiError;
use crate::api::auth::{Caller, hash_of, new_secret};
use crate::api::present::{self, instant};
use crate::context::Context;
use crate::secrets::Secret;
use crate::tokens;

const ACCOUNTS: usize = 1_000;
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
    if context.store.service_account_list().await?.len() >= ACCOUNTS {
        return Err(ApiError::conflict(
            "too-many",
            format!("one Weir has {ACCOUNTS} service accounts at most"),
        ));
    }
    let now_ms = context.clock.now_ms();
    let account = ServiceAccount {
        id: ServiceAccountId::from_parts(now_ms, context.clock.random()),
        name: name.to_owned(),
        home: asked.place.reach(),
        created_by: caller.name().to_owned(),
        created_ms: now_ms,
    };
    let role = membership(context, caller.name(), Member::ServiceAccount(account.id), asked);
    context.store.service_account_insert(&account, &role).await?;
    Ok(account)
}

/// Those that the one who asks looks after.
pub(crate) async fn list(context: &Context, caller: &Caller) -> Result<Vec<ServiceAccount>, ApiError> {
    let scopes = Scopes::of(context).await?;
    let mut accounts = context.store.service_account_list().await?;
    accounts.retain(|account| {
        let place = scopes.find(account.home);
        place.is_some_and(|(place, _)| caller.rights.may(Permission::People, place))
    });
    Ok(accounts)
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
    tokens::check_number(context).await?;
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

/// As the API tells of it.
pub(crate) async fn shown(context: &Context, account: &ServiceAccount) -> Result<weir_api::ServiceAccount, ApiError> {
    let scopes = Scopes::of(context).await?;
    let name = |reach: Reach| scopes.find(reach).map(|(_, scope)| scope);
    let memberships = context
        .store
        .membership_list_of(Member::ServiceAccount(account.id))
        .await?;
    let grants = memberships.iter().filter_map(|membership| {
        Some(RoleGrant {
            role: membership.role.to_string(),
            scope: name(membership.reach)?,
        })
    });
    let grants = grants.collect();
    let mut shown = Vec::new();
    for token in context.store.token_list().await? {
        if token.service_account == Some(account.id) {
            shown.push(present::token(context, &token).await?);
        }
    }
    Ok(weir_api::ServiceAccount {
        id: account.id.to_string(),
        name: account.name.clone(),
        scope: name(account.home).unwrap_or_default(),
        grants,
        created: instant(account.created_ms),
        created_by: account.created_by.clone(),
        tokens: shown,
    })
}
