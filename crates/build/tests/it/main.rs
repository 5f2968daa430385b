//! Tests of this room: hostile archives and detection without Docker; builds on real Docker.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on has failed; times are printed"
)]

mod builds;
mod detection;
mod hostile;
mod proposals;
mod support;
