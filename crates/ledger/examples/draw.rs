//! What a warm draw costs: `cargo run --release -p weir-ledger --example draw`.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "an example that measures")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use weir_ledger::protocol::{Answer, Exchange, LeaseAnswer, Standing};
use weir_ledger::wallet::purse::Purse;
use weir_ledger::wallet::{Till, Urgency, Wallets};
use weir_ledger::{Nano, Price, PriceBook, Sku};
use weir_model::EnvironmentId;

const DRAWS: u64 = 10_000_000;

fn main() {
    for threads in [1, 2] {
        let (_purse, till) = stocked(threads);
        let pay = |shard| till.pay(shard, Urgency::Request, &Sku::REQUESTS, 1).unwrap();
        println!("{threads} threads, pay:             {:6.1} ns", measure(threads, pay));
        let draw = |shard| {
            let block = till.draw(shard, Urgency::Request, &Sku::EGRESS, 65_536).unwrap();
            block.finish(1_500);
        };
        println!("{threads} threads, draw and finish: {:6.1} ns", measure(threads, draw));
    }
}

/// Nanoseconds per call, with so many threads at it.
fn measure(threads: usize, call: impl Fn(usize) + Sync) -> f64 {
    let began = Instant::now();
    std::thread::scope(|scope| {
        for shard in 0..threads {
            let call = &call;
            scope.spawn(move || (0..DRAWS).for_each(|_| call(shard)));
        }
    });
    #[expect(clippy::cast_precision_loss, reason = "a time to be shown")]
    let nanoseconds = began.elapsed().as_nanos() as f64 / DRAWS as f64;
    nanoseconds
}

/// A wallet with all of a large lease in its pots.
fn stocked(shards: usize) -> (Purse, Arc<Till>) {
    let wallets = Wallets::new(shards);
    let till = wallets.till(EnvironmentId::from_parts(1, 1), None, None);
    let mut purse = Purse::open("node:example".into(), 1, wallets, [], 0);
    let mut now_ms = 0;
    // Each round asks for twice as much until the whole lease is poured.
    for _ in 0..40 {
        let _ = till.pay(0, Urgency::Request, &Sku::REQUESTS, 2_000_000_000);
        let plan = purse.plan(now_ms);
        purse.commit(plan, now_ms);
        let question = purse.question(now_ms);
        purse.answer(grant_all(&question), now_ms);
        now_ms += 10;
    }
    (purse, till)
}

fn grant_all(question: &Exchange) -> Answer {
    let leases = question.leases.iter().map(|report| LeaseAnswer {
        lease: report.lease,
        granted: Nano(9_000_000_000_000),
        price_version: 1,
        until_ms: i64::MAX,
        turn_over: false,
        recall: false,
        denied: None,
        closed: false,
    });
    let prices = BTreeMap::from([
        (Sku::REQUESTS, Price { pico: 100_000, per: 1 }),
        (Sku::EGRESS, Price { pico: 10, per: 1 }),
    ]);
    let book = PriceBook {
        version: 1,
        currency: "EUR".into(),
        valid_from_ms: 0,
        prices,
    };
    Answer {
        incarnation: question.incarnation,
        standing: match question.incarnation {
            0 => Standing::Superseded { next: 1 },
            _ => Standing::Current,
        },
        leases: leases.collect(),
        prices: BTreeMap::from([(1, book)]),
    }
}
