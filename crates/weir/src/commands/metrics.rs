use weir_api::{MetricSeries, Metrics};

use crate::context::PlaceChoice;
use crate::failure::Result;
use crate::output::{Cell, Look, Ui, clock, size};
use crate::session::Session;

/// Characters of a chart.
const WIDTH: usize = 48;
/// From nothing to the most.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Show what happened in an environment: requests, errors, latency, CPU, memory, instances, egress, cost.
///
/// Each line has the newest value, the least, the most, and a small chart; gaps are where nothing was
/// measured. Figures are kept for 13 months: of the last six hours every ten seconds, then less and less.
/// With --prometheus what is counted now is printed in the text format of Prometheus instead, of all
/// projects that the token may see; the same text is at /metrics of the API.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir metrics\n  weir metrics --since 7d --by process\n  weir metrics --since 2026-11-01T00:00:00Z --until 2026-11-02T00:00:00Z --step 300 --json\n  weir metrics --series requests,errors --since 1d\n  weir metrics --prometheus | grep weir_requests_total"
)]
pub(crate) struct Args {
    /// From then on: `15m`, `1h`, `30d`, or an instant such as `2030-01-31T12:00:00Z`.
    #[arg(long, value_name = "WHEN", default_value = "1h")]
    since: String,
    /// Until then; otherwise until now.
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// Seconds of a step at least; otherwise the least that gives 400 points at most.
    #[arg(long, value_name = "SECONDS")]
    step: Option<u32>,
    /// Only these figures, separated by commas; otherwise all that may be seen.
    #[arg(long, value_name = "NAMES")]
    series: Option<String>,
    /// What to tell apart.
    #[arg(long, value_parser = ["process"])]
    by: Option<String>,
    /// What is counted now, as Prometheus reads it.
    #[arg(long, conflicts_with_all = ["since", "until", "step", "series", "by", "project", "env"])]
    prometheus: bool,
    #[command(flatten)]
    place: PlaceChoice,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let ui = &session.ui;
    let client = session.client()?;
    if args.prometheus {
        let text = client.get_bytes("/metrics").await?;
        let text = String::from_utf8_lossy(&text);
        if ui.is_json() {
            return ui.json(&serde_json::json!({ "metrics": text }));
        }
        return ui.data(text.trim_end());
    }
    let place = args.place.resolve()?;
    let named = [
        ("from", Some(args.since)),
        ("until", args.until),
        ("step_s", args.step.map(|step| step.to_string())),
        ("series", args.series),
        ("by", args.by),
    ];
    let query: Vec<(&str, String)> = named
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
    let metrics: Metrics = client.get_query(&place.path("/metrics"), &query).await?;
    ui.result(&metrics, || show(ui, &metrics))
}

fn show(ui: &Ui, metrics: &Metrics) -> Result<()> {
    let apart = metrics.series.iter().any(|series| series.app.is_some());
    let mut headers = vec!["FIGURE"];
    headers.extend(apart.then_some("PROCESS"));
    headers.extend(["NEWEST", "LEAST", "MOST", ""]);
    let row = |series: &MetricSeries| {
        let mut row: Vec<Cell> = vec![series.name.as_str().into()];
        row.extend(apart.then(|| Cell::from(owner(series))));
        let told = |value: Option<f64>| Cell::from(value.map(|value| written(value, &series.unit)));
        let measured = || series.values.iter().flatten().copied();
        row.push(told(series.values.iter().rev().find_map(|value| *value)));
        row.push(told(measured().reduce(f64::min)));
        row.push(told(measured().reduce(f64::max)));
        row.push(Cell::looking(Look::Link, spark(&series.values)));
        row
    };
    let rows: Vec<Vec<Cell>> = metrics.series.iter().map(row).collect();
    ui.table(&headers, &rows, "nothing was measured yet")?;
    for mark in &metrics.marks {
        ui.data(&format!(
            "{}  v{} became live ({})",
            clock(&mark.at),
            mark.release,
            mark.kind
        ))?;
    }
    ui.note(&format!(
        "from {} to {}, a step is {} s",
        clock(&metrics.from),
        clock(&metrics.until),
        metrics.step_s
    ));
    Ok(())
}

fn owner(series: &MetricSeries) -> String {
    match (&series.app, &series.process) {
        (Some(app), Some(process)) if !process.is_empty() => format!("{app}.{process}"),
        (Some(app), _) => app.clone(),
        (None, _) => "(of none)".to_owned(),
    }
}

/// A value with its unit, short.
fn written(value: f64, unit: &str) -> String {
    match unit {
        "bytes" => size(whole(value)),
        "bytes/s" => format!("{}/s", size(whole(value))),
        "s" if value < 1.0 => format!("{} ms", short(value * 1_000.0)),
        "s" => format!("{} s", short(value)),
        "1/s" => format!("{}/s", short(value)),
        "instances" => short(value),
        unit => format!("{} {unit}", short(value)),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bytes for people; what is out of range is at its end"
)]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

/// Three digits, or all before the point.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => return "0".to_owned(),
        below if below < 0.001 => 6,
        below if below < 1.0 => 3,
        below if below < 10.0 => 2,
        below if below < 100.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// The values as a row of bars from 0 to the most, each the mean of those that it stands for; blank where
/// nothing was measured.
fn spark(values: &[Option<f64>]) -> String {
    let width = WIDTH.min(values.len());
    let most = values.iter().flatten().copied().fold(0.0, f64::max);
    let bar = |column: usize| {
        let part = &values[column * values.len() / width..(column + 1) * values.len() / width];
        let measured: Vec<f64> = part.iter().flatten().copied().collect();
        let count = u32::try_from(measured.len()).ok().filter(|count| *count > 0)?;
        let mean = measured.iter().sum::<f64>() / f64::from(count);
        let height = if most > 0.0 { mean / most * 7.0 } else { 0.0 };
        (0..8_u8)
            .rev()
            .find(|step| height >= f64::from(*step) - 0.5)
            .map(|step| BARS[usize::from(step)])
    };
    (0..width).map(|column| bar(column).unwrap_or(' ')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_rise_from_nothing_to_the_most_and_show_gaps() {
        assert_eq!(spark(&[Some(0.0), Some(3.5), None, Some(7.0)]), "▁▅ █");
        assert_eq!(spark(&[Some(0.0), Some(0.0)]), "▁▁");
        assert_eq!(spark(&[]), "");
        let many: Vec<Option<f64>> = (0..400).map(|value| Some(f64::from(value))).collect();
        let chart: Vec<char> = spark(&many).chars().collect();
        assert_eq!((chart.len(), chart[0], chart[WIDTH - 1]), (WIDTH, '▁', '█'));
    }

    #[test]
    fn values_are_short_and_have_their_unit() {
        let found = [
            (0.0, "1/s"),
            (0.02, "1/s"),
            (1234.5, "1/s"),
            (0.0123, "s"),
            (2.0, "s"),
            (1_048_576.0, "bytes"),
            (0.25, "cores"),
            (0.0001, "EUR/h"),
        ]
        .map(|(value, unit)| written(value, unit));
        let expected = [
            "0/s",
            "0.02/s",
            "1234/s",
            "12.3 ms",
            "2 s",
            "1 MiB",
            "0.25 cores",
            "0.0001 EUR/h",
        ];
        assert_eq!(found, expected);
    }
}
