//! `cargo xtask bench classes`: light requests beside heavy ones, with and without classes. The
//! measuring is in `crates/ingress/examples/class_bench.rs`; here it is started and its figures
//! become a table and `bench/results/DATE-classes.json`.

use anyhow::{Result, ensure};

use crate::bench::{self, Known};

const FIGURES: [Known; 13] = [
    ("alone_p50_ms", "light requests alone, median", "ms", None),
    ("alone_p99_ms", "light requests alone, 99 of 100", "ms", None),
    ("with_p50_ms", "beside a full class of heavy ones, median", "ms", None),
    (
        "with_p99_ms",
        "beside a full class of heavy ones, 99 of 100",
        "ms",
        None,
    ),
    ("without_p50_ms", "the same without classes, median", "ms", None),
    ("without_p99_ms", "the same without classes, 99 of 100", "ms", None),
    ("with_to_alone", "99 of 100, with classes to alone", "x", Some(1.2)),
    ("without_to_alone", "99 of 100, without classes to alone", "x", None),
    ("light_requests", "light requests", "", None),
    (
        "light_failed",
        "light requests that failed, alone and with classes",
        "",
        Some(0.5),
    ),
    (
        "light_failed_without",
        "light requests that failed, without classes",
        "",
        None,
    ),
    ("heavy_answered_with", "heavy requests answered, with classes", "", None),
    (
        "heavy_answered_without",
        "heavy requests answered, without classes",
        "",
        None,
    ),
];

/// Builds, measures for about a minute and a half, prints and writes. `--debug` measures what an
/// ordinary build does, `--quick` takes a quarter of a minute; both write nothing.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let mut words = vec![
        "run",
        "--quiet",
        "--package",
        "weir-ingress",
        "--example",
        "class_bench",
    ];
    for argument in arguments {
        ensure!(
            ["--debug", "--quick"].contains(argument),
            "unknown option {argument}; there are --debug and --quick"
        );
    }
    if !arguments.contains(&"--debug") {
        words.push("--release");
    }
    if arguments.contains(&"--quick") {
        words.extend(["--", "--quick"]);
    }
    let figures = bench::measured_by(&words, &FIGURES)?;
    bench::print(&figures);
    match arguments {
        [] => bench::write(&figures, "-classes"),
        _ => Ok(()),
    }
}
