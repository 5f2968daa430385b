//! Decides: the API, git, builds, desired state, and the reconciler that drives reality
//! towards it. May crash, restart or be upgraded at any moment; no user's request notices,
//! because the node serves from its last snapshot.
//!
//! Handlers write down what is asked for, wake the reconciler and answer with a task. Only the
//! reconciler acts on running instances, and a task is done when reality shows it (C3, C4).

pub mod access_log;
pub mod api;
mod asker;
mod audit;
pub mod billing;
pub mod canary;
pub mod certificates;
mod civil;
mod class_status;
pub mod clock;
pub mod config;
pub mod configuration;
pub mod console;
mod console_hosts;
pub mod context;
pub mod deploy;
pub mod git;
mod guarding;
pub mod help;
pub mod hosts;
pub mod invoices;
pub mod logs;
pub mod metrics;
pub mod money;
pub mod node_link;
pub mod people;
pub mod projects;
pub mod protecting;
pub mod push;
pub mod reconcile;
pub mod secrets;
pub mod serve;
pub mod status;
pub mod tasks;
pub mod tcp;
pub mod tokens;
mod uploads;
pub mod volumes;
mod worst_case;

pub use config::Config;
pub use context::Context;
pub use serve::serve;
