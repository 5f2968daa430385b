//! Tests of this room: hostile archives and detection without Docker; builds on real Docker.

mod builds;
mod detection;
mod hostile;
mod support;
