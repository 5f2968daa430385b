//! The other half of the bill: a thousand machines that have answered and go on working for nobody.
//! They are paid from the same wallets, watched by the real detector of background work, and
//! stopped by the same cap.

use anyhow::{Context, Result, ensure};
use weir_guard::background::{Asked, Detector, Sample};
use weir_guard::traces::simulator::Payment;
use weir_model::guard::BackgroundRule;

use super::cash::{Cash, SLICE_CPU_US, SLICE_MEMORY, SLICE_US, User};
use super::network::Network;
use super::{CAP_NANO, Row, SECOND_US, dollars};

const NODES: usize = 4;
/// Machines of each node: a thousand in all.
const OWN: usize = 250;
const OWN_UNITS: u64 = OWN as u64;
/// Of its CPU time, what a machine gets that is slowed down: a hundredth.
const SLOWED: u64 = 100;
/// How long the story is followed, in seconds.
const DAY_S: u64 = 86_400;

/// What the machines of one night do. All do the same; each has a detector of its own.
struct Machines {
    rule: BackgroundRule,
    detectors: Vec<Detector>,
    cpu_us: u64,
    /// Bills of this slice that are paid: two for each node.
    paid: usize,
    works: bool,
    slowed: bool,
    marked_us: Option<u64>,
}

impl Machines {
    /// They have answered one request each.
    fn new(rule: BackgroundRule) -> Self {
        Self {
            rule,
            detectors: (0..NODES * OWN).map(|_| Detector::default()).collect(),
            cpu_us: 0,
            paid: 0,
            works: false,
            slowed: false,
            marked_us: None,
        }
    }

    /// A look at each, as a node does once a second.
    fn look(&mut self, now_us: u64) {
        let sample = Sample {
            at_ms: now_us / 1_000,
            cpu_us: self.cpu_us,
            asked: Asked {
                in_flight: 0,
                requests: 1,
            },
        };
        for detector in &mut self.detectors {
            let work = detector.observe(sample, self.rule);
            self.works = work.is_some();
            self.slowed = work.is_some_and(|work| work.slow);
        }
        if self.works {
            self.marked_us.get_or_insert(now_us);
        }
    }

    /// CPU time that each uses in a slice.
    fn slice_us(&self) -> u64 {
        SLICE_CPU_US / if self.slowed { SLOWED } else { 1 }
    }

    /// All of them for one slice more; goes on where it had to wait.
    fn pay(&mut self, cash: &mut Cash, now_us: u64) -> Payment {
        let user = if self.works { User::Background } else { User::Web };
        let bills = [
            (User::Web, [0, 0, 0, 0, OWN_UNITS * SLICE_MEMORY]),
            (user, [0, 0, 0, OWN_UNITS * self.slice_us(), 0]),
        ];
        while self.paid < NODES * bills.len() {
            let (user, units) = bills[self.paid % bills.len()];
            let node = self.paid / bills.len();
            cash.keep_for_machines(node, OWN);
            match cash.pay_machine(node, now_us, user, units) {
                Payment::Paid => self.paid += 1,
                other => return other,
            }
        }
        self.paid = 0;
        self.cpu_us += self.slice_us();
        Payment::Paid
    }
}

/// One night; with the curve of what was spent.
pub(super) fn play(name: &str, rule: BackgroundRule) -> Result<(Row, Vec<(f64, f64)>)> {
    let mut cash = Cash::new(CAP_NANO, false, NODES, Network::failing(0))?;
    let mut machines = Machines::new(rule);
    let mut frozen_us = None;
    let mut now_us = 0;
    while now_us < DAY_S * SECOND_US {
        if now_us.is_multiple_of(SECOND_US) {
            machines.look(now_us);
        }
        match patiently(&mut machines, &mut cash, now_us) {
            Payment::Paid => now_us += SLICE_US,
            _ => {
                frozen_us = Some(now_us);
                break;
            }
        }
    }
    let marked_us = machines.marked_us.context("background work was never seen")?;
    ensure!(
        marked_us <= 3 * SECOND_US,
        "background work was seen after {marked_us} us only"
    );
    let curve = cash.curve();
    let settled = cash.settle(now_us)?;
    settled.check()?;
    let frozen = frozen_us.map_or("not in a day".to_owned(), |us| format!("at {:.0} s", us as f64 / 1e6));
    let row = Row {
        policy: name.to_owned(),
        links: None,
        run: true,
        stopped_s: frozen_us.map(|us| us as f64 / 1e6),
        spent: settled.ledger_nano as f64,
        drift: Some(settled.drift),
        note: format!(
            "background after {:.0} s, {} of it on its own line; frozen {frozen}; {} journal rows",
            marked_us as f64 / 1e6,
            dollars(settled.background_nano as f64),
            settled.rows
        ),
    };
    Ok((row, curve))
}

/// A slice may wait a moment for money that others give back; within the time that is held for it.
fn patiently(machines: &mut Machines, cash: &mut Cash, now_us: u64) -> Payment {
    (0..5)
        .map(|again| machines.pay(cash, now_us + again * 50_000))
        .find(|payment| !matches!(payment, Payment::Later(_)))
        .unwrap_or(Payment::Refused)
}
