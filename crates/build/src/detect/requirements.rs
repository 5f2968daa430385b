//! `requirements.txt` and its relatives: which files belong together, which packages they
//! name, whether they need the source itself.

use std::collections::BTreeSet;

use super::Folder;

/// Most files that refer to each other.
const FILES: usize = 32;

/// What requirements files say.
#[derive(Debug, Default)]
pub(crate) struct Requirements {
    /// The first one and those that it refers to.
    pub files: Vec<String>,
    /// Names of packages, normalised (`flask-login`).
    pub packages: BTreeSet<String>,
    /// They name paths in the source (`-e .`).
    pub whole_source: bool,
    /// They fetch by git.
    pub git: bool,
}

/// Reads a requirements file with those that it refers to.
pub(crate) fn read(folder: &Folder<'_>, first: &str) -> Requirements {
    let mut found = Requirements {
        files: vec![first.to_owned()],
        ..Requirements::default()
    };
    let mut next = 0;
    while let Some(file) = found.files.get(next).cloned() {
        next += 1;
        let Some(text) = folder.text(&file) else {
            // Pip says best what is missing; it must see the source as it is then.
            found.whole_source = true;
            continue;
        };
        let parent = file.rsplit_once('/').map_or("", |(parent, _)| parent);
        for line in text
            .replace("\\\n", " ")
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            requirement(line, parent, &mut found);
        }
        if found.files.len() > FILES {
            found.whole_source = true;
            break;
        }
    }
    found
}

fn requirement(line: &str, parent: &str, found: &mut Requirements) {
    for option in ["--requirement", "--constraint", "-r", "-c"] {
        if let Some(rest) = line.strip_prefix(option) {
            let name = rest.trim_start_matches('=').trim();
            let name = name.split(" #").next().unwrap_or(name).trim();
            match plain_path(parent, name) {
                Some(path) if !found.files.contains(&path) => found.files.push(path),
                Some(_) => {}
                None => found.whole_source = true,
            }
            return;
        }
    }
    found.git |= line.contains("git+");
    if line.starts_with("-e")
        || line.starts_with("--editable")
        || line.starts_with('.')
        || line.contains("file:")
        || line.contains("./")
    {
        found.whole_source = true;
        return;
    }
    if !line.starts_with('-')
        && let Some(name) = package_name(line)
    {
        found.packages.insert(name);
    }
}

/// A path inside of the folder without `..` and without characters that a Dockerfile would
/// read as something else.
fn plain_path(parent: &str, name: &str) -> Option<String> {
    let path = if parent.is_empty() {
        name.to_owned()
    } else {
        format!("{parent}/{name}")
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    let path = parts.join("/");
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/+".contains(&byte);
    (!path.is_empty() && path.len() < 200 && path.bytes().all(plain)).then_some(path)
}

/// The normalised name at the beginning of a requirement (`Flask_Login[x]>=1` is `flask-login`).
pub(crate) fn package_name(requirement: &str) -> Option<String> {
    let end = requirement
        .find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c)))
        .unwrap_or(requirement.len());
    let name = requirement[..end].to_ascii_lowercase().replace(['_', '.'], "-");
    (!name.is_empty()).then_some(name)
}
