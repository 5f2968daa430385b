use weir_api::{Audit, JournalEntry};

use crate::failure::{ExitCode, Result};
use crate::output::{Look, Ui};
use crate::session::Session;

/// Entries that are asked for at once.
const PAGE: i64 = 1_000;

/// The ledger that all caps and costs come from: check it, and take its journal out.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir ledger audit                          # ends with 1 if anything is wrong\n  weir ledger audit --json\n  weir ledger export > journal.jsonl\n  weir ledger export --from 1000 --to 2000"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Replay the journal from its beginning, and compare every sum, every hash, the meters'
    /// counters and what nodes have served. Ends with 1 if anything is wrong.
    Audit,
    /// Print the journal as JSON, one entry a line, for an independent checker.
    Export {
        /// The first entry.
        #[arg(long, value_name = "SEQUENCE", default_value_t = 1, value_parser = clap::value_parser!(i64).range(1..))]
        from: i64,
        /// The last entry; otherwise the newest.
        #[arg(long, value_name = "SEQUENCE", value_parser = clap::value_parser!(i64).range(1..))]
        to: Option<i64>,
    },
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<ExitCode> {
    match args.verb {
        Verb::Audit => audit(session).await,
        Verb::Export { from, to } => export(session, from, to).await.map(|()| ExitCode::Ok),
    }
}

async fn audit(session: &Session) -> Result<ExitCode> {
    let ui = &session.ui;
    let audit: Audit = session.client()?.get("/v1/ledger/audit").await?;
    ui.result(&audit, || show(ui, &audit))?;
    Ok(if audit.sound { ExitCode::Ok } else { ExitCode::Failed })
}

fn show(ui: &Ui, audit: &Audit) -> Result<()> {
    for (what, number) in [
        ("entries replayed", audit.events),
        ("checkpoints compared", audit.checkpoints),
        ("hours compared", audit.hours),
        ("leases compared", audit.leases),
        ("accesses compared", audit.accesses),
        ("paid and not served", audit.unserved_requests),
    ] {
        ui.data(&format!("{what:22}{number}"))?;
    }
    ui.data(&format!("{:22}{}", "hash of the newest", audit.hash))?;
    if audit.sound {
        return ui.data(&ui.out(Look::Good, "nothing is wrong: drift 0"));
    }
    for finding in &audit.findings {
        ui.data(&format!("{} {finding}", ui.out(Look::Bad, "wrong:")))?;
    }
    ui.note("keep a copy of the data folder, take the journal out (weir ledger export > journal.jsonl), and report it");
    Ok(())
}

async fn export(session: &Session, from: i64, to: Option<i64>) -> Result<()> {
    let client = session.client()?;
    let mut next = from;
    while to.is_none_or(|to| next <= to) {
        let limit = to.map_or(PAGE, |to| PAGE.min(to - next + 1));
        let query = [("from", next.to_string()), ("limit", limit.to_string())];
        let page: Vec<JournalEntry> = client.get_query("/v1/ledger/journal", &query).await?;
        let Some(last) = page.last() else { break };
        next = last.sequence + 1;
        page.iter().try_for_each(|entry| session.ui.json_line(entry))?;
    }
    Ok(())
}
