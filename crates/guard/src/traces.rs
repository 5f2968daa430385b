//! Labelled traffic: what apps do that is well, and what runs away, each a program in simulated
//! time whose every request goes through a real [`Sentry`](crate::Sentry). [`table`] tells what
//! the guard made of it: precision, recall, and the money that was spent before the trip.

mod programs;
mod score;
pub mod simulator;

pub use programs::{Label, Mode, Trace, incident, traces};
pub use score::{CALL_NANO, Detector, Row, Table, table};
