use std::time::Instant;

use super::*;
use crate::cache::policy::{Asked, Timing, terms};

impl Entry {
    /// A plain answer that may be given for a minute.
    pub(in crate::cache) fn for_a_minute(key: &str, body: StoredBytes) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("cache-control", "max-age=60".parse().unwrap());
        let timing = Timing {
            asked_ms: 0,
            came_ms: 0,
        };
        let terms = terms(&Asked::default(), StatusCode::OK, &headers, timing).unwrap();
        Self::new(Kept {
            key: key.into(),
            deployment: None,
            status: StatusCode::OK,
            headers,
            body,
            terms,
            selecting: Vec::new(),
        })
    }
}

fn entry(key: &str, bytes: usize) -> Entry {
    Entry::for_a_minute(key, StoredBytes::Fresh(Bytes::from(vec![b'x'; bytes])))
}

const PATIENCE: Duration = Duration::from_secs(60);

fn environment(number: u128) -> EnvironmentId {
    EnvironmentId::from_parts(1, number)
}

fn has(shelf: &Shelf, key: &str) -> bool {
    shelf.find(key, |_| true).is_some()
}

#[test]
fn one_tenant_takes_nothing_from_another_that_uses_less_than_its_share() {
    let shelves = Shelves::new(1_000_000, 0);
    let (modest, greedy) = (shelves.shelf(environment(1)), shelves.shelf(environment(2)));
    for number in 0..10 {
        shelves
            .put(&modest, entry(&format!("http://a/{number}"), 10_000), modest.now())
            .unwrap();
    }
    for number in 0..10_000 {
        shelves
            .put(&greedy, entry(&format!("http://b/{number}"), 10_000), greedy.now())
            .unwrap();
        assert!(shelves.used() <= 1_000_000);
    }
    assert!((0..10).all(|number| has(&modest, &format!("http://a/{number}"))));
    assert!(shelves.used() > 900_000, "{}", shelves.used());
}

#[test]
fn what_is_asked_for_again_outlives_what_is_asked_for_once() {
    let shelves = Shelves::new(1_000_000, 0);
    let shelf = shelves.shelf(environment(1));
    for number in 0..20 {
        let key = format!("http://a/popular/{number}");
        shelf.put(entry(&key, 10_000), shelf.now()).unwrap();
        assert!(has(&shelf, &key));
    }
    for number in 0..2_000 {
        shelves
            .put(&shelf, entry(&format!("http://a/once/{number}"), 10_000), shelf.now())
            .unwrap();
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
    let shelves = Shelves::new(1_000_000, 0);
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
        let shelf = Shelves::new(1_000_000, 0).shelf(environment(1));
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
    let shelves = Shelves::new(200_000, 0);
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
                    let coding = [Coding::Gzip, Coding::Brotli][fastrand::usize(..2)];
                    shelves.add_coded(shelf, &entry, coding, Some(vec![0; fastrand::usize(..100)]));
                }
            }
            _ => drop(shelves.put(shelf, entry(&key, fastrand::usize(..20_000)), shelf.now())),
        }
        assert!(shelves.used() <= 200_000);
    }
    println!("20,000 steps in {:?}", start.elapsed());
    let sums: u64 = all.iter().map(|shelf| shelf.counts().bytes).sum();
    assert_eq!(sums, shelves.used());
    for shelf in &all {
        let state = shelf.lock();
        let listed = state.by_key.values().flatten();
        let bytes: u64 = listed.clone().map(|entry| entry.bytes()).sum();
        assert_eq!(bytes, shelf.tallies.memory.own());
        state.in_memory.check(listed.count(), bytes);
    }
    (0..4).for_each(|number| shelves.remove(environment(number)));
    assert_eq!(shelves.used(), 0);
}

#[test]
fn one_flight_at_a_time_and_all_are_told_when_it_lands() {
    let shelf = Shelves::new(1_000, 0).shelf(environment(1));
    let flight = shelf.take_off("k", PATIENCE).unwrap();
    let landed = shelf.take_off("k", PATIENCE).unwrap_err();
    assert!(!landed.is_cancelled());
    drop(flight);
    assert!(landed.is_cancelled());
    assert!(shelf.take_off("k", PATIENCE).is_ok());
}

#[test]
fn whoever_leads_for_too_long_is_not_waited_for_any_more() {
    let shelf = Shelves::new(1_000, 0).shelf(environment(1));
    let slow = shelf.take_off("k", PATIENCE).unwrap();
    let waits = shelf.take_off("k", PATIENCE).unwrap_err();
    let next = shelf.take_off("k", Duration::ZERO).unwrap();
    assert!(waits.is_cancelled());
    drop(slow);
    // The end of the one before is not that of the next one.
    assert!(shelf.take_off("k", PATIENCE).is_err());
    drop(next);
    assert!(shelf.take_off("k", PATIENCE).is_ok());
}

#[test]
fn what_clients_still_read_counts_until_they_let_go_and_keeps_the_memory_bounded() {
    let shelves = Shelves::new(1_000_000, 0);
    let (shelf, other) = (shelves.shelf(environment(1)), shelves.shelf(environment(2)));
    let mut read = Vec::new();
    let mut refused = 0;
    for number in 0..100 {
        let kept = shelves.put(&shelf, entry(&format!("http://a/{number}"), 50_000), shelf.now());
        match kept {
            Some(entry) => read.push(entry.body.in_memory().unwrap().slice(10..20)),
            None => refused += 1,
        }
        assert!(shelves.used() <= 1_000_000);
    }
    // All that was ever kept is in the hands of somebody who does not read.
    assert!(refused > 70, "{refused}");
    let held = read.len() as u64 * 50_000;
    shelf.purge(EVERYTHING);
    assert!((held..held + 2_000).contains(&shelves.used()), "{}", shelves.used());
    assert!(shelves.put(&other, entry("http://b/", 200_000), other.now()).is_none());
    assert_eq!(shelf.counts().bytes, shelves.used());
    read.clear();
    assert_eq!(shelves.used(), 0);
    assert!(shelves.put(&other, entry("http://b/", 200_000), other.now()).is_some());
}

#[test]
fn whoever_has_less_loses_nothing_to_one_whose_clients_do_not_read() {
    let shelves = Shelves::new(1_000_000, 0);
    let (modest, greedy) = (shelves.shelf(environment(1)), shelves.shelf(environment(2)));
    for number in 0..4 {
        let kept = shelves.put(&modest, entry(&format!("http://a/{number}"), 20_000), modest.now());
        assert!(kept.is_some());
    }
    let mut read = Vec::new();
    for number in 0..200 {
        let kept = shelves.put(&greedy, entry(&format!("http://b/{number}"), 20_000), greedy.now());
        read.extend(kept.map(|entry| entry.body.clone()));
    }
    assert!((0..4).all(|number| has(&modest, &format!("http://a/{number}"))));
}
