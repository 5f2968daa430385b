//! The files by which a repository says how it wants to run: `weir.toml` and `Procfile`.
//! Readers only: text in, types or problems out. All problems of a file are reported
//! together, each with its line, so that a person mends them in one go.
//!
//! One description makes everything: the types in [`types`] give the JSON schema, the schema
//! drives the check of keys and types, and a test compares it with the published one.

mod access_log;
mod cache;
mod classes;
mod procfile;
mod protection;
mod reader;
mod scaling;
mod spec;
mod tcp;
mod types;
mod values;

pub use access_log::AccessLogFile;
pub use cache::CacheFile;
pub use procfile::{Procfile, ProcfileProcess};
pub use reader::{FileProblem, FileProblems, describe_key, schema_text};
pub use spec::{Detected, main_app};
pub use tcp::{TcpFile, TcpTlsFile};
pub use types::{
    AppFile, BuildFile, BuildKind, CheckFile, ClassFile, DeployFile, LimitsFile, ProcessFile, ProjectFile, ReleaseFile,
    RouteFile, ScalingFile, VolumeFile,
};
pub use values::{CpuShare, Duration, MemorySize, RequestRate};

/// The name of the project's file.
pub const WEIR_TOML: &str = "weir.toml";
/// Largest `weir.toml` that is read, in bytes.
pub const WEIR_TOML_BYTES: usize = 256 << 10;
/// Largest `Procfile` that is read, in bytes.
pub const PROCFILE_BYTES: usize = 64 << 10;
