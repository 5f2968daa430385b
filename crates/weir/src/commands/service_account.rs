use weir_api::{CreateServiceAccount, CreateServiceToken, RoleGrant, ServiceAccount, SetGrants, Token};

use crate::client::Client;
use crate::commands::people::{grants_text, segment};
use crate::failure::{Failure, Result};
use crate::output::{Cell, ago};
use crate::session::Session;

/// Programs with a role and tokens of their own: for CI, scripts, monitoring.
///
/// A token of a service account may what the account may, at most within the token's scope. It goes
/// with the account.
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "service-accounts",
    after_help = "Examples:\n  weir service-account create ci --role developer --scope shop/staging\n  weir service-account token ci --days 90\n  weir service-account list\n  weir service-account role ci viewer --scope shop/staging\n  weir service-account delete ci"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make one with a role.
    Create {
        /// 1 to 40 of a-z, 0-9 and -.
        name: String,
        /// Which role.
        #[arg(long, default_value = "developer", value_parser = ["viewer", "billing", "developer", "admin", "owner"])]
        role: String,
        /// Where: weir, account:NAME, PROJECT or PROJECT/ENVIRONMENT.
        #[arg(long, value_name = "SCOPE")]
        scope: String,
    },
    /// Show them, with their tokens.
    List,
    /// Give one a role for a scope, in place of the one that it has there. Its tokens may at once what that
    /// allows.
    Role {
        /// Name or identity of the service account, or SCOPE/NAME with where it belongs.
        account: String,
        /// Which role.
        #[arg(value_parser = ["viewer", "billing", "developer", "admin", "owner", "none"])]
        role: String,
        /// Where: weir, account:NAME, PROJECT or PROJECT/ENVIRONMENT.
        #[arg(long, value_name = "SCOPE")]
        scope: String,
    },
    /// Make a token. It is shown once, on standard output.
    Token {
        /// Name or identity of the service account, or SCOPE/NAME with where it belongs.
        account: String,
        /// What the token is for.
        #[arg(long, default_value = "token")]
        name: String,
        /// At most: look, push and configure, or all that the account may.
        #[arg(long, default_value = "admin", value_parser = ["read", "deploy", "admin"])]
        at_most: String,
        /// Days until it is refused; never, if absent.
        #[arg(long, value_name = "DAYS")]
        days: Option<u32>,
    },
    /// Remove one with its roles and tokens.
    Delete {
        /// Name or identity of the service account, or SCOPE/NAME with where it belongs.
        account: String,
    },
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let client = session.client()?;
    let ui = &session.ui;
    match args.verb {
        Verb::Create { name, role, scope } => {
            let request = CreateServiceAccount {
                name,
                grant: RoleGrant { role, scope },
            };
            let made: ServiceAccount = client.post("/v1/service-accounts", &request).await?;
            ui.result(&made, || {
                ui.note(&format!("{} is {}", made.name, grants_text(&made.grants)));
                ui.note(&format!("next: weir service-account token {}", made.name));
                Ok(())
            })
        }
        Verb::List => list(&client, session).await,
        Verb::Role { account, role, scope } => set_role(&client, session, &account, role, scope).await,
        Verb::Token {
            account,
            name,
            at_most,
            days,
        } => {
            let account = find(&client, &account).await?;
            let request = CreateServiceToken {
                name,
                scope: Some(at_most),
                expires_days: days,
            };
            let path = format!("/v1/service-accounts/{}/tokens", segment(&account.id));
            let token: Token = client.post(&path, &request).await?;
            ui.result(&token, || {
                ui.note("keep it safe; it is not shown again");
                ui.data(token.secret.as_deref().unwrap_or_default())
            })
        }
        Verb::Delete { account } => {
            let account = find(&client, &account).await?;
            let path = format!("/v1/service-accounts/{}", segment(&account.id));
            client.delete_quietly(&path).await?;
            ui.result(&serde_json::json!({ "deleted": account.id }), || {
                ui.note(&format!("{} is gone, and its tokens are refused", account.name));
                Ok(())
            })
        }
    }
}

async fn list(client: &Client, session: &Session) -> Result<()> {
    let accounts: Vec<ServiceAccount> = client.get("/v1/service-accounts").await?;
    let ui = &session.ui;
    ui.result(&accounts, || {
        let mut rows: Vec<Vec<Cell>> = Vec::new();
        for account in &accounts {
            let roles = grants_text(&account.grants);
            if account.tokens.is_empty() {
                rows.push(row(account, &roles, None));
            }
            for token in &account.tokens {
                rows.push(row(account, &roles, Some(token)));
            }
        }
        let headers = ["SERVICE ACCOUNT", "OF", "ROLES", "TOKEN", "FOR", "LAST USED", "ENDS"];
        ui.table(&headers, &rows, "there are no service accounts")
    })
}

fn row(account: &ServiceAccount, roles: &str, token: Option<&Token>) -> Vec<Cell> {
    vec![
        account.name.as_str().into(),
        account.scope.as_str().into(),
        roles.into(),
        token.map(|token| token.id.clone()).into(),
        token.map(|token| token.name.clone()).into(),
        token.and_then(|token| token.last_used.as_deref()).map(ago).into(),
        token.and_then(|token| token.expires.clone()).into(),
    ]
}

async fn set_role(client: &Client, session: &Session, account: &str, role: String, scope: String) -> Result<()> {
    let account = find(client, account).await?;
    let mut grants = account.grants;
    grants.retain(|grant| grant.scope != scope);
    if role != "none" {
        grants.push(RoleGrant { role, scope });
    }
    let path = format!("/v1/service-accounts/{}/grants", segment(&account.id));
    let changed: ServiceAccount = client.put(&path, &SetGrants { grants }).await?;
    let ui = &session.ui;
    ui.result(&changed, || {
        ui.note(&format!("{} is now {}", changed.name, grants_text(&changed.grants)));
        Ok(())
    })
}

async fn find(client: &Client, wanted: &str) -> Result<ServiceAccount> {
    let accounts: Vec<ServiceAccount> = client.get("/v1/service-accounts").await?;
    choose(accounts, wanted)
}

/// The one that is meant. Names are unique only where the accounts belong.
fn choose(accounts: Vec<ServiceAccount>, wanted: &str) -> Result<ServiceAccount> {
    let full = |account: &ServiceAccount| format!("{}/{}", account.scope, account.name);
    let meant = |account: &ServiceAccount| [&account.name, &account.id, &full(account)].contains(&&wanted.to_owned());
    let mut found: Vec<ServiceAccount> = accounts.into_iter().filter(meant).collect();
    if found.len() > 1 {
        let names: Vec<String> = found.iter().map(full).collect();
        return Err(
            Failure::usage(format!("there are {} service accounts `{wanted}`", found.len()))
                .hint(format!("say which: {}", names.join(", "))),
        );
    }
    found.pop().ok_or_else(|| {
        Failure::not_found(format!("there is no service account `{wanted}`"))
            .hint("list them with: weir service-account list")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str, scope: &str) -> ServiceAccount {
        ServiceAccount {
            id: format!("sva_{name}_{scope}"),
            name: name.to_owned(),
            scope: scope.to_owned(),
            grants: Vec::new(),
            created: String::new(),
            created_by: String::new(),
            tokens: Vec::new(),
        }
    }

    #[test]
    fn of_several_of_one_name_it_is_said_which() {
        let all = || {
            vec![
                account("ci", "shop"),
                account("ci", "shop/staging"),
                account("watch", "weir"),
            ]
        };
        for (wanted, scope) in [
            ("watch", "weir"),
            ("shop/ci", "shop"),
            ("shop/staging/ci", "shop/staging"),
            ("sva_ci_shop", "shop"),
        ] {
            assert_eq!(choose(all(), wanted).unwrap().scope, scope, "{wanted}");
        }
        let text = format!("{:?}", choose(all(), "ci").unwrap_err());
        assert!(text.contains("shop/ci, shop/staging/ci"), "{text}");
        assert!(choose(all(), "shop").is_err());
    }
}
