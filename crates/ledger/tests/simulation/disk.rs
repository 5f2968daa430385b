//! Disks that fail: the log of a meter, and the table of the ledger's journal.

use weir_ledger::audit::{AuditReport, Auditor, Entry, GENESIS, chain_hash};
use weir_ledger::book::Event;
use weir_ledger::book::Ledger;
use weir_ledger::wallet::purse::Record;

/// What becomes of one write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// The disk is full: an error, and nothing is there.
    Full,
    /// An error, and a part of it is there.
    Torn,
    /// An error, and all of it is there.
    Doubtful,
    /// SIGKILL before, in the middle, and after, but before anybody was told.
    KilledBefore,
    KilledWithin,
    KilledAfter,
}

/// How a write ended for the one who wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    Yes,
    /// An error: nobody knows.
    Failed,
    /// The process is dead.
    Killed,
}

impl Fault {
    fn is_kept(self) -> bool {
        matches!(self, Self::None | Self::Doubtful | Self::KilledAfter)
    }

    fn is_torn(self) -> bool {
        matches!(self, Self::Torn | Self::KilledWithin)
    }

    fn outcome(self) -> Written {
        match self {
            Self::None => Written::Yes,
            Self::Full | Self::Torn | Self::Doubtful => Written::Failed,
            Self::KilledBefore | Self::KilledWithin | Self::KilledAfter => Written::Killed,
        }
    }
}

/// A meter's log: a line for each write, of which the last may be torn.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    text: String,
}

impl Disk {
    /// Writes a line at the end; a torn one keeps `kept` bytes.
    pub(crate) fn append(&mut self, records: &[Record], fault: Fault, kept: usize) -> Written {
        let line = line(records);
        if fault.is_kept() {
            self.text.push_str(&line);
        } else if fault.is_torn() {
            self.text.push_str(&line[..kept % line.len()]);
        }
        fault.outcome()
    }

    /// Writes it anew, beside the old one, which stays if that fails.
    pub(crate) fn rewrite(&mut self, records: &[Record], fault: Fault) -> Written {
        if fault.is_kept() {
            self.text = line(records);
        }
        fault.outcome()
    }

    pub(crate) fn read(&self) -> Vec<Record> {
        let lines = self.text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        lines
            .flat_map(|line| serde_json::from_str::<Vec<Record>>(line).expect("only the last line may be torn"))
            .collect()
    }

    pub(crate) fn lose(&mut self) {
        self.text.clear();
    }
}

fn line(records: &[Record]) -> String {
    serde_json::to_string(records).unwrap() + "\n"
}

/// The ledger's journal and its last checkpoint.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    rows: Vec<(String, String)>,
    checkpoint: Option<(usize, String)>,
}

impl Journal {
    /// All events of one command in one transaction.
    pub(crate) fn append(&mut self, events: &[Event], fault: Fault) -> Written {
        // A transaction is there or is not.
        if fault.is_kept() {
            for event in events {
                let body = serde_json::to_string(event).unwrap();
                let sequence = i64::try_from(self.rows.len()).unwrap() + 1;
                let previous = self.rows.last().map_or(GENESIS, |(_, hash)| hash.as_str());
                let hash = chain_hash(previous, sequence, &body);
                self.rows.push((body, hash));
            }
        }
        fault.outcome()
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn events_after(&self, sequence: usize) -> impl Iterator<Item = Event> {
        let rows = self.rows[sequence..].iter();
        rows.map(|(body, _)| serde_json::from_str(body).unwrap())
    }

    pub(crate) fn write_checkpoint(&mut self, ledger: &Ledger) {
        self.checkpoint = Some((self.rows.len(), serde_json::to_string(ledger).unwrap()));
    }

    /// The ledger as it starts: the checkpoint, and what came after it.
    pub(crate) fn load(&self) -> Ledger {
        let (sequence, mut ledger) = match &self.checkpoint {
            Some((sequence, body)) => (*sequence, serde_json::from_str(body).unwrap()),
            None => (0, Ledger::new()),
        };
        self.events_after(sequence).for_each(|event| ledger.apply(&event));
        ledger
    }

    /// What the product's own audit says of it.
    pub(crate) fn audit(&self) -> (Ledger, AuditReport) {
        let mut auditor = Auditor::new();
        let mut previous = GENESIS;
        for (index, (body, hash)) in self.rows.iter().enumerate() {
            auditor.entry(&Entry {
                sequence: i64::try_from(index).unwrap() + 1,
                previous_hash: previous,
                body,
                hash,
            });
            previous = hash;
        }
        (auditor.ledger().clone(), auditor.finish())
    }
}
