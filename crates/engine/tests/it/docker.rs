//! What only the real engine can show.
