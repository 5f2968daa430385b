use std::time::Instant;

use super::*;
use crate::cache::policy::{Asked, Timing, terms};

fn entry(key: &str, bytes: usize) -> Entry {
    let mut headers = HeaderMap::new();
    headers.insert("cache-control", "max-age=60".parse().unwrap());
    let timing = Timing {
        asked_ms: 0,
        came_ms: 0,
    };
    let terms = terms(&Asked::default(), StatusCode::OK, &headers, timing).unwrap();
    Entry::new(Kept {
        key: key.into(),
        deployment: None,
        status: StatusCode::OK,
        headers,
        body: Bytes::from(vec![b'x'; bytes]),
        terms,
        selecting: Vec::new(),
    })
}

fn environment(number: u128) -> EnvironmentId {
    EnvironmentId::from_parts(1, number)
}

fn has(shelf: &Shelf, key: &str) -> bool {
    shelf.find(key, |_| true).is_some()
}

#[test]
fn one_tenant_takes_nothing_from_another_that_uses_less_than_its_share() {
    let shelves = Shelves::new(1_000_000);
    let (modest, greedy) = (shelves.shelf(environment(1)), shelves.shelf(environment(2)));
    for number in 0..10 {
        modest
            .put(entry(&format!("http://a/{number}"), 10_000), modest.now())
            .unwrap();
    }
    for number in 0..10_000 {
        greedy
            .put(entry(&format!("http://b/{number}"), 10_000), greedy.now())
            .unwrap();
        shelves.make_room();
        assert!(shelves.used() <= 1_000_000);
    }
    assert!((0..10).all(|number| has(&modest, &format!("http://a/{number}"))));
    assert!(shelves.used() > 900_000, "{}", shelves.used());
}

#[test]
fn what_is_asked_for_again_outlives_what_is_asked_for_once() {
    let shelves = Shelves::new(1_000_000);
    let shelf = shelves.shelf(environment(1));
    for number in 0..20 {
        let key = format!("http://a/popular/{number}");
        shelf.put(entry(&key, 10_000), shelf.now()).unwrap();
        assert!(has(&shelf, &key));
    }
    for number in 0..2_000 {
        shelf
            .put(entry(&format!("http://a/once/{number}"), 10_000), shelf.now())
            .unwrap();
        shelves.make_room();
        if number % 50 == 0 {
            assert!((0..20).all(|number| has(&shelf, &format!("http://a/popular/{number}"))));
        }
    }
    let left = (0..20)
        .filter(|number| has(&shelf, &format!("http://a/popular/{number}")))
        .count();
    assert_eq!(left, 20);
}

#[test]
fn what_was_begun_before_something_became_invalid_is_not_kept() {
    let shelves = Shelves::new(1_000_000);
    let shelf = shelves.shelf(environment(1));
    let since = shelf.now();
    shelf.invalidate("http://a/x");
    assert!(shelf.put(entry("http://a/x", 10), since).is_none());
    assert!(shelf.put(entry("http://a/x", 10), shelf.now()).is_some());
    let since = shelf.now();
    assert_eq!(shelf.purge(EVERYTHING), 1);
    assert!(shelf.put(entry("http://a/y", 10), since).is_none());
    assert!(shelf.is_empty() && shelves.used() == 0);
}

#[test]
fn a_purge_takes_what_it_names_and_nothing_else() {
    for (host, path, expected) in [
        (None, Path::Beginning(""), 5),
        (Some("a"), Path::Beginning("/"), 4),
        (Some("b"), Path::Beginning("/"), 1),
        (None, Path::Beginning("/img/"), 2),
        (None, Path::Whole("/img"), 1),
        (Some("a"), Path::Whole("/"), 1),
    ] {
        let shelf = Shelves::new(1_000_000).shelf(environment(1));
        for key in [
            "http://a/",
            "https://a:8443/img/1",
            "http://a./img/2?x=/",
            "http://a/img?x",
            "http://b/x",
        ] {
            shelf.put(entry(key, 10), shelf.now()).unwrap();
        }
        assert_eq!(shelf.purge(Range { host, path }), expected, "{host:?} {path:?}");
    }
}

#[test]
fn the_sums_stay_right_whatever_happens() {
    fastrand::seed(7);
    let shelves = Shelves::new(200_000);
    let all: Vec<_> = (0..4_u8)
        .map(|number| shelves.shelf(environment(u128::from(number))))
        .collect();
    let start = Instant::now();
    for _ in 0..20_000 {
        let shelf = &all[fastrand::usize(..all.len())];
        let key = format!("http://a/{}", fastrand::u8(..60));
        match fastrand::u8(..20) {
            0 => shelf.invalidate(&key),
            1 if fastrand::u8(..20) == 0 => drop(shelf.purge(EVERYTHING)),
            2..8 => {
                if let Some(entry) = shelf.find(&key, |_| true) {
                    shelf.add_to(&entry, fastrand::usize(..100));
                }
            }
            _ => drop(shelf.put(entry(&key, fastrand::usize(..20_000)), shelf.now())),
        }
        shelves.make_room();
        assert!(shelves.used() <= 200_000);
    }
    println!("20,000 steps in {:?}", start.elapsed());
    let sums: u64 = all.iter().map(|shelf| shelf.counts().bytes).sum();
    assert_eq!(sums, shelves.used());
    for shelf in &all {
        let state = shelf.lock();
        let listed = state.by_key.values().flatten();
        let bytes: u64 = listed.clone().map(|entry| entry.bytes.load(Ordering::Relaxed)).sum();
        assert_eq!(bytes, shelf.bytes.load(Ordering::Relaxed));
        assert_eq!(listed.count(), state.live);
        assert!(state.small.len() + state.main.len() <= 2 * state.live + 65);
    }
    (0..4).for_each(|number| shelves.remove(environment(number)));
    assert_eq!(shelves.used(), 0);
}

#[test]
fn one_flight_at_a_time_and_all_are_told_when_it_lands() {
    let shelf = Shelves::new(1_000).shelf(environment(1));
    let flight = shelf.take_off("k").unwrap();
    let landed = shelf.take_off("k").unwrap_err();
    assert!(!landed.is_cancelled());
    drop(flight);
    assert!(landed.is_cancelled());
    assert!(shelf.take_off("k").is_ok());
}
