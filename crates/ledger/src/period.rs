//! The stretch of time that a cap is for.

use serde::{Deserialize, Serialize};

/// How often a cap begins anew, in civil time of the ledger's time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    /// At midnight.
    Day,
    /// At midnight before Monday.
    Week,
    /// At midnight before the first.
    Month,
    /// Never.
    Total,
}
