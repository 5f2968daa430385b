use std::path::{Path, PathBuf};

use weir_api::{Billing, BillingRecord, OutsideSystem, Retried, SetOutside, SetTopups, TopupsSecret};

use super::var::read_file;
use crate::client::Client;
use crate::failure::{Failure, Result};
use crate::output::{Cell, Look, Ui, ago};
use crate::session::Session;

/// Outside systems: one that takes payments, and one that is told of usage, invoices and credit
/// notes.
///
/// Each has a secret of its own, which requests are signed with; it is shown once, on standard
/// output. What the billing system says to have taken counts only when it was read back.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  weir billing                                  # what is connected, and how far it knows\n  weir billing topups on\n  weir billing outside https://billing.example.org/weir\n  weir billing outside https://billing.example.org/weir --since 2026-11-01T00:00:00Z\n  weir billing records --state failed\n  weir billing retry --failed"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Take top-ups from a payment system, or take none any more. `on` again makes a new secret.
    Topups {
        /// On, or off.
        #[arg(value_parser = ["on", "off"])]
        state: String,
        /// Read the secret from this file (`-`: standard input) instead of making one.
        #[arg(long, value_name = "FILE")]
        secret_from: Option<PathBuf>,
    },
    /// Tell a billing system, or nobody any more.
    Outside(Outside),
    /// List what the billing system is told, newest first.
    Records {
        /// Only those that are pending, unconfirmed, confirmed or failed.
        #[arg(long, value_parser = ["pending", "unconfirmed", "confirmed", "failed"])]
        state: Option<String>,
        /// At most so many, 1 to 500.
        #[arg(long = "lines", short = 'n', default_value_t = 50, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=500))]
        lines: u32,
    },
    /// Show one record: how far it is, and on standard output what is sent.
    Record {
        /// Its identity.
        record: String,
    },
    /// Send a record and read it back again, or all that failed.
    #[command(group = clap::ArgGroup::new("which").required(true).args(["record", "failed"]))]
    Retry {
        /// Its identity.
        record: Option<String>,
        /// All that failed.
        #[arg(long)]
        failed: bool,
    },
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["url", "off"]))]
struct Outside {
    /// Records are put below it.
    url: Option<String>,
    /// Tell nobody any more.
    #[arg(long, conflicts_with_all = ["since", "allow_private", "secret_from"])]
    off: bool,
    /// Tell what was used, or became final, from this instant on; otherwise from the moment in which
    /// the first system was connected.
    #[arg(long, value_name = "INSTANT")]
    since: Option<String>,
    /// The URL may lead to this machine and to private networks, also without TLS.
    #[arg(long)]
    allow_private: bool,
    /// Read the secret from this file (`-`: standard input) instead of making or keeping one.
    #[arg(long, value_name = "FILE")]
    secret_from: Option<PathBuf>,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let (client, ui) = (session.client()?, &session.ui);
    match args.verb {
        None => {
            let billing: Billing = client.get("/v1/billing").await?;
            ui.result(&billing, || show(ui, &billing))
        }
        Some(Verb::Topups { state, secret_from }) => topups(&client, ui, &state, secret_from.as_deref()).await,
        Some(Verb::Outside(args)) => outside(&client, ui, args).await,
        Some(Verb::Records { state, lines }) => {
            let mut query = vec![("limit", lines.to_string())];
            query.extend(state.map(|state| ("state", state)));
            let records: Vec<BillingRecord> = client.get_query("/v1/billing/records", &query).await?;
            ui.result(&records, || {
                let rows: Vec<Vec<Cell>> = records.iter().map(row).collect();
                let headers = [
                    "RECORD", "KIND", "ACCOUNT", "AMOUNT", "STATE", "SINCE", "FAILED", "PROBLEM",
                ];
                ui.table(&headers, &rows, "there are none")
            })
        }
        Some(Verb::Record { record }) => {
            let record: BillingRecord = client.get(&path(&record)?).await?;
            ui.result(&record, || show_record(ui, &record))
        }
        Some(Verb::Retry { record, .. }) => {
            let path = match record {
                Some(record) => format!("{}/retry", path(&record)?),
                None => "/v1/billing/retry".to_owned(),
            };
            let retried: Retried = client.post_empty(&path).await?;
            ui.result(&retried, || {
                ui.note(&format!(
                    "{} to be sent again; weir billing records shows how it goes",
                    retried.records
                ));
                Ok(())
            })
        }
    }
}

fn path(record: &str) -> Result<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !record.is_empty() && record.bytes().all(plain) {
        return Ok(format!("/v1/billing/records/{record}"));
    }
    Err(Failure::usage(format!("`{record}` is no identity of a record")).hint("list them with: weir billing records"))
}

fn secret(file: Option<&Path>) -> Result<Option<String>> {
    let text = file.map(read_file).transpose()?;
    Ok(text.map(|text| text.trim_end_matches(['\r', '\n']).to_owned()))
}

async fn topups(client: &Client, ui: &Ui, state: &str, secret_from: Option<&Path>) -> Result<()> {
    const PATH: &str = "/v1/billing/topups";
    if state == "off" {
        client.delete_quietly(PATH).await?;
        return ui.result(&serde_json::json!({ "topups": false }), || {
            ui.note("no top-ups are taken from outside any more");
            Ok(())
        });
    }
    let secret = secret(secret_from)?;
    let told: TopupsSecret = client.put(PATH, &SetTopups { secret }).await?;
    ui.result(&told, || {
        ui.note(&format!("payments are taken at {}{PATH}", client.base()));
        show_secret(ui, "payments", told.secret.as_deref())
    })
}

async fn outside(client: &Client, ui: &Ui, args: Outside) -> Result<()> {
    const PATH: &str = "/v1/billing/outside";
    let Some(url) = args.url else {
        client.delete_quietly(PATH).await?;
        return ui.result(&serde_json::json!({ "outside": null }), || {
            ui.note("no billing system is told any more; what was not sent waits");
            Ok(())
        });
    };
    let wanted = SetOutside {
        url,
        allow_private: args.allow_private,
        since: args.since,
        secret: secret(args.secret_from.as_deref())?,
    };
    let told: OutsideSystem = client.put(PATH, &wanted).await?;
    ui.result(&told, || {
        ui.note(&format!("{} is told of everything since {}", told.url, told.since));
        show_secret(ui, "records", told.secret.as_deref())
    })
}

fn show_secret(ui: &Ui, what: &str, secret: Option<&str>) -> Result<()> {
    let Some(secret) = secret else {
        return Ok(());
    };
    ui.note(&format!("{what} are signed with this; it is not shown again"));
    ui.data(secret)
}

fn show(ui: &Ui, billing: &Billing) -> Result<()> {
    let topups = if billing.topups { "taken" } else { "off" };
    ui.data(&format!("payments from outside: {topups}"))?;
    match &billing.outside {
        Some(outside) => ui.data(&format!(
            "told: {} since {}",
            ui.out(Look::Bold, &outside.url),
            outside.since
        ))?,
        None => ui.data("told: nobody")?,
    }
    let records = &billing.records;
    ui.data(&format!(
        "records: {} pending, {} unconfirmed, {} confirmed, {} failed",
        records.pending, records.unconfirmed, records.confirmed, records.failed
    ))?;
    if records.failed > 0 {
        ui.note(
            "what failed is not tried any more: weir billing records --state failed, then weir billing retry --failed",
        );
    }
    Ok(())
}

fn show_record(ui: &Ui, record: &BillingRecord) -> Result<()> {
    ui.note(&format!(
        "{} since {}, {} attempts failed",
        record.state, record.since, record.attempts
    ));
    ui.note(&format!("sha256: {}", record.sha256));
    for (name, text) in [
        ("next", &record.next),
        ("the outside said", &record.answer),
        ("problem", &record.problem),
    ] {
        if let Some(text) = text {
            ui.note(&format!("{name}: {text}"));
        }
    }
    ui.data(record.body.as_deref().unwrap_or_default())
}

fn row(record: &BillingRecord) -> Vec<Cell> {
    vec![
        record.id.as_str().into(),
        record.kind.as_str().into(),
        record.account.as_str().into(),
        record.amount.as_str().into(),
        Cell::state(&record.state),
        ago(&record.since).into(),
        record.attempts.to_string().into(),
        record.problem.clone().into(),
    ]
}
