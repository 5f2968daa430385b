//! Runs what reads hostile bytes under libFuzzer (`fuzz/`), one target after the other. Each begins with what
//! lies in `fuzz/seeds` and with what earlier runs have found worth keeping (`fuzz/corpus`).

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

const SECONDS: u32 = 60;

/// `[TARGET] [--seconds N]`; all targets unless one is named.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let mut seconds = SECONDS;
    let mut only = None;
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match *word {
            "--seconds" => seconds = words.next().context("--seconds needs a number")?.parse()?,
            name if !name.starts_with('-') => only = Some(name),
            other => bail!("unknown option: {other}"),
        }
    }
    let folder = e2e::root().join("fuzz");
    let targets = targets(&folder)?;
    if let Some(name) = only
        && !targets.iter().any(|target| target == name)
    {
        bail!("there is no target {name}; there is: {}", targets.join(", "));
    }
    check_tools()?;
    let mut failed = Vec::new();
    for target in targets.iter().filter(|target| only.is_none_or(|name| name == *target)) {
        println!("\n=== {target}: {seconds} s");
        // What is found goes into the first folder, which git does not keep; what to begin with is in the second.
        let (corpus, seeds) = (folder.join("corpus").join(target), folder.join("seeds").join(target));
        std::fs::create_dir_all(&corpus).with_context(|| format!("cannot make {}", corpus.display()))?;
        let status = Command::new("cargo")
            .args(["+nightly", "fuzz", "run", target])
            .args([&corpus, &seeds])
            .args([
                "--".to_owned(),
                format!("-max_total_time={seconds}"),
                "-timeout=10".to_owned(),
                "-rss_limit_mb=2048".to_owned(),
            ])
            .current_dir(&folder)
            .status()
            .context("cannot run cargo")?;
        if !status.success() {
            failed.push(target.as_str());
        }
    }
    if !failed.is_empty() {
        bail!(
            "found something, or could not be built: {}; what was found lies in fuzz/artifacts",
            failed.join(", ")
        );
    }
    Ok(())
}

/// Says what is missing before anything is built.
fn check_tools() -> Result<()> {
    let answers = |arguments: &[&str]| {
        Command::new("cargo")
            .args(arguments)
            .output()
            .is_ok_and(|output| output.status.success())
    };
    if !answers(&["+nightly", "--version"]) {
        bail!(
            "the targets need a nightly compiler, for its sanitizers; next: rustup toolchain install nightly --profile minimal"
        );
    }
    if !answers(&["fuzz", "--version"]) {
        bail!("the targets are run by cargo-fuzz, which is not there; next: cargo install cargo-fuzz --locked");
    }
    Ok(())
}

fn targets(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder.join("fuzz_targets"))? {
        let path = entry?.path();
        if let Some(name) = path.file_stem().and_then(|name| name.to_str()) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}
