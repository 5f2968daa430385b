//! Who installs the dependencies of a Node.js app.

use super::{DetectError, Folder};
use crate::plan::NodeManager;

/// Chooses by the lock file, then by `packageManager` of `package.json` (`asked`).
pub(crate) fn choose(
    folder: &Folder<'_>,
    asked: Option<&str>,
    has_dependencies: bool,
    findings: &mut Vec<String>,
) -> Result<NodeManager, DetectError> {
    let asked = asked.and_then(name_and_version);
    let version_of = |name: &str| {
        asked
            .filter(|(asked, _)| *asked == name)
            .map(|(_, version)| version.to_owned())
    };
    let mut say = |name: &str, lock: &str| findings.push(format!("Dependencies by {name} (from {})", folder.at(lock)));
    if folder.has("pnpm-lock.yaml") {
        say("pnpm", "pnpm-lock.yaml");
        let version = version_of("pnpm").unwrap_or_else(|| pnpm_of_lock(folder).to_owned());
        return Ok(NodeManager::Pnpm { version, locked: true });
    }
    if folder.has("yarn.lock") {
        say("yarn", "yarn.lock");
        let version = version_of("yarn");
        let modern = version
            .as_deref()
            .is_some_and(|version| !version.starts_with("1.") && version != "1")
            || folder.has(".yarnrc.yml")
            || folder
                .text("yarn.lock")
                .is_some_and(|lock| lock.contains("__metadata:"));
        let version = version.unwrap_or_else(|| "4".to_owned());
        return Ok(if modern {
            NodeManager::YarnModern { version }
        } else {
            NodeManager::YarnClassic
        });
    }
    if let Some(lock) = ["package-lock.json", "npm-shrinkwrap.json"]
        .into_iter()
        .find(|lock| folder.has(lock))
    {
        say("npm", lock);
        return Ok(NodeManager::Npm { locked: true });
    }
    if let Some(lock) = ["bun.lock", "bun.lockb"].into_iter().find(|lock| folder.has(lock)) {
        return Err(format!(
            "{} is Bun's, which Weir does not build yet; add a Dockerfile, or a package-lock.json (`npm install --package-lock-only`)",
            folder.at(lock)
        )
        .into());
    }
    let manager = match asked {
        Some(("pnpm", version)) => NodeManager::Pnpm {
            version: version.to_owned(),
            locked: false,
        },
        _ => NodeManager::Npm { locked: false },
    };
    if has_dependencies {
        let name = if matches!(manager, NodeManager::Pnpm { .. }) {
            "pnpm"
        } else {
            "npm"
        };
        findings.push(format!(
            "Dependencies by {name} (from {}; there is no lock file, so that versions may differ)",
            folder.at("package.json")
        ));
    }
    Ok(manager)
}

/// `pnpm@9.1.0+sha…` in two; `None` unless the version can stand in a command line.
fn name_and_version(asked: &str) -> Option<(&str, &str)> {
    let (name, version) = asked.split_once('@')?;
    let version = version.split('+').next().unwrap_or(version);
    let plain = version
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
    (plain && version.starts_with(|c: char| c.is_ascii_digit())).then_some((name, version))
}

/// The major version of pnpm that wrote a lock file.
fn pnpm_of_lock(folder: &Folder<'_>) -> &'static str {
    let lock = folder.text("pnpm-lock.yaml").unwrap_or_default();
    let written = lock
        .lines()
        .find_map(|line| line.strip_prefix("lockfileVersion:"))
        .unwrap_or_default();
    match written.trim().trim_matches(['\'', '"']).chars().next() {
        Some('5') => "7",
        Some('6') => "8",
        _ => "9",
    }
}

impl NodeManager {
    /// The command that runs a script of `package.json`.
    pub(crate) fn run(&self, script: &str) -> String {
        match self {
            Self::Npm { .. } => format!("npm run --silent {script}"),
            Self::YarnClassic | Self::YarnModern { .. } => format!("yarn run {script}"),
            Self::Pnpm { .. } => format!("pnpm run {script}"),
        }
    }
}
