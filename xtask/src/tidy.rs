//! The rules of the house that neither rustc nor clippy knows: who may depend on what, how long
//! a file may be, and what no file may contain.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// A dependency that only some rooms may have, with the reason.
const ONLY: &[(&str, &[&str], &str)] = &[
    ("sqlx", &["weir-store"], "only the store knows SQL"),
    ("axum", &["weir-control"], "only control serves the API"),
    ("bollard", &["weir-engine"], "only the engine knows Docker"),
    ("clap", &["weir"], "only the binary has a command line"),
    (
        "reqwest",
        &["weir", "weir-control"],
        "only the CLI is a client of the API, and only control calls what is outside",
    ),
];

/// What a room may use of the house; the plan is in ARCHITECTURE.md.
const ROOMS: &[(&str, &[&str])] = &[
    ("weir-model", &[]),
    ("weir-api", &["weir-model"]),
    ("weir-ledger", &["weir-model"]),
    ("weir-guard", &["weir-model"]),
    ("weir-store", &["weir-model", "weir-ledger"]),
    ("weir-engine", &["weir-model"]),
    ("weir-build", &["weir-model", "weir-engine"]),
    ("weir-meter", &["weir-model", "weir-ledger", "weir-engine"]),
    ("weir-ingress", &["weir-model", "weir-ledger", "weir-guard"]),
    (
        "weir-control",
        &[
            "weir-model",
            "weir-api",
            "weir-store",
            "weir-engine",
            "weir-build",
            "weir-ledger",
            "weir-meter",
        ],
    ),
    ("e2e", &[]),
];

/// The model is pure: it has no runtime.
const PURE: &[(&str, &[&str])] = &[
    ("weir-model", &["tokio", "hyper", "reqwest", "tracing"]),
    ("weir-ledger", &["tokio", "hyper", "reqwest", "tracing"]),
    ("weir-guard", &["tokio", "hyper", "reqwest", "tracing"]),
    ("weir-api", &["tokio", "axum"]),
];

/// Most lines of a source file.
const LONGEST_FILE: usize = 800;
/// Most lines of the README.
const LONGEST_README: usize = 150;

/// Checks everything. Fails with all that is wrong.
pub(crate) fn run() -> Result<()> {
    let wrong = check(&e2e::root())?;
    if !wrong.is_empty() {
        bail!("{} things are not tidy:\n  {}", wrong.len(), wrong.join("\n  "));
    }
    Ok(())
}

fn check(root: &Path) -> Result<Vec<String>> {
    let mut wrong = check_dependencies(&metadata(root)?);
    let mut files = Vec::new();
    for folder in ["crates", "e2e", "xtask"] {
        collect(&root.join(folder), &mut files)?;
    }
    for file in files {
        let name = file.strip_prefix(root).unwrap_or(&file).to_path_buf();
        if let Ok(text) = std::fs::read_to_string(&file) {
            check_text(&name, &text, &mut wrong);
        }
    }
    let readme = std::fs::read_to_string(root.join("README.md")).context("README.md")?;
    if readme.lines().count() > LONGEST_README {
        wrong.push(format!("README.md has more than {LONGEST_README} lines"));
    }
    Ok(wrong)
}

fn metadata(root: &Path) -> Result<Value> {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .context("run cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Names of the ordinary dependencies of a package; what only its tests use may be anything.
fn dependencies(package: &Value) -> Vec<&str> {
    let all = package["dependencies"].as_array().into_iter().flatten();
    all.filter(|dependency| dependency["kind"].is_null())
        .filter_map(|dependency| dependency["name"].as_str())
        .collect()
}

fn check_dependencies(metadata: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or("");
        let uses = dependencies(package);
        for (dependency, allowed, why) in ONLY {
            if uses.contains(dependency) && !allowed.contains(&name) {
                wrong.push(format!("{name} depends on {dependency}, but {why}"));
            }
        }
        if let Some((_, allowed)) = ROOMS.iter().find(|(room, _)| *room == name) {
            for used in uses
                .iter()
                .filter(|used| used.starts_with("weir-") && !allowed.contains(used))
            {
                wrong.push(format!(
                    "{name} depends on {used}, which the plan of the house does not allow"
                ));
            }
        }
        if let Some((_, forbidden)) = PURE.iter().find(|(room, _)| *room == name) {
            for used in uses.iter().filter(|used| forbidden.contains(used)) {
                wrong.push(format!("{name} depends on {used}, but it is pure"));
            }
        }
    }
    wrong
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            if !path.ends_with("target") && !path.ends_with("node_modules") {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn check_text(name: &Path, text: &str, wrong: &mut Vec<String>) {
    let lines = text.lines().count();
    if lines > LONGEST_FILE {
        wrong.push(format!(
            "{} has {lines} lines, more than {LONGEST_FILE}: divide it",
            name.display()
        ));
    }
    // Written in two pieces, so that this file does not find itself.
    let marks = [
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
    ];
    for (number, line) in text.lines().enumerate() {
        for mark in marks.iter().filter(|mark| line.contains(**mark)) {
            wrong.push(format!(
                "{}:{}: {mark} is a promise; keep it or leave it out",
                name.display(),
                number + 1
            ));
        }
    }
    let parts = name
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned());
    for part in parts {
        let stem = part.trim_end_matches(".rs");
        if ["utils", "util", "common", "helpers", "helper", "misc"].contains(&stem) {
            wrong.push(format!(
                "{}: a shared thing gets the name of what it is, not `{stem}`",
                name.display()
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        let wrong = check(&e2e::root()).unwrap();
        assert!(wrong.is_empty(), "not tidy:\n{}", wrong.join("\n"));
    }

    #[test]
    fn a_room_that_uses_what_it_must_not_is_found() {
        let metadata = serde_json::json!({ "packages": [
            { "name": "weir-ingress", "dependencies": [{ "name": "sqlx", "kind": null }, { "name": "weir-control", "kind": null }] },
            { "name": "weir-store", "dependencies": [{ "name": "sqlx", "kind": null }, { "name": "axum", "kind": "dev" }] },
        ]});
        let wrong = check_dependencies(&metadata);
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(wrong.iter().all(|line| line.starts_with("weir-ingress")));
    }

    #[test]
    fn long_files_and_broken_promises_are_found() {
        let mut wrong = Vec::new();
        check_text(
            Path::new("crates/x/src/utils.rs"),
            &"// FIX\u{4d}E\n".repeat(801),
            &mut wrong,
        );
        assert_eq!(wrong.len(), 1 + 801 + 1);
    }
}
