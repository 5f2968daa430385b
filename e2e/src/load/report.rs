//! What came of a load.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Result, ensure};

/// In what way something failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The connection, or its handshake.
    Connect,
    /// Nothing came back.
    NoAnswer,
    /// Another status than 200.
    Status,
    /// What had begun was cut: an answer, or a websocket.
    Cut,
    /// It is not what it should be.
    Wrong,
    /// It came too late.
    Late,
    /// It came from an older release, after a newer one had answered.
    Stale,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::NoAnswer => "no answer",
            Self::Status => "refused",
            Self::Cut => "cut",
            Self::Wrong => "wrong",
            Self::Late => "late",
            Self::Stale => "an older release answered after a newer one",
        })
    }
}

impl std::error::Error for Fault {}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Whether websockets were part of the load.
    pub expects_echoes: bool,
    /// Requests whose answer was right, by kind of client.
    pub right: BTreeMap<&'static str, u64>,
    /// How often each thing went wrong, in words.
    pub wrong: BTreeMap<String, u64>,
    /// How often each thing went wrong, by kind of client.
    pub faults: BTreeMap<(&'static str, Fault), u64>,
    /// Longest time from when a quick request was due to the end of its answer: the longest hold.
    pub longest: Duration,
    /// Times of all quick requests, in microseconds.
    pub times_us: Vec<u64>,
    /// The same by kind of client.
    pub times_by_kind_us: BTreeMap<&'static str, Vec<u64>>,
    /// Messages that websockets echoed.
    pub echoed: u64,
    /// Websockets that ended because their release was drained.
    pub drained: u64,
    /// Requests over HTTP/2 that were sent again because a GOAWAY said that they were not begun.
    pub repeated: u64,
}

impl Report {
    /// How many requests were sent, websocket handshakes included.
    pub fn sent(&self) -> u64 {
        self.right.values().sum::<u64>() + self.failed()
    }

    /// How many things went wrong.
    pub fn failed(&self) -> u64 {
        self.wrong.values().sum()
    }

    /// A percentile (0 to 100) of the times of quick requests.
    pub fn percentile(&self, percent: usize) -> Duration {
        percentile(&self.times_us, percent)
    }

    /// The same of one kind of client; 100 is the longest.
    pub fn percentile_of(&self, kind: &str, percent: usize) -> Duration {
        percentile(self.times_by_kind_us.get(kind).map_or(&[], Vec::as_slice), percent)
    }

    /// One line for people.
    pub fn summary(&self) -> String {
        format!(
            "{} requests sent, {} failed; median {:.1?}, 99 % {:.1?}, longest {:.1?}; {} echoed by websockets, {} of which were drained; {} repeated after GOAWAY",
            self.sent(),
            self.failed(),
            self.percentile(50),
            self.percentile(99),
            self.longest,
            self.echoed,
            self.drained,
            self.repeated,
        )
    }

    /// Fails with what went wrong, if anything did, or if there was hardly any load.
    pub fn none_failed(self) -> Result<Self> {
        ensure!(self.failed() == 0, "{}: {:#?}", self.summary(), self.wrong);
        ensure!(
            self.sent() > 20 && (self.echoed > 0 || !self.expects_echoes),
            "too little load to prove anything: {}",
            self.summary()
        );
        Ok(self)
    }

    /// Adds another one.
    pub fn add(&mut self, other: Self) {
        self.expects_echoes |= other.expects_echoes;
        for (kind, count) in other.right {
            *self.right.entry(kind).or_default() += count;
        }
        for (words, count) in other.wrong {
            *self.wrong.entry(words).or_default() += count;
        }
        for (fault, count) in other.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        self.longest = self.longest.max(other.longest);
        self.times_us.extend(other.times_us);
        for (kind, times) in other.times_by_kind_us {
            self.times_by_kind_us.entry(kind).or_default().extend(times);
        }
        self.echoed += other.echoed;
        self.drained += other.drained;
        self.repeated += other.repeated;
    }
}

fn percentile(times_us: &[u64], percent: usize) -> Duration {
    let mut times = times_us.to_vec();
    times.sort_unstable();
    let index = (times.len() * percent / 100).min(times.len().saturating_sub(1));
    Duration::from_micros(times.get(index).copied().unwrap_or(0))
}
