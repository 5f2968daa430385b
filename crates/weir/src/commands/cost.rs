use std::fmt::Write as _;

use weir_api::{CostLine, CostReport};

use crate::amounts::{local, shown};
use crate::context::{PlaceChoice, environment_name, project_name};
use crate::failure::Result;
use crate::output::{Cell, Look, Ui};
use crate::session::Session;

/// The SKU of what went with a crash.
const LOST: &str = "lost";

/// Show what was spent, and on what; equal to the ledger to the last unit.
///
/// Without a project, and in a folder that belongs to none, all that the token may see are shown.
/// Amounts are rounded for people; --csv and --json have all digits, units, and prices with their
/// versions.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir cost                                  # this period of the cap\n  weir cost shop --since 24h --by process\n  weir cost shop --per day --by sku\n  weir cost shop --since 2026-11-01 --until 2026-12-01 --per hour --csv > incident.csv\n  weir cost --json | jq -r .total"
)]
pub(crate) struct Args {
    /// The project; otherwise that of this folder, and all where there is none.
    project: Option<String>,
    /// Only this environment.
    #[arg(long, short, value_name = "NAME")]
    env: Option<String>,
    /// From then on, in whole hours: `24h`, `7d`, a date (its beginning in the time zone that `weir
    /// account time-zone` shows), or an instant; otherwise since the period of the cap began.
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Until then; otherwise until now.
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// What to tell apart; otherwise everything.
    #[arg(long, value_parser = ["environment", "app", "process", "sku"])]
    by: Option<String>,
    /// One line for each hour, day or month.
    #[arg(long, value_parser = ["hour", "day", "month"])]
    per: Option<String>,
    /// Comma-separated values with all digits, for a spreadsheet or a report.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let project = match &args.project {
        Some(name) => Some(project_name(name)?),
        None => PlaceChoice::default().resolve().ok().map(|place| place.project),
    };
    let path = match project {
        Some(name) => format!("/v1/projects/{name}/cost"),
        None => "/v1/cost".to_owned(),
    };
    let env = args.env.as_deref().map(environment_name).transpose()?;
    // A table for people has no room for versions of prices; reports have.
    let everything = if args.csv || session.ui.is_json() {
        "line"
    } else {
        "sku-of-process"
    };
    let mut query = vec![("by", args.by.clone().unwrap_or_else(|| everything.to_owned()))];
    let named = [
        ("environment", env.map(|name| name.to_string())),
        ("since", args.since),
        ("until", args.until),
        ("per", args.per),
    ];
    query.extend(named.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let report: CostReport = session.client()?.get_query(&path, &query).await?;
    let ui = &session.ui;
    if args.csv {
        return ui.data(csv(&report).trim_end());
    }
    ui.result(&report, || table(ui, &report))
}

fn csv(report: &CostReport) -> String {
    let mut text = String::from(
        "at,project,environment,app,process,sku,units,price_version,price_pico,price_per,amount,currency\n",
    );
    for line in &report.lines {
        let fields = [
            line.at.clone(),
            line.project.clone(),
            line.environment.clone(),
            line.app.clone(),
            line.process.clone(),
            line.sku.clone(),
            line.units.clone(),
            line.price_version.map(|version| version.to_string()),
            line.price.as_ref().map(|price| price.pico.clone()),
            line.price.as_ref().map(|price| price.per.clone()),
            Some(line.amount.clone()),
        ];
        // Names, numbers and instants: nothing among them needs quotes.
        for field in fields {
            text.push_str(field.as_deref().unwrap_or_default());
            text.push(',');
        }
        let _ = writeln!(text, "{}", report.currency);
    }
    text
}

/// A column that is shown if any line has something in it.
struct Column {
    header: &'static str,
    of: fn(&CostLine) -> Option<&str>,
}

const COLUMNS: [Column; 6] = [
    Column {
        header: "FROM",
        of: |line| line.at.as_deref(),
    },
    Column {
        header: "PROJECT",
        of: |line| line.project.as_deref(),
    },
    Column {
        header: "ENVIRONMENT",
        of: |line| line.environment.as_deref(),
    },
    Column {
        header: "APP",
        of: |line| line.app.as_deref(),
    },
    Column {
        header: "PROCESS",
        of: |line| line.process.as_deref(),
    },
    Column {
        header: "FOR",
        of: |line| line.sku.as_deref(),
    },
];

fn table(ui: &Ui, report: &CostReport) -> Result<()> {
    let columns: Vec<&Column> = COLUMNS
        .iter()
        .filter(|column| report.lines.iter().any(|line| (column.of)(line).is_some()))
        .collect();
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for line in &report.lines {
        let mut row: Vec<Cell> = columns
            .iter()
            .map(|column| cell(column, line, &report.time_zone))
            .collect();
        row.push(shown(&line.amount).into());
        rows.push(row);
    }
    if !columns.is_empty() && !rows.is_empty() {
        let headers: Vec<&str> = columns
            .iter()
            .map(|column| column.header)
            .chain([report.currency.as_str()])
            .collect();
        ui.table(&headers, &rows, "")?;
        ui.data("")?;
    }
    let apart = report.lines.iter().any(|line| line.sku.as_deref() == Some(LOST));
    if report.lost != "0.00" && !apart {
        ui.data(&format!(
            "lost in crashes, not billed  {} {} (in the total)",
            shown(&report.lost),
            report.currency
        ))?;
    }
    ui.data(&format!(
        "{}  {} {}  from {} to {} ({})",
        ui.out(Look::Bold, "total"),
        shown(&report.total),
        report.currency,
        local(&report.from, &report.time_zone),
        local(&report.until, &report.time_zone),
        report.time_zone
    ))
}

fn cell(column: &Column, line: &CostLine, zone: &str) -> Cell {
    match (column.of)(line) {
        Some(LOST) if column.header == "FOR" => Cell::looking(Look::Faint, "lost in crashes, not billed"),
        Some(at) if column.header == "FROM" => local(at, zone).into(),
        text => text.map(ToOwned::to_owned).into(),
    }
}
