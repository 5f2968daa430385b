//! What is counted of requests, for those who watch over apps: by route, status and who answered,
//! with histograms of how long it took.
//!
//! Counting takes no lock and asks nobody ([`series`]); what is known of a request on its way is in
//! its [`Observation`]. Apart from `access`, which counts for the audit of what was paid.

mod book;
mod observation;
mod series;
mod socket;
mod visit;

pub(crate) use book::{Book, Watched};
pub(crate) use observation::{Carried, Observation, ObservedBody, Seat};
pub(crate) use series::{Outcome, Series};
pub(crate) use socket::serve;
pub(crate) use visit::Visit;
