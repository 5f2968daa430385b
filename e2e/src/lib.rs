//! Drives the real binary with real Docker and real git, as a user would: through the CLI, the
//! public API, `git push` and requests to the ingress; it knows nothing of Weir's insides.
//!
//! A test takes one of the running [`Weir`]s, makes a project of its own from one of the
//! examples or from the probe app, and looks at it from outside. What fails carries the output
//! of the programs with it.

pub mod docker;
pub mod http;
pub mod leftovers;
pub mod load;
pub mod processes;
pub mod repository;
pub mod tls;
pub mod wait;
pub mod weir;

pub use http::Answer;
pub use repository::{Push, Repository};
pub use wait::until;
pub use weir::{Outcome, Weir};

use std::path::PathBuf;

/// The root of the repository.
pub fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or_else(|| here.clone(), PathBuf::from)
}

/// The folder of an example of the repository.
pub fn example(name: &str) -> PathBuf {
    root().join("examples").join(name)
}

/// The folder of the probe app, which shows what a platform can get wrong.
pub fn probe() -> PathBuf {
    root().join("e2e/apps/probe")
}
