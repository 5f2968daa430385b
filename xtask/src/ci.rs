//! Everything that must pass, phase by phase, with the time of each and one count at the end.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// One phase: its name and the command line.
struct Phase {
    name: &'static str,
    command: Vec<String>,
}

/// What all `test result:` lines of a phase add up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    passed: u64,
    failed: u64,
}

fn phase(name: &'static str, line: &str) -> Phase {
    Phase {
        name,
        command: line.split(' ').map(str::to_owned).collect(),
    }
}

fn phases() -> Vec<Phase> {
    let with_postgres = "crates/store/tests/with-postgres";
    vec![
        phase("format", "cargo fmt --all --check"),
        phase(
            "clippy",
            "cargo clippy --workspace --all-targets --locked --quiet -- -D warnings",
        ),
        phase("console types", "npm --prefix console run --silent check"),
        phase("console", "npm --prefix console run --silent test"),
        phase("console in a browser", "npm --prefix console run --silent behaviour"),
        phase("build", "cargo build --package weir --locked --quiet"),
        phase(
            "unit and integration",
            &format!("{with_postgres} cargo test --workspace --exclude e2e --locked --no-fail-fast"),
        ),
        phase("end to end", "cargo test --package e2e --locked --no-fail-fast"),
    ]
}

/// Runs all phases, also after one that failed, unless only some are named. Fails if any did.
pub(crate) fn run(only: &[&str]) -> Result<()> {
    let mut table = Vec::new();
    let mut sum = Count::default();
    let mut broken = Vec::new();
    for phase in phases() {
        if !only.is_empty() && !only.contains(&phase.name) {
            continue;
        }
        println!("\n=== {}: {}", phase.name, phase.command.join(" "));
        let begin = Instant::now();
        let (ok, count) = play(&phase)?;
        sum.passed += count.passed;
        sum.failed += count.failed;
        table.push((phase.name, begin.elapsed(), ok, count));
        if !ok {
            broken.push(phase.name);
        }
        if !ok && phase.name == "build" {
            break;
        }
    }
    println!("\n{:<24} {:>9}  result", "phase", "time");
    for (name, took, ok, count) in &table {
        let tests = if *count == Count::default() {
            String::new()
        } else {
            format!(", {} tests", count.passed + count.failed)
        };
        println!(
            "{name:<24} {:>9}  {}{tests}",
            clock(*took),
            if *ok { "ok" } else { "FAILED" }
        );
    }
    let all: Duration = table.iter().map(|(_, took, _, _)| *took).sum();
    println!("{:<24} {:>9}\n", "all", clock(all));
    // A phase without tests that failed counts as one, so that the last line tells the truth.
    let failed = sum.failed.max(u64::try_from(broken.len())?);
    println!("{} passed, {failed} failed", sum.passed);
    if !broken.is_empty() {
        bail!("failed: {}", broken.join(", "));
    }
    Ok(())
}

fn clock(time: Duration) -> String {
    format!("{}:{:02} min", time.as_secs() / 60, time.as_secs() % 60)
}

/// Runs a phase; shows what it writes, and counts.
fn play(phase: &Phase) -> Result<(bool, Count)> {
    let (program, arguments) = phase.command.split_first().context("empty command")?;
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(e2e::root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("run {program}"))?;
    let mut count = Count::default();
    let output = child.stdout.take().context("no output")?;
    let mut stdout = std::io::stdout();
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        if let Some(found) = read_count(&line) {
            count.passed += found.passed;
            count.failed += found.failed;
        }
        // Not `println!`: whoever reads us may have gone, and the tests go on.
        let _ = writeln!(stdout, "{line}");
    }
    Ok((child.wait()?.success(), count))
}

/// Reads `test result: ok. 12 passed; 0 failed; …` of cargo, `Tests  1 failed | 12 passed (13)` of vitest
/// and `12 passed, 0 failed` of the console's own scripts.
fn read_count(line: &str) -> Option<Count> {
    let number = |word: &str| {
        let (before, _) = line.split_once(&format!(" {word}"))?;
        before.rsplit([' ', ';']).next()?.parse().ok()
    };
    let line = line.trim_start();
    let cargo = line.starts_with("test result: ");
    if !cargo && !line.starts_with("Tests ") && !line.ends_with(" passed, 0 failed") {
        return None;
    }
    Some(Count {
        passed: number("passed").or((!cargo).then_some(0))?,
        failed: number("failed").or((!cargo).then_some(0))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_cargo_test_are_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        assert_eq!(read_count(line), Some(Count { passed: 12, failed: 3 }));
        assert_eq!(read_count("test something ... ok"), None);
        assert_eq!(
            read_count("      Tests  61 passed (61)"),
            Some(Count { passed: 61, failed: 0 })
        );
        assert_eq!(
            read_count("      Tests  1 failed | 60 passed (61)"),
            Some(Count { passed: 60, failed: 1 })
        );
        assert_eq!(read_count("11 passed, 0 failed"), Some(Count { passed: 11, failed: 0 }));
        assert_eq!(read_count(" Test Files  8 passed (8)"), None);
    }
}
