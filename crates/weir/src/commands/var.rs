use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use weir_api::{Accepted, SetVariable, UpdateVariables, Variable};
use weir_model::VariableName;

use crate::context::PlaceChoice;
use crate::failure::{Failure, Result};
use crate::follow::{self, Waiting};
use crate::output::{Cell, Look, printable};
use crate::session::Session;

/// Largest input that is read, in bytes; the API takes 64 KiB a value.
const INPUT_BYTES: u64 = 4 << 20;

/// Set, list and remove variables and secrets.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir var set DATABASE_URL=- --secret < url.txt\n  weir var list\n  weir var unset DATABASE_URL\n\n`weir set`, `weir unset` and `weir vars` are the same, shorter."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Set(SetArgs),
    #[command(visible_alias = "remove")]
    Unset(UnsetArgs),
    List(ListArgs),
}

/// Set variables; several at once make one release, which is rolled out like a push.
///
/// A value of `-` is read from standard input, so that it stands in no process list and no
/// history of a shell.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir set LOG_LEVEL=debug WORKERS=4\n  weir set API_KEY=- --secret < key.txt\n  weir set --from-file .env --secret\n  weir set NPM_REGISTRY=https://npm.example.org --build\n  weir set LOG_LEVEL=debug --no-deploy && weir redeploy"
)]
pub(crate) struct SetArgs {
    /// What to set. `KEY=-` reads the value from standard input.
    #[arg(value_name = "KEY=VALUE", required_unless_present = "from_file")]
    pairs: Vec<String>,
    /// A file of lines KEY=VALUE to set as well; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
    /// Keep the values sealed and never show them again.
    #[arg(long)]
    secret: bool,
    /// Builds see them too.
    #[arg(long)]
    build: bool,
    /// Wait with the release until the next push or `weir redeploy`.
    #[arg(long)]
    no_deploy: bool,
    #[command(flatten)]
    place: PlaceChoice,
    #[command(flatten)]
    waiting: Waiting,
}

/// Remove variables; several at once make one release.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  weir unset LOG_LEVEL WORKERS")]
pub(crate) struct UnsetArgs {
    /// Their names.
    #[arg(value_name = "KEY", required = true)]
    names: Vec<String>,
    /// Wait with the release until the next push or `weir redeploy`.
    #[arg(long)]
    no_deploy: bool,
    #[command(flatten)]
    place: PlaceChoice,
    #[command(flatten)]
    waiting: Waiting,
}

/// List variables; values of secrets are never given out.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  weir vars\n  weir vars --env staging --json")]
pub(crate) struct ListArgs {
    #[command(flatten)]
    place: PlaceChoice,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    match args.verb {
        Verb::Set(args) => set(args, session).await,
        Verb::Unset(args) => unset(args, session).await,
        Verb::List(args) => list(args, session).await,
    }
}

/// `weir set`.
pub(crate) async fn set(args: SetArgs, session: &Session) -> Result<()> {
    let place = args.place.resolve()?;
    let values = values(&args)?;
    let names: Vec<&str> = values.keys().map(String::as_str).collect();
    session.ui.note(&format!(
        "setting {} of {} {}",
        names.join(", "),
        place.project,
        place.environment
    ));
    let set = values
        .into_iter()
        .map(|(name, value)| {
            (
                name,
                SetVariable {
                    value,
                    secret: args.secret,
                    build: args.build,
                },
            )
        })
        .collect();
    let request = UpdateVariables {
        set,
        unset: Vec::new(),
        no_deploy: args.no_deploy,
    };
    let client = session.client()?;
    let accepted: Accepted = client.patch(&place.path("/variables"), &request).await?;
    follow::finish(session, &client, accepted, args.waiting, |_| Ok(())).await
}

/// `weir unset`.
pub(crate) async fn unset(args: UnsetArgs, session: &Session) -> Result<()> {
    let place = args.place.resolve()?;
    for name in &args.names {
        check_name(name)?;
    }
    let request = UpdateVariables {
        set: BTreeMap::new(),
        unset: args.names,
        no_deploy: args.no_deploy,
    };
    let client = session.client()?;
    let accepted: Accepted = client.patch(&place.path("/variables"), &request).await?;
    follow::finish(session, &client, accepted, args.waiting, |_| Ok(())).await
}

/// `weir vars`.
pub(crate) async fn list(args: ListArgs, session: &Session) -> Result<()> {
    let variables: Vec<Variable> = session.client()?.get(&args.place.resolve()?.path("/variables")).await?;
    session.ui.result(&variables, || {
        let rows: Vec<Vec<Cell>> = variables.iter().map(row).collect();
        session.ui.table(
            &["NAME", "VALUE", "SEEN BY"],
            &rows,
            "there are no variables: weir set KEY=VALUE",
        )?;
        if variables.iter().any(|variable| !variable.live) {
            session.ui.note("some wait for a release: weir redeploy");
        }
        Ok(())
    })
}

fn row(variable: &Variable) -> Vec<Cell> {
    let value = match (&variable.value, variable.secret) {
        (_, true) | (None, _) => Cell::looking(Look::Faint, "secret"),
        (Some(value), false) => value.replace('\n', "\\n").into(),
    };
    let seen = match (variable.build, variable.live) {
        (false, true) => "instances",
        (true, true) => "instances and builds",
        (_, false) => "waits for a release",
    };
    vec![Cell::looking(Look::Bold, variable.name.as_str()), value, seen.into()]
}

fn check_name(name: &str) -> Result<()> {
    VariableName::new(name)
        .map(drop)
        .map_err(|error| Failure::usage(error.to_string()))
}

fn values(args: &SetArgs) -> Result<BTreeMap<String, String>> {
    let mut values = BTreeMap::new();
    if let Some(file) = &args.from_file {
        values.extend(parse_file(file, &read_file(file)?)?);
    }
    let mut standard_input_used = args.from_file.as_deref() == Some(Path::new("-"));
    for pair in &args.pairs {
        let Some((name, value)) = pair.split_once('=') else {
            // The text may be a secret that went to the wrong place, so it is not repeated.
            return Err(Failure::usage("KEY=VALUE is wanted, and one argument has no `=`")
                .hint("for example: weir set LOG_LEVEL=debug"));
        };
        check_name(name)?;
        let value = if value == "-" {
            if std::mem::replace(&mut standard_input_used, true) {
                return Err(Failure::usage("only one value can be read from standard input")
                    .hint("set several with --from-file FILE"));
            }
            let text = read_standard_input()?;
            // `echo` and editors end with a line end that is no part of the value.
            text.strip_suffix('\n')
                .map(|text| text.strip_suffix('\r').unwrap_or(text))
                .unwrap_or(&text)
                .to_owned()
        } else {
            value.to_owned()
        };
        values.insert(name.to_owned(), value);
    }
    if values.is_empty() {
        return Err(Failure::usage("there is nothing to set"));
    }
    Ok(values)
}

fn read_standard_input() -> Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .take(INPUT_BYTES)
        .read_to_string(&mut text)
        .map_err(|error| Failure::usage("standard input cannot be read as text").detail(error.to_string()))?;
    Ok(text)
}

/// The text of a file; `-` is standard input.
pub(crate) fn read_file(file: &Path) -> Result<String> {
    if file == Path::new("-") {
        return read_standard_input();
    }
    let mut text = String::new();
    std::fs::File::open(file)
        .and_then(|opened| opened.take(INPUT_BYTES).read_to_string(&mut text))
        .map_err(|error| Failure::file("read", file, &error))?;
    Ok(text)
}

/// The lines of a `.env` file: comments, `export`, and quotes as shells have them, without
/// substitution.
fn parse_file(file: &Path, text: &str) -> Result<BTreeMap<String, String>> {
    let mut values = BTreeMap::new();
    let mut rest = text;
    let mut number = 1;
    while !rest.is_empty() {
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        let here = number;
        number += 1;
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            rest = after;
            continue;
        }
        let wrong = |why: &str| Failure::usage(format!("{}: line {here}: {}", file.display(), printable(why)));
        let declaration = trimmed.strip_prefix("export ").unwrap_or(trimmed);
        let (name, value) = declaration
            .split_once('=')
            .ok_or_else(|| wrong("KEY=VALUE is wanted"))?;
        let name = name.trim();
        VariableName::new(name).map_err(|error| wrong(&error.to_string()))?;
        let value = value.trim_start();
        let (value, consumed) = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                // A quoted value may go on over several lines.
                let begin = value.as_ptr() as usize - rest.as_ptr() as usize + 1;
                quoted(&rest[begin..], quote)
                    .map(|(value, length)| (value, begin + length))
                    .ok_or_else(|| wrong("a quote is not closed"))?
            }
            _ => (value.split(" #").next().unwrap_or("").trim_end().to_owned(), line.len()),
        };
        number += rest[..consumed].matches('\n').count();
        rest = rest[consumed..].split_once('\n').map_or("", |(_, after)| after);
        values.insert(name.to_owned(), value);
    }
    Ok(values)
}

/// The text up to the closing quote, and how many bytes it took with that quote.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            _ if character == quote => return Some((value, at + 1)),
            '\\' if quote == '"' => match characters.next()?.1 {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                'r' => value.push('\r'),
                other => value.push(other),
            },
            _ => value.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_as_people_write_them() {
        let text = "# comment\n\nexport A=1\nB = two words # not this\nC=\"a\\nb \\\"q\\\" #x\" # c\nD='$HOME\nsecond'\nE=\nF=x=y";
        let values = parse_file(Path::new(".env"), text).unwrap();
        let expected = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "a\nb \"q\" #x"),
            ("D", "$HOME\nsecond"),
            ("E", ""),
            ("F", "x=y"),
        ];
        let expected: BTreeMap<String, String> =
            expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(values, expected);
    }

    #[test]
    fn mistakes_in_files_name_the_line_and_not_the_value() {
        let error = parse_file(Path::new(".env"), "A=1\nsecretvalue\n").unwrap_err();
        assert_eq!(error.message, ".env: line 2: KEY=VALUE is wanted");
        let error = parse_file(Path::new(".env"), "A='1\n2'\nPORT=3").unwrap_err();
        assert!(error.message.starts_with(".env: line 3: `PORT`"), "{}", error.message);
        assert!(parse_file(Path::new(".env"), "A=\"open").is_err());
    }
}
