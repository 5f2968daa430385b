//! A node: the real wallets and the real purse, driven as the meter's client drives them, with
//! its log on a disk that may fail.

use std::sync::Arc;

use fastrand::Rng;
use weir_ledger::Sku;
use weir_ledger::protocol::{Answer, Exchange, LineKey};
use weir_ledger::wallet::purse::{LeaseRecord, Purse, Record};
use weir_ledger::wallet::{Draw, NoMoney, Till, Urgency, Wallets};
use weir_model::{AppName, EnvironmentId};

use crate::disk::{Disk, Fault, Written};
use crate::oracle::{LeaseName, Oracle, Ticket};

const SHARDS: usize = 2;
/// How long a question may take.
const PATIENCE_MS: i64 = 2_000;

/// A machine with a meter on it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    disk: Disk,
    pub(crate) process: Option<Process>,
    /// What its clock shows more than the true time.
    pub(crate) clock_ms: i64,
    /// It goes on as if its log were written, and leaves out most of it.
    pub(crate) cheats: bool,
    /// Cut off until then, in true time.
    pub(crate) cut_off_ms: i64,
}

/// What a SIGKILL ends.
#[derive(Debug)]
pub(crate) struct Process {
    purse: Purse,
    pub(crate) wallets: Wallets,
    tills: Vec<(LineKey, EnvironmentId, Arc<Till>)>,
    working: Vec<(Draw, Ticket, u64)>,
    stale: bool,
    pub(crate) boot: u64,
    /// The question that is not answered yet, and since when, in true time.
    asked: Option<(u64, i64)>,
    finishing: bool,
}

impl Node {
    pub(crate) fn new(name: String) -> Self {
        Self {
            name,
            disk: Disk::default(),
            process: None,
            clock_ms: 0,
            cheats: false,
            cut_off_ms: 0,
        }
    }

    pub(crate) fn start(&mut self, boot: u64, true_ms: i64) {
        let wallets = Wallets::new(SHARDS);
        let now_ms = true_ms + self.clock_ms;
        let purse = Purse::open(self.name.clone(), boot, wallets.clone(), self.disk.read(), now_ms);
        self.process = Some(Process {
            purse,
            wallets,
            tills: Vec::new(),
            working: Vec::new(),
            stale: true,
            boot,
            asked: None,
            finishing: false,
        });
    }

    /// SIGKILL. Work that was going on was done in part.
    pub(crate) fn kill(&mut self, random: &mut Rng, oracle: &mut Oracle) {
        if let Some(process) = self.process.take() {
            for (_draw, ticket, units) in process.working {
                oracle.finish(ticket, random.u64(0..=units));
            }
            oracle.harm(&self.name, process.purse.incarnation());
        }
    }

    pub(crate) fn lose_log(&mut self, random: &mut Rng, oracle: &mut Oracle) {
        self.kill(random, oracle);
        self.disk.lose();
    }

    /// One turn of the meter: what has to be logged is logged, then poured.
    pub(crate) fn turn(&mut self, true_ms: i64, fault: Fault, random: &mut Rng, oracle: &mut Oracle) {
        let Some(process) = &mut self.process else { return };
        let now_ms = true_ms + self.clock_ms;
        let plan = process.purse.plan(now_ms);
        let mut written = Written::Yes;
        if process.stale || !plan.records().is_empty() {
            // The fault is for one of the two writes.
            let first = process.stale && (plan.records().is_empty() || random.bool());
            let faults = if first {
                [fault, Fault::None]
            } else {
                [Fault::None, fault]
            };
            if process.stale {
                written = self.disk.rewrite(&process.purse.snapshot(), faults[0]);
            }
            let skips = self.cheats && random.u32(..4) > 0;
            if written == Written::Yes && !plan.records().is_empty() && !skips {
                written = self.disk.append(plan.records(), faults[1], random.usize(..));
            }
        }
        process.stale = written != Written::Yes;
        match written {
            Written::Yes => process.purse.commit(plan, now_ms),
            Written::Failed => process.purse.abandon(plan, now_ms),
            Written::Killed => self.kill(random, oracle),
        }
    }

    /// A question, if one is due and none is on its way.
    pub(crate) fn ask(&mut self, true_ms: i64, number: u64) -> Option<(u64, Exchange)> {
        let process = self.process.as_mut().filter(|process| !process.stale)?;
        let now_ms = true_ms + self.clock_ms;
        if let Some((_, since_ms)) = process.asked
            && true_ms - since_ms > PATIENCE_MS
        {
            process.asked = None;
            process.purse.unanswered(now_ms);
        }
        if process.asked.is_some() || now_ms < process.purse.next_exchange_ms() {
            return None;
        }
        process.asked = Some((number, true_ms));
        Some((process.boot, process.purse.question(now_ms)))
    }

    /// An answer on a connection of this process; `awaited`: the connection is still open.
    pub(crate) fn hear(&mut self, boot: u64, number: u64, answer: Answer, true_ms: i64) {
        let now_ms = true_ms + self.clock_ms;
        let Some(process) = self.process.as_mut().filter(|process| process.boot == boot) else {
            return;
        };
        process.asked = process.asked.filter(|(asked, _)| *asked != number);
        process.purse.answer(answer, now_ms);
    }

    /// The connection broke.
    pub(crate) fn unanswered(&mut self, boot: u64, number: u64, true_ms: i64) {
        let now_ms = true_ms + self.clock_ms;
        if let Some(process) = self.process.as_mut().filter(|process| process.boot == boot)
            && process.asked.is_some_and(|(asked, _)| asked == number)
        {
            process.asked = None;
            process.purse.unanswered(now_ms);
        }
    }

    /// Shuts down in order.
    pub(crate) fn finish(&mut self) {
        if let Some(process) = self.process.as_mut().filter(|process| !process.finishing) {
            process.finishing = true;
            process.purse.finish();
        }
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.purse.is_settled())
    }
}

impl Process {
    /// Draws and works. Fails with the reason that the wallet has for having no money.
    pub(crate) fn work(&mut self, job: Job, meter: &str, oracle: &mut Oracle) -> Result<(), Option<NoMoney>> {
        let Job {
            environment,
            app,
            ref sku,
            units,
            shard,
            urgency,
            ends,
        } = job;
        let line = LineKey {
            app: Some(AppName::new(["api", "shop"][app]).unwrap()),
            process: None,
            sku: sku.clone(),
        };
        let till = self.till(&line, environment);
        if ends {
            till.pay(shard, urgency, sku, units).map_err(|_| till.trouble())?;
            oracle.begin(&self.lease(environment, meter), line, units);
        } else {
            let draw = till.draw(shard, urgency, sku, units).map_err(|_| till.trouble())?;
            let ticket = oracle.begin(&self.lease(environment, meter), line, units);
            self.working.push((draw, ticket, units));
        }
        Ok(())
    }

    /// Some work that was going on ends.
    pub(crate) fn end_work(&mut self, random: &mut Rng, oracle: &mut Oracle) {
        if self.working.is_empty() {
            return;
        }
        let (draw, ticket, units) = self.working.swap_remove(random.usize(..self.working.len()));
        if random.u8(..) < 16 {
            // Nobody says how much it was: all of it.
            drop(draw);
            oracle.finish(ticket, units);
        } else {
            let used = random.u64(0..=units);
            draw.finish(used);
            oracle.finish(ticket, used);
        }
    }

    pub(crate) fn is_working(&self) -> bool {
        !self.working.is_empty()
    }

    fn till(&mut self, line: &LineKey, environment: EnvironmentId) -> Arc<Till> {
        let known = self
            .tills
            .iter()
            .find(|(key, of, _)| *of == environment && key.app == line.app);
        if let Some((_, _, till)) = known {
            return Arc::clone(till);
        }
        let till = self.wallets.till(environment, line.app.as_ref(), None);
        self.tills.push((line.clone(), environment, Arc::clone(&till)));
        till
    }

    /// Which lease an environment draws now: the one in the log that its wallet shows.
    fn lease(&self, environment: EnvironmentId, meter: &str) -> LeaseName {
        let gauge = self.wallets.gauge(environment);
        let is_shown = |record: &LeaseRecord| {
            let facts = (record.price_version, record.granted, record.returned, record.drawn);
            // Before the first look of a new process only what is free can be had.
            let shown = gauge.as_ref();
            record.lease.environment == environment
                && !record.closed
                && shown.is_none_or(|gauge| facts == (gauge.price_version, gauge.granted, gauge.returned, gauge.drawn))
        };
        // Of an environment, the lease that is drawn comes first.
        let mut records = self.purse.snapshot().into_iter();
        let drawn = records.find_map(|record| match record {
            Record::Lease(record) if is_shown(&record) => Some((record.incarnation, record.lease)),
            _ => None,
        });
        let (incarnation, lease) = drawn.expect("what is drawn is in the log");
        (meter.to_owned(), incarnation, lease)
    }
}

/// Something to do.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) environment: EnvironmentId,
    /// 0 or 1.
    pub(crate) app: usize,
    pub(crate) sku: Sku,
    pub(crate) units: u64,
    pub(crate) shard: usize,
    pub(crate) urgency: Urgency,
    /// It is paid at once; else only its most is known.
    pub(crate) ends: bool,
}
