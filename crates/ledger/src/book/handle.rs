//! From commands to events: the one door through which the state changes.

use std::collections::BTreeMap;

use serde::Serialize;
use sha2::{Digest, Sha256};
use weir_model::{EnvironmentId, UnixMillis};

use super::event::{Change, Event};
use super::state::{Books, Lease};
use super::{Command, Ledger, Refusal, Reply, Scope};
use crate::money::Nano;
use crate::period;
use crate::price::PriceBook;

/// A command in work: the ledger, the instant, and what has happened so far. Each event is
/// applied when it is decided, so that the next decision sees it.
pub(super) struct Desk<'a> {
    pub(super) ledger: &'a mut Ledger,
    pub(super) now_ms: UnixMillis,
    /// Most that a want may take out of the tail of what an environment stores, where there is no
    /// room for it.
    pub(super) tails: BTreeMap<EnvironmentId, Nano>,
    events: Vec<Event>,
}

impl Ledger {
    /// A ledger with nothing in it. It grants nothing until prices are published and scopes are
    /// opened.
    pub fn new() -> Self {
        Self::default()
    }

    /// Does a command: what has changed, already applied, and the reply. The events must be
    /// durable before the reply leaves; if they cannot be written, this ledger is to be thrown
    /// away and rebuilt.
    pub fn handle(&mut self, command: &Command, now_ms: UnixMillis) -> (Vec<Event>, Reply) {
        let mut desk = Desk {
            ledger: self,
            now_ms,
            tails: BTreeMap::new(),
            events: Vec::new(),
        };
        let reply = match desk.command(command) {
            Ok(reply) => reply,
            Err(refusal) => Reply::Refused(refusal),
        };
        (desk.events, reply)
    }

    /// Takes in an event of the journal.
    pub fn apply(&mut self, event: &Event) {
        self.books.apply(event);
    }
}

impl Desk<'_> {
    /// The only way to change the books.
    pub(super) fn emit(&mut self, change: Change) {
        let event = Event {
            at_ms: self.now_ms,
            change,
        };
        self.ledger.books.apply(&event);
        self.events.push(event);
    }

    pub(super) fn books(&self) -> &Books {
        &self.ledger.books
    }

    fn command(&mut self, command: &Command) -> Result<Reply, Refusal> {
        match command {
            Command::Configure(settings) => {
                if period::time_zone(&settings.time_zone).is_none() {
                    return Err(invalid(&format!(
                        "`{}` is not a time zone; write it like Europe/Berlin or UTC",
                        settings.time_zone
                    )));
                }
                if *settings != self.books().settings {
                    self.emit(Change::Configured(settings.clone()));
                }
            }
            Command::Open { scope, parent, cap } => self.open(*scope, *parent, *cap)?,
            Command::SetCap { scope, cap } => self.set_cap(*scope, *cap)?,
            Command::Close { scope } => self.close_scope(*scope)?,
            Command::Publish { book } => self.publish(book)?,
            Command::SetBilling { .. }
            | Command::SetStopOrder { .. }
            | Command::Deposit { .. }
            | Command::Promise { .. }
            | Command::Correct { .. }
            | Command::Invoice { .. }
            | Command::Reserve { .. } => self.treasury(command)?,
            Command::Exchange(exchange) => return Ok(Reply::Answer(self.exchange(exchange))),
            Command::ExchangeOnTail { exchange, tails } => {
                self.tails.clone_from(tails);
                return Ok(Reply::Answer(self.exchange(exchange)));
            }
            Command::Fence { meter, incarnation } => self.fence(meter, *incarnation),
            Command::Tick => self.tick(),
        }
        Ok(Reply::Done)
    }

    fn publish(&mut self, book: &PriceBook) -> Result<(), Refusal> {
        let last = self.books().prices.last_key_value();
        // The same book again is the same publication, whose answer was lost.
        if last.is_some_and(|(_, last)| last == book) {
            return Ok(());
        }
        book.follows(last.map(|(_, last)| last))
            .map_err(|error| invalid(&error.to_string()))?;
        self.emit(Change::Published { book: book.clone() });
        Ok(())
    }

    fn tick(&mut self) {
        self.roll_all();
        self.promises_due();
        self.settle_due();
        self.resume_all();
    }

    /// The open path of an environment, from itself to the account; `None` if any of it is gone.
    pub(super) fn path(&self, environment: EnvironmentId) -> Option<[Scope; 3]> {
        let open = |scope: Scope| self.books().scopes.get(&scope).filter(|book| !book.gone);
        let environment = Scope::Environment(environment);
        let project = open(environment)?.parent?;
        let account = open(project)?.parent?;
        open(account)?;
        Some([environment, project, account])
    }

    /// Which of the periods that a lease counts in still run.
    pub(super) fn current(&self, lease: &Lease) -> [bool; 3] {
        lease.path().map(|(scope, number)| {
            let book = self.books().scopes.get(&scope);
            book.is_some_and(|book| book.window.number == number)
        })
    }

    /// The prices for new leases.
    pub(super) fn prices(&self) -> Option<&PriceBook> {
        self.ledger.prices(self.now_ms)
    }
}

/// A command that makes no sense.
pub(super) fn invalid(reason: &str) -> Refusal {
    Refusal::Invalid(reason.to_owned())
}

/// Whether an amount can be asked for at all.
pub(super) fn in_range(amount: Nano) -> bool {
    (-super::MOST.0..=super::MOST.0).contains(&amount.0)
}

/// The hash that tells whether a command is the same as an earlier one.
pub(super) fn body_hash(command: &impl Serialize) -> Result<String, Refusal> {
    let body = serde_json::to_vec(command).map_err(|error| invalid(&error.to_string()))?;
    Ok(Sha256::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect())
}
