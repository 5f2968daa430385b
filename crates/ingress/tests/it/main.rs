//! The node on real sockets, with real apps behind it and a control that the test plays.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod access;
mod access_log;
mod authority;
mod background;
mod cache_room;
mod caching;
mod canary;
mod classes;
mod exchanges;
mod former_routes;
mod fund;
mod guarding;
mod hostile;
mod hostile_http2;
mod https;
mod lookups;
mod many_hosts;
mod memory;
mod metrics;
mod paying;
mod protection;
mod protection_access;
mod protection_clients;
mod proxying;
mod sleeping;
mod smuggling;
mod smuggling_http2;
mod support;
mod switching;
mod tcp;
mod tls;
mod tools;
mod upgrades;
mod uploads;
mod waiting;
mod witness;
