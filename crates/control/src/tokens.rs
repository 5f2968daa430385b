//! Access tokens: made, listed and taken away. Only a hash is kept; the token itself is given
//! out once.

use weir_api::CreateToken;
use weir_model::project::{Scope, Token};
use weir_model::{ProjectName, TokenId};

use crate::api::ApiError;
use crate::api::auth::{Caller, hash_of, is_admin_file_token, new_secret};
use crate::context::Context;
use crate::projects::no_such_project;
use crate::secrets::Secret;

const NAME_CHARACTERS: usize = 80;
/// Longest life of a token, in days: ten years.
const DAYS: u32 = 3650;
const TOKENS: usize = 1000;
const DAY_MS: i64 = 86_400_000;

/// Makes a token. One that is for a project can only make tokens for that project.
pub async fn create(context: &Context, caller: &Caller, request: &CreateToken) -> Result<(Token, Secret), ApiError> {
    let name = request.name.trim();
    if name.is_empty() || name.chars().count() > NAME_CHARACTERS || name.contains(char::is_control) {
        return Err(ApiError::invalid(format!(
            "the name of a token has 1 to {NAME_CHARACTERS} printable characters"
        )));
    }
    let scope: Scope = request
        .scope
        .parse()
        .map_err(|error: String| ApiError::invalid(error))?;
    let project = match (&request.project, caller.token.project) {
        (None, None) => None,
        (None, Some(_)) => {
            return Err(
                ApiError::forbidden("this token is for one project, and can only make tokens for it")
                    .with_hint("name the project: `weir token create NAME --project PROJECT`"),
            );
        }
        (Some(name), _) => {
            let valid = ProjectName::new(name).map_err(|_| no_such_project(name))?;
            let project = context
                .store
                .project_by_name(&valid)
                .await?
                .filter(|project| caller.sees(project.id));
            Some(project.ok_or_else(|| no_such_project(name))?.id)
        }
    };
    if let Some(days) = request.expires_days.filter(|days| *days == 0 || *days > DAYS) {
        return Err(ApiError::invalid(format!(
            "a token cannot live {days} days; 1 to {DAYS} are possible"
        )));
    }
    if context.store.token_list().await?.len() >= TOKENS {
        return Err(
            ApiError::conflict("too-many", format!("one Weir has {TOKENS} tokens at most"))
                .with_hint("remove some: `weir token list`"),
        );
    }
    let secret = new_secret();
    let now_ms = context.clock.now_ms();
    let token = Token {
        id: TokenId::from_parts(now_ms, context.clock.random()),
        name: name.to_owned(),
        secret_sha256: hash_of(&secret),
        scope,
        project,
        created_ms: now_ms,
        expires_ms: request.expires_days.map(|days| now_ms + i64::from(days) * DAY_MS),
        service_account: None,
        used_ms: None,
    };
    context.store.token_insert(&token).await?;
    Ok((token, secret))
}

/// The tokens that the caller may know of.
pub async fn list(context: &Context, caller: &Caller) -> Result<Vec<Token>, ApiError> {
    let tokens = context.store.token_list().await?;
    Ok(tokens.into_iter().filter(|token| is_visible(caller, token)).collect())
}

fn is_visible(caller: &Caller, token: &Token) -> bool {
    caller.token.project.is_none() || token.project == caller.token.project
}

/// Takes a token away; it is refused from the next request on.
pub async fn delete(context: &Context, caller: &Caller, id: &str) -> Result<(), ApiError> {
    let missing = || {
        ApiError::not_found("token-not-found", "there is no such token").with_hint("list them with `weir token list`")
    };
    let id: TokenId = id.parse().map_err(|_| missing())?;
    list(context, caller)
        .await?
        .into_iter()
        .find(|token| token.id == id)
        .ok_or_else(missing)?;
    if is_admin_file_token(&context.store, id).await? {
        return Err(
            ApiError::conflict("admin-token", "the token in DIR/admin-token cannot be taken away")
                .with_hint("to replace it, remove the file DIR/admin-token and start Weir again"),
        );
    }
    context.store.token_delete(id).await?;
    Ok(())
}
