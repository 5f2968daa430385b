use weir_api::{CreateServiceAccount, CreateServiceToken, RoleGrant, ServiceAccount, Token};

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
    after_help = "Examples:\n  weir service-account create ci --role developer --scope shop/staging\n  weir service-account token ci --days 90\n  weir service-account list\n  weir service-account delete ci"
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
    /// Make a token. It is shown once, on standard output.
    Token {
        /// Name of the service account.
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
        /// Name of the service account.
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
        let headers = ["SERVICE ACCOUNT", "ROLES", "TOKEN", "FOR", "LAST USED", "ENDS"];
        ui.table(&headers, &rows, "there are no service accounts")
    })
}

fn row(account: &ServiceAccount, roles: &str, token: Option<&Token>) -> Vec<Cell> {
    vec![
        account.name.as_str().into(),
        roles.into(),
        token.map(|token| token.id.clone()).into(),
        token.map(|token| token.name.clone()).into(),
        token.and_then(|token| token.last_used.as_deref()).map(ago).into(),
        token.and_then(|token| token.expires.clone()).into(),
    ]
}

async fn find(client: &Client, wanted: &str) -> Result<ServiceAccount> {
    let accounts: Vec<ServiceAccount> = client.get("/v1/service-accounts").await?;
    let mut matching = accounts.into_iter();
    let found = matching.find(|account| account.name == wanted || account.id == wanted);
    found.ok_or_else(|| {
        Failure::not_found(format!("there is no service account `{wanted}`"))
            .hint("list them with: weir service-account list")
    })
}
