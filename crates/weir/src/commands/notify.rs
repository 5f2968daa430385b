use std::time::Duration;

use weir_api::{Contact, CreateContact, Notice};

use crate::amounts::account_name;
use crate::client::Client;
use crate::context::project_name;
use crate::failure::{Failure, Result};
use crate::output::{Cell, Look, Ui, ago};
use crate::session::Session;

/// So often and with such pauses it is looked how a test ended.
const LOOKS: u32 = 60;
const PAUSE: Duration = Duration::from_millis(500);

/// Who is told about money: when 50, 80 and 100 % of a cap are spent, when nothing more is spent
/// and when it goes on, before a promised payment is due, when an invoice is final, and when the
/// guard has caught a runaway.
///
/// Mail needs a mail server: start Weir with
/// WEIR_SMTP='smtp://USER:PASSWORD@HOST:587?from=weir@example.org'.
/// Webhooks are signed; what is not taken is sent again for three days.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir notify add --email ops@example.org\n  weir notify add --webhook https://hooks.example.org/weir --project shop\n  weir notify test con_01jd…\n  weir notify log"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Add a contact. What a webhook is signed with is shown once, on standard output.
    Add(Add),
    /// List contacts.
    List,
    /// Remove a contact, and what waits for it.
    Remove {
        /// Its identity, mail address or URL.
        contact: String,
    },
    /// Send a contact a notice that only shows that it is reached.
    Test {
        /// Its identity, mail address or URL.
        contact: String,
    },
    /// List what was sent and what waits, newest first.
    Log {
        /// At most so many, 1 to 500.
        #[arg(long = "lines", short = 'n', default_value_t = 50, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=500))]
        lines: u32,
    },
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("how").required(true).args(["email", "webhook"]))]
struct Add {
    /// Tell this mail address.
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// Tell this URL, by a signed request.
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
    /// Only of this project, and of what concerns its account as a whole.
    #[arg(long, short, value_name = "NAME")]
    project: Option<String>,
    /// Of all projects of this account; otherwise of `default`.
    #[arg(long, value_name = "NAME", conflicts_with = "project")]
    account: Option<String>,
    /// The URL may lead to this machine and to private networks, also without TLS.
    #[arg(long, conflicts_with = "email")]
    allow_private: bool,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let (client, ui) = (session.client()?, &session.ui);
    match args.verb {
        Verb::Add(args) => add(&client, ui, args).await,
        Verb::List => {
            let contacts: Vec<Contact> = client.get("/v1/contacts").await?;
            ui.result(&contacts, || {
                let rows: Vec<Vec<Cell>> = contacts.iter().map(row).collect();
                let headers = ["CONTACT", "BY", "ADDRESS", "ACCOUNT", "PROJECT", "ADDED"];
                ui.table(&headers, &rows, "nobody is told; weir notify add --email ADDRESS")
            })
        }
        Verb::Remove { contact } => {
            let contact = find(&client, &contact).await?;
            client.delete_quietly(&format!("/v1/contacts/{}", contact.id)).await?;
            ui.result(&serde_json::json!({ "removed": contact.id }), || {
                ui.note(&format!("{} is told nothing more", contact.address));
                Ok(())
            })
        }
        Verb::Test { contact } => {
            let contact = find(&client, &contact).await?;
            test(&client, ui, &contact).await
        }
        Verb::Log { lines } => {
            let notices: Vec<Notice> = client.get(&format!("/v1/notices?limit={lines}")).await?;
            ui.result(&notices, || {
                let rows: Vec<Vec<Cell>> = notices.iter().map(notice_row).collect();
                let headers = ["WHEN", "TO", "STATE", "TRIED", "NEWS", "PROBLEM"];
                ui.table(&headers, &rows, "nothing was to be told yet")
            })
        }
    }
}

async fn add(client: &Client, ui: &Ui, args: Add) -> Result<()> {
    let (channel, address) = match (args.email, args.webhook) {
        (Some(address), _) => ("email", address),
        (None, url) => ("webhook", url.unwrap_or_default()),
    };
    let project = args.project.map(|name| project_name(&name)).transpose()?;
    let request = CreateContact {
        channel: channel.to_owned(),
        address,
        project: project.map(|name| name.to_string()),
        account: args.account.map(|name| account_name(&name)).transpose()?,
        allow_private: args.allow_private,
    };
    let contact: Contact = client.post("/v1/contacts", &request).await?;
    ui.result(&contact, || {
        ui.note(&format!(
            "{} is told; try it: weir notify test {}",
            contact.address, contact.id
        ));
        match &contact.secret {
            Some(secret) => {
                ui.note("webhooks are signed with this; it is not shown again");
                ui.data(secret)
            }
            None => ui.data(&contact.id),
        }
    })
}

async fn find(client: &Client, wanted: &str) -> Result<Contact> {
    let contacts: Vec<Contact> = client.get("/v1/contacts").await?;
    let mut matching = contacts
        .into_iter()
        .filter(|contact| contact.id == wanted || contact.address == wanted);
    match (matching.next(), matching.next()) {
        (Some(contact), None) => Ok(contact),
        (Some(_), Some(_)) => Err(Failure::usage(format!("several contacts are `{wanted}`"))
            .hint("name it by its identity: weir notify list")),
        (None, _) => {
            Err(Failure::not_found(format!("there is no contact `{wanted}`")).hint("list them with: weir notify list"))
        }
    }
}

/// Sends, and waits for how it ended.
async fn test(client: &Client, ui: &Ui, contact: &Contact) -> Result<()> {
    let mut notice: Notice = client.post_empty(&format!("/v1/contacts/{}/test", contact.id)).await?;
    for _ in 0..LOOKS {
        if notice.attempts > 0 || notice.state != "waiting" {
            break;
        }
        tokio::time::sleep(PAUSE).await;
        let notices: Vec<Notice> = client.get("/v1/notices?limit=500").await?;
        notice = notices
            .into_iter()
            .find(|other| other.id == notice.id)
            .unwrap_or(notice);
    }
    if notice.state == "sent" {
        return ui.result(&notice, || {
            ui.note(&format!("{} has taken it", notice.address));
            Ok(())
        });
    }
    let failure = match &notice.problem {
        Some(problem) => Failure::failed(format!("{} was not reached", notice.address)).detail(problem.clone()),
        None => Failure::failed(format!("it is not sent to {} yet", notice.address)),
    };
    Err(failure.hint("it is tried again by itself; weir notify log shows how it goes"))
}

fn row(contact: &Contact) -> Vec<Cell> {
    vec![
        contact.id.as_str().into(),
        contact.channel.as_str().into(),
        Cell::looking(Look::Bold, contact.address.as_str()),
        contact.account.as_str().into(),
        contact.project.clone().unwrap_or_else(|| "all".to_owned()).into(),
        ago(&contact.created).into(),
    ]
}

fn notice_row(notice: &Notice) -> Vec<Cell> {
    vec![
        ago(&notice.created).into(),
        notice.address.as_str().into(),
        Cell::state(&notice.state),
        notice.attempts.to_string().into(),
        notice.subject.as_str().into(),
        notice.problem.clone().into(),
    ]
}
