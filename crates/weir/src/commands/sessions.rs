use weir_api::SignedIn;

use crate::commands::people::{person_path, segment};
use crate::failure::Result;
use crate::output::{Cell, ago};
use crate::session::Session;

/// Browsers in which somebody is signed in.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir sessions list anna@example.org\n  weir sessions revoke anna@example.org\n  weir sessions revoke anna@example.org sin_01jd…"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show where somebody is signed in.
    List {
        /// Mail address.
        email: String,
    },
    /// End one session of somebody, or all of them.
    Revoke {
        /// Mail address.
        email: String,
        /// Its identity; all, if absent.
        session: Option<String>,
    },
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let client = session.client()?;
    let ui = &session.ui;
    match args.verb {
        Verb::List { email } => {
            let list: Vec<SignedIn> = client.get(&person_path(&email, "/sessions")).await?;
            ui.result(&list, || {
                let rows: Vec<Vec<Cell>> = list.iter().map(row).collect();
                let headers = ["SESSION", "BY", "FROM", "WITH", "BEGAN", "LAST USED"];
                ui.table(&headers, &rows, "they are signed in nowhere")
            })
        }
        Verb::Revoke { email, session: one } => {
            let rest = one
                .as_ref()
                .map_or_else(|| "/sessions".to_owned(), |one| format!("/sessions/{}", segment(one)));
            client.delete_quietly(&person_path(&email, &rest)).await?;
            ui.result(&serde_json::json!({ "revoked": one }), || {
                ui.note(&match one {
                    Some(one) => format!("{one} has ended"),
                    None => format!("{email} is signed out everywhere"),
                });
                Ok(())
            })
        }
    }
}

fn row(one: &SignedIn) -> Vec<Cell> {
    vec![
        one.id.as_str().into(),
        one.method.as_str().into(),
        one.address.as_str().into(),
        one.agent.as_str().into(),
        ago(&one.created).into(),
        ago(&one.last_used).into(),
    ]
}
