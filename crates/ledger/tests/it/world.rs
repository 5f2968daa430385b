//! A ledger, its journal, and an auditor who reads every row as it is written.

use std::collections::BTreeMap;

use weir_ledger::audit::{Auditor, Entry, GENESIS, chain_hash};
use weir_ledger::book::{Cap, Change, Command, Event, Ledger, Refusal, Reply, Scope, Standing};
use weir_ledger::protocol::{Answer, Exchange, LineKey};
use weir_ledger::{Nano, Period, PriceBook, Sku};
use weir_model::{AccountId, AppName, EnvironmentId, ProjectId, UnixMillis};

/// Sunday 1 February 2026, midnight in UTC.
pub(crate) const FEBRUARY: UnixMillis = 1_769_904_000_000;
pub(crate) const SECOND: UnixMillis = 1_000;
pub(crate) const HOUR: UnixMillis = 3_600_000;
pub(crate) const DAY: UnixMillis = 24 * HOUR;

/// One unit of the currency.
pub(crate) const UNIT: i64 = 1_000_000_000;

/// A row of the journal, as a store would keep it.
pub(crate) struct Row {
    pub(crate) sequence: i64,
    pub(crate) previous_hash: String,
    pub(crate) body: String,
    pub(crate) hash: String,
}

impl Row {
    pub(crate) fn entry(&self) -> Entry<'_> {
        Entry {
            sequence: self.sequence,
            previous_hash: &self.previous_hash,
            body: &self.body,
            hash: &self.hash,
        }
    }
}

pub(crate) struct World {
    pub(crate) ledger: Ledger,
    pub(crate) now_ms: UnixMillis,
    pub(crate) events: Vec<Event>,
    pub(crate) rows: Vec<Row>,
}

pub(crate) fn account() -> AccountId {
    AccountId::from_parts(0, 0)
}

pub(crate) fn project(number: u128) -> ProjectId {
    ProjectId::from_parts(1, number)
}

/// An environment; those with the same tens belong to one project.
pub(crate) fn environment(number: u128) -> EnvironmentId {
    EnvironmentId::from_parts(2, number)
}

pub(crate) fn month(limit: i64) -> Cap {
    Cap {
        limit: Nano(limit),
        period: Period::Month,
        pace: false,
    }
}

pub(crate) fn line(app: &str, sku: Sku) -> LineKey {
    LineKey {
        app: Some(AppName::new(app).unwrap()),
        process: None,
        sku,
    }
}

impl World {
    /// In February, with the built-in prices, the account (cap of a hundred), and projects 1 and
    /// 2 (cap as given) with environments 10, 11 and 20 that have no cap of their own.
    pub(crate) fn new(project_cap: Cap) -> Self {
        Self::with(month(100 * UNIT), project_cap)
    }

    pub(crate) fn with(account_cap: Cap, project_cap: Cap) -> Self {
        let mut world = Self {
            ledger: Ledger::new(),
            now_ms: FEBRUARY + 12 * HOUR,
            events: Vec::new(),
            rows: Vec::new(),
        };
        world.done(Command::Publish {
            book: PriceBook::built_in(),
        });
        world.open(Scope::Account(account()), None, Some(account_cap));
        for number in [1, 2] {
            let scope = Scope::Project(project(number));
            world.open(scope, Some(Scope::Account(account())), Some(project_cap));
        }
        for number in [10, 11, 20] {
            let parent = Scope::Project(project(number / 10));
            world.open(Scope::Environment(environment(number)), Some(parent), None);
        }
        world
    }

    pub(crate) fn open(&mut self, scope: Scope, parent: Option<Scope>, cap: Option<Cap>) {
        self.done(Command::Open { scope, parent, cap });
    }

    pub(crate) fn command(&mut self, command: &Command) -> Reply {
        let (events, reply) = self.ledger.handle(command, self.now_ms);
        for event in events {
            let sequence = i64::try_from(self.rows.len()).unwrap() + 1;
            let previous_hash = self.rows.last().map_or(GENESIS.to_owned(), |row| row.hash.clone());
            let body = serde_json::to_string(&event).unwrap();
            let hash = chain_hash(&previous_hash, sequence, &body);
            self.rows.push(Row {
                sequence,
                previous_hash,
                body,
                hash,
            });
            self.events.push(event);
        }
        reply
    }

    pub(crate) fn done(&mut self, command: Command) {
        assert_eq!(self.command(&command), Reply::Done, "{command:?}");
    }

    pub(crate) fn refused(&mut self, command: Command) -> Refusal {
        let before = self.rows.len();
        match self.command(&command) {
            Reply::Refused(refusal) => {
                assert_eq!(self.rows.len(), before, "a refusal changes nothing");
                refusal
            }
            reply => panic!("{command:?} was answered with {reply:?}"),
        }
    }

    pub(crate) fn exchange(&mut self, exchange: Exchange) -> Answer {
        self.exchange_on_tail(exchange, &BTreeMap::new())
    }

    pub(crate) fn exchange_on_tail(&mut self, exchange: Exchange, tails: &BTreeMap<EnvironmentId, Nano>) -> Answer {
        let command = match tails.is_empty() {
            true => Command::Exchange(exchange),
            false => Command::ExchangeOnTail {
                exchange,
                tails: tails.clone(),
            },
        };
        match self.command(&command) {
            Reply::Answer(answer) => answer,
            reply => panic!("a meter was answered with {reply:?}"),
        }
    }

    pub(crate) fn pass(&mut self, time_ms: i64) {
        self.now_ms += time_ms;
        self.done(Command::Tick);
    }

    pub(crate) fn standing(&self, scope: Scope) -> Standing {
        self.ledger.standing(scope, self.now_ms).unwrap()
    }

    pub(crate) fn project(&self) -> Standing {
        self.standing(Scope::Project(project(1)))
    }

    /// All changes of a kind, newest last.
    pub(crate) fn changes<T>(&self, of: impl Fn(&Change) -> Option<T>) -> Vec<T> {
        self.events.iter().filter_map(|event| of(&event.change)).collect()
    }

    /// Reads the whole journal again: every row must be sound, and replaying it must lead to the
    /// state that is there; so must a checkpoint, written and read.
    pub(crate) fn audit(&self) {
        let mut auditor = Auditor::new();
        self.rows.iter().for_each(|row| auditor.entry(&row.entry()));
        let live = serde_json::to_string(&self.ledger).unwrap();
        assert_eq!(serde_json::to_string(auditor.ledger()).unwrap(), live);
        let read: Ledger = serde_json::from_str(&live).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), live);
        let report = auditor.finish();
        assert_eq!(report.findings, Vec::<String>::new());
        assert_eq!(report.pots.values().sum::<i128>(), 0);
    }

    /// What is shown for a scope must be its lines, to the unit.
    pub(crate) fn shown_is_the_sum_of_lines(&self, scope: Scope) {
        let lines = self.ledger.lines(scope);
        let sum: Nano = lines.iter().map(|line| line.amount).sum();
        assert_eq!(sum, self.standing(scope).settled);
    }

    /// Control was restarted: only the journal is left.
    pub(crate) fn restart_control(&mut self) {
        let mut ledger = Ledger::new();
        for row in &self.rows {
            ledger.apply(&serde_json::from_str(&row.body).unwrap());
        }
        self.ledger = ledger;
    }
}
