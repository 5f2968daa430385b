//! The node on real sockets, with real apps behind it and a control that the test plays.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod access;
mod authority;
mod background;
mod fund;
mod guarding;
mod hostile;
mod https;
mod lookups;
mod paying;
mod proxying;
mod smuggling;
mod smuggling_http2;
mod support;
mod switching;
mod tls;
mod tools;
mod upgrades;
mod waiting;
mod witness;
