//! Tests of this room: hostile archives and detection without Docker; builds on real Docker.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod builds;
mod detection;
mod hostile;
mod support;
