//! Finds runaways: apps whose own calls multiply. The cap bounds what a runaway costs; the guard
//! keeps it far below the cap.
//!
//! Calls of instances to addresses of this Weir are recognised by where they come from. What
//! was in flight at the calling instance are the candidates for its parent, each with its share
//! of the call. So every call has a least depth and shares of roots (requests from outside), and
//! every root has a budget. Services that call each other in circles are watched for how many
//! calls a call makes. What is refused is only ever a call of an instance, never a visitor.
//!
//! Pure: time is told in microseconds by the callers, nothing waits, nothing is read or written.
//! Wrong it can be in one way by design: with several requests in flight at an instance, a call
//! is shared out among them, so sums are right on average, not one by one. With the app's help
//! (the [`LINEAGE_HEADER`], or `traceparent`) it gets more exact, and only ever stricter.
//!
//! What it cannot tell without that help: whether a single call belongs to a request that happens
//! to be in flight or to a timer of the same process. Of a timer that calls again and again it can:
//! its calls go on right after one was answered whose possible makers have all ended. And a recursion that
//! waits for every answer looks, at the instance where it began, like one request that makes many
//! calls: there its budget stops it, not its depth.

mod circle;
mod descent;
mod flow;
mod lineage;
mod matrix;
mod repeats;
mod residents;
mod roots;
mod seat;
mod sentry;
mod target;
mod trips;

pub mod background;
#[cfg(feature = "traces")]
pub mod traces;

pub use flow::{Gate, TargetState};
pub use lineage::{LINEAGE_HEADER, LineageKey};
pub use repeats::ContentHash;
pub use seat::Seat;
pub use sentry::{Ask, Caller, Passage, Sentry, Start, Verdict};
pub use target::Target;
pub use weir_model::guard::{BackgroundRule, GuardRule, GuardRules, GuardTrip};
