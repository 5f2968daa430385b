//! Instances that pay for themselves, on the simulated machine and on real Docker: counters are
//! those of the kernel, money comes from a ledger in the same process.
//!
//! The part on Docker is left out with a message where no Docker Engine answers; with
//! `WEIR_TEST_DOCKER=1` its absence is a failure.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "tests fail by panicking, and say what they leave out"
)]

mod background;
mod burning;
mod deadman;
mod egress;
mod fixture;
#[path = "../../../engine/tests/it/world.rs"]
mod world;
