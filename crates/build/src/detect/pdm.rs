//! `pdm.lock`, read without the tool: it lists what is locked in plain words.

use toml::Value;

/// The locked packages as requirements of pip, without those that are only for development.
pub(crate) fn requirements(lock: &str) -> Option<Vec<String>> {
    let lock: toml::Table = lock.parse().ok()?;
    let packages = lock.get("package")?.as_array()?;
    Some(
        packages
            .iter()
            .filter_map(Value::as_table)
            .filter(|package| is_default(package))
            .filter_map(requirement)
            .collect(),
    )
}

/// Lock files before version 4.4 do not say what a package is for; all are taken then.
fn is_default(package: &toml::Table) -> bool {
    let groups = package.get("groups").and_then(Value::as_array);
    groups.is_none_or(|groups| groups.iter().any(|group| group.as_str() == Some("default")))
}

fn requirement(package: &toml::Table) -> Option<String> {
    let text = |key: &str| package.get(key).and_then(Value::as_str);
    let name = text("name")?;
    let listed = package.get("extras").and_then(Value::as_array);
    let extras: Vec<&str> = listed.into_iter().flatten().filter_map(Value::as_str).collect();
    let extras = if extras.is_empty() {
        String::new()
    } else {
        format!("[{}]", extras.join(","))
    };
    let marker = text("marker").map(|marker| format!(" ; {marker}")).unwrap_or_default();
    let place = match (text("git"), text("url"), text("path")) {
        (Some(address), ..) => format!(
            " @ git+{address}{}",
            text("revision")
                .map(|revision| format!("@{revision}"))
                .unwrap_or_default()
        ),
        (None, Some(address), _) => format!(" @ {address}"),
        // The project's own packages come with the source.
        (None, None, Some(_)) => return None,
        (None, None, None) => format!("=={}", text("version")?),
    };
    Some(format!("{name}{extras}{place}{marker}").replace(['\n', '\r'], " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_locked_for_running_becomes_requirements() {
        let lock = "[[package]]\nname = \"idna\"\nversion = \"3.10\"\ngroups = [\"default\"]\nmarker = \"python_version >= '3.6'\"\n[[package]]\nname = \"pytest\"\nversion = \"8\"\ngroups = [\"dev\"]\n[[package]]\nname = \"x\"\ngit = \"https://example.org/x.git\"\nrevision = \"abc\"\nversion = \"1\"\n";
        assert_eq!(
            requirements(lock).unwrap(),
            [
                "idna==3.10 ; python_version >= '3.6'",
                "x @ git+https://example.org/x.git@abc"
            ]
        );
        assert_eq!(requirements("no lock"), None);
    }
}
