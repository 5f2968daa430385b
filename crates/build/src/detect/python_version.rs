//! Which Python an app asks for, and which can be had.

use super::{DetectError, Folder};
use crate::plan::Base;
use crate::stack::Stack;

/// What Debian's packages have, the preferred one first.
pub(crate) const STACKS: [(u32, u32); 2] = [(3, 13), (3, 11)];
/// What the official images have beside, for ranges that leave those out; newest first.
const IMAGES: [u32; 7] = [14, 12, 10, 9, 8, 7, 6];

/// A wish, and where it was written.
struct Wish {
    text: String,
    origin: &'static str,
}

/// Chooses a Python. Gives the finding line with it.
pub(crate) fn choose(folder: &Folder<'_>, runtime: Option<&str>) -> Result<(Base, String), DetectError> {
    let Some(wish) = wish(folder, runtime) else {
        return Ok((
            stack(3, 13),
            "Python 3.13 (the default; a file .python-version asks for another)".to_owned(),
        ));
    };
    let Wish { text, origin } = wish;
    if let Some((major, minor, patch)) = plain_version(&text) {
        if STACKS.contains(&(major, minor)) {
            let note = if patch.is_some() {
                format!("{origin}, which asks for {text}; Debian keeps the newest of 3.{minor}")
            } else {
                origin.to_owned()
            };
            return Ok((stack(major, minor), format!("Python {major}.{minor} (from {note})")));
        }
        if major != 3 {
            return Err(format!("Python {text} (from {origin}) cannot be had; there is 3.13 and 3.11, and other versions of 3 where an image registry can be reached").into());
        }
        let tag = patch.map_or_else(
            || format!("{major}.{minor}"),
            |patch| format!("{major}.{minor}.{patch}"),
        );
        return Ok((
            Base::Image(format!("docker.io/library/python:{tag}-slim")),
            format!("Python {tag} (from {origin}; not among Debian's packages, so from the official image)"),
        ));
    }
    let Some(range) = range(&text) else {
        let short: String = text.chars().take(60).collect();
        return Err(format!("`{short}` in {origin} is not a version of Python; write one like 3.13").into());
    };
    let fits = |minor: u32| range.iter().all(|bound| bound.allows((3, minor)));
    if let Some((major, minor)) = STACKS.into_iter().find(|(_, minor)| fits(*minor)) {
        return Ok((
            stack(major, minor),
            format!("Python {major}.{minor} (from {origin}: {text})"),
        ));
    }
    match IMAGES.into_iter().find(|minor| fits(*minor)) {
        Some(minor) => Ok((
            Base::Image(format!("docker.io/library/python:3.{minor}-slim")),
            format!("Python 3.{minor} (from {origin}: {text}; not among Debian's packages, so from the official image)"),
        )),
        None => Err(format!("no known Python fits `{text}` ({origin}); there is 3.13 and 3.11, and 3.6 to 3.14 where an image registry can be reached").into()),
    }
}

fn stack(major: u32, minor: u32) -> Base {
    Base::Stack(Stack::Python {
        version: format!("{major}.{minor}"),
    })
}

fn wish(folder: &Folder<'_>, runtime: Option<&str>) -> Option<Wish> {
    let wish = |text: &str, origin: &'static str| {
        Some(Wish {
            text: text.trim().to_owned(),
            origin,
        })
        .filter(|wish| !wish.text.is_empty())
    };
    if let Some(("python", version)) = runtime.and_then(super::language_version)
        && !version.is_empty()
    {
        return wish(version, "weir.toml");
    }
    let first_line = |name: &str| {
        folder.text(name).and_then(|text| {
            text.lines()
                .map(str::trim)
                .find(|line| !line.is_empty() && !line.starts_with('#'))
                .map(str::to_owned)
        })
    };
    if let Some(line) = first_line(".python-version") {
        return wish(
            line.trim_start_matches("cpython-").trim_start_matches("python-"),
            ".python-version",
        );
    }
    if let Some(line) = first_line("runtime.txt") {
        return wish(line.trim_start_matches("python-"), "runtime.txt");
    }
    if let Some(pipfile) = folder.text("Pipfile").and_then(|text| text.parse::<toml::Table>().ok()) {
        let requires = pipfile.get("requires").and_then(toml::Value::as_table);
        let version = requires
            .and_then(|requires| {
                requires
                    .get("python_full_version")
                    .or_else(|| requires.get("python_version"))
            })
            .and_then(toml::Value::as_str);
        if let Some(version) = version {
            return wish(version, "Pipfile");
        }
    }
    let project = folder
        .text("pyproject.toml")
        .and_then(|text| text.parse::<toml::Table>().ok())?;
    let asked = project
        .get("project")
        .and_then(|project| project.get("requires-python"))
        .and_then(toml::Value::as_str);
    let poetry = || {
        project
            .get("tool")?
            .get("poetry")?
            .get("dependencies")?
            .get("python")?
            .as_str()
    };
    asked.or_else(poetry).and_then(|text| wish(text, "pyproject.toml"))
}

/// `3.13` or `3.13.2`.
fn plain_version(text: &str) -> Option<(u32, u32, Option<u32>)> {
    let numbers: Option<Vec<u32>> = text.split('.').map(|part| part.parse().ok()).collect();
    match numbers?.as_slice() {
        [major, minor] => Some((*major, *minor, None)),
        [major, minor, patch] => Some((*major, *minor, Some(*patch))),
        _ => None,
    }
}

/// One part of a range such as `>=3.9,<4`. Compared by major and minor only.
#[derive(Debug, PartialEq)]
enum Bound {
    AtLeast((u32, u32)),
    Above((u32, u32)),
    AtMost((u32, u32)),
    Below((u32, u32)),
    Same((u32, Option<u32>)),
    Not((u32, u32)),
}

impl Bound {
    fn allows(&self, version: (u32, u32)) -> bool {
        match self {
            Self::AtLeast(bound) => version >= *bound,
            Self::Above(bound) => version > *bound,
            Self::AtMost(bound) => version <= *bound,
            Self::Below(bound) => version < *bound,
            Self::Same((major, minor)) => version.0 == *major && minor.is_none_or(|minor| minor == version.1),
            Self::Not(bound) => version != *bound,
        }
    }
}

fn range(text: &str) -> Option<Vec<Bound>> {
    let mut bounds = Vec::new();
    // Of alternatives, the last one is the newest as a rule.
    let text = text.rsplit("||").next().unwrap_or(text);
    for part in text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty() && *part != "*")
    {
        let split = part.find(|c: char| c.is_ascii_digit())?;
        let (operator, version) = (part[..split].trim(), part[split..].trim());
        if !version
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b'*')
        {
            return None;
        }
        let numbers: Vec<u32> = version
            .split('.')
            .map_while(|number| number.trim().parse().ok())
            .collect();
        let major = *numbers.first()?;
        let minor = numbers.get(1).copied().unwrap_or(0);
        let exact = numbers.len() > 2;
        match operator {
            ">=" => bounds.push(Bound::AtLeast((major, minor))),
            ">" => bounds.push(if exact {
                Bound::AtLeast((major, minor))
            } else {
                Bound::Above((major, minor))
            }),
            "<=" => bounds.push(Bound::AtMost((major, minor))),
            "<" => bounds.push(if exact && numbers[2] > 0 {
                Bound::AtMost((major, minor))
            } else {
                Bound::Below((major, minor))
            }),
            "" | "==" | "===" | "=" | "~" => bounds.push(Bound::Same((major, numbers.get(1).copied()))),
            "!=" if exact => {}
            "!=" => bounds.push(Bound::Not((major, minor))),
            "~=" if exact => bounds.push(Bound::Same((major, Some(minor)))),
            "~=" | "^" => bounds.extend([Bound::AtLeast((major, minor)), Bound::Below((major + 1, 0))]),
            _ => return None,
        }
    }
    Some(bounds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(text: &str) -> Vec<u32> {
        let range = range(text).unwrap();
        (6..=14)
            .filter(|minor| range.iter().all(|bound| bound.allows((3, *minor))))
            .collect()
    }

    #[test]
    fn ranges_allow_what_the_packaging_rules_allow() {
        assert_eq!(allowed(">=3.9, <3.13"), [9, 10, 11, 12]);
        assert_eq!(allowed("^3.11"), [11, 12, 13, 14]);
        assert_eq!(allowed("~=3.12.1"), [12]);
        assert_eq!(allowed("==3.12.*"), [12]);
        assert_eq!(allowed("~3.10"), [10]);
        assert_eq!(allowed(">=3.12,!=3.13"), [12, 14]);
        assert_eq!(allowed(">=3.8,<3.13.0"), [8, 9, 10, 11, 12]);
        assert_eq!(allowed("*").len(), 9);
        assert_eq!(range("latest"), None);
        assert_eq!(range(">=99999999999999"), None);
    }
}
