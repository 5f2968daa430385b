//! A user's own Dockerfile, with as little changed as can be: every `RUN` is lent the
//! machine's certificate authorities. They come from an image of their own and are mounted,
//! and the variables that point to them are build arguments, so that none of it stays in the
//! user's image. Everything else is passed on byte by byte.

use std::collections::BTreeSet;

use super::{CA_PATH, CA_VARIABLES, keep_ca_lines};

/// What is to be changed.
#[derive(Debug, Default)]
pub(crate) struct Changes<'a> {
    /// The image that holds `ca-certificates.crt` at its root.
    pub ca_image: Option<&'a str>,
    /// Keep the certificate authorities in this stage (the last one if `None`).
    pub keep_ca: bool,
    /// The stage that is built; the last if `None`.
    pub target: Option<&'a str>,
    /// Leave out the line `# syntax=…`, which fetches another frontend from a registry.
    pub without_syntax: bool,
}

/// What a Dockerfile says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outline {
    /// Images that it is built from, as far as they are written out.
    pub bases: BTreeSet<String>,
    /// Build arguments that it declares.
    pub arguments: BTreeSet<String>,
    /// It has a line `# syntax=…`.
    pub has_syntax: bool,
}

/// One instruction with everything that belongs to it.
struct Instruction<'a> {
    /// The whole text, comments before it and here-documents included.
    text: &'a str,
    /// Where its first word begins in the text.
    start: usize,
    /// Its first word, in capitals; empty for trailing comments.
    word: String,
}

/// What a Dockerfile says of bases and arguments.
pub(crate) fn outline(text: &str) -> Outline {
    let mut outline = Outline {
        has_syntax: text.lines().take(5).any(is_syntax_line),
        ..Outline::default()
    };
    let mut stages: BTreeSet<String> = BTreeSet::new();
    for instruction in instructions(text) {
        let words: Vec<&str> = instruction.text[instruction.start..]
            .split_whitespace()
            .skip(1)
            .filter(|word| *word != "\\")
            .collect();
        match instruction.word.as_str() {
            "FROM" => {
                let mut words = words.into_iter().filter(|word| !word.starts_with("--"));
                let base = words.next().unwrap_or_default();
                if !base.contains('$') && base != "scratch" && !stages.contains(&base.to_ascii_lowercase()) {
                    outline.bases.insert(base.to_owned());
                }
                if words.next().is_some_and(|word| word.eq_ignore_ascii_case("as")) {
                    stages.extend(words.next().map(str::to_ascii_lowercase));
                }
            }
            "ARG" => outline.arguments.extend(
                words
                    .iter()
                    .map(|word| word.split('=').next().unwrap_or(word).to_owned()),
            ),
            "COPY" | "RUN" => {
                let lent = words
                    .iter()
                    .filter(|word| word.starts_with("--"))
                    .flat_map(|word| word.split([',', '=']))
                    .collect::<Vec<_>>();
                let from = lent
                    .windows(2)
                    .find(|pair| pair[0].trim_start_matches('-') == "from")
                    .map(|pair| pair[1]);
                if let Some(from) = from.filter(|from| from.starts_with("weir-stack/")) {
                    outline.bases.insert(from.to_owned());
                }
            }
            _ => {}
        }
    }
    outline
}

/// Makes the changes.
pub(crate) fn rewrite(text: &str, changes: &Changes<'_>) -> String {
    let mut out = String::with_capacity(text.len() + 1024);
    let mut stage = String::new();
    let keep = changes
        .ca_image
        .filter(|_| changes.keep_ca)
        .map(|image| keep_ca_lines(&format!("COPY --from={image} /ca-certificates.crt")));
    for instruction in instructions(text) {
        let (before, rest) = instruction.text.split_at(instruction.start);
        match (instruction.word.as_str(), changes.ca_image) {
            ("FROM", image) => {
                if let Some(keep) = keep
                    .as_deref()
                    .filter(|_| changes.target.is_some_and(|target| stage.eq_ignore_ascii_case(target)))
                {
                    out.push_str(keep);
                }
                stage = stage_name(rest);
                out.push_str(instruction.text);
                if image.is_some() {
                    end_line(&mut out);
                    for name in CA_VARIABLES {
                        out.push_str(&format!("ARG {name}={CA_PATH}\n"));
                    }
                }
            }
            ("RUN", Some(image)) => {
                out.push_str(before);
                out.push_str(&rest[..3]);
                out.push_str(&format!(" --mount=type=bind,from={image},source=/,target=/run/weir"));
                out.push_str(&rest[3..]);
            }
            _ => out.push_str(instruction.text),
        }
    }
    if let Some(keep) = keep.filter(|_| changes.target.is_none_or(|target| stage.eq_ignore_ascii_case(target))) {
        end_line(&mut out);
        out.push_str(&keep);
    }
    if changes.without_syntax {
        out = out
            .split_inclusive('\n')
            .enumerate()
            .filter(|(index, line)| *index >= 5 || !is_syntax_line(line))
            .map(|(_, line)| line)
            .collect();
    }
    out
}

fn end_line(out: &mut String) {
    if !out.ends_with('\n') {
        out.push('\n');
    }
}

fn stage_name(from: &str) -> String {
    let words: Vec<&str> = from.split_whitespace().filter(|word| *word != "\\").collect();
    let at = words.iter().position(|word| word.eq_ignore_ascii_case("as"));
    at.and_then(|at| words.get(at + 1))
        .map(|name| (*name).to_owned())
        .unwrap_or_default()
}

fn is_syntax_line(line: &str) -> bool {
    let rest = line
        .trim_start_matches('\u{feff}')
        .trim_start()
        .strip_prefix('#')
        .map(str::trim_start);
    rest.is_some_and(|rest| {
        rest.to_ascii_lowercase()
            .strip_prefix("syntax")
            .is_some_and(|rest| rest.trim_start().starts_with('='))
    })
}

/// Cuts a Dockerfile into instructions; together they are the whole text again.
fn instructions(text: &str) -> Vec<Instruction<'_>> {
    let escape = escape_character(text);
    let mut found = Vec::new();
    let mut missing: BTreeSet<&str> = BTreeSet::new();
    let mut lines = text.split_inclusive('\n').peekable();
    let (mut begin, mut end) = (0, 0);
    while let Some(line) = lines.next() {
        let start = end;
        end += line.len();
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let first = start + (line.len() - line.trim_start().len());
        let mut last = line;
        // Comments and empty lines do not end a continued instruction.
        while last.trim_end().ends_with(escape) || last.trim_start().starts_with('#') || last.trim().is_empty() {
            match lines.next() {
                Some(next) => {
                    end += next.len();
                    last = next;
                }
                None => break,
            }
        }
        let word: String = text[first..]
            .chars()
            .take_while(char::is_ascii_alphabetic)
            .collect::<String>()
            .to_ascii_uppercase();
        if matches!(word.as_str(), "RUN" | "COPY" | "ADD") {
            for delimiter in here_documents(&text[first..end]) {
                // A shift in shell arithmetic looks alike, but nothing ends it.
                let ends = |line: &str| line.trim_end_matches(['\r', '\n']).trim_start_matches('\t') == delimiter;
                if missing.contains(delimiter) || !text[end..].lines().any(ends) {
                    missing.insert(delimiter);
                    continue;
                }
                for next in lines.by_ref() {
                    end += next.len();
                    if ends(next) {
                        break;
                    }
                }
            }
        }
        found.push(Instruction {
            text: &text[begin..end],
            start: first - begin,
            word,
        });
        begin = end;
    }
    if begin < text.len() {
        found.push(Instruction {
            text: &text[begin..],
            start: text.len() - begin,
            word: String::new(),
        });
    }
    found
}

fn escape_character(text: &str) -> char {
    let directives = text.lines().map(str::trim).take_while(|line| line.starts_with('#'));
    let named = directives.filter_map(|line| {
        line[1..]
            .trim()
            .to_ascii_lowercase()
            .strip_prefix("escape")
            .map(|rest| rest.trim_start().trim_start_matches('=').trim().to_owned())
    });
    if named.into_iter().any(|character| character == "`") {
        '`'
    } else {
        '\\'
    }
}

/// The delimiters of the here-documents that an instruction opens (`<<EOF`, `<<-"EOF"`).
fn here_documents(instruction: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = instruction;
    while let Some(at) = rest.find("<<") {
        let after = rest[at + 2..].strip_prefix('-').unwrap_or(&rest[at + 2..]);
        let bare = after.trim_start_matches(['"', '\'']);
        let length = bare
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(bare.len());
        let starts_well = bare.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if starts_well && !after.starts_with('<') && found.len() < 16 {
            found.push(&bare[..length]);
        }
        rest = &rest[at + 2..];
        rest = rest.trim_start_matches('<');
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# syntax=docker/dockerfile:1\n# comment\nARG BASE=x\nFROM --platform=linux/amd64 python:3.13 AS Build\nARG TOKEN\nRUN pip install \\\n  # why\n  flask && \\\n  echo ok\nrun [\"a\", \"b\"]\nRUN <<EOF\nRUN not an instruction\nFROM nor this\nEOF\nFROM scratch\nCOPY --from=build /x /x\nONBUILD RUN x\nCMD [\"x\"]";

    #[test]
    fn every_run_is_lent_the_authorities_and_nothing_else_changes() {
        let changes = Changes {
            ca_image: Some("weir-stack/ca:1"),
            ..Changes::default()
        };
        let written = rewrite(FILE, &changes);
        assert_eq!(written.matches("--mount=type=bind,from=weir-stack/ca:1").count(), 3);
        assert!(
            written.contains("\nrun --mount=type=bind,from=weir-stack/ca:1,source=/,target=/run/weir [\"a\", \"b\"]\n")
        );
        assert!(written.contains("EOF\nRUN not an instruction\nFROM nor this\nEOF\n"));
        assert!(written.contains("AS Build\nARG SSL_CERT_FILE=/run/weir/ca-certificates.crt\n"));
        assert!(written.ends_with("CMD [\"x\"]"));
        let plain = written.replace(" --mount=type=bind,from=weir-stack/ca:1,source=/,target=/run/weir", "");
        let plain: String = plain
            .split_inclusive('\n')
            .filter(|line| !line.contains("=/run/weir/ca-"))
            .collect();
        assert_eq!(plain, FILE);
        assert_eq!(rewrite(FILE, &Changes::default()), FILE);
    }

    #[test]
    fn bases_and_arguments_are_seen() {
        let outline = outline(FILE);
        assert_eq!(
            outline.bases.iter().map(String::as_str).collect::<Vec<_>>(),
            ["python:3.13"]
        );
        assert_eq!(
            outline.arguments.iter().map(String::as_str).collect::<Vec<_>>(),
            ["BASE", "TOKEN"]
        );
        assert!(outline.has_syntax);
        assert!(
            !rewrite(
                FILE,
                &Changes {
                    without_syntax: true,
                    ..Changes::default()
                }
            )
            .contains("syntax")
        );
    }

    #[test]
    fn authorities_are_kept_at_the_end_of_the_stage_that_is_built() {
        let changes = Changes {
            ca_image: Some("ca:1"),
            keep_ca: true,
            target: Some("build"),
            without_syntax: false,
        };
        let written = rewrite(FILE, &changes);
        let kept = written.find("COPY --from=ca:1").unwrap();
        assert!(kept < written.find("FROM scratch").unwrap());
        let written = rewrite(
            FILE,
            &Changes {
                target: None,
                ..changes
            },
        );
        assert!(written.find("COPY --from=ca:1").unwrap() > written.find("CMD").unwrap());
    }

    #[test]
    fn hostile_dockerfiles_do_no_harm() {
        for text in [
            "",
            "\\",
            "RUN",
            "RUN <<EOF",
            "FROM",
            "\u{feff}FROM a",
            "RUN <<a <<b <<c\n",
            "FROM a\nRUN echo $((1<<x))\nRUN y\n",
            "# escape=`\nFROM a\nRUN x `\n y\n",
            "RUNé x",
        ] {
            let written = rewrite(
                text,
                &Changes {
                    ca_image: Some("ca:1"),
                    keep_ca: true,
                    ..Changes::default()
                },
            );
            assert!(written.len() >= text.len());
            let _ = outline(text);
        }
    }
}
