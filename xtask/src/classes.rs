//! `cargo xtask bench classes`: light requests beside heavy ones, with and without classes. The
//! measuring is in `crates/ingress/examples/class_bench.rs`; here it is started and its figures
//! become a table and `bench/results/DATE-classes.json`.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::bench::{self, Figure};

/// Key in the answer, name in the table, unit, and what it should be less than.
const FIGURES: [(&str, &str, &str, Option<f64>); 13] = [
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
/// ordinary build does, and writes nothing.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let debug = match arguments {
        [] => false,
        ["--debug"] => true,
        other => bail!("unknown option: {}; there is --debug", other.join(" ")),
    };
    let mut cargo = Command::new("cargo");
    cargo.args([
        "run",
        "--quiet",
        "--package",
        "weir-ingress",
        "--example",
        "class_bench",
    ]);
    if !debug {
        cargo.arg("--release");
    }
    let output = cargo
        .current_dir(e2e::root())
        .stderr(Stdio::inherit())
        .output()
        .context("run cargo run")?;
    ensure!(output.status.success(), "the measurement failed");
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().context("the measurement says nothing")?;
    let answer: Value = serde_json::from_str(last).context("read what was measured")?;
    let figures = FIGURES
        .iter()
        .map(|(key, name, unit, target)| {
            let value = answer[key].as_f64().with_context(|| format!("no `{key}`"))?;
            Ok(Figure {
                name,
                value,
                unit,
                target: *target,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    bench::print(&figures);
    if debug {
        Ok(())
    } else {
        bench::write(&figures, "-classes")
    }
}
