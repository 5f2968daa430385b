//! Control: the real ledger, its journal on a disk that may fail, and checks after every command.

use weir_ledger::book::Ledger;
use weir_ledger::book::{Change, Command, Event, Reply, Scope};

use crate::disk::{Fault, Journal, Written};
use crate::oracle::Oracle;

/// Control.
#[derive(Debug)]
pub(crate) struct Control {
    /// None while the process is down.
    ledger: Option<Ledger>,
    pub(crate) journal: Journal,
    /// Another ledger that is only ever told the rows of the journal.
    replica: Ledger,
    /// It answers even if it could not write.
    pub(crate) cheats: bool,
    /// Rows since the state was last compared.
    unchecked: usize,
}

impl Control {
    pub(crate) fn new() -> Self {
        Self {
            ledger: Some(Ledger::new()),
            journal: Journal::default(),
            replica: Ledger::new(),
            cheats: false,
            unchecked: 0,
        }
    }

    /// Does a command; nobody hears of it if it could not be written, or control is down.
    pub(crate) fn handle(
        &mut self,
        command: &Command,
        now_ms: i64,
        fault: Fault,
        oracle: &mut Oracle,
    ) -> Option<Reply> {
        let ledger = self.ledger.as_mut()?;
        let rows = self.journal.len();
        let (events, reply) = ledger.handle(command, now_ms);
        let fault = if events.is_empty() { Fault::None } else { fault };
        let written = self.journal.append(&events, fault);
        match written {
            Written::Yes => {}
            Written::Failed => self.ledger = Some(self.journal.load()),
            Written::Killed => self.ledger = None,
        }
        self.check(rows, oracle);
        (written == Written::Yes || self.cheats).then_some(reply)
    }

    /// After every command: the new rows are right, and the state is what the rows lead to.
    fn check(&mut self, rows: usize, oracle: &mut Oracle) {
        let new: Vec<Event> = self.journal.events_after(rows).collect();
        for event in &new {
            self.replica.apply(event);
            oracle.read(event);
            match event.change {
                Change::CapSet { scope, .. } | Change::Rolled { scope, .. } => {
                    // Nothing is granted by these, so what is committed was committed before. A scope
                    // that is gone may end with its period.
                    if let Some((settled, held)) = self.replica.journaled(scope) {
                        oracle.allow(scope, settled.checked_add(held).unwrap());
                    }
                }
                _ => {}
            }
            self.check_path(event, oracle);
        }
        self.unchecked += new.len();
        if let (Some(ledger), true) = (&self.ledger, self.unchecked > 10) {
            self.unchecked = 0;
            let text = |ledger: &Ledger| serde_json::to_string(ledger).unwrap();
            assert_eq!(text(ledger), text(&self.replica), "the journal leads to another state");
        }
    }

    fn check_path(&self, event: &Event, oracle: &Oracle) {
        let (environment, granted) = match &event.change {
            Change::Granted { lease, .. } => {
                let leases = self.replica.leases();
                let lease = leases.iter().find(|standing| standing.number == *lease);
                (lease.unwrap().key.environment, true)
            }
            Change::Reserved { environment, added, .. } => (*environment, added.total().0 > 0),
            Change::Settled { environment, .. } | Change::Closed { environment, .. } => (*environment, false),
            _ => return,
        };
        let mut scope = Some(Scope::Environment(environment));
        while let Some(here) = scope {
            if let Some((settled, held)) = self.replica.journaled(here) {
                oracle.check_scope(here, settled, held, granted);
            }
            scope = self.replica.parent(here);
        }
    }

    pub(crate) fn ledger(&self) -> Option<&Ledger> {
        self.ledger.as_ref()
    }

    pub(crate) fn kill(&mut self) {
        self.ledger = None;
    }

    pub(crate) fn start(&mut self) {
        if self.ledger.is_none() {
            self.ledger = Some(self.journal.load());
        }
    }

    pub(crate) fn write_checkpoint(&mut self) {
        if let Some(ledger) = &self.ledger {
            self.journal.write_checkpoint(ledger);
        }
    }
}
