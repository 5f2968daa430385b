//! What the guard costs on the way of a request: nanoseconds for a visitor's and for a call of an
//! instance. Run it with `cargo run --release -p weir-guard --example arrive`.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark for people")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use weir_guard::{Ask, Caller, ContentHash, LineageKey, Passage, Sentry, Start, Verdict};
use weir_model::guard::GuardRules;
use weir_model::route::{Backend, HostRoutes, Route, RouteSnapshot, RouteState};
use weir_model::{EnvironmentId, InstanceId};

const ROUNDS: u64 = 1_000_000;

fn main() {
    let environment = EnvironmentId::from_parts(1, 1);
    let instance = InstanceId::from_parts(1, 1);
    let inside = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    let outside = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
    let sentry = Sentry::new(Start {
        shards: 2,
        unix_ms_at_zero: 0,
        key: LineageKey::new([1; 32]),
    });
    sentry.update(&snapshot(environment, instance, inside));
    let target = sentry.target(environment, "shop.web");
    let seat = sentry.seat(instance);
    let ask = Ask {
        method: "GET",
        host: "shop.example.com",
        path: "/articles/42",
        lineage: None,
        traceparent: None,
        content: None,
    };
    let pass = |now_us, address, ask: &Ask<'_>| -> Option<Passage> {
        match sentry.arrive(0, now_us, Caller::Address(address), &target, ask) {
            Verdict::Pass(mut passage) => {
                passage.bind(&seat, 0, now_us, ask);
                Some(passage)
            }
            Verdict::Refuse(_) => None,
        }
    };
    measure("a visitor's request, from arrival to end", |now_us| {
        if let Some(passage) = pass(now_us, outside, &ask) {
            passage.end(now_us);
        }
    });
    measure("the same with a lineage header made", |now_us| {
        if let Some(passage) = pass(now_us, outside, &ask) {
            black_box(passage.lineage());
            passage.end(now_us);
        }
    });
    for parents in [1_usize, 20, 80] {
        let held: Vec<_> = (0..parents).filter_map(|_| pass(0, outside, &ask)).collect();
        measure(&format!("a call of an instance with {parents} in flight"), |now_us| {
            let content = Some(ContentHash::of("GET", "/articles/42", None, &now_us.to_le_bytes()));
            if let Some(passage) = pass(now_us, inside, &Ask { content, ..ask }) {
                passage.end(now_us);
            }
        });
        drop(held);
    }
}

fn measure(what: &str, mut one: impl FnMut(u64)) {
    (0..ROUNDS / 10).for_each(&mut one);
    let start = Instant::now();
    (0..ROUNDS).for_each(&mut one);
    let nanos = start.elapsed().as_nanos() / u128::from(ROUNDS);
    println!("{nanos:>6} ns  {what}");
}

fn snapshot(environment: EnvironmentId, instance: InstanceId, address: IpAddr) -> RouteSnapshot {
    let route = Route {
        path_prefix: "/".to_owned(),
        target: "shop.web".to_owned(),
        state: RouteState::Serve,
        pool: vec![Backend {
            instance,
            address: (address, 80).into(),
        }],
        concurrency: 80,
        first_byte_timeout_ms: 1000,
        guard: GuardRules {
            descendants: u64::MAX >> 20,
            repeats: 0,
            ..GuardRules::default()
        },
        ..Route::default()
    };
    let host = HostRoutes {
        environment,
        title: "shop".to_owned(),
        routes: vec![route],
        https: weir_model::certificate::HttpsPolicy::default(),
        redirect_to: None,
        protection: None,
    };
    let mut snapshot = RouteSnapshot::default();
    snapshot.hosts.insert("shop.example.com".to_owned(), host);
    snapshot
}
