//! Runs the real binary against a small server that speaks the public API.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on is to panic; the lint knows only the bodies of tests"
)]

mod billing;
mod deploy;
mod fake;
mod fake_billing;
mod fake_files;
mod fake_invoices;
mod fake_money;
mod files;
mod git;
mod invoices;
mod long_work;
mod money;
mod platform;
mod reference;
mod results;
mod sessions;
mod support;
mod variables;
