//! Control as its users meet it: over HTTP, with a real store and a simulated engine.

mod api;
mod api_matrix;
mod api_sessions;
mod api_streams;
mod harness;
