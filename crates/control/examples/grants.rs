//! Grants per second of the ledger, each durable before it is answered:
//!
//!     cargo run --release -p weir-control --example grants -- [METERS] [SECONDS] [DATABASE]
//!
//! So many meters each open a lease, and close it for another as soon as they are answered. The database is a new
//! SQLite file in the current folder (the disk under it is what is measured) unless one is named.
//! Prints one line of JSON.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement prints its result, and ends with a panic if it cannot be made"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use weir_control::clock::SystemClock;
use weir_control::money::Money;
use weir_ledger::book::{Cap, Command, MOST, Scope};
use weir_ledger::protocol::{Exchange, LeaseKey, LeaseReport, Want};
use weir_ledger::{Nano, Period};
use weir_model::project::{Environment, Project};
use weir_model::{EnvironmentId, EnvironmentName, ProjectId, ProjectName};
use weir_store::{Account, Store};

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let meters: u64 = arguments.next().map_or(64, |text| text.parse().unwrap());
    let seconds: u64 = arguments.next().map_or(5, |text| text.parse().unwrap());
    let folder = tempfile::tempdir_in(".").unwrap();
    let url = arguments
        .next()
        .unwrap_or_else(|| format!("sqlite:{}", folder.path().join("weir.db").display()));
    let store = Store::open(&url).await.unwrap();
    let environment = prepare(&store).await;
    let money = Money::open(store.clone(), Arc::new(SystemClock), &folder.path().join("wallet"))
        .await
        .unwrap();
    let cap = Some(Cap {
        limit: MOST,
        period: Period::Total,
        pace: false,
    });
    let scopes = [Scope::Account(Account::default_id()), Scope::Project(project().id)];
    for scope in scopes {
        money.command(Command::SetCap { scope, cap }).await.unwrap();
    }
    let until = Instant::now() + Duration::from_secs(seconds);
    let slowest_us = Arc::new(AtomicU64::new(0));
    let mut asking = Vec::new();
    for number in 0..meters {
        let (money, slowest_us) = (money.clone(), slowest_us.clone());
        asking.push(tokio::spawn(async move {
            let mut count = 0_u32;
            while Instant::now() < until {
                let asked = Instant::now();
                let answer = money.exchange(question(number, environment, count)).await.unwrap();
                let lease = answer.leases.last().unwrap();
                assert!(lease.granted > Nano::ZERO, "{lease:?}");
                let took = u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX);
                slowest_us.fetch_max(took, Ordering::Relaxed);
                count += 1;
            }
            count
        }));
    }
    let mut grants = 0_u64;
    for task in asking {
        grants += u64::from(task.await.unwrap());
    }
    money.close().await;
    store.close().await;
    println!(
        "{}",
        serde_json::json!({
            "meters": meters,
            "seconds": seconds,
            "grants": grants,
            "grants_per_second": grants / seconds.max(1),
            "slowest_us": slowest_us.load(Ordering::Relaxed),
        })
    );
}

/// A project with an environment.
async fn prepare(store: &Store) -> EnvironmentId {
    let id = EnvironmentId::from_parts(1, 1);
    let environment = Environment::new(id, project().id, EnvironmentName::production(), 1);
    store.project_insert(&project(), &environment, &[]).await.unwrap();
    environment.id
}

fn project() -> Project {
    Project {
        id: ProjectId::from_parts(1, 1),
        account: Account::default_id(),
        name: ProjectName::new("grants").unwrap(),
        created_ms: 1,
        destroying: false,
    }
}

/// Gives back all of the lease before, and opens another.
fn question(meter: u64, environment: EnvironmentId, before: u32) -> Exchange {
    let lease = |number: u32, closed: bool| LeaseReport {
        lease: LeaseKey { environment, number },
        granted: Nano::ZERO,
        returned: Nano::ZERO,
        usage: Vec::new(),
        want: (!closed).then_some(Want {
            needed: Nano(1_000),
            rate_per_s: Nano::ZERO,
        }),
        closed,
    };
    let closing = (before > 0).then(|| lease(before, true));
    Exchange {
        meter: format!("node:{meter}"),
        incarnation: 1,
        boot: 1,
        closings: Vec::new(),
        leases: closing.into_iter().chain([lease(before + 1, false)]).collect(),
    }
}
