//! Random worlds of a control and two nodes: answers are lost, late and out of order, control and
//! nodes start anew, files end in the middle. Whatever a node has is what control had then.

use std::collections::BTreeMap;

use super::*;
use crate::route::{Route, RouteState};

/// Splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % limit
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

fn environment(number: u64) -> EnvironmentId {
    EnvironmentId::from_parts(1, u128::from(number))
}

fn part(environment: EnvironmentId, random: &mut Random) -> Part {
    let mut part = Part::default();
    for number in 0..random.below(4) {
        let host = HostRoutes {
            environment,
            title: format!("shop {}", random.below(3)),
            routes: vec![Route {
                state: match random.one_in(2) {
                    true => RouteState::Serve,
                    false => RouteState::Paused,
                },
                ..Route::default()
            }],
            https: crate::certificate::HttpsPolicy::default(),
            redirect_to: None,
            protection: None,
        };
        part.insert(format!("{number}.{environment}.test"), &host);
    }
    part
}

type Lines = BTreeMap<EnvironmentId, String>;

/// As control answers.
struct World {
    epoch: u64,
    generation: u64,
    feed: Feed,
    lines: Lines,
    /// What was true in each generation that was given out.
    past: BTreeMap<(u64, u64), Lines>,
}

impl World {
    fn new(epoch: u64, generation: u64) -> Self {
        Self {
            epoch,
            generation,
            feed: Feed::default(),
            lines: Lines::new(),
            past: BTreeMap::new(),
        }
    }

    fn change(&mut self, random: &mut Random) {
        let environment = environment(random.below(12));
        self.generation += 1 + random.below(3);
        if random.one_in(3) {
            self.feed.remove(environment, self.generation);
            self.lines.remove(&environment);
        } else {
            let part = part(environment, random);
            let line = line_text(environment, Some(&part)).unwrap();
            self.feed
                .set(environment, self.generation, line_digest(line.as_bytes()));
            self.lines.insert(environment, line);
        }
    }

    fn answer(&mut self, epoch: u64, after: u64) -> String {
        let since = match epoch == self.epoch && after <= self.generation {
            true => self.feed.since(after),
            false => Since::Whole,
        };
        let (after, changed) = match since {
            Since::Whole => (None, self.feed.environments().map(|one| (one, true)).collect()),
            Since::Changed(changed) => (Some(after), changed),
        };
        let head = Head {
            weir_routes: FORMAT,
            epoch: self.epoch,
            generation: self.generation,
            after,
            lines: u64::try_from(changed.len()).unwrap(),
            digest: self.feed.digest(),
            cache_purges: CachePurges::default(),
        };
        let mut text = serde_json::to_string(&head).unwrap() + "\n";
        for (environment, is_there) in changed {
            let gone = || line_text(environment, None).unwrap();
            let line = match is_there {
                true => self.lines[&environment].clone(),
                false => gone(),
            };
            text.push_str(&line);
            text.push('\n');
        }
        self.past.insert((self.epoch, self.generation), self.lines.clone());
        text
    }
}

#[derive(Default)]
struct Node {
    replica: Replica,
    lines: Lines,
    /// Its file.
    log: String,
    /// Answers that are on their way.
    late: Vec<String>,
    taken: u64,
    differences: u64,
}

impl Node {
    fn take(&mut self, text: &str) {
        let batch = read_batch(text.as_bytes()).unwrap();
        let Ok(taken) = self.replica.take(&batch, text.as_bytes()) else {
            return;
        };
        assert!(taken.is_right);
        for environment in &taken.gone {
            assert!(self.lines.remove(environment).is_some());
        }
        for number in &taken.changed {
            let (environment, range, _) = &batch.lines[*number];
            self.lines.insert(*environment, text[range.clone()].to_owned());
        }
        match batch.head.after {
            None => text.clone_into(&mut self.log),
            Some(_) => {
                self.log.push_str(text);
                self.differences += 1;
            }
        }
        self.taken += 1;
    }

    /// It starts anew with what its file says.
    fn restart(&mut self, random: &mut Random) {
        if random.one_in(2) && !self.log.is_empty() {
            let torn = random.below(u64::try_from(self.log.len()).unwrap());
            self.log.truncate(usize::try_from(torn).unwrap());
        }
        let mut fresh = Self {
            late: std::mem::take(&mut self.late),
            taken: self.taken,
            differences: self.differences,
            ..Self::default()
        };
        if let Ok(log) = read_log(self.log.as_bytes()) {
            let mut text = serde_json::to_string(&Head {
                after: None,
                lines: u64::try_from(log.lines.len()).unwrap(),
                ..log.head
            })
            .unwrap()
                + "\n";
            for range in log.lines.values() {
                text.push_str(&self.log[range.clone()]);
                text.push('\n');
            }
            fresh.take(&text);
        }
        *self = fresh;
    }
}

#[test]
fn whatever_a_node_has_is_what_control_had() {
    let (mut taken, mut differences) = (0, 0);
    for seed in 0..2_000 {
        let random = &mut Random(seed);
        let mut world = World::new(1, 10);
        let mut nodes = [Node::default(), Node::default()];
        for _ in 0..60 {
            match random.below(10) {
                0..=3 => world.change(random),
                4 if random.one_in(4) => {
                    // Another run of control, whose clock may be behind; it looks at all anew.
                    let past = std::mem::take(&mut world.past);
                    world = World::new(
                        world.epoch + 1,
                        world.generation.saturating_sub(random.below(20)).max(1),
                    );
                    world.past = past;
                    (0..random.below(8)).for_each(|_| world.change(random));
                }
                5 if random.one_in(3) => nodes[usize::from(random.one_in(2))].restart(random),
                _ => {
                    let node = &mut nodes[usize::from(random.one_in(2))];
                    let answer = world.answer(node.replica.epoch(), node.replica.generation());
                    match random.below(4) {
                        // Lost on its way.
                        0 => {}
                        1 => node.late.push(answer),
                        _ => node.take(&answer),
                    }
                    if !node.late.is_empty() && random.one_in(3) {
                        let place = random.below(u64::try_from(node.late.len()).unwrap());
                        let late = node.late.swap_remove(usize::try_from(place).unwrap());
                        node.take(&late);
                    }
                }
            }
            for node in &nodes {
                let at = (node.replica.epoch(), node.replica.generation());
                assert!(at == (0, 0) || world.past[&at] == node.lines, "seed {seed}");
            }
        }
        for node in &mut nodes {
            node.take(&world.answer(node.replica.epoch(), node.replica.generation()));
            assert_eq!(node.lines, world.lines, "seed {seed}");
            (taken, differences) = (taken + node.taken, differences + node.differences);
        }
    }
    println!("{taken} batches, {differences} of them differences");
    assert!(differences > taken / 4);
}

#[test]
fn what_was_lost_is_found_and_healed_by_everything() {
    let random = &mut Random(7);
    let (mut world, mut node) = (World::new(1, 10), Node::default());
    (0..20).for_each(|_| world.change(random));
    node.take(&world.answer(0, 0));
    world.change(random);
    // A difference that leaves out what changed.
    let answer = world.answer(1, node.replica.generation());
    let mut batch = read_batch(answer.as_bytes()).unwrap();
    batch.lines.clear();
    let taken = node.replica.take(&batch, answer.as_bytes()).unwrap();
    assert!(!taken.is_right);
    node.replica.distrust();
    let answer = world.answer(node.replica.epoch(), node.replica.generation());
    assert!(read_batch(answer.as_bytes()).unwrap().head.after.is_none());
    node.take(&answer);
    assert_eq!(node.lines, world.lines);
}

#[test]
fn who_missed_more_that_went_than_is_remembered_gets_everything() {
    let mut feed = Feed::default();
    for number in 0..10_010 {
        feed.set(environment(number), number + 1, number);
    }
    assert_eq!(feed.since(10_009), Since::Changed(vec![(environment(10_009), true)]));
    for number in 0..10_001 {
        feed.remove(environment(number), 20_000 + number);
    }
    assert_eq!(feed.since(10_010), Since::Whole);
    // From there on it is known what went.
    let Since::Changed(changed) = feed.since(20_000) else {
        panic!("all of them are known");
    };
    assert_eq!(changed.len(), 10_000);
    assert!(changed.iter().all(|(_, is_there)| !is_there));
    (10_001..10_010).for_each(|number| feed.remove(environment(number), 40_000 + number));
    assert_eq!(feed.digest(), 0);
    assert_eq!(feed.environments().count(), 0);
}

#[test]
fn a_snapshot_taken_apart_says_the_same() {
    let random = &mut Random(3);
    let mut snapshot = RouteSnapshot {
        generation: 9,
        ..RouteSnapshot::default()
    };
    for number in 0..5 {
        let part = part(environment(number), random);
        snapshot
            .hosts
            .extend(part.hosts().map(|(name, host)| (name.to_owned(), host.clone())));
    }
    let text = batch_of(&snapshot).unwrap();
    let batch = read_batch(text.as_bytes()).unwrap();
    assert_eq!((batch.head.generation, batch.head.after), (9, None));
    let mut hosts = BTreeMap::new();
    for (_, range, _) in &batch.lines {
        let line: Line = serde_json::from_str(&text[range.clone()]).unwrap();
        let part = line.part.unwrap();
        hosts.extend(part.hosts().map(|(name, host)| (name.to_owned(), host.clone())));
    }
    assert_eq!(hosts, snapshot.hosts);
}

#[test]
fn a_text_that_is_no_batch_is_refused() {
    let text = batch_of(&RouteSnapshot::default()).unwrap();
    assert_eq!(read_batch(b"{}\n"), Err(LogError::NoHead));
    assert_eq!(read_batch(text.trim_end().as_bytes()), Err(LogError::NoHead));
    assert_eq!(read_batch(format!("{text}x").as_bytes()), Err(LogError::Rest));
    let more = text.replace("\"lines\":0", "\"lines\":2");
    assert_eq!(read_batch(more.as_bytes()), Err(LogError::Line(1)));
    let other = text.replace("\"weir_routes\":1", "\"weir_routes\":2");
    assert_eq!(read_batch(other.as_bytes()), Err(LogError::Form(2)));
}
