//! Pays for a simulated night by the real ledger, wallets and purses, in one process: what a
//! network would carry is handed over, or lost on the way, the rest is as in a cloud. Beside them
//! somebody counts what the database and the machines really did.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use weir_guard::traces::simulator::{Payer, Payment};
use weir_ledger::audit::{Auditor, Counted, Entry, GENESIS, chain_hash};
use weir_ledger::book::{Cap, Command, Ledger, LineStanding, Reply, Scope};
use weir_ledger::protocol::DenialReason;
use weir_ledger::wallet::purse::Purse;
use weir_ledger::wallet::{NoMoney, Till, Urgency, Wallets};
use weir_ledger::{Nano, Period, Pico, Price, PriceBook, Sku};
use weir_model::{AccountId, AppName, EnvironmentId, ProcessName, ProjectId, UnixMillis};

use super::SECOND_US;
use super::network::Network;

/// Midnight in March 2020, in milliseconds since 1970.
const BASE_MS: UnixMillis = 1_584_662_400_000;
/// Document reads of one request: 116e9 of 33e6.
const READS: u64 = 3_515;
/// A machine of one core and 256 MiB, for a quarter of a second.
pub(super) const SLICE_CPU_US: u64 = 250_000;
pub(super) const SLICE_MEMORY: u64 = (256 << 20) * 250;
pub(super) const SLICE_US: u64 = 250_000;
/// The same in pico-units of money.
const SLICE_PICO: i64 = 250_000 * 24 + 156_250;

/// What is counted, in the order of [`prices`].
const KINDS: [&str; 5] = ["requests", "database-reads", "database-writes", "cpu", "memory"];

/// Units of each of them.
pub(super) type Units = [u64; KINDS.len()];

/// Who uses it: the process, and the process while nobody asks anything of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum User {
    Web,
    Background,
}

/// A microsecond of the run, by the clock on the wall.
fn instant(now_us: u64) -> UnixMillis {
    BASE_MS + i64::try_from(now_us / 1_000).unwrap_or(0)
}

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
    network: Network,
    /// Units that the database and the machines have counted, by user.
    counted: [Units; 2],
    /// Microseconds and nano-units spent, by what was counted.
    curve: Vec<(u64, i64)>,
    /// What was left of the cap when a request was refused first.
    pub(super) left_at_refusal: Option<i64>,
    limit: i64,
    /// What went wrong, in words.
    wrong: Option<String>,
}

struct Node {
    wallets: Wallets,
    purse: Purse,
    tills: [Arc<Till>; 2],
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
    /// Of that, what was spent while nobody asked anything.
    pub(super) background_nano: i64,
    /// The cap.
    limit: i64,
    /// Units in which ledger and counters differ.
    pub(super) drift: u128,
    /// Rows of the journal.
    pub(super) rows: i64,
}

impl Settled {
    /// What must be so whatever happened.
    pub(super) fn check(&self) -> Result<()> {
        let cap = i128::from(self.limit) * 1_000;
        ensure!(self.counted_pico <= cap, "more was done than the cap pays for");
        ensure!(self.drift == 0, "books and counters differ by {} units", self.drift);
        Ok(())
    }
}

fn project() -> Scope {
    Scope::Project(ProjectId::from_parts(1, 1))
}

fn environment() -> EnvironmentId {
    EnvironmentId::from_parts(1, 1)
}

impl Cash {
    /// A project with this cap (nano-units a month), and so many nodes behind such a network.
    pub(super) fn new(limit: i64, pace: bool, nodes: usize, network: Network) -> Result<Self> {
        let mut cash = Self {
            ledger: Ledger::new(),
            auditor: Auditor::new(),
            rows: 0,
            hash: GENESIS.to_owned(),
            nodes: Vec::new(),
            turn: 0,
            network,
            counted: [[0; KINDS.len()]; 2],
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
            self.talk(node, now_ms);
            self.check(now_ms);
        }
    }

    /// One question and its answer, as far as they get through.
    fn talk(&mut self, node: usize, now_ms: UnixMillis) {
        let question = self.nodes[node].purse.question(now_ms);
        if let Some(earlier) = self.network.comes_again() {
            self.command(&Command::Exchange(earlier), now_ms);
        }
        if self.network.loses() {
            return self.nodes[node].purse.unanswered(now_ms);
        }
        self.network.remember(&question);
        let Reply::Answer(answer) = self.command(&Command::Exchange(question), now_ms) else {
            return;
        };
        if self.network.loses() {
            // Perhaps only late: it comes after the answer to a later question.
            self.network.delay(node, answer);
            return self.nodes[node].purse.unanswered(now_ms);
        }
        self.nodes[node].purse.answer(answer, now_ms);
        if let Some(late) = self.network.comes_late(node) {
            self.nodes[node].purse.answer(late, now_ms);
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
    fn pay(&mut self, node: usize, now_us: u64, urgency: Urgency, user: User, units: Units) -> Payment {
        let now_ms = instant(now_us);
        if self.nodes[node].purse.next_exchange_ms() <= now_ms || self.nodes[node].purse.next_look_ms() <= now_ms {
            self.refill(node, now_ms);
        }
        for _ in 0..3 {
            let Node { tills, skus, .. } = &self.nodes[node];
            let wanted: [_; KINDS.len()] = std::array::from_fn(|kind| (&skus[kind], units[kind]));
            if let Ok(drawn) = tills[user as usize].draw_together(0, urgency, wanted) {
                drawn
                    .into_iter()
                    .zip(units)
                    .for_each(|(draw, units)| draw.finish(units));
                // Only now does the database work, or the machine.
                self.count(now_us, user, units);
                return Payment::Paid;
            }
            self.refill(node, now_ms);
        }
        let trouble = self.nodes[node].tills[user as usize].trouble();
        self.all_give_back(now_ms);
        match trouble {
            Some(NoMoney::Denied(reason)) if reason != DenialReason::Recalling => Payment::Refused,
            _ => Payment::Later(50_000),
        }
    }

    /// So many instances of a node, for a quarter of a second ahead.
    fn pay_slice(&mut self, node: usize, now_us: u64, instances: usize) -> Payment {
        if instances == 0 {
            return Payment::Paid;
        }
        let instances = instances as u64;
        let units = [0, 0, 0, instances * SLICE_CPU_US, instances * SLICE_MEMORY];
        self.pay(node, now_us, Urgency::Instance, User::Web, units)
    }

    /// Whether only the pace stands in the way.
    fn is_paced(&self, node: usize) -> bool {
        let trouble = self.nodes[node].tills[User::Web as usize].trouble();
        trouble == Some(NoMoney::Denied(DenialReason::Pace))
    }

    /// Use of a machine that nobody asked anything of, and of one that somebody did.
    pub(super) fn pay_machine(&mut self, node: usize, now_us: u64, user: User, units: Units) -> Payment {
        self.pay(node, now_us, Urgency::Instance, user, units)
    }

    /// Keeps so much of a wallet for machines, which is what they need for a second.
    pub(super) fn keep_for_machines(&self, node: usize, machines: usize) {
        let floor = i64::try_from(machines * 4).unwrap_or(0).saturating_mul(SLICE_PICO);
        self.nodes[node].wallets.set_floor(environment(), Pico(floor));
    }

    /// Somebody lacks money: the others hear of the recall with their next question.
    fn all_give_back(&mut self, now_ms: UnixMillis) {
        for node in 0..self.nodes.len() {
            if self.nodes[node].purse.next_exchange_ms() <= now_ms {
                self.refill(node, now_ms);
            }
        }
    }

    fn count(&mut self, now_us: u64, user: User, units: Units) {
        for (sum, more) in self.counted[user as usize].iter_mut().zip(units) {
            *sum += more;
        }
        let nano = i64::try_from(self.counted_pico() / 1_000).unwrap_or(i64::MAX);
        self.curve.push((now_us, nano));
    }

    /// Seconds and units of money.
    pub(super) fn curve(&self) -> Vec<(f64, f64)> {
        let points = self.curve.iter();
        points
            .map(|(us, nano)| (*us as f64 / 1e6, *nano as f64 / 1e9))
            .collect()
    }

    fn counted_pico(&self) -> i128 {
        let counted = self.counted;
        let lines = prices().into_iter().enumerate();
        let lines = lines.map(|(kind, price)| (price, counted.map(|units| units[kind]).into_iter().sum::<u64>()));
        let exact = lines.map(|(price, units)| i128::from(price.pico) * i128::from(units) / i128::from(price.per));
        exact.sum()
    }

    /// All leases are closed; then the books are compared with what was counted.
    pub(super) fn settle(mut self, now_us: u64) -> Result<Settled> {
        let mut now_ms = instant(now_us);
        self.nodes.iter_mut().for_each(|node| node.purse.finish());
        for _ in 0..1_000 {
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
        let app = AppName::new("crawler")?;
        for (process, units) in processes()?.into_iter().zip(self.counted) {
            for (kind, units) in units.into_iter().enumerate() {
                let sku = sku(kind)?;
                let mine = |line: &&LineStanding| line.sku == sku && line.process.as_ref() == Some(&process);
                let booked: u128 = lines.iter().filter(mine).map(|line| line.units).sum();
                drift += booked.abs_diff(u128::from(units));
                let line = Counted {
                    environment: environment(),
                    app: Some(app.clone()),
                    process: Some(process.clone()),
                    sku,
                };
                counted.insert(line, u128::from(units));
            }
        }
        let background = processes()?[User::Background as usize].clone();
        let background = lines.iter().filter(|line| line.process.as_ref() == Some(&background));
        let background_nano = background.map(|line| line.amount.0).sum();
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
            background_nano,
            limit: self.limit,
            drift,
            rows: self.rows,
        })
    }
}

/// Of [`User`]s.
fn processes() -> Result<[ProcessName; 2]> {
    let web = ProcessName::web();
    Ok([web.clone(), web.in_background()])
}

impl Node {
    fn new(number: usize) -> Result<Self> {
        let app = AppName::new("crawler")?;
        let wallets = Wallets::new(1);
        let boot = number as u64 + 1;
        let purse = Purse::open(format!("node:{number}"), boot, wallets.clone(), Vec::new(), BASE_MS);
        Ok(Self {
            tills: processes()?.map(|process| wallets.till(environment(), Some(&app), Some(&process))),
            wallets,
            purse,
            skus: [sku(0)?, sku(1)?, sku(2)?, sku(3)?, sku(4)?],
            paid_until_us: 0,
        })
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
        let payment = cash.pay(node, now_us, Urgency::Request, User::Web, units);
        if payment == Payment::Refused && cash.left_at_refusal.is_none() {
            let spent = i64::try_from(cash.counted_pico() / 1_000).unwrap_or(0);
            cash.left_at_refusal = Some(cash.limit - spent);
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
            cash.keep_for_machines(node, own);
            match cash.pay_slice(node, now_us, own) {
                Payment::Paid => cash.nodes[node].paid_until_us = now_us + SLICE_US,
                // Frozen, and thawed as soon as the pace lets money out again.
                Payment::Refused if cash.is_paced(node) => return Payment::Later(SECOND_US),
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
