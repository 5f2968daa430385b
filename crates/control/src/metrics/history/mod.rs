//! The past of what is measured, for charts: requests, errors, times, CPU, memory, instances, egress and
//! money of each process, for 13 months, in bounded room ([`chunk`]).
//!
//! Every ten seconds one look is taken at what the node, the kernel and the ledger have counted
//! ([`sample`]), and what happened since the look before is added to the open chunk of each resolution.
//! Open chunks are in memory and written once a minute and at the end; so a control that is killed loses
//! a minute at most, which is shown as a gap, as is the time in which no control ran.
//!
//! Nothing here is used to charge or to decide anything: it may fail, be late or be lost, and only the
//! charts have a gap.

mod chunk;
mod memory;
mod point;
mod range;
mod recorder;
mod sample;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use weir_model::{EnvironmentId, UnixMillis};
use weir_store::{Store, StoreError};

use chunk::Chunk;
use memory::Memory;
use point::{Figure, as_f64};
use range::Steps;
pub use range::{Range, Series};
pub use recorder::{Recorder, run};
use sample::Key;

/// The open chunks, and what was counted since control started; shared by who records and who asks.
#[derive(Debug, Default)]
pub struct History {
    memory: Mutex<Memory>,
}

/// What happened at one process, or in an environment as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Which figure.
    pub series: Series,
    /// The app; none for the whole, and for what belongs to no process.
    pub app: Option<String>,
    /// The process; none as above.
    pub process: Option<String>,
    /// One for each step; none where nothing was measured.
    pub values: Vec<Option<f64>>,
}

/// Whether the processes are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Apart {
    /// One line for all.
    Nothing,
    /// One line for each.
    Processes,
}

/// What a process has used since control started, for those who ask again and again.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Used {
    pub(super) environment: EnvironmentId,
    pub(super) app: String,
    pub(super) process: String,
    pub(super) cpu_s: f64,
    /// At the newest look; none if it could not be read.
    pub(super) memory_bytes: Option<u64>,
    pub(super) egress_bytes: u64,
    pub(super) cost: f64,
}

impl History {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of an environment in a range.
    pub async fn read(
        &self,
        store: &Store,
        environment: EnvironmentId,
        range: &Range,
        series: &[Series],
        apart: Apart,
    ) -> Result<Vec<Line>, StoreError> {
        let first_ms = range.tier.chunk_of(range.from_ms);
        let stored = store.metric_chunk_list(environment, range.tier.step_ms, first_ms, range.until_ms);
        let mut chunks: BTreeMap<(UnixMillis, Key), Chunk> = BTreeMap::new();
        for stored in stored.await? {
            let key = Key {
                environment,
                app: stored.app,
                process: stored.process,
            };
            // One that cannot be read is a gap; whoever records it says so.
            chunks.extend(Chunk::read(&stored.data, &range.tier).map(|chunk| ((stored.from_ms, key), chunk)));
        }
        // What is in memory is newer.
        chunks.extend(self.memory().open(environment, &range.tier));
        let mut steps: BTreeMap<Key, Steps> = BTreeMap::new();
        for ((from_ms, key), chunk) in chunks {
            let steps = steps.entry(key).or_insert_with(|| Steps::new(range));
            steps.add(range, from_ms, &chunk.points());
        }
        Ok(lines(&steps, range, environment, series, apart))
    }

    /// What processes have used since control started.
    pub(super) fn used(&self) -> Vec<Used> {
        let memory = self.memory();
        let used = memory.used().map(|(key, total, newest)| Used {
            environment: key.environment,
            app: key.app.clone(),
            process: key.process.clone(),
            cpu_s: as_f64(total.get(Figure::CpuUs)) / 1e6,
            memory_bytes: match newest {
                Some(point) if point.get(Figure::MemoryUnread) > 0 => None,
                newest => Some(newest.map_or(0, |point| point.get(Figure::MemoryBytes))),
            },
            egress_bytes: total.get(Figure::EgressBytes),
            cost: as_f64(total.get(Figure::CostNano)) / 1e9,
        });
        used.collect()
    }
}

fn lines(
    steps: &BTreeMap<Key, Steps>,
    range: &Range,
    environment: EnvironmentId,
    series: &[Series],
    apart: Apart,
) -> Vec<Line> {
    let nothing = Steps::new(range);
    let clock = steps.get(&Key::whole(environment)).unwrap_or(&nothing);
    let line = |series: Series, key: Option<&Key>, steps: &Steps| Line {
        series,
        app: key.map(|key| key.app.clone()),
        process: key.map(|key| key.process.clone()),
        values: steps.values(series, clock),
    };
    let wanted: Vec<Series> = series.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    if apart == Apart::Nothing {
        let mut all = nothing.clone();
        steps.values().for_each(|steps| all.merge(steps));
        let whole = wanted.into_iter().map(|series| match series {
            Series::Memory => Line {
                values: sums(steps.values().map(|steps| steps.values(series, clock)), clock),
                ..line(series, None, &nothing)
            },
            series => line(series, None, &all),
        });
        return whole.collect();
    }
    let processes = steps.iter().filter(|(key, _)| !key.is_whole());
    let mut lines: Vec<Line> = Vec::new();
    for series in wanted {
        lines.extend(processes.clone().map(|(key, steps)| line(series, Some(key), steps)));
        let of_no_process = match series {
            Series::Cost => clock.has(&[Figure::CostNano]),
            Series::Egress => clock.has(&[Figure::EgressBytes]),
            _ => false,
        };
        lines.extend(of_no_process.then(|| line(series, None, clock)));
    }
    lines
}

/// The sums of several lines; none where one of them is not known, or nothing was looked at.
fn sums(lines: impl Iterator<Item = Vec<Option<f64>>>, clock: &Steps) -> Vec<Option<f64>> {
    let mut sums = Steps::values(clock, Series::Memory, clock);
    sums.iter_mut().flatten().for_each(|sum| *sum = 0.0);
    for values in lines {
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum = sum.zip(value).map(|(sum, value)| sum + value);
        }
    }
    sums
}
