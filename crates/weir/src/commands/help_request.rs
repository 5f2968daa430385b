use std::io::Read as _;

use weir_api::{CreateHelp, CreateHelpMessage, HelpContext, HelpRequest, UpdateHelp};

use crate::failure::{Failure, Result};
use crate::output::{Cell, Look, Ui, ago, clock, printable};
use crate::session::Session;

/// Longest text that is read from standard input.
const TEXT_BYTES: u64 = 100_000;

/// Ask those who run this Weir for help, and answer those who ask.
///
/// One sees one's own requests, and those about what one looks after; each message is mailed to the other
/// side, if there is a mail server. With --attach the status, the newest deployment and log lines, names of
/// variables and the money left go along, as `weir help-request context` shows them; values of variables
/// never do.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir help-request ask 'Deploys hang' 'Since noon every push waits.' --scope shop/production --attach\n  weir help-request list --state open\n  weir help-request show hlp_01jd…\n  weir help-request answer hlp_01jd… 'Try again now, please.'\n  weir help-request close hlp_01jd…"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List requests, newest first.
    List {
        /// Only those in this state.
        #[arg(long, value_parser = ["open", "answered", "closed"])]
        state: Option<String>,
        /// At most so many, 1 to 500.
        #[arg(long = "lines", short = 'n', default_value_t = 50, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=500))]
        lines: u32,
    },
    /// Show a request, with all that was said and how things stood.
    Show {
        /// Its identity.
        request: String,
    },
    /// Ask. At most 20 times a day.
    Ask {
        /// One line.
        subject: String,
        /// What you want to know; `-` reads it from standard input.
        text: String,
        /// What it is about: `shop/production`, `shop`, `account:default`.
        #[arg(long, value_name = "SCOPE")]
        scope: Option<String>,
        /// Add how things stand in that environment.
        #[arg(long, requires = "scope")]
        attach: bool,
    },
    /// Show how an environment stands, as --attach would add it.
    Context {
        /// For example `shop/production`.
        scope: String,
    },
    /// Say something to a request.
    Answer {
        /// Its identity.
        request: String,
        /// What; `-` reads it from standard input.
        text: String,
    },
    /// Close a request.
    Close {
        /// Its identity.
        request: String,
    },
    /// Open a closed request again.
    Reopen {
        /// Its identity.
        request: String,
    },
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let (client, ui) = (session.client()?, &session.ui);
    let path = |request: &str| -> Result<String> { Ok(format!("/v1/help/{}", checked(request)?)) };
    match args.verb {
        Verb::List { state, lines } => {
            let mut query = vec![("limit", lines.to_string())];
            query.extend(state.map(|state| ("state", state)));
            let found: Vec<HelpRequest> = client.get_query("/v1/help", &query).await?;
            ui.result(&found, || {
                let rows: Vec<Vec<Cell>> = found.iter().map(row).collect();
                let headers = ["REQUEST", "STATE", "BY", "ABOUT", "CHANGED", "SUBJECT"];
                ui.table(&headers, &rows, "nobody asks; weir help-request ask SUBJECT TEXT")
            })
        }
        Verb::Show { request } => {
            let request: HelpRequest = client.get(&path(&request)?).await?;
            ui.result(&request, || show(ui, &request))
        }
        Verb::Ask {
            subject,
            text,
            scope,
            attach,
        } => {
            let text = text_of(text)?;
            let wanted = CreateHelp {
                subject,
                text,
                scope,
                attach,
            };
            let made: HelpRequest = client.post("/v1/help", &wanted).await?;
            ui.result(&made, || {
                ui.note(&format!(
                    "asked; look for the answer: weir help-request show {}",
                    made.id
                ));
                ui.data(&made.id)
            })
        }
        Verb::Context { scope } => {
            let context: HelpContext = client.get_query("/v1/help-context", &[("scope", scope)]).await?;
            ui.result(&context, || standing(ui, &context))
        }
        Verb::Answer { request, text } => {
            let message = CreateHelpMessage { text: text_of(text)? };
            let request: HelpRequest = client.post(&format!("{}/messages", path(&request)?), &message).await?;
            ui.result(&request, || {
                ui.note(&format!("said; the request is {}", request.state));
                Ok(())
            })
        }
        Verb::Close { request } => set(session, &path(&request)?, "closed").await,
        Verb::Reopen { request } => set(session, &path(&request)?, "open").await,
    }
}

async fn set(session: &Session, path: &str, state: &str) -> Result<()> {
    let update = UpdateHelp {
        state: state.to_owned(),
    };
    let request: HelpRequest = session.client()?.patch(path, &update).await?;
    session.ui.result(&request, || {
        session.ui.note(&format!("{} is {}", request.id, request.state));
        Ok(())
    })
}

/// An identity is letters, digits and one underscore, and so fits into a path.
fn checked(request: &str) -> Result<&str> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    match !request.is_empty() && request.chars().all(is_plain) {
        true => Ok(request),
        false => Err(
            Failure::usage(format!("`{}` is no request for help", printable(request)))
                .hint("list them with: weir help-request list"),
        ),
    }
}

fn text_of(text: String) -> Result<String> {
    if text != "-" {
        return Ok(text);
    }
    let mut read = String::new();
    std::io::stdin().take(TEXT_BYTES).read_to_string(&mut read)?;
    Ok(read)
}

fn row(request: &HelpRequest) -> Vec<Cell> {
    vec![
        request.id.as_str().into(),
        Cell::state(&request.state),
        request.by.as_str().into(),
        request.scope.clone().into(),
        ago(&request.updated).into(),
        request.subject.as_str().into(),
    ]
}

fn show(ui: &Ui, request: &HelpRequest) -> Result<()> {
    ui.data(&ui.out(Look::Bold, &printable(&request.subject)))?;
    let about = request.scope.as_deref().map(|scope| format!(", about {scope}"));
    ui.data(&format!(
        "{} by {}{}, {}",
        request.id,
        printable(&request.by),
        about.unwrap_or_default(),
        request.state
    ))?;
    for message in request.messages.iter().flatten() {
        let operator = if message.operator { " (operator)" } else { "" };
        let head = format!("\n{} {}{operator}:", clock(&message.at), printable(&message.by));
        ui.data(&ui.out(Look::Faint, &head))?;
        lines(ui, &message.text, "")?;
    }
    if let Some(context) = &request.context {
        standing(ui, context)?;
    }
    Ok(())
}

fn standing(ui: &Ui, context: &HelpContext) -> Result<()> {
    ui.data(&format!("\nHow things stood, {}", clock(&context.at)))?;
    for part in &context.parts {
        ui.data(&ui.out(Look::Bold, &printable(&part.title)))?;
        lines(ui, &part.text, "  ")?;
    }
    Ok(())
}

/// What others wrote must not move the cursor about.
fn lines(ui: &Ui, text: &str, indent: &str) -> Result<()> {
    text.lines()
        .try_for_each(|line| ui.data(&format!("{indent}{}", printable(line))))
}
