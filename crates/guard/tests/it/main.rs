//! The guard as a whole, through its public API.
#![allow(clippy::unwrap_used, reason = "a test that fails says why")]

mod sentry;
mod traces;
