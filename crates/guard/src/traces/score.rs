//! What the guard made of the traces.

use std::fmt;

use weir_model::guard::GuardRule;

use super::programs::{Label, Mode, Trace, traces};
use super::simulator::Outcome;

/// What one request of the traces costs, in nano-units: that of the 72,000-dollar night.
pub const CALL_NANO: u64 = 2_111_300;
/// Requests after which a trace that nobody stops is ended.
const MOST_REQUESTS: u64 = 40_000;
/// The same where the guard only watches.
const MOST_WATCHED: u64 = 3_000;

/// A part of the guard that is judged for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detector {
    /// Too long a chain.
    Depth,
    /// Too many descendants.
    Descendants,
    /// The same content too often.
    Repeats,
    /// Calls that multiply: reproduction and growth.
    Reproduction,
    /// All together.
    All,
}

/// One trace.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub label: Label,
    /// The rule that was broken first, if any.
    pub rule: Option<GuardRule>,
    /// When, in microseconds.
    pub at_us: Option<u64>,
    /// Requests let through before the first trip; all of them without one.
    pub before: u64,
    /// What they cost, in nano-units.
    pub before_nano: u64,
    /// The most that they may cost.
    pub most_nano: u64,
    /// Requests let through in all, and what the guard refused.
    pub served: u64,
    /// Calls that were refused.
    pub refused: u64,
    /// Requests before the trip, by each detector alone; none where it saw nothing.
    pub alone: Vec<(Detector, Option<u64>)>,
}

/// All traces, over some seeds.
#[derive(Debug, Clone)]
pub struct Table {
    /// One for each trace and seed.
    pub rows: Vec<Row>,
}

/// Runs all traces with these seeds through real sentries: once refusing, once only watching
/// (by which each detector is judged alone).
pub fn table(seeds: &[u64]) -> Table {
    let rows = seeds
        .iter()
        .flat_map(|seed| traces().into_iter().map(|trace| row(trace, *seed)));
    Table { rows: rows.collect() }
}

fn row(trace: Trace, seed: u64) -> Row {
    let outcome = (trace.world)(seed, Mode::Refuse).run(trace.lasts_us, MOST_REQUESTS);
    let most = match trace.label {
        Label::Benign => MOST_REQUESTS,
        Label::Malign => MOST_WATCHED,
    };
    let watched = (trace.world)(seed, Mode::Watch).run(trace.lasts_us, most);
    let first = outcome
        .trips
        .iter()
        .min_by_key(|(_, first)| (first.at_us, first.requests));
    let served = outcome.visitors + outcome.calls;
    let before = first.map_or(served, |(_, first)| first.requests);
    Row {
        name: trace.name,
        label: trace.label,
        rule: first.map(|(rule, _)| *rule),
        at_us: first.map(|(_, first)| first.at_us),
        before,
        before_nano: before * CALL_NANO,
        most_nano: trace.most_nano,
        served,
        refused: outcome.refused,
        alone: Detector::EACH
            .map(|detector| (detector, detector.seen(&watched)))
            .to_vec(),
    }
}

impl Detector {
    /// Those that are judged alone.
    pub const EACH: [Self; 4] = [Self::Depth, Self::Descendants, Self::Repeats, Self::Reproduction];

    fn rules(self) -> &'static [GuardRule] {
        match self {
            Self::Depth => &[GuardRule::Depth],
            Self::Descendants => &[GuardRule::Descendants],
            Self::Repeats => &[GuardRule::Repeats],
            Self::Reproduction => &[GuardRule::Reproduction, GuardRule::Growth],
            Self::All => &[],
        }
    }

    fn seen(self, outcome: &Outcome) -> Option<u64> {
        let requests = self.rules().iter().filter_map(|rule| outcome.trips.get(rule));
        requests.map(|first| first.requests).min()
    }

    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Depth => "depth",
            Self::Descendants => "descendants",
            Self::Repeats => "repeats",
            Self::Reproduction => "reproduction",
            Self::All => "all",
        }
    }
}

impl Row {
    fn tripped(&self, detector: Detector) -> bool {
        match detector {
            Detector::All => self.rule.is_some(),
            _ => self
                .alone
                .iter()
                .any(|(one, requests)| *one == detector && requests.is_some()),
        }
    }
}

impl Table {
    /// Of what a detector stopped, the share that had to be; none where it stopped nothing.
    pub fn precision(&self, detector: Detector) -> Option<f64> {
        let stopped = self.rows.iter().filter(|row| row.tripped(detector));
        share(stopped.map(|row| row.label == Label::Malign))
    }

    /// Of what had to be stopped, the share that a detector stopped.
    pub fn recall(&self, detector: Detector) -> Option<f64> {
        let malign = self.rows.iter().filter(|row| row.label == Label::Malign);
        share(malign.map(|row| row.tripped(detector)))
    }
}

fn share(cases: impl Iterator<Item = bool>) -> Option<f64> {
    let (count, hits) = cases.fold((0_u32, 0_u32), |(count, hits), hit| (count + 1, hits + u32::from(hit)));
    (count > 0).then(|| f64::from(hits) / f64::from(count))
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<44} {:<7} {:<13} {:>8} {:>8} {:>9} {:>8}   each alone, requests before: {}",
            "trace",
            "label",
            "stopped by",
            "after s",
            "requests",
            "cost $",
            "refused",
            Detector::EACH.map(Detector::name).join(", "),
        )?;
        for row in &self.rows {
            let rule = row
                .rule
                .map_or_else(|| "-".to_owned(), |rule| format!("{rule:?}").to_lowercase());
            let at = row
                .at_us
                .map_or_else(|| "-".to_owned(), |us| format!("{:.1}", us as f64 / 1e6));
            let alone = row
                .alone
                .iter()
                .map(|(_, seen)| seen.map_or_else(|| "-".to_owned(), |seen| seen.to_string()));
            writeln!(
                f,
                "{:<44} {:<7} {rule:<13} {at:>8} {:>8} {:>9.4} {:>8}   {}",
                row.name,
                format!("{:?}", row.label).to_lowercase(),
                row.before,
                row.before_nano as f64 / 1e9,
                row.refused,
                alone.collect::<Vec<_>>().join(", "),
            )?;
        }
        writeln!(f, "\n{:<14} {:>9} {:>7}", "detector", "precision", "recall")?;
        for detector in Detector::EACH.into_iter().chain([Detector::All]) {
            let show =
                |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{:.0} %", value * 100.0));
            let (precision, recall) = (show(self.precision(detector)), show(self.recall(detector)));
            writeln!(f, "{:<14} {precision:>9} {recall:>7}", detector.name())?;
        }
        Ok(())
    }
}
