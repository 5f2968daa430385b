//! Holds leases and spends them.
