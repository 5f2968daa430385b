//! What came of it, by kind of client and by kind of change.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use e2e::load::{Fault, Report};
use serde_json::{Value, json};

use super::Change;

/// Of what went wrong, so many things are shown.
const MOST_WORDS: usize = 12;

/// What one system did.
pub(super) struct Measured {
    name: &'static str,
    changes: Vec<(Change, u32, Counts)>,
    kinds: BTreeMap<&'static str, Counts>,
    all: Report,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    requests: u64,
    failed: u64,
    /// Answered by an older release after a newer one had answered: right in themselves.
    stale: u64,
    /// Cut because their instance was killed: nobody could have saved them.
    cut_by_kill: u64,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.stale += other.stale;
        self.cut_by_kill += other.cut_by_kill;
    }

    fn per_million(self) -> f64 {
        self.failed as f64 * 1e6 / self.requests.max(1) as f64
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (requests, failed, per_million) = (self.requests, self.failed, self.per_million());
        let (stale, cut) = (self.stale, self.cut_by_kill);
        write!(
            f,
            "{requests:>10} {failed:>8} {per_million:>12.1} {stale:>12} {cut:>14}"
        )
    }
}

/// Whether the one who sent the request has to bear it: the instance that did the work was killed
/// after its answer, or its websocket, had begun; or the request is one that must not be repeated,
/// because it may have been done already.
fn is_borne(change: Change, kind: &str, fault: Fault) -> bool {
    let unsafe_to_repeat = kind == "upload" && matches!(fault, Fault::NoAnswer | Fault::Status);
    change == Change::Kill && (fault == Fault::Cut || unsafe_to_repeat)
}

fn kinds(report: &Report) -> BTreeSet<&'static str> {
    let failed = report.faults.keys().map(|(kind, _)| *kind);
    report.right.keys().copied().chain(failed).collect()
}

fn counts(change: Change, kind: &str, report: &Report) -> Counts {
    let mut counts = Counts {
        requests: report.right.get(kind).copied().unwrap_or(0),
        ..Counts::default()
    };
    for ((_, fault), count) in report.faults.iter().filter(|((failed, _), _)| *failed == kind) {
        counts.requests += count;
        if is_borne(change, kind, *fault) {
            counts.cut_by_kill += count;
        } else if *fault == Fault::Stale {
            counts.stale += count;
        } else {
            counts.failed += count;
        }
    }
    counts
}

impl Measured {
    pub(super) fn new(name: &'static str) -> Self {
        Self {
            name,
            changes: Vec::new(),
            kinds: BTreeMap::new(),
            all: Report::default(),
        }
    }

    pub(super) fn add(&mut self, change: Change, times: u32, report: Report) {
        let mut sum = Counts::default();
        for kind in kinds(&report) {
            let counts = counts(change, kind, &report);
            self.kinds.entry(kind).or_default().add(counts);
            sum.add(counts);
        }
        self.changes.push((change, times, sum));
        self.all.add(report);
    }

    fn sum(&self) -> Counts {
        let mut sum = Counts::default();
        for (_, _, counts) in &self.changes {
            sum.add(*counts);
        }
        sum
    }

    fn print(&self) {
        println!(
            "\n{:<24} {:>10} {:>8} {:>12} {:>12} {:>14} {:>10} {:>10}",
            self.name, "requests", "failed", "per million", "old answers", "cut by a kill", "p99 ms", "longest ms"
        );
        for (kind, counts) in &self.kinds {
            let time = |percent| match self.all.times_by_kind_us.contains_key(kind) {
                true => format!("{:.1}", self.all.percentile_of(kind, percent).as_secs_f64() * 1_000.0),
                false => String::new(),
            };
            println!("  {kind:<22} {counts} {:>10} {:>10}", time(99), time(100));
        }
        println!();
        for (change, times, counts) in &self.changes {
            let what = format!("{times} {}", change.name());
            println!("  {what:<22} {counts}");
        }
        println!("  {:<22} {}", "all", self.sum());
        let mut wrong: Vec<_> = self.all.wrong.iter().collect();
        wrong.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        for (words, count) in wrong.iter().take(MOST_WORDS) {
            println!("  {count:>6} x {}", words.lines().next().unwrap_or_default());
        }
        if wrong.len() > MOST_WORDS {
            println!("         and {} other kinds of words", wrong.len() - MOST_WORDS);
        }
    }
}

pub(super) fn print(all: &[Measured]) {
    for measured in all {
        measured.print();
    }
    if let Some(weir) = all.iter().find(|measured| measured.name == "Weir") {
        let Counts { failed, stale, .. } = weir.sum();
        let verdict = if failed + stale == 0 { "met" } else { "MISSED" };
        println!("\nthrough Weir {failed} requests failed, {stale} answers were old; at most 0  {verdict}");
    }
    println!("\n{}", last_line(all));
}

/// Who failed how much, in one line.
fn last_line(all: &[Measured]) -> String {
    let each = all.iter().map(|measured| {
        let sum = measured.sum();
        let (name, failed, requests) = (measured.name, sum.failed, sum.requests);
        format!("{name} {failed} of {requests} ({:.1} per million)", sum.per_million())
    });
    let mut line = format!("failed: {}", each.collect::<Vec<_>>().join(", "));
    if let Some((weir, peers)) = all.split_first().filter(|(first, _)| first.name == "Weir") {
        for peer in peers {
            let (own, other) = (weir.sum().failed, peer.sum().failed);
            if other > 0 {
                let ratio = own as f64 / other as f64;
                line += &format!("; Weir's are {ratio:.3} x {}'s for the same changes", peer.name);
            }
        }
    }
    line
}

/// For the file of results.
pub(super) fn document(all: &[Measured], rate: u32) -> Value {
    let counted = |counts: &Counts| {
        json!({
            "requests": counts.requests,
            "failed": counts.failed,
            "failed_per_million": counts.per_million(),
            "answers_of_older_releases": counts.stale,
            "cut_by_kill": counts.cut_by_kill,
        })
    };
    let systems: Vec<Value> = all
        .iter()
        .map(|measured| {
            let kinds = measured.kinds.iter().map(|(kind, counts)| {
                let ms = |percent| measured.all.percentile_of(kind, percent).as_secs_f64() * 1_000.0;
                let mut row = counted(counts);
                row["kind"] = json!(kind);
                if measured.all.times_by_kind_us.contains_key(kind) {
                    (row["p99_ms"], row["longest_ms"]) = (json!(ms(99)), json!(ms(100)));
                }
                row
            });
            let changes = measured.changes.iter().map(|(change, times, counts)| {
                let mut row = counted(counts);
                (row["change"], row["times"]) = (json!(change.name()), json!(times));
                row
            });
            json!({
                "system": measured.name,
                "kinds": kinds.collect::<Vec<_>>(),
                "changes": changes.collect::<Vec<_>>(),
                "all": counted(&measured.sum()),
                "words": measured.all.wrong,
            })
        })
        .collect();
    json!({ "requests_per_s": rate, "systems": systems })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(right: u64, faults: &[(&'static str, Fault, u64)]) -> Report {
        let mut report = Report::default();
        report.right.insert("upload", right);
        for (kind, fault, count) in faults {
            report.faults.insert((kind, *fault), *count);
            report.wrong.insert(format!("{kind}: {fault}"), *count);
        }
        report
    }

    #[test]
    fn what_a_kill_cuts_is_counted_apart_and_nothing_else_is() {
        let faults = [
            ("upload", Fault::NoAnswer, 2),
            ("upload", Fault::Connect, 1),
            ("download", Fault::Cut, 3),
            ("download", Fault::NoAnswer, 4),
            ("download", Fault::Stale, 5),
        ];
        let mut measured = Measured::new("Weir");
        measured.add(Change::Kill, 1, report(10, &faults));
        assert_eq!((measured.sum().failed, measured.sum().cut_by_kill), (5, 5));
        assert_eq!((measured.sum().requests, measured.sum().stale), (25, 5));
        measured.add(Change::Deploy, 1, report(10, &faults));
        assert_eq!((measured.sum().failed, measured.sum().cut_by_kill), (15, 5));
    }

    #[test]
    fn last_line_compares_with_who_failed() {
        let mut all = vec![Measured::new("Weir"), Measured::new("nginx"), Measured::new("HAProxy")];
        all[0].add(Change::Deploy, 1, report(100, &[("upload", Fault::Cut, 1)]));
        all[1].add(Change::Deploy, 1, report(100, &[("upload", Fault::Cut, 4)]));
        all[2].add(Change::Deploy, 1, report(100, &[]));
        let line = last_line(&all);
        assert!(
            line.contains("0.250 x nginx's") && !line.contains("x HAProxy's"),
            "{line}"
        );
    }
}
