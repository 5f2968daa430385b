//! Dependencies in Poetry's notation, for projects without a lock file.

/// A dependency in Poetry's notation as a requirement of pip. `None` for optional ones.
pub(crate) fn requirement(name: &str, wanted: &toml::Value) -> Option<String> {
    let table = match wanted {
        toml::Value::String(version) => return Some(format!("{name}{}", version_for_pip(version))),
        toml::Value::Table(table) => table,
        _ => return Some(name.to_owned()),
    };
    let text = |key: &str| table.get(key).and_then(toml::Value::as_str);
    if table.get("optional").and_then(toml::Value::as_bool) == Some(true) {
        return None;
    }
    let listed = table.get("extras").and_then(toml::Value::as_array);
    let extras: Vec<&str> = listed.into_iter().flatten().filter_map(toml::Value::as_str).collect();
    let extras = if extras.is_empty() {
        String::new()
    } else {
        format!("[{}]", extras.join(","))
    };
    let markers = text("markers")
        .map(|markers| format!(" ; {markers}"))
        .unwrap_or_default();
    if let Some(address) = text("git") {
        let revision = ["rev", "tag", "branch"]
            .into_iter()
            .find_map(text)
            .map(|revision| format!("@{revision}"));
        return Some(format!(
            "{name}{extras} @ git+{address}{}{markers}",
            revision.unwrap_or_default()
        ));
    }
    if let Some(address) = text("url") {
        return Some(format!("{name}{extras} @ {address}{markers}"));
    }
    Some(format!(
        "{name}{extras}{}{markers}",
        version_for_pip(text("version").unwrap_or("*"))
    ))
}

/// `^1.2` and `~1.2` in the notation that pip reads.
fn version_for_pip(version: &str) -> String {
    let parts = version
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty() && *part != "*");
    parts.map(part_for_pip).collect::<Vec<_>>().join(",")
}

fn part_for_pip(part: &str) -> String {
    let bare = part.trim_start_matches(['^', '~', '=']);
    let numbers: Vec<u64> = bare.split('.').map_while(|number| number.parse().ok()).collect();
    let below = |at: usize| {
        let kept = numbers
            .iter()
            .take(at)
            .copied()
            .chain([numbers.get(at).map_or(1, |number| number.saturating_add(1))]);
        format!(
            ">={bare},<{}",
            kept.map(|number| number.to_string()).collect::<Vec<_>>().join(".")
        )
    };
    let last = numbers.len().saturating_sub(1);
    match part.chars().next() {
        Some('^') => below(numbers.iter().position(|number| *number > 0).unwrap_or(last)),
        Some('~') if !part.starts_with("~=") => below(last.min(1)),
        Some(first) if first.is_ascii_digit() => format!("=={part}"),
        _ => part.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poetrys_notation_becomes_pips() {
        for (poetry, pip) in [
            ("^1.2.3", ">=1.2.3,<2"),
            ("^0.2.3", ">=0.2.3,<0.3"),
            ("^0.0.3", ">=0.0.3,<0.0.4"),
            ("~1.2.3", ">=1.2.3,<1.3"),
            ("~1", ">=1,<2"),
            (">=1,<3", ">=1,<3"),
            ("1.5", "==1.5"),
            ("1.*", "==1.*"),
            ("*", ""),
        ] {
            assert_eq!(version_for_pip(poetry), pip, "{poetry}");
        }
        let table: toml::Table = "x = { version = \"^2\", extras = [\"a\"] }".parse().unwrap();
        assert_eq!(requirement("x", &table["x"]).as_deref(), Some("x[a]>=2,<3"));
    }
}
