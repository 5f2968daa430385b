//! The cap: money that cannot be overrun. Prices, periods, leases, double entry, wallets,
//! forecasts. Pure: no input or output, no clock, no randomness; callers bring all three.
//!
//! Two halves share the words of [`protocol`]. The [`Ledger`](book::Ledger), in control, holds
//! for every scope (account > project > environment) a limit `L`, what is settled `S` and what
//! is held `H`, and keeps `S + H <= L` in every durable state. The [`wallet`]s, in whatever
//! spends (nodes, and control itself for builds and storage), spend only what a lease allows:
//! a chunk is logged durably, then drawn, then the work is done, then what was not needed is
//! put back. `docs/spending-cap.md` explains it to a skeptic.

pub mod audit;
pub mod book;
pub mod forecast;
pub mod money;
pub mod period;
pub mod price;
pub mod protocol;
pub mod wallet;

pub use money::{Nano, Pico};
pub use period::Period;
pub use price::{Price, PriceBook, Sku};
