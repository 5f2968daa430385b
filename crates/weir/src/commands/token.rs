use weir_api::{CreateToken, Token};

use crate::context::project_name;
use crate::failure::{Failure, Result};
use crate::output::{Cell, ago};
use crate::session::Session;

/// Make, list and take away access tokens.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir token create ci --scope deploy --project shop --days 90\n  weir token list\n  weir token delete tok_01jd…"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a token. It is shown once, on standard output.
    Create {
        /// What it is for.
        name: String,
        /// What it may do: look, push and configure, or everything.
        #[arg(long, default_value = "deploy", value_parser = ["read", "deploy", "admin"])]
        scope: String,
        /// The only project that it may touch.
        #[arg(long, short, value_name = "NAME")]
        project: Option<String>,
        /// Days until it is refused; never, if absent.
        #[arg(long, value_name = "DAYS")]
        days: Option<u32>,
    },
    /// List tokens.
    List,
    /// Take a token away; it is refused from then on.
    #[command(visible_alias = "revoke")]
    Delete {
        /// Its identity, or its name if only one has it.
        token: String,
    },
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let client = session.client()?;
    let ui = &session.ui;
    match args.verb {
        Verb::Create {
            name,
            scope,
            project,
            days,
        } => {
            let project = project
                .map(|name| project_name(&name))
                .transpose()?
                .map(|name| name.to_string());
            let token: Token = client
                .post(
                    "/v1/tokens",
                    &CreateToken {
                        name,
                        scope,
                        project,
                        expires_days: days,
                    },
                )
                .await?;
            ui.result(&token, || {
                ui.note("keep it safe; it is not shown again");
                ui.data(token.secret.as_deref().unwrap_or_default())
            })
        }
        Verb::List => {
            let tokens: Vec<Token> = client.get("/v1/tokens").await?;
            ui.result(&tokens, || {
                let rows: Vec<Vec<Cell>> = tokens.iter().map(row).collect();
                ui.table(
                    &["TOKEN", "NAME", "SCOPE", "PROJECT", "CREATED", "ENDS"],
                    &rows,
                    "there are no tokens",
                )
            })
        }
        Verb::Delete { token } => {
            let id = find(client.get("/v1/tokens").await?, &token)?;
            client.delete_quietly(&format!("/v1/tokens/{id}")).await?;
            ui.result(&serde_json::json!({ "deleted": id }), || {
                ui.note(&format!("{id} is refused from now on"));
                Ok(())
            })
        }
    }
}

fn row(token: &Token) -> Vec<Cell> {
    vec![
        token.id.as_str().into(),
        token.name.as_str().into(),
        token.scope.as_str().into(),
        token.project.clone().into(),
        ago(&token.created).into(),
        token.expires.clone().into(),
    ]
}

fn find(tokens: Vec<Token>, wanted: &str) -> Result<String> {
    let mut matching = tokens
        .into_iter()
        .filter(|token| token.id == wanted || token.name == wanted);
    match (matching.next(), matching.next()) {
        (Some(token), None) => Ok(token.id),
        (Some(_), Some(_)) => Err(Failure::usage(format!("several tokens are called `{wanted}`"))
            .hint("name it by its identity: weir token list")),
        (None, _) => {
            Err(Failure::not_found(format!("there is no token `{wanted}`")).hint("list them with: weir token list"))
        }
    }
}
