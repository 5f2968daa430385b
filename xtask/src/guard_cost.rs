//! `cargo xtask bench guard-cost`: the proxy with and without wallet and guard, in turns, in one
//! process. The measuring is in `crates/ingress/benches/guard_cost.rs`; here it is started and
//! its figures become a table and `bench/results/DATE-guard-cost.json`.

use anyhow::Result;

use crate::bench::{self, Known};

const FIGURES: [Known; 10] = [
    ("bare_per_core", "requests/s of one core, bare", "", None),
    ("with_per_core", "requests/s of one core, paid and guarded", "", None),
    ("lost_per_core_percent", "throughput of one core lost", "%", Some(3.0)),
    ("bare_by_clock", "requests/s by the clock, bare", "", None),
    ("lost_by_clock_percent", "throughput by the clock lost", "%", None),
    ("bare_median_us", "latency, median, bare", "us", None),
    ("added_median_us", "latency added, median", "us", Some(2.0)),
    ("bare_p99_us", "latency, 99 of 100, bare", "us", None),
    ("added_p99_us", "latency added, 99 of 100", "us", None),
    ("pairs", "pairs of rounds", "", None),
];

/// Builds, measures for less than a minute, prints and writes.
pub(crate) fn run() -> Result<()> {
    let words = ["bench", "--quiet", "--package", "weir-ingress", "--bench", "guard_cost"];
    let figures = bench::measured_by(&words, &FIGURES)?;
    bench::print(&figures);
    bench::write(&figures, "-guard-cost")
}
