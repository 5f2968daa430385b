//! In which order entries go when room is needed (S3-FIFO): a small queue for what is new, a main one for what
//! is asked for again, and a memory of what went from the small one.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use super::shelf::Entry;

/// Of what went from the small queue, so many are remembered.
const MOST_GHOSTS: usize = 8_192;

#[derive(Debug, Default)]
pub(super) struct Queue {
    small: VecDeque<Weak<Entry>>,
    main: VecDeque<Weak<Entry>>,
    small_bytes: u64,
    /// Of all that is listed.
    bytes: u64,
    live: usize,
    ghosts: HashSet<u64>,
    ghost_order: VecDeque<u64>,
}

impl Queue {
    /// An entry that is new, or stands in for one that was asked for again.
    pub(super) fn list(&mut self, entry: &Arc<Entry>, hash: u64, known: bool) {
        let bytes = entry.bytes();
        if self.ghosts.remove(&hash) || known {
            self.main.push_back(Arc::downgrade(entry));
        } else {
            entry.small.store(true, Ordering::Relaxed);
            self.small_bytes += bytes;
            self.small.push_back(Arc::downgrade(entry));
        }
        self.bytes += bytes;
        self.live += 1;
        self.drop_dead_places();
    }

    /// It takes so many bytes more.
    pub(super) fn grew(&mut self, entry: &Entry, bytes: u64) {
        self.bytes += bytes;
        if entry.small.load(Ordering::Relaxed) {
            self.small_bytes += bytes;
        }
    }

    /// It is kept no more.
    pub(super) fn unlist(&mut self, entry: &Entry) {
        self.bytes -= entry.bytes();
        self.live -= 1;
        self.leave_small(entry);
    }

    fn leave_small(&mut self, entry: &Entry) {
        if entry.small.swap(false, Ordering::Relaxed) {
            self.small_bytes -= entry.bytes();
        }
    }

    /// Which entry goes next. It is to be unlisted.
    pub(super) fn next(&mut self, hash: impl Fn(&str) -> u64) -> Option<Arc<Entry>> {
        loop {
            let from_small = self.main.is_empty() || (self.small_bytes > self.bytes / 10 && !self.small.is_empty());
            let next = match from_small {
                true => self.small.pop_front(),
                false => self.main.pop_front(),
            }?;
            let Some(entry) = next.upgrade().filter(|entry| !entry.is_gone()) else {
                continue;
            };
            self.leave_small(&entry);
            if entry.asked_again.swap(false, Ordering::Relaxed) {
                self.main.push_back(next);
                continue;
            }
            if from_small {
                self.remember(hash(&entry.key));
            }
            return Some(entry);
        }
    }

    fn remember(&mut self, hash: u64) {
        if self.ghosts.insert(hash) {
            self.ghost_order.push_back(hash);
        }
        while self.ghost_order.len() > MOST_GHOSTS {
            if let Some(oldest) = self.ghost_order.pop_front() {
                self.ghosts.remove(&oldest);
            }
        }
    }

    /// What was replaced or purged keeps its place in a queue; not too many of them.
    pub(super) fn drop_dead_places(&mut self) {
        if self.places() > 2 * self.live + 64 {
            let lives = |place: &Weak<Entry>| place.upgrade().is_some_and(|entry| !entry.is_gone());
            self.small.retain(lives);
            self.main.retain(lives);
        }
    }

    fn places(&self) -> usize {
        self.small.len() + self.main.len()
    }

    #[cfg(test)]
    pub(super) fn check(&self, listed: usize, bytes: u64) {
        assert_eq!((self.live, self.bytes), (listed, bytes));
        assert!(self.places() <= 2 * self.live + 65);
    }
}
