//! Control as its users meet it: over HTTP, with a real store and a simulated engine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on ends with a panic"
)]

mod access_log;
mod api;
mod api_matrix;
mod api_money;
mod api_sessions;
mod api_streams;
mod billing;
mod billing_out;
mod browser;
mod caching;
mod canary;
mod certificates;
mod files;
mod git;
mod git_server;
mod harness;
mod help;
mod history;
mod invoices;
mod kept;
mod live;
mod logs;
mod mail_server;
mod metrics;
mod money;
mod monthly;
mod notices;
mod past;
mod pebble;
mod people;
mod protection;
mod reach;
mod serve;
mod shares;
mod tcp;
mod tls;
