//! `.dockerignore`: which files a Dockerfile's build does not see. The builder reads it only
//! from contexts that a Docker client sends; ours arrive as an archive, so it is done here,
//! by the same rules: patterns are anchored at the root, the last one that matches decides.

/// Longest file that is read, in bytes.
pub(crate) const IGNORE_BYTES: usize = 64 << 10;
/// Most patterns that count.
const PATTERNS: usize = 1000;

/// The patterns of a `.dockerignore`.
#[derive(Debug, Default)]
pub(crate) struct IgnoreFile {
    patterns: Vec<Pattern>,
}

#[derive(Debug)]
struct Pattern {
    negated: bool,
    parts: Vec<String>,
}

impl IgnoreFile {
    /// Reads the patterns; what cannot be a pattern is skipped.
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text
            .trim_start_matches('\u{feff}')
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let patterns = lines.take(PATTERNS).filter_map(|line| {
            let (negated, line) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest.trim()));
            let parts: Vec<String> = line
                .split('/')
                .filter(|part| !part.is_empty() && *part != ".")
                .map(str::to_owned)
                .collect();
            (!parts.is_empty() && !parts.iter().any(|part| part == "..")).then_some(Pattern { negated, parts })
        });
        Self {
            patterns: patterns.collect(),
        }
    }

    /// Whether a path, or a folder that it lies in, is left out.
    pub(crate) fn ignores(&self, path: &str) -> bool {
        let parts: Vec<&str> = path.split('/').collect();
        let mut ignored = false;
        for pattern in &self.patterns {
            if ignored == pattern.negated
                && (1..=parts.len()).any(|length| matches_path(&pattern.parts, &parts[..length]))
            {
                ignored = !pattern.negated;
            }
        }
        ignored
    }
}

fn matches_path(pattern: &[String], path: &[&str]) -> bool {
    // One row of the usual table for wildcards: bounded work even for hostile patterns.
    let mut row = vec![false; path.len() + 1];
    row[0] = true;
    for part in pattern {
        if part == "**" {
            let mut any = false;
            for cell in &mut row {
                any |= *cell;
                *cell = any;
            }
            continue;
        }
        let next: Vec<bool> = (0..=path.len())
            .map(|end| end > 0 && row[end - 1] && matches_name(part, path[end - 1]))
            .collect();
        row = next;
    }
    row[path.len()]
}

fn matches_name(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut place) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while place < name.len() {
        if pattern.get(at) == Some(&'*') {
            star = Some((at, place));
            at += 1;
        } else if let Some(after) = one(&pattern, at, name[place]) {
            at = after;
            place += 1;
        } else if let Some((star_at, star_place)) = star {
            at = star_at + 1;
            place = star_place + 1;
            star = Some((star_at, star_place + 1));
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

/// Matches one character; gives the place behind its pattern.
fn one(pattern: &[char], at: usize, c: char) -> Option<usize> {
    match pattern.get(at)? {
        '?' => Some(at + 1),
        '\\' => (pattern.get(at + 1) == Some(&c)).then_some(at + 2),
        '[' => {
            let end = at + 1 + pattern[at + 1..].iter().position(|c| *c == ']')?;
            let set = &pattern[at + 1..end];
            let (negated, set) = match set {
                ['^' | '!', rest @ ..] => (true, rest),
                all => (false, all),
            };
            let mut inside = false;
            let mut index = 0;
            while index < set.len() {
                let (low, high) = if set.get(index + 1) == Some(&'-') && index + 2 < set.len() {
                    (set[index], set[index + 2])
                } else {
                    (set[index], set[index])
                };
                inside |= (low..=high).contains(&c);
                index += if low == high { 1 } else { 3 };
            }
            (inside != negated).then_some(end + 1)
        }
        plain => (*plain == c).then_some(at + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_work_as_docker_has_them() {
        let ignore = IgnoreFile::parse(
            "# comment\nnode_modules\n*.log\n**/*.tmp\n/dist/\ndocs/**\n!docs/keep.md\nfile[0-9].txt\n",
        );
        for path in [
            "node_modules",
            "node_modules/a/b",
            "x.log",
            "a/b/x.tmp",
            "x.tmp",
            "dist/app.js",
            "docs/a.md",
            "file3.txt",
        ] {
            assert!(ignore.ignores(path), "{path} was kept");
        }
        for path in [
            "src/node_modules/a",
            "a/x.log",
            "docs/keep.md",
            "filex.txt",
            "src/dist",
            "Dockerfile",
        ] {
            assert!(!ignore.ignores(path), "{path} was left out");
        }
        let only = IgnoreFile::parse("*\n!src\n!package.json");
        assert!(only.ignores("x") && !only.ignores("src/a/b") && !only.ignores("package.json"));
    }

    #[test]
    fn hostile_patterns_take_bounded_time() {
        let pattern = format!("{}b", "*a".repeat(200));
        let ignore = IgnoreFile::parse(&format!("{pattern}\n{}x", "**/".repeat(300)));
        assert!(!ignore.ignores(&"a".repeat(250)));
        assert!(!ignore.ignores(&vec!["a"; 60].join("/")));
    }
}
