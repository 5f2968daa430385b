//! The ledger as its users see it: commands in, events and replies out. Every test keeps the
//! journal of all that happens, and the auditor reads along.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed, and says so")]

mod audit;
mod caps;
mod journal;
mod leases;
mod meter;
mod periods;
mod random;
mod treasury;
mod world;
