//! Source to image: receive, detect, plan, build.
//!
//! A [`Source`] is an archive that is indexed and never unpacked on the host. [`detect`] looks
//! at it and says what each app is and how it is built and run; [`build_app`] makes the image.
//! A build always ends in a Dockerfile build with BuildKit, the user's own or one that is
//! written here, so that there is one way to build. What detected languages are built on are
//! [`Stack`]s, made from Debian's packages on first use.
//!
//! It keeps no state but the engine's images and caches, reads no environment variables, and
//! runs one program on the host, `mmdebstrap`. It fails with words for the person who pushed.

mod build;
mod context;
mod debootstrap;
mod detect;
mod hints;
mod ignorefile;
mod plan;
mod propose;
mod recipe;
mod source;
mod stack;
mod stack_build;

pub use build::{BuildError, BuildLine, BuildOptions, BuiltApp, build_app};
pub use detect::{DetectError, detect};
pub use plan::{AppPlan, Base, ImagePlan, NodeManager, NodePlan, PythonDependencies, PythonPlan, PythonTool, Recipe};
pub use propose::{Missing, Proposal, kind_word, propose};
pub use source::{Source, SourceEntry, SourceError, SourceLimits};
pub use stack::{STACK_LABEL, Stack};
pub use stack_build::ensure_stack;
