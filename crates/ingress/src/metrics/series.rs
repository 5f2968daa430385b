//! Counters of one route, a set for each worker, made when the worker counts there for the first
//! time. Nobody waits for anybody: each worker adds to its own, and a reader sums them.

use std::array;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use weir_model::EnvironmentId;
use weir_model::metrics::{BUCKETS, BUCKETS_US, Histogram, RouteMetrics, StatusMetrics};

/// Digits that a status begins with, 1 to 5; 0 is for no answer at all.
pub(crate) const DIGITS: usize = 6;
/// Most kinds of pages that are told apart; further ones are `other`.
const KINDS: usize = 64;
const OTHER: &str = "other";

/// What Weir's pages are marked with, in the order in which they came first. There are as many as
/// the source names, so that this stays small whatever clients do.
static PAGES: [OnceLock<Box<str>>; KINDS] = [const { OnceLock::new() }; KINDS];

/// Which route is counted. Hosts are not told apart: there may be any number of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SeriesKey {
    /// None for requests that reached no route.
    pub(crate) environment: Option<EnvironmentId>,
    /// `app.process`.
    pub(crate) target: Box<str>,
    pub(crate) path_prefix: Box<str>,
    pub(crate) class: Box<str>,
}

/// What is counted at one route.
#[derive(Debug)]
pub(crate) struct Series {
    workers: Box<[OnceLock<Box<Cell>>]>,
}

/// Of one worker, in cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Cell {
    begun: AtomicU64,
    ended: AtomicU64,
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    statuses: [OnceLock<Box<Status>>; DIGITS],
}

/// Answers whose status begins with the same digit.
#[derive(Debug)]
struct Status {
    app: AtomicU64,
    pages: OnceLock<Box<[AtomicU64; KINDS]>>,
    first_byte: Times,
    duration: Times,
}

#[derive(Debug)]
struct Times {
    buckets: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

/// A request and its answer, as they are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// First digit of the status; 0 for none.
    pub(crate) digit: usize,
    /// Which page it was; none for the app's answers.
    pub(crate) page: Option<usize>,
    /// None where there was no answer.
    pub(crate) first_byte_us: Option<u64>,
    pub(crate) duration_us: u64,
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
}

/// The number of a page's mark.
pub(crate) fn page_kind(reason: &str) -> usize {
    for (number, place) in PAGES.iter().enumerate().take(KINDS - 1) {
        if &**place.get_or_init(|| reason.into()) == reason {
            return number;
        }
    }
    KINDS - 1
}

/// The mark of that number.
pub(crate) fn page_reason(kind: usize) -> &'static str {
    PAGES.get(kind).and_then(OnceLock::get).map_or(OTHER, |reason| reason)
}

impl Series {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            workers: (0..workers.max(1)).map(|_| OnceLock::new()).collect(),
        }
    }

    /// A request begins.
    pub(crate) fn begin(&self, worker: usize) {
        self.cell(worker).begun.fetch_add(1, Ordering::Relaxed);
    }

    /// A request that has begun here goes on at another route.
    pub(crate) fn leave(&self, worker: usize) {
        self.cell(worker).begun.fetch_sub(1, Ordering::Relaxed);
    }

    /// Bytes that went through a tunnel that goes on.
    pub(crate) fn carry(&self, worker: usize, received_bytes: u64, sent_bytes: u64) {
        let cell = self.cell(worker);
        cell.received_bytes.fetch_add(received_bytes, Ordering::Relaxed);
        cell.sent_bytes.fetch_add(sent_bytes, Ordering::Relaxed);
    }

    /// A request has ended. `counted`: bytes received and sent that were counted before.
    pub(crate) fn end(&self, worker: usize, outcome: &Outcome, counted: (u64, u64)) {
        let cell = self.cell(worker);
        let place = &cell.statuses[outcome.digit.min(DIGITS - 1)];
        let status = place.get_or_init(Box::default);
        match outcome.page {
            None => status.app.fetch_add(1, Ordering::Relaxed),
            Some(page) => {
                let fresh = || Box::new(array::from_fn(|_| AtomicU64::new(0)));
                status.pages.get_or_init(fresh)[page.min(KINDS - 1)].fetch_add(1, Ordering::Relaxed)
            }
        };
        if let Some(first_byte_us) = outcome.first_byte_us {
            status.first_byte.count(first_byte_us);
        }
        status.duration.count(outcome.duration_us);
        for (counter, bytes) in [
            (&cell.received_bytes, outcome.received_bytes.saturating_sub(counted.0)),
            (&cell.sent_bytes, outcome.sent_bytes.saturating_sub(counted.1)),
        ] {
            if bytes > 0 {
                counter.fetch_add(bytes, Ordering::Relaxed);
            }
        }
        cell.ended.fetch_add(1, Ordering::Release);
    }

    /// Whether anything was counted.
    pub(crate) fn is_used(&self) -> bool {
        self.workers.iter().any(|cell| cell.get().is_some())
    }

    /// Sums over all workers.
    pub(crate) fn read(&self, key: &SeriesKey) -> RouteMetrics {
        let mut sums = RouteMetrics {
            environment: key.environment,
            target: key.target.to_string(),
            path_prefix: key.path_prefix.to_string(),
            class: key.class.to_string(),
            ..RouteMetrics::default()
        };
        let (mut begun, mut ended) = (0, 0);
        let mut statuses: [Option<StatusMetrics>; DIGITS] = array::from_fn(|_| None);
        for cell in self.workers.iter().filter_map(OnceLock::get) {
            // What has ended is read first: it never seems more than what has begun.
            ended += cell.ended.load(Ordering::Acquire);
            begun += cell.begun.load(Ordering::Relaxed);
            sums.received_bytes += cell.received_bytes.load(Ordering::Relaxed);
            sums.sent_bytes += cell.sent_bytes.load(Ordering::Relaxed);
            for (digit, (status, sum)) in (0_u8..).zip(cell.statuses.iter().zip(&mut statuses)) {
                if let Some(status) = status.get() {
                    let fresh = || StatusMetrics {
                        digit,
                        ..StatusMetrics::default()
                    };
                    status.add_to(sum.get_or_insert_with(fresh));
                }
            }
        }
        // A request ends at the worker where it has begun.
        sums.in_flight = u64::saturating_sub(begun, ended);
        sums.statuses = statuses.into_iter().flatten().collect();
        sums
    }

    fn cell(&self, worker: usize) -> &Cell {
        self.workers[worker % self.workers.len()].get_or_init(Box::default)
    }
}

impl Default for Status {
    fn default() -> Self {
        Self {
            app: AtomicU64::new(0),
            pages: OnceLock::new(),
            first_byte: Times::default(),
            duration: Times::default(),
        }
    }
}

impl Status {
    fn add_to(&self, sum: &mut StatusMetrics) {
        sum.app += self.app.load(Ordering::Relaxed);
        for (kind, counter) in self.pages.get().into_iter().flat_map(|pages| pages.iter().enumerate()) {
            let count = counter.load(Ordering::Relaxed);
            if count == 0 {
                continue;
            }
            let reason = page_reason(kind);
            match sum.pages.iter_mut().find(|(known, _)| known == reason) {
                Some((_, known)) => *known += count,
                None => sum.pages.push((reason.to_owned(), count)),
            }
        }
        self.first_byte.add_to(&mut sum.first_byte);
        self.duration.add_to(&mut sum.duration);
    }
}

impl Default for Times {
    fn default() -> Self {
        Self {
            buckets: array::from_fn(|_| AtomicU64::new(0)),
            sum_us: AtomicU64::new(0),
        }
    }
}

impl Times {
    fn count(&self, time_us: u64) {
        // Most are fast, so that this looks at few.
        let bucket = BUCKETS_US.iter().position(|bound| time_us <= *bound);
        self.buckets[bucket.unwrap_or(BUCKETS - 1)].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(time_us, Ordering::Relaxed);
    }

    fn add_to(&self, sum: &mut Histogram) {
        sum.buckets.resize(BUCKETS, 0);
        for (sum, bucket) in sum.buckets.iter_mut().zip(&self.buckets) {
            *sum += bucket.load(Ordering::Relaxed);
        }
        sum.sum_us = sum.sum_us.wrapping_add(self.sum_us.load(Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SeriesKey {
        SeriesKey {
            environment: None,
            target: "shop.web".into(),
            path_prefix: "/".into(),
            class: "default".into(),
        }
    }

    fn outcome(digit: usize, page: Option<usize>, duration_us: u64) -> Outcome {
        Outcome {
            digit,
            page,
            first_byte_us: (digit > 0).then_some(duration_us / 2),
            duration_us,
            received_bytes: 3,
            sent_bytes: 10,
        }
    }

    #[test]
    fn all_workers_are_summed_and_each_time_falls_into_one_bucket() {
        let series = Series::new(2);
        assert!(!series.is_used());
        for worker in 0..3 {
            series.begin(worker);
        }
        series.end(0, &outcome(2, None, 1_000), (0, 0));
        series.end(1, &outcome(2, None, 1_001), (0, 0));
        let read = series.read(&key());
        assert_eq!((read.in_flight, read.received_bytes, read.sent_bytes), (1, 6, 20));
        let [status] = &read.statuses[..] else {
            panic!("{read:?}")
        };
        assert_eq!((status.digit, status.app), (2, 2));
        assert_eq!(status.duration.buckets[..3], [1, 1, 0]);
        assert_eq!(status.duration.sum_us, 2_001);
        assert_eq!(status.first_byte.buckets[0], 2);
        assert_eq!(status.duration.buckets.len(), BUCKETS);
    }

    #[test]
    fn the_longest_and_the_unanswered_are_counted_too() {
        let series = Series::new(1);
        series.begin(0);
        series.begin(0);
        series.end(0, &outcome(5, Some(page_kind("queue-full")), 60_000_001), (0, 0));
        series.end(0, &outcome(0, None, 5), (0, 0));
        let read = series.read(&key());
        assert_eq!(read.in_flight, 0);
        let [none, failed] = &read.statuses[..] else {
            panic!("{read:?}")
        };
        assert_eq!((none.digit, none.first_byte.buckets.iter().sum::<u64>()), (0, 0));
        assert_eq!(failed.pages, [("queue-full".to_owned(), 1)]);
        assert_eq!((failed.app, failed.duration.buckets[BUCKETS - 1]), (0, 1));
    }

    #[test]
    fn a_request_that_changes_its_route_is_counted_at_the_last_one() {
        let (first, second) = (Series::new(1), Series::new(1));
        first.begin(0);
        first.leave(0);
        second.begin(0);
        second.end(0, &outcome(2, None, 1), (0, 0));
        assert_eq!(first.read(&key()).in_flight, 0);
        assert!(first.read(&key()).statuses.is_empty());
        assert_eq!(second.read(&key()).statuses[0].app, 1);
    }

    #[test]
    fn marks_of_pages_keep_their_numbers() {
        let kind = page_kind("paused");
        assert_eq!((page_kind("paused"), page_reason(kind)), (kind, "paused"));
        assert_ne!(page_kind("crashed"), kind);
        assert_eq!(page_reason(KINDS - 1), OTHER);
    }
}
