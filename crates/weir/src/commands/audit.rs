use std::path::{Path, PathBuf};

use weir_api::AuditEntry;

use crate::client::with_query;
use crate::failure::{Failure, Result};
use crate::output::{Cell, clock};
use crate::session::Session;

/// What was done, by whom, from where: of everything, or of what you look after.
///
/// Everything that changes something is in it, refused attempts and commands in instances, too; never
/// what was said in it, and no secrets. It is kept for 13 months and cannot be changed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir audit --since 24h\n  weir audit --who anna --what DELETE\n  weir audit --scope shop --text domains\n  weir audit --since 2026-11-01T00:00:00Z --export november.csv"
)]
pub(crate) struct Args {
    /// Only since then: 90s, 15m, 1h, 2d, or an instant such as 2030-01-31T12:00:00Z.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only until then.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only by those with this in their name, or of this identity.
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
    /// Only what has this in METHOD and path.
    #[arg(long, value_name = "TEXT")]
    what: Option<String>,
    /// Only there: weir, account:NAME, PROJECT (with its environments) or PROJECT/ENVIRONMENT.
    #[arg(long, value_name = "SCOPE")]
    scope: Option<String>,
    /// Only with this anywhere.
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// How many, 1 to 500.
    #[arg(long, short = 'n', value_name = "NUMBER", default_value_t = 50)]
    limit: u32,
    /// Write all that match to a file that does not exist yet: CSV if its name ends with .csv, else JSON lines.
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let client = session.client()?;
    let ui = &session.ui;
    let wanted = [
        ("since", &args.since),
        ("until", &args.until),
        ("who", &args.who),
        ("operation", &args.what),
        ("scope", &args.scope),
        ("text", &args.text),
    ];
    let given = wanted
        .iter()
        .filter_map(|(name, value)| Some((*name, (*value).clone()?)));
    let mut query: Vec<(&str, String)> = given.collect();
    if let Some(file) = &args.export {
        let format = match file.extension().is_some_and(|end| end.eq_ignore_ascii_case("csv")) {
            true => "csv",
            false => "jsonl",
        };
        query.push(("format", format.to_owned()));
        let bytes = client.get_bytes(&with_query("/v1/audit", &query)).await?;
        write(file, &bytes)?;
        return ui.result(&serde_json::json!({ "file": file, "bytes": bytes.len() }), || {
            ui.note(&format!("written to {}", file.display()));
            Ok(())
        });
    }
    query.push(("limit", args.limit.to_string()));
    let entries: Vec<AuditEntry> = client.get_query("/v1/audit", &query).await?;
    ui.result(&entries, || {
        let rows: Vec<Vec<Cell>> = entries.iter().map(row).collect();
        let headers = ["AT", "WHO", "AS", "FROM", "WHAT", "WHERE", "ABOUT", "OUTCOME"];
        ui.table(&headers, &rows, "nothing like that was done")
    })
}

/// It may tell of people, so only its owner can read it.
fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(0o600).open(file);
    let written = opened.and_then(|mut opened| opened.write_all(bytes));
    written.map_err(|error| {
        Failure::failed(format!("{} cannot be written", file.display()))
            .detail(error.to_string())
            .hint("name a file that does not exist yet, in a folder that you may write")
    })
}

fn row(entry: &AuditEntry) -> Vec<Cell> {
    vec![
        clock(&entry.at).into(),
        entry.who.name.as_str().into(),
        entry.role.as_str().into(),
        entry.address.as_str().into(),
        entry.operation.as_str().into(),
        entry.scope.as_str().into(),
        entry.target.as_str().into(),
        Cell::state(&entry.outcome),
    ]
}
