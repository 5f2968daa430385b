//! Access tokens: made, listed and taken away. Only a hash is kept; the token itself is given
//! out once.

use weir_api::CreateToken;
use weir_model::policy::{Permission, Place, Power};
use weir_model::project::{Scope, Token};
use weir_model::{ProjectId, ProjectName, TokenId, UnixMillis};

use crate::api::ApiError;
use crate::api::auth::{Caller, hash_of, is_admin_file_token, new_secret};
use crate::api::place::Places;
use crate::context::Context;
use crate::people::scope::ALL;
use crate::projects::no_such_project;
use crate::secrets::Secret;

const NAME_CHARACTERS: usize = 80;
/// Longest life of a token, in days: ten years.
const DAYS: u32 = 3650;
/// Most tokens that belong to nobody: for everything, and of one project.
const TOKENS: i64 = 1_000;
const TOKENS_OF_PROJECT: i64 = 100;
const DAY_MS: i64 = 86_400_000;

/// The answer for a token that does not exist, or of which the one who asks may not know.
pub(crate) fn no_such_token() -> ApiError {
    ApiError::not_found("token-not-found", "there is no such token").with_hint("list them with `weir token list`")
}

/// A name that is fit to be shown.
pub(crate) fn check_name(name: &str) -> Result<String, ApiError> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > NAME_CHARACTERS || name.contains(char::is_control) {
        return Err(ApiError::invalid(format!(
            "the name of a token has 1 to {NAME_CHARACTERS} printable characters"
        )));
    }
    Ok(name.to_owned())
}

/// When a token ends that is to live so many days.
pub(crate) fn expiry(days: Option<u32>, now_ms: UnixMillis) -> Result<Option<UnixMillis>, ApiError> {
    if let Some(days) = days.filter(|days| *days == 0 || *days > DAYS) {
        return Err(ApiError::invalid(format!(
            "a token cannot live {days} days; 1 to {DAYS} are possible"
        )));
    }
    Ok(days.map(|days| now_ms + i64::from(days) * DAY_MS))
}

/// Fails if there are as many tokens as there may be: each project has a bound of its own, so that nobody
/// uses up those of others.
async fn check_number(context: &Context, project: Option<ProjectId>) -> Result<(), ApiError> {
    let (most, of) = match project {
        Some(_) => (TOKENS_OF_PROJECT, "a project"),
        None => (TOKENS, "the whole Weir"),
    };
    if context.store.token_count(project).await? < most {
        return Ok(());
    }
    Err(
        ApiError::conflict("too-many", format!("{of} has {most} tokens at most"))
            .with_hint("remove some: `weir token list`"),
    )
}

/// Makes a token, for everything or for a project; nobody makes one that may more than he may there.
pub async fn create(context: &Context, caller: &Caller, request: &CreateToken) -> Result<(Token, Secret), ApiError> {
    let name = check_name(&request.name)?;
    let scope: Scope = request
        .scope
        .parse()
        .map_err(|error: String| ApiError::invalid(error))?;
    let (place, words, project) = match &request.project {
        None => (Place::Platform, ALL, None),
        Some(name) => {
            let valid = ProjectName::new(name).map_err(|_| no_such_project(name))?;
            let found = context.store.project_by_name(&valid).await?;
            let project = found.ok_or_else(|| no_such_project(name))?;
            (
                Place::Project(project.account, project.id),
                name.as_str(),
                Some(project.id),
            )
        }
    };
    caller
        .require(Permission::People, place, words, || no_such_project(words))
        .map_err(|error| match request.project {
            None if error.status == http::StatusCode::FORBIDDEN => {
                error.with_hint("name the project: `weir token create NAME --project PROJECT`")
            }
            _ => error,
        })?;
    let exceeds = Permission::ALL
        .into_iter()
        .find(|permission| Power::Token(scope).allows(*permission) && !caller.rights.may(*permission, place));
    if let Some(permission) = exceeds {
        return Err(ApiError::forbidden(format!(
            "a token with the scope `{}` may more than you may there: `{}`",
            scope.as_str(),
            permission.as_str()
        ))
        .with_hint("make one with a narrower scope, or a service account with the role that it needs"));
    }
    let now_ms = context.clock.now_ms();
    let expires_ms = expiry(request.expires_days, now_ms)?;
    check_number(context, project).await?;
    let secret = new_secret();
    let token = Token {
        id: TokenId::from_parts(now_ms, context.clock.random()),
        name,
        secret_sha256: hash_of(&secret),
        scope,
        project,
        created_ms: now_ms,
        expires_ms,
        service_account: None,
        used_ms: None,
    };
    context.store.token_insert(&token).await?;
    Ok((token, secret))
}

/// The tokens that the one who asks looks after; those of service accounts are told with these.
pub async fn list(context: &Context, caller: &Caller) -> Result<Vec<Token>, ApiError> {
    let places = Places::of(context).await?;
    let mut tokens = context.store.token_list().await?;
    tokens.retain(|token| {
        let place = match token.project {
            Some(project) => places.of_project(project, None),
            None => Some(Place::Platform),
        };
        let looks_after = place.is_some_and(|place| caller.rights.may(Permission::People, place));
        token.service_account.is_none() && looks_after
    });
    Ok(tokens)
}

/// Takes a token away; it is refused from the next request on.
pub async fn delete(context: &Context, id: &str) -> Result<(), ApiError> {
    let id: TokenId = id.parse().map_err(|_| no_such_token())?;
    if is_admin_file_token(&context.store, id).await? {
        return Err(
            ApiError::conflict("admin-token", "the token in DIR/admin-token cannot be taken away")
                .with_hint("to replace it, remove the file DIR/admin-token and start Weir again"),
        );
    }
    if context.store.token_delete(id).await? {
        return Ok(());
    }
    Err(no_such_token())
}
