//! Finds runaways.
