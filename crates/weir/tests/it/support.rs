//! Running the binary, with nothing of the machine's own configuration.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::fake::{Fake, TOKEN};

/// What a command did.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// Fails unless it ended with this status.
    #[track_caller]
    pub(crate) fn ends_with(self, status: i32) -> Self {
        assert_eq!(
            self.status, status,
            "stdout:\n{}\nstderr:\n{}",
            self.stdout, self.stderr
        );
        self
    }

    /// Fails unless standard error contains all of these.
    #[track_caller]
    pub(crate) fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(
                self.stderr.contains(word),
                "standard error lacks {word:?}:\n{}",
                self.stderr
            );
        }
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}:\n{}", self.stdout))
    }
}

/// A command with a home of its own and none of Weir's variables.
pub(crate) fn bare(program: &str, folder: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
        .env("HOME", home)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CEILING_DIRECTORIES", folder.parent().unwrap_or(folder));
    command
}

/// The binary in a folder, with address and token of the fake.
pub(crate) fn weir(fake: &Fake, folder: &Path) -> Command {
    let mut command = bare(env!("CARGO_BIN_EXE_weir"), folder, folder);
    command.env("WEIR_URL", &fake.url).env("WEIR_TOKEN", TOKEN);
    command
}

/// Runs a command to its end.
pub(crate) fn finish(command: &mut Command) -> Outcome {
    finish_with_input(command, "")
}

/// Runs a command to its end with this on standard input.
pub(crate) fn finish_with_input(command: &mut Command, input: &str) -> Outcome {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that reads nothing may be gone already.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    Outcome {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs the binary with these words in an empty folder.
pub(crate) fn run(fake: &Fake, words: &[&str]) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    finish(weir(fake, folder.path()).args(words))
}

/// Runs git; fails if it fails.
#[track_caller]
pub(crate) fn git(folder: &Path, words: &[&str]) -> String {
    let outcome = finish(bare("git", folder, folder).args(words)).ends_with(0);
    outcome.stdout.trim().to_owned()
}
