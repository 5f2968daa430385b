//! What only the simulated engine can show.
