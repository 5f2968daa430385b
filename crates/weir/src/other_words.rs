//! What other platforms call things that have another name here: whoever types such a word is told
//! ours.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::failure::Failure;

/// Words of other platforms, and what to type instead.
const WORDS: [(&[&str], &str); 10] = [
    (
        &["app", "apps", "apps:create", "apps:list", "create"],
        "make one with `weir project create NAME`, list all with `weir project list`",
    ),
    (&["apps:destroy", "delete", "remove", "rm"], "weir destroy NAME"),
    (
        &["apps:info", "info", "list", "ls", "ps", "ps:report"],
        "see what runs with `weir status`, and all projects with `weir project list`",
    ),
    (&["config", "config:get", "config:show", "variables"], "weir vars"),
    (
        &["config:add", "config:set", "secret", "secrets", "secrets:set"],
        "weir set KEY=VALUE (with --secret for a secret)",
    ),
    (&["config:unset"], "weir unset KEY"),
    (&["ps:scale"], "weir scale PROCESS=NUMBER"),
    (
        &["bash", "enter", "ps:exec", "shell", "ssh"],
        "weir exec -- bash (or `weir run -- bash` for a container of its own)",
    ),
    (
        &["domains", "domains:add", "domains:list"],
        "weir domain add HOST, weir domain list",
    ),
    (
        &[
            "maintenance:off",
            "maintenance:on",
            "ps:start",
            "ps:stop",
            "start",
            "stop",
        ],
        "weir pause, weir resume",
    ),
];

/// The failure to show in place of clap's, if what was typed is another platform's word.
pub(crate) fn translated(error: &clap::Error) -> Option<Failure> {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return None;
    }
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) else {
        return None;
    };
    let (_, ours) = WORDS.iter().find(|(words, _)| words.contains(&typed.as_str()))?;
    Some(Failure::usage(format!("there is no verb `{typed}` here")).hint(*ours))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    fn message(arguments: &[&str]) -> Option<String> {
        let error = Cli::try_parse_from(std::iter::once(&"weir").chain(arguments)).err()?;
        translated(&error).and_then(|failure| failure.hint)
    }

    #[test]
    fn words_of_other_platforms_are_translated() {
        assert!(message(&["config:set", "A=1"]).unwrap().contains("weir set"));
        assert!(message(&["ps"]).unwrap().contains("weir status"));
        assert_eq!(message(&["stauts"]), None);
    }

    #[test]
    fn no_word_of_another_platform_is_a_verb_here() {
        use clap::CommandFactory as _;
        let cli = Cli::command();
        for word in WORDS.iter().flat_map(|(words, _)| *words) {
            assert!(cli.find_subcommand(word).is_none(), "{word} is a verb");
        }
    }
}
