//! The meter with a real log, real time and an in-process ledger.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod leases;
mod support;
