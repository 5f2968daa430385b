//! `weir`: the command line, and the wiring of the processes that make up the platform.
//!
//! The verbs are in `commands`, one file each; all but `up`, `down` and the hidden ones use the
//! public API and nothing else. `platform` starts and watches the processes.

mod amounts;
mod archive;
mod cli;
mod client;
mod commands;
mod context;
mod credentials;
mod download;
mod failure;
mod follow;
mod other_words;
mod output;
mod platform;
mod session;
mod terminal;
mod upload;

use clap::Parser as _;

use crate::cli::{Cli, Verb};
use crate::failure::{ExitCode, Failure, Result};
use crate::output::{Format, Ui};
use crate::session::Session;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    let Cli { json, verb } = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refused(&error),
    };
    let session = Session {
        ui: Ui::new(if json { Format::Json } else { Format::Text }),
    };
    let code = match run(verb, &session) {
        Ok(code) => code,
        Err(failure) => {
            session.ui.failure(&failure);
            failure.code
        }
    };
    std::process::ExitCode::from(code.number())
}

/// Says what is wrong with the command line.
fn refused(error: &clap::Error) -> std::process::ExitCode {
    let Some(failure) = other_words::translated(error) else {
        error.exit();
    };
    let json = std::env::args().any(|argument| argument == "--json");
    Ui::new(if json { Format::Json } else { Format::Text }).failure(&failure);
    std::process::ExitCode::from(failure.code.number())
}

fn run(verb: Verb, session: &Session) -> Result<ExitCode> {
    let mut builder = if verb.wants_many_threads() {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = builder
        .enable_all()
        .build()
        .map_err(|error| Failure::failed("cannot start").detail(error.to_string()))?;
    let result = runtime.block_on(cli::run(verb, session));
    // A thread that reads the keyboard must not hold up the end.
    runtime.shutdown_background();
    result
}
