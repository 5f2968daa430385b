//! The store, on both databases. PostgreSQL takes part when `WEIR_TEST_POSTGRES` names a
//! server (`tests/with-postgres` starts one).

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on has failed, and says so"
)]

mod billing;
mod certificates;
mod database;
mod deployments;
mod failures;
mod fixtures;
mod help;
mod invoices;
mod metrics;
mod money;
mod notices;
mod people;
mod projects;
mod protection;
mod releases;
mod requests;
mod schema;
mod tasks;
mod tcp;
mod writers;
