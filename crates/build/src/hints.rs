//! From the words of builders and package managers to words that help.

use crate::build::BuildError;

/// What can be had where no image registry answers.
pub(crate) const WITHOUT_REGISTRY: &str = "if no image registry can be reached from here, build on what needs none: weir-stack/python:3.13, weir-stack/python:3.11, weir-stack/node:24 (any version), weir-stack/debian:trixie, weir-stack/debian:bookworm, weir-stack/static:1 (in a Dockerfile after FROM, in weir.toml as [build] runtime)";

/// Signs in the output, and what to try.
const HINTS: [(&[&str], &str); 19] = [
    (
        &["No matching distribution found for"],
        "no such version of that package exists for this Python; check its name and version, or ask for another Python in .python-version (3.13 and 3.11 are at hand)",
    ),
    (
        &["ResolutionImpossible", "conflicting dependencies"],
        "the versions that are asked for do not fit together; loosen one of those that pip names",
    ),
    (
        &["THESE PACKAGES DO NOT MATCH THE HASHES"],
        "the hashes in the requirements are not those of the packages; make the file anew",
    ),
    (
        &[
            "can only install packages when your package.json and package-lock.json",
            "npm ci` can only install",
        ],
        "package-lock.json does not fit package.json: run `npm install` and commit package-lock.json",
    ),
    (
        &["ERR_PNPM_OUTDATED_LOCKFILE"],
        "pnpm-lock.yaml does not fit package.json: run `pnpm install` and commit it",
    ),
    (
        &[
            "Your lockfile needs to be updated",
            "The lockfile would have been modified",
        ],
        "yarn.lock does not fit package.json: run `yarn install` and commit it",
    ),
    (
        &[
            "needs to be updated, but `--frozen` was provided",
            "The lockfile at `uv.lock` needs",
        ],
        "uv.lock does not fit pyproject.toml: run `uv lock` and commit it",
    ),
    (
        &["pyproject.toml changed significantly since poetry.lock"],
        "poetry.lock does not fit pyproject.toml: run `poetry lock` and commit it",
    ),
    (
        &["npm error 404", "npm ERR! 404", "E404"],
        "a package does not exist in the npm registry; check its name and version in package.json",
    ),
    (&["Missing script:"], "package.json has no script of that name"),
    (
        &[
            "CERTIFICATE_VERIFY_FAILED",
            "certificate verify failed",
            "SELF_SIGNED_CERT_IN_CHAIN",
            "UNABLE_TO_GET_ISSUER_CERT",
            "self-signed certificate",
            "SSL certificate problem",
        ],
        "a certificate is not trusted: if this network intercepts TLS, its authority must be in the machine's bundle (/usr/local/share/ca-certificates, then `update-ca-certificates`)",
    ),
    (
        &[
            "Temporary failure in name resolution",
            "Could not resolve host",
            "EAI_AGAIN",
            "Name or service not known",
            "no such host",
        ],
        "names cannot be looked up inside the build; check the DNS of this machine and of Docker (`docker info`, /etc/docker/daemon.json)",
    ),
    (
        &[
            "pull access denied",
            "failed to resolve source metadata",
            "manifest unknown",
            "failed to do request",
            "TLS handshake timeout",
            "i/o timeout",
            "registry-1.docker.io",
            "unauthorized: authentication required",
        ],
        WITHOUT_REGISTRY,
    ),
    (
        &["No space left on device", "no space left on device"],
        "the disk is full: `df -h`, then `docker system df` shows what takes the room",
    ),
    (
        &["exit code: 137", "JavaScript heap out of memory", "Killed"],
        "the build ran out of memory",
    ),
    (
        &[
            "failed to compute cache key",
            "failed to walk",
            "failed to calculate checksum",
        ],
        "a file that COPY or ADD names is not in the source: is it committed, and not left out by .dockerignore?",
    ),
    (
        &["ModuleNotFoundError: No module named"],
        "a module is missing: add its package to requirements.txt (or pyproject.toml)",
    ),
    (
        &["Cannot find module"],
        "a module is missing: add it to the dependencies in package.json and commit the lock file",
    ),
    (
        &["Unable to locate package"],
        "there is no such Debian package; look it up at https://packages.debian.org (trixie)",
    ),
];

/// Makes an error of a failed build: its words, the lines that tell most, what to try.
pub(crate) fn explain(message: &str, lines: Vec<String>) -> BuildError {
    let message = plain(message);
    let all = || lines.iter().map(String::as_str).chain([message.as_str()]);
    let found = HINTS
        .iter()
        .find(|(signs, _)| all().any(|line| signs.iter().any(|sign| line.contains(sign))));
    let command_missing = || {
        all()
            .find(|line| line.contains(": not found") && line.contains("sh: "))
            .map(|line| {
                format!(
                    "a program is missing ({}); Debian packages can be named in weir.toml: [build] packages = [\"…\"]",
                    line.trim()
                )
            })
    };
    let hint = found.map(|(_, hint)| (*hint).to_owned()).or_else(command_missing);
    let retryable = found.is_some_and(|(_, hint)| hint.starts_with("names cannot") || hint.starts_with("the disk"));
    BuildError {
        hint,
        lines: telling(lines),
        retryable,
        message,
    }
}

/// The builder's message without what only the builder understands.
fn plain(message: &str) -> String {
    let message = message
        .trim_start_matches("failed to solve: ")
        .trim_start_matches("rpc error: code = Unknown desc = ");
    let ours = [
        ("weir-install.sh", "installing the dependencies"),
        ("weir-build.sh", "the build command"),
        ("weir-tool.sh", "installing the packaging tool"),
        ("weir-manager.sh", "installing the package manager"),
        ("weir-prune.sh", "leaving out development packages"),
        ("node.sh", "fetching Node.js"),
    ];
    let status = message
        .rsplit("exit code: ")
        .next()
        .filter(|_| message.contains("exit code: "))
        .map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
    match (ours.iter().find(|(sign, _)| message.contains(sign)), status) {
        (Some((_, what)), Some(status)) => format!("{what} failed with exit status {status}"),
        (Some((_, what)), None) => format!("{what} failed: {message}"),
        (None, _) => message.to_owned(),
    }
}

/// The last lines, without progress bars and empty ones.
fn telling(lines: Vec<String>) -> Vec<String> {
    let noise = [
        "notice",
        "Downloading ",
        "Requirement already",
        "Using cached",
        "Collecting ",
        "Get:",
        "Fetched ",
        "Selecting previously",
        "Preparing to unpack",
        "Unpacking ",
        "Setting up ",
    ];
    let kept: Vec<String> = lines
        .iter()
        .filter(|line| {
            !line.trim().is_empty()
                && !noise
                    .iter()
                    .any(|noise| line.trim_start().trim_start_matches('[').starts_with(noise))
        })
        .cloned()
        .collect();
    let kept = if kept.is_empty() { lines } else { kept };
    let skip = kept.len().saturating_sub(20);
    kept.into_iter().skip(skip).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_requirement_is_explained() {
        let lines = vec![
            "Collecting flask==99".to_owned(),
            "ERROR: No matching distribution found for flask==99".to_owned(),
        ];
        let error = explain(
            "process \"/bin/sh -c sh /run/weir-install.sh\" did not complete successfully: exit code: 1",
            lines,
        );
        assert_eq!(error.message, "installing the dependencies failed with exit status 1");
        assert_eq!(error.lines, ["ERROR: No matching distribution found for flask==99"]);
        assert!(error.hint.is_some_and(|hint| hint.contains("check its name")));
    }
}
