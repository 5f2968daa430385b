//! What every engine promises, checked on the simulated and on the real one, and what only one
//! of them can show.
//!
//! The part on Docker is left out with a message where no Docker Engine answers; with
//! `WEIR_TEST_DOCKER=1` its absence is a failure.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test that cannot go on ends with the place and the reason, and says what it leaves out"
)]

mod build;
mod contract;
mod docker;
mod fixture;
mod meters;
mod sim;
