use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory as _};

use crate::cli::Cli;
use crate::failure::{ExitCode, Result};
use crate::session::Session;

/// Print reference documentation made from the program itself.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// docs/reference/cli.md
    Cli,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<()> {
    match args.verb {
        Verb::Cli => session.ui.data(reference().trim_end()),
    }
}

const INTRODUCTION: &str = "\
# The command line

<!-- Made by `weir docs cli`; a test compares it. Do not edit by hand. -->

`weir VERB` uses the public HTTP API and nothing else. Results go to standard output, everything
else to standard error; with `--json` results are JSON on standard output (long work prints its
task at the end, `weir logs` one object a line), and errors JSON on standard error. Colours and
movement are for terminals only, and never with `NO_COLOR`.

**Which Weir.** `WEIR_URL`; else the git remote `weir` of this folder; else the latest
`weir login`; else `http://127.0.0.1:8081`.

**Who you are.** `WEIR_TOKEN`; else what `weir login` stored (in `~/.config/weir/credentials.json`,
mode 0600); else, for the default address, `admin-token` in the default data folder of this machine.

**Which project and environment.** `--project`; else the git remote `weir` of this folder; else
`WEIR_PROJECT`. `--env`; else `production`.

**git.** `weir project create NAME` and `weir link NAME` set the remote `weir` and, for its address
only, a credential helper that gives git your token, so that it stands in no address.

**Long work** is followed until it is done, also when Weir is restarted meanwhile. Ctrl-C stops the
looking and not the work; `--detach` does not look at all.
";

/// The reference of all verbs that are not hidden.
fn reference() -> String {
    let mut root = Cli::command();
    root.build();
    let mut text = INTRODUCTION.to_owned();
    text.push_str("\n## Exit codes\n\n| Code | Meaning |\n|---|---|\n");
    for (code, meaning) in ExitCode::DOCUMENTED {
        let _ = writeln!(text, "| {} | {meaning} |", code.number());
    }
    text.push_str("\n## Verbs\n\n| Verb | What it does |\n|---|---|\n");
    let verbs: Vec<&Command> = shown(&root).collect();
    for verb in &verbs {
        let anchor = format!("weir-{}", verb.get_name());
        let _ = writeln!(text, "| [`weir {}`](#{anchor}) | {} |", verb.get_name(), about(verb));
    }
    for verb in verbs {
        describe(&mut text, verb, "weir", 2);
    }
    text
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command
        .get_subcommands()
        .filter(|verb| !verb.is_hide_set() && verb.get_name() != "help")
}

fn about(command: &Command) -> String {
    command
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default()
        .replace('|', "\\|")
}

fn describe(text: &mut String, command: &Command, parent: &str, level: usize) {
    let name = format!("{parent} {}", command.get_name());
    let words = command
        .get_long_about()
        .or(command.get_about())
        .map(ToString::to_string)
        .unwrap_or_default();
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim();
    let _ = write!(text, "\n{} {name}\n\n{words}\n\n```\n{usage}\n```\n", "#".repeat(level));
    let aliases: Vec<String> = command
        .get_visible_aliases()
        .map(|alias| format!("`{alias}`"))
        .collect();
    if !aliases.is_empty() {
        let _ = writeln!(text, "\nAlso: {}", aliases.join(", "));
    }
    let arguments: Vec<&Arg> = command.get_arguments().filter(|argument| is_own(argument)).collect();
    if !arguments.is_empty() {
        text.push_str("\n| Argument | Meaning |\n|---|---|\n");
        for argument in arguments {
            let _ = writeln!(text, "| {} | {} |", label(argument), meaning(argument));
        }
    }
    if let Some(examples) = command.get_after_help() {
        let examples = examples.to_string();
        let examples = examples.strip_prefix("Examples:\n").unwrap_or(&examples);
        let lines: Vec<&str> = examples
            .lines()
            .map(|line| line.strip_prefix("  ").unwrap_or(line))
            .collect();
        let _ = write!(text, "\n```sh\n{}\n```\n", lines.join("\n"));
    }
    for verb in shown(command) {
        describe(text, verb, &name, level + 1);
    }
}

fn is_own(argument: &Arg) -> bool {
    !argument.is_hide_set()
        && !argument.is_global_set()
        && !["help", "version", "json"].contains(&argument.get_id().as_str())
}

fn label(argument: &Arg) -> String {
    let value = argument
        .get_value_names()
        .and_then(|names| names.first())
        .map(ToString::to_string);
    let takes_value = argument.get_action().takes_values();
    let mut forms = Vec::new();
    if let Some(short) = argument.get_short() {
        forms.push(format!("-{short}"));
    }
    if let Some(long) = argument.get_long() {
        forms.push(format!("--{long}"));
    }
    if forms.is_empty() {
        return format!(
            "`{}`",
            value.unwrap_or_else(|| argument.get_id().to_string().to_uppercase())
        );
    }
    match value.filter(|_| takes_value) {
        Some(value) => format!("`{} {value}`", forms.join(", ")),
        None => format!("`{}`", forms.join(", ")),
    }
}

fn meaning(argument: &Arg) -> String {
    let mut text = argument
        .get_long_help()
        .or(argument.get_help())
        .map(ToString::to_string)
        .unwrap_or_default();
    if !text.is_empty() && !text.ends_with('.') {
        text.push('.');
    }
    let possible: Vec<String> = argument
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if !possible.is_empty() && argument.get_action().takes_values() {
        let _ = write!(text, " One of {}.", possible.join(", "));
    }
    let defaults: Vec<String> = argument
        .get_default_values()
        .iter()
        .map(|value| format!("`{}`", value.to_string_lossy()))
        .collect();
    if !defaults.is_empty() && argument.get_action().takes_values() {
        let _ = write!(text, " Default: {}.", defaults.join(", "));
    }
    text.replace('|', "\\|").replace('\n', " ")
}
