//! Which Node.js an app asks for. Every version comes from the npm package `node`.

use semver::{Version, VersionReq};

use super::{DetectError, Folder};
use crate::plan::Base;
use crate::stack::Stack;

/// What is taken if nothing is asked for: the newest one with long-term support.
const DEFAULT: &str = "24";
/// Major versions in the order in which they are preferred for a range: long-term support
/// first, newest first.
const MAJORS: [u64; 17] = [24, 22, 20, 18, 16, 14, 12, 26, 25, 23, 21, 19, 17, 15, 13, 11, 10];
/// Code names of versions with long-term support.
const NAMES: [(&str, &str); 8] = [
    ("krypton", "24"),
    ("jod", "22"),
    ("iron", "20"),
    ("hydrogen", "18"),
    ("gallium", "16"),
    ("fermium", "14"),
    ("erbium", "12"),
    ("dubnium", "10"),
];

/// Chooses a Node.js. Gives the finding line with it.
pub(crate) fn choose(
    folder: &Folder<'_>,
    runtime: Option<&str>,
    engines: Option<&str>,
) -> Result<(Base, String), DetectError> {
    let line = |name: &'static str| {
        folder
            .text(name)
            .and_then(|text| {
                text.lines()
                    .map(str::trim)
                    .find(|line| !line.is_empty() && !line.starts_with('#'))
                    .map(str::to_owned)
            })
            .map(|line| (line, name))
    };
    let from_runtime = runtime
        .and_then(super::language_version)
        .filter(|(language, version)| *language == "node" && !version.is_empty());
    let wish = from_runtime
        .map(|(_, version)| (version.to_owned(), "weir.toml"))
        .or_else(|| line(".nvmrc"))
        .or_else(|| line(".node-version"))
        .or_else(|| engines.map(|range| (range.to_owned(), "engines.node in package.json")));
    let Some((text, origin)) = wish else {
        return Ok((
            stack(DEFAULT),
            format!("Node.js {DEFAULT} (the default; a file .nvmrc or engines.node asks for another)"),
        ));
    };
    match request(&text) {
        Some(version) if version == text => Ok((stack(&version), format!("Node.js {version} (from {origin})"))),
        Some(version) => Ok((
            stack(&version),
            format!("Node.js {version} (from {origin}: {})", super::one_line(&text)),
        )),
        None => Err(format!(
            "no Node.js from 10 to 26 fits `{}` ({origin}); write a version like 24 or a range like >=20",
            super::one_line(&text)
        )
        .into()),
    }
}

fn stack(version: &str) -> Base {
    Base::Stack(Stack::Node {
        version: version.to_owned(),
    })
}

/// The version to ask npm for: a major one, or as exact as was written.
fn request(text: &str) -> Option<String> {
    let text = text.trim().trim_start_matches(['v', '=']).trim().to_ascii_lowercase();
    if ["node", "stable", "latest", "current", "lts/*", "lts", "*", "x", ""].contains(&text.as_str()) {
        return Some(DEFAULT.to_owned());
    }
    if let Some(name) = text.strip_prefix("lts/") {
        return NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, version)| (*version).to_owned());
    }
    let numbers: Option<Vec<u64>> = text
        .trim_end_matches(".x")
        .trim_end_matches(".*")
        .trim_end_matches(".x")
        .split('.')
        .map(|part| part.parse().ok())
        .collect();
    if let Some(numbers) = numbers
        && numbers.len() <= 3
    {
        let known = MAJORS.contains(&numbers[0]) || numbers[0] > 26;
        return known.then(|| numbers.iter().map(u64::to_string).collect::<Vec<_>>().join("."));
    }
    let ranges: Vec<VersionReq> = text.split("||").filter_map(|range| range_of(range.trim())).collect();
    // A major version counts if its newest release fits; npm knows the newest one.
    let newest = MAJORS.into_iter().find(|major| {
        ranges
            .iter()
            .any(|range| range.matches(&Version::new(*major, 999, 999)))
    });
    if let Some(major) = newest {
        return Some(major.to_string());
    }
    // A narrow range such as ~20.11.0: the first version that it names.
    ranges
        .iter()
        .flat_map(|range| &range.comparators)
        .find_map(|comparator| {
            let minor = comparator.minor?;
            matches!(
                comparator.op,
                semver::Op::Tilde | semver::Op::Exact | semver::Op::Wildcard | semver::Op::LessEq
            )
            .then(|| match (comparator.op, comparator.patch) {
                (semver::Op::Exact | semver::Op::LessEq, Some(patch)) => {
                    format!("{}.{minor}.{patch}", comparator.major)
                }
                _ => format!("{}.{minor}", comparator.major),
            })
        })
}

/// npm's ranges in the form that the library reads: comparators joined by commas.
fn range_of(text: &str) -> Option<VersionReq> {
    if let Some((low, high)) = text.split_once(" - ") {
        return VersionReq::parse(&format!(">={}, <={}", low.trim(), high.trim())).ok();
    }
    let mut joined = String::new();
    for part in text.split([' ', ',']).filter(|part| !part.is_empty()) {
        let bare = part.trim_start_matches(['>', '<', '=', '^', '~']);
        let operator = &part[..part.len() - bare.len()];
        let after_operator = joined.ends_with(['>', '<', '=', '^', '~']);
        if !joined.is_empty() && !after_operator {
            joined.push(',');
        }
        joined.push_str(operator);
        joined.push_str(bare.trim_start_matches('v'));
    }
    // A bare version is exact for npm (`20.1.0`), or all that begins with it (`20`, `20.x`).
    let parts = joined.split(',').map(|part| {
        if part.starts_with(|c: char| c.is_ascii_digit()) {
            if part.contains(['x', '*']) {
                part.to_owned()
            } else {
                format!("={part}")
            }
        } else {
            part.replace(".x", "")
        }
    });
    VersionReq::parse(&parts.collect::<Vec<_>>().join(",")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_become_versions_to_ask_npm_for() {
        for (text, version) in [
            ("v20.11.1", "20.11.1"),
            ("20", "20"),
            ("22.x", "22"),
            ("lts/*", "24"),
            ("lts/iron", "20"),
            (">=18", "24"),
            ("^20.1.0", "20"),
            (">=18 <21", "20"),
            (">= 18.0.0 < 23", "22"),
            ("18.x || 20.x", "20"),
            ("18 || 16", "18"),
            ("~20.11.0", "20.11"),
            ("16 - 18", "18"),
            ("node", "24"),
            ("23", "23"),
        ] {
            assert_eq!(request(text).as_deref(), Some(version), "{text}");
        }
        for text in [
            "latest; rm -rf /",
            "lts/nothing",
            "0.0.1",
            "99999999999999999999999",
            "$(x)",
        ] {
            assert_eq!(request(text), None, "{text}");
        }
    }
}
