//! Pays for a simulated night by the real ledger, wallets and purses, in one process: what a
//! network would carry is handed over, the rest is as in a cloud. Beside them somebody counts
//! what the database and the machines really did.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use weir_guard::traces::simulator::{Payer, Payment};
use weir_ledger::audit::{Auditor, Counted, Entry, GENESIS, chain_hash};
use weir_ledger::book::{Cap, Command, Ledger, Reply, Scope};
use weir_ledger::protocol::DenialReason;
use weir_ledger::wallet::purse::Purse;
use weir_ledger::wallet::{Dry, NoMoney, Till, Urgency, Wallets};
use weir_ledger::{Nano, Period, Pico, Price, PriceBook, Sku};
use weir_model::{AccountId, AppName, EnvironmentId, ProcessName, ProjectId, UnixMillis};

/// Midnight in March 2020, in milliseconds since 1970.
const BASE_MS: UnixMillis = 1_584_662_400_000;
/// Document reads of one request: 116e9 of 33e6.
const READS: u64 = 3_515;
/// A machine of one core and 256 MiB, for a quarter of a second.
const SLICE_CPU_US: u64 = 250_000;
const SLICE_MEMORY: u64 = (256 << 20) * 250;
const SLICE_US: u64 = 250_000;
/// The same in pico-units of money.
const SLICE_PICO: i64 = 250_000 * 24 + 156_250;

/// What is counted, in the order of [`prices`].
const KINDS: [&str; 5] = ["requests", "database-reads", "database-writes", "cpu", "memory"];

/// Dollars of early 2020.
fn prices() -> [Price; 5] {
    [
        // 0.40 a million.
        Price { pico: 400_000, per: 1 },
        // 0.06 and 0.18 a hundred thousand.
        Price { pico: 600_000, per: 1 },
        Price {
            pico: 1_800_000,
            per: 1,
        },
        // 0.000024 a second.
        Price { pico: 24, per: 1 },
        // 0.0000025 a second of a GiB.
        Price {
            pico: 2_500_000,
            per: (1 << 30) * 1_000,
        },
    ]
}

fn sku(kind: usize) -> Result<Sku> {
    Sku::new(KINDS[kind]).context("the name of a kind of use")
}

/// Everybody who has to do with money.
pub(super) struct Cash {
    ledger: Ledger,
    auditor: Auditor,
    rows: i64,
    hash: String,
    nodes: Vec<Node>,
    turn: usize,
    /// Units that the database and the machines have counted.
    counted: [u64; 5],
    /// Microseconds and nano-units spent, by what was counted.
    pub(super) curve: Vec<(u64, i64)>,
    /// What was left of the cap when a request was refused first.
    pub(super) left_at_refusal: Option<i64>,
    limit: i64,
    /// What went wrong, in words.
    wrong: Option<String>,
}

struct Node {
    wallets: Wallets,
    purse: Purse,
    till: Arc<Till>,
    skus: [Sku; 5],
    /// Its running instances are paid until then.
    paid_until_us: u64,
}

/// How it ended.
pub(super) struct Settled {
    /// By the ledger, in nano-units.
    pub(super) ledger_nano: i64,
    /// By what was counted: exact, in pico-units.
    pub(super) counted_pico: i128,
    /// Units in which ledger and counters differ.
    pub(super) drift: u128,
    /// Rows of the journal.
    pub(super) rows: i64,
}

fn project() -> Scope {
    Scope::Project(ProjectId::from_parts(1, 1))
}

fn environment() -> EnvironmentId {
    EnvironmentId::from_parts(1, 1)
}

impl Cash {
    /// A project with this cap (nano-units a month), and so many nodes.
    pub(super) fn new(limit: i64, pace: bool, nodes: usize) -> Result<Self> {
        let mut cash = Self {
            ledger: Ledger::new(),
            auditor: Auditor::new(),
            rows: 0,
            hash: GENESIS.to_owned(),
            nodes: Vec::new(),
            turn: 0,
            counted: [0; 5],
            curve: Vec::new(),
            left_at_refusal: None,
            limit,
            wrong: None,
        };
        let account = Scope::Account(AccountId::from_parts(0, 0));
        let month = |limit, pace| Cap {
            limit: Nano(limit),
            period: Period::Month,
            pace,
        };
        let mut book = BTreeMap::new();
        for (kind, price) in prices().into_iter().enumerate() {
            book.insert(sku(kind)?, price);
        }
        let open = |scope, parent, cap| Command::Open { scope, parent, cap };
        for command in [
            Command::Publish {
                book: PriceBook {
                    version: 1,
                    currency: "USD".to_owned(),
                    valid_from_ms: 0,
                    prices: book,
                },
            },
            open(account, None, Some(month(100_000_000_000, false))),
            open(project(), Some(account), Some(month(limit, pace))),
            open(Scope::Environment(environment()), Some(project()), None),
        ] {
            match cash.command(&command, BASE_MS) {
                Reply::Done => {}
                reply => bail!("the ledger answers {reply:?} to {command:?}"),
            }
        }
        for number in 0..nodes {
            cash.nodes.push(Node::new(number)?);
        }
        Ok(cash)
    }

    /// The journal is written, chained and audited as it grows.
    fn command(&mut self, command: &Command, now_ms: UnixMillis) -> Reply {
        let (events, reply) = self.ledger.handle(command, now_ms);
        for event in events {
            let Ok(body) = serde_json::to_string(&event) else {
                self.wrong = Some("an event cannot be written".to_owned());
                continue;
            };
            self.rows += 1;
            let hash = chain_hash(&self.hash, self.rows, &body);
            self.auditor.entry(&Entry {
                sequence: self.rows,
                previous_hash: &self.hash,
                body: &body,
                hash: &hash,
            });
            self.hash = hash;
        }
        reply
    }

    /// The loop of a node's refiller, until it has nothing to do now.
    fn refill(&mut self, node: usize, now_ms: UnixMillis) {
        for _ in 0..16 {
            let purse = &mut self.nodes[node].purse;
            let plan = purse.plan(now_ms);
            purse.commit(plan, now_ms);
            if purse.next_exchange_ms() > now_ms {
                return;
            }
            let question = purse.question(now_ms);
            if let Reply::Answer(answer) = self.command(&Command::Exchange(question), now_ms) {
                self.nodes[node].purse.answer(answer, now_ms);
            }
            self.check(now_ms);
        }
    }

    /// What the promise says, after every word with a meter.
    fn check(&mut self, now_ms: UnixMillis) {
        for standing in self.ledger.standings(now_ms) {
            if standing.settled.saturating_add(standing.held) > standing.limit {
                self.wrong = Some(format!("settled and held are above the limit: {standing:?}"));
            }
        }
    }

    /// Tries, refills, tries again.
    fn pay(&mut self, node: usize, now_us: u64, what: impl Fn(&Node) -> Result<(), Dry>) -> Payment {
        let now_ms = BASE_MS + i64::try_from(now_us / 1_000).unwrap_or(0);
        if self.nodes[node].purse.next_exchange_ms() <= now_ms || self.nodes[node].purse.next_look_ms() <= now_ms {
            self.refill(node, now_ms);
        }
        for _ in 0..3 {
            if what(&self.nodes[node]).is_ok() {
                return Payment::Paid;
            }
            self.refill(node, now_ms);
        }
        match self.nodes[node].till.trouble() {
            Some(NoMoney::Denied(reason)) if reason != DenialReason::Recalling => {
                self.all_give_back(now_ms);
                Payment::Refused
            }
            _ => {
                self.all_give_back(now_ms);
                Payment::Later(50_000)
            }
        }
    }

    /// So many instances of a node, for a quarter of a second ahead.
    fn pay_slice(&mut self, node: usize, now_us: u64, instances: usize) -> Payment {
        if instances == 0 {
            return Payment::Paid;
        }
        let instances = instances as u64;
        let units = [0, 0, 0, instances * SLICE_CPU_US, instances * SLICE_MEMORY];
        let payment = self.pay(node, now_us, |node| node.draw(Urgency::Instance, units));
        if payment == Payment::Paid {
            self.count(now_us, units);
        }
        payment
    }

    /// Somebody lacks money: the others hear of the recall with their next question.
    fn all_give_back(&mut self, now_ms: UnixMillis) {
        for node in 0..self.nodes.len() {
            if self.nodes[node].purse.next_exchange_ms() <= now_ms {
                self.refill(node, now_ms);
            }
        }
    }

    fn count(&mut self, now_us: u64, units: [u64; 5]) {
        for (sum, more) in self.counted.iter_mut().zip(units) {
            *sum += more;
        }
        let nano = i64::try_from(self.counted_pico() / 1_000).unwrap_or(i64::MAX);
        self.curve.push((now_us, nano));
    }

    fn counted_pico(&self) -> i128 {
        let lines = prices().into_iter().zip(self.counted);
        let exact = lines.map(|(price, units)| i128::from(price.pico) * i128::from(units) / i128::from(price.per));
        exact.sum()
    }

    /// All leases are closed; then the books are compared with what was counted.
    pub(super) fn settle(mut self, now_us: u64) -> Result<Settled> {
        let mut now_ms = BASE_MS + i64::try_from(now_us / 1_000).unwrap_or(0);
        self.nodes.iter_mut().for_each(|node| node.purse.finish());
        for _ in 0..200 {
            now_ms += 1_000;
            (0..self.nodes.len()).for_each(|node| self.refill(node, now_ms));
            if self.nodes.iter().all(|node| node.purse.is_settled()) {
                break;
            }
        }
        ensure!(
            self.nodes.iter().all(|node| node.purse.is_settled()),
            "a meter does not come to an end"
        );
        let standing = self.ledger.standing(project(), now_ms).context("the project")?;
        ensure!(standing.held == Nano::ZERO, "{} is still held", standing.held);
        ensure!(
            standing.settled.0 <= self.limit,
            "{} is above the cap",
            standing.settled
        );
        let lines = self.ledger.lines(project());
        let mut drift = 0;
        let mut counted = BTreeMap::new();
        let (app, process) = names()?;
        for (kind, units) in self.counted.into_iter().enumerate() {
            let sku = sku(kind)?;
            let booked: u128 = lines.iter().filter(|line| line.sku == sku).map(|line| line.units).sum();
            drift += booked.abs_diff(u128::from(units));
            let line = Counted {
                environment: environment(),
                app: Some(app.clone()),
                process: Some(process.clone()),
                sku,
            };
            counted.insert(line, u128::from(units));
        }
        let counted_pico = self.counted_pico();
        self.auditor.compare(&counted);
        let report = self.auditor.finish();
        ensure!(report.findings.is_empty(), "the audit finds {:?}", report.findings);
        if let Some(wrong) = self.wrong {
            bail!(wrong);
        }
        Ok(Settled {
            ledger_nano: standing.settled.0,
            counted_pico,
            drift,
            rows: self.rows,
        })
    }
}

fn names() -> Result<(AppName, ProcessName)> {
    Ok((AppName::new("crawler")?, ProcessName::new("web")?))
}

impl Node {
    fn new(number: usize) -> Result<Self> {
        let (app, process) = names()?;
        let wallets = Wallets::new(1);
        let boot = number as u64 + 1;
        let purse = Purse::open(format!("node:{number}"), boot, wallets.clone(), Vec::new(), BASE_MS);
        Ok(Self {
            till: wallets.till(environment(), Some(&app), Some(&process)),
            wallets,
            purse,
            skus: [sku(0)?, sku(1)?, sku(2)?, sku(3)?, sku(4)?],
            paid_until_us: 0,
        })
    }

    /// All or nothing.
    fn draw(&self, urgency: Urgency, units: [u64; 5]) -> Result<(), Dry> {
        let mut draws = Vec::new();
        for (sku, units) in self.skus.iter().zip(units).filter(|(_, units)| *units > 0) {
            match self.till.draw(0, urgency, sku, units) {
                Ok(draw) => draws.push((draw, units)),
                Err(dry) => {
                    draws.into_iter().for_each(|(draw, _)| draw.finish(0));
                    return Err(dry);
                }
            }
        }
        draws.into_iter().for_each(|(draw, units)| draw.finish(units));
        Ok(())
    }
}

/// The payer of a world; whoever made it keeps the other handle.
#[derive(Clone)]
pub(super) struct Purser(pub(super) Arc<Mutex<Cash>>);

impl Purser {
    pub(super) fn cash(&self) -> MutexGuard<'_, Cash> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Payer for Purser {
    fn request(&mut self, now_us: u64) -> Payment {
        let mut cash = self.cash();
        cash.turn = (cash.turn + 1) % cash.nodes.len();
        let node = cash.turn;
        let units = [1, READS, 1, 0, 0];
        let payment = cash.pay(node, now_us, |node| node.draw(Urgency::Request, units));
        match payment {
            // Only now does the database work.
            Payment::Paid => cash.count(now_us, units),
            Payment::Refused if cash.left_at_refusal.is_none() => {
                let spent = i64::try_from(cash.counted_pico() / 1_000).unwrap_or(0);
                cash.left_at_refusal = Some(cash.limit - spent);
            }
            _ => {}
        }
        payment
    }

    fn running(&mut self, now_us: u64, instances: usize) -> Payment {
        let mut cash = self.cash();
        let nodes = cash.nodes.len();
        for node in 0..nodes {
            let own = (instances + nodes - 1 - node) / nodes;
            if cash.nodes[node].paid_until_us > now_us {
                continue;
            }
            // Requests leave it what a second of them costs.
            let floor = i64::try_from(own * 4).unwrap_or(0).saturating_mul(SLICE_PICO);
            cash.nodes[node].wallets.set_floor(environment(), Pico(floor));
            match cash.pay_slice(node, now_us, own) {
                Payment::Paid => cash.nodes[node].paid_until_us = now_us + SLICE_US,
                other => return other,
            }
        }
        Payment::Paid
    }

    fn starting(&mut self, now_us: u64, instances: usize) -> Payment {
        let mut cash = self.cash();
        let node = cash.turn;
        cash.pay_slice(node, now_us, instances)
    }
}
