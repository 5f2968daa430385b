//! What meters and ledger say to each other in the model: `weir_ledger::protocol` with money in
//! units of one and one environment.

/// A meter asks. Sending it is no step of the model: whatever a process could say at a moment is
/// on the network from that moment on, and may never arrive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Question {
    /// Which start of the meter; 0 knocks: it only asks for the number to begin with.
    pub(crate) incarnation: u8,
    /// Which process.
    pub(crate) boot: u8,
    /// Leases of older incarnations, never to be drawn again.
    pub(crate) closings: Vec<Closing>,
    /// Leases of this incarnation; the last one asks for more unless it is closed.
    pub(crate) leases: Vec<LeaseTotals>,
}

/// A lease of an older incarnation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Closing {
    pub(crate) incarnation: u8,
    pub(crate) number: u8,
    pub(crate) drawn: u8,
    pub(crate) returned: u8,
}

/// A lease of this incarnation, in totals since it was opened.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LeaseTotals {
    pub(crate) number: u8,
    pub(crate) granted: u8,
    pub(crate) returned: u8,
    pub(crate) used: u8,
    pub(crate) closed: bool,
}

/// The ledger answers. It answers on the connection of the question, so that only the process
/// that asked can hear it, as often and as late as the network likes. An answer about several
/// leases is one message for each, because each may as well be the only one that is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Answer {
    pub(crate) boot: u8,
    pub(crate) incarnation: u8,
    pub(crate) says: Says,
}

/// What an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Says {
    /// The process may go on; a lease stands so, in totals.
    Lease { number: u8, granted: u8, closed: bool },
    /// It may not.
    Superseded { next: u8 },
}
