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

/// Makes a test on each engine of each promise.
macro_rules! promises {
    ($($name:ident)*) => {
        mod on_sim {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::fixture::Fixture::sim()).await;
            })*
        }
        mod on_docker {
            $(#[tokio::test]
            async fn $name() {
                super::on_docker(|fixture, _engine| super::$name(fixture)).await;
            })*
        }
    };
}

mod build;
mod contract;
mod docker;
mod fixture;
mod meters;
mod sim;
mod world;
