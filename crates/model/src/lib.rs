//! The nouns of Weir, pure: identifiers, names, the specification of an app, releases,
//! deployments, routes, tasks and logs, and the readers of `weir.toml` and `Procfile`.
//!
//! This room does no input or output, reads no clock and draws no random number: whoever
//! calls it brings those along. Everything else in the house may use it; it uses nothing.

pub mod access_log;
pub mod cache;
pub mod canary;
pub mod certificate;
pub mod cookie;
pub mod deployment;
pub mod files;
pub mod guard;
pub mod ids;
pub mod log;
pub mod metrics;
pub mod names;
pub mod policy;
pub mod project;
pub mod protection;
pub mod proxy;
pub mod release;
pub mod route;
pub mod route_feed;
pub mod scaling;
pub mod spec;
pub mod task;
pub mod tcp;

pub use ids::*;
pub use names::{
    AppName, ClassName, EnvironmentName, InvalidName, ProcessName, ProjectName, TcpServiceName, VariableName,
    VolumeName,
};

/// Milliseconds since the Unix epoch, UTC. The one representation of an instant in Weir.
pub type UnixMillis = i64;
