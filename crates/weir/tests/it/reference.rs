//! What is made from the definition of the command line.

use crate::fake::Fake;
use crate::support::run;

#[test]
fn the_reference_in_the_repository_is_that_of_the_program() {
    let fake = Fake::start();
    let made = run(&fake, &["docs", "cli"]).ends_with(0).stdout;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/cli.md");
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    let difference = made.lines().zip(kept.lines()).find(|(made, kept)| made != kept);
    assert!(
        made == kept,
        "docs/reference/cli.md is old ({difference:?}); make it anew: weir docs cli > docs/reference/cli.md"
    );
}

#[test]
fn every_shell_gets_completions() {
    let fake = Fake::start();
    for shell in ["bash", "zsh", "fish"] {
        let outcome = run(&fake, &["completions", shell]).ends_with(0);
        assert!(outcome.stdout.contains("rollback"), "{shell}");
    }
}

#[test]
fn help_shows_examples() {
    let fake = Fake::start();
    assert!(
        run(&fake, &["help", "deploy"])
            .ends_with(0)
            .stdout
            .contains("Examples:")
    );
    assert!(run(&fake, &["--help"]).ends_with(0).stdout.contains("First steps:"));
}
