//! A circle of services that call each other: whether it multiplies, and what happens then.

use std::collections::{BTreeSet, VecDeque};

use weir_model::guard::GuardRule;

use crate::descent::WHOLE;
use crate::flow::{BIN_US, Gate};

/// Shortest window in which reproduction is measured; it is longer where answers take long.
const WINDOW_US: u64 = 1_000_000;
/// Longest one.
const LONGEST_WINDOW_US: u64 = 60_000_000;
/// Calls in a window, below which nothing is concluded.
const FEWEST_CALLS: u64 = 50;
/// Share of own calls, below which visitors are the cause.
const LEAST_SHARE: f64 = 0.9;
/// Calls a call from which it multiplies.
const CRITICAL: f64 = 1.0;
/// Calls a call from which there is a warning, and below which it is over.
const NEAR: f64 = 0.8;
const FAR: f64 = 0.5;
/// Calls a call from which two windows are enough.
const CERTAIN: f64 = 1.5;
/// Generations that must be proven: calls of calls of calls.
const GENERATIONS: u32 = 3;
/// Bins of history: 32 s.
const HISTORY: usize = 128;
/// How long calls are refused, and how long one in a hundred is tried then.
const TRIPPED_US: u64 = 30_000_000;
const HALF_OPEN_US: u64 = 10_000_000;

/// What a window has shown.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Measured {
    /// Calls a finished call made: the spectral radius.
    pub(crate) radius: f64,
    /// Calls due to calls.
    pub(crate) calls: u64,
    /// Their share of all requests.
    pub(crate) share: f64,
    /// Longest chain that is certain.
    pub(crate) deepest: u32,
    /// Whether most calls come from instances that also call with nothing in flight; chains are
    /// not certain then.
    pub(crate) of_own_accord: bool,
}

/// Why a call is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stop {
    pub(crate) rule: GuardRule,
    pub(crate) measured: u64,
}

#[derive(Debug)]
enum State {
    Open,
    Throttled {
        most: u64,
    },
    Tripped {
        stop: Stop,
        until_us: u64,
    },
    HalfOpen {
        stop: Stop,
        until_us: u64,
        tried: u64,
        passed: u64,
        /// Weight of what was tried on account of calls.
        of_calls: u64,
    },
}

/// Whether people are to be told that it comes close to multiplying: once, until it is far from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Warning {
    None,
    /// So many thousandths, and nobody was told yet.
    Due(u64),
    Told,
}

/// One circle.
#[derive(Debug)]
pub(crate) struct Circle {
    pub(crate) members: BTreeSet<u32>,
    /// Calls in flight at the members, and the most since the state changed last.
    pub(crate) in_flight: u64,
    pub(crate) peak: u64,
    pub(crate) last: Measured,
    state: State,
    window_us: u64,
    /// Windows in a row in which it multiplied, and certainly so.
    critical: u32,
    certain: u32,
    /// Calls since it was last quiet.
    episode: u64,
    warning: Warning,
    /// Calls in each bin, newest last.
    history: VecDeque<u64>,
}

impl Circle {
    pub(crate) fn new(now_us: u64) -> Self {
        Self {
            members: BTreeSet::new(),
            in_flight: 0,
            peak: 0,
            last: Measured::default(),
            state: State::Open,
            window_us: now_us,
            critical: 0,
            certain: 0,
            episode: 0,
            warning: Warning::None,
            history: VecDeque::with_capacity(HISTORY),
        }
    }

    pub(crate) fn gate(&self) -> Gate {
        match self.state {
            State::Open => Gate::Open,
            State::Throttled { .. } => Gate::Throttled,
            State::Tripped { .. } => Gate::Tripped,
            State::HalfOpen { .. } => Gate::HalfOpen,
        }
    }

    /// Whether a call within the circle is refused; so much of its weight is due to calls.
    pub(crate) fn admit(&mut self, internal: u32) -> Option<Stop> {
        match &mut self.state {
            State::Open => None,
            State::Throttled { most } => (self.in_flight >= *most).then_some(Stop {
                rule: GuardRule::Reproduction,
                measured: milli(self.last.radius),
            }),
            State::Tripped { stop, .. } => Some(*stop),
            State::HalfOpen {
                stop,
                tried,
                passed,
                of_calls,
                ..
            } => {
                *tried += 1;
                *of_calls += u64::from(internal);
                if *tried % 100 == 1 {
                    *passed += 1;
                    return None;
                }
                Some(*stop)
            }
        }
    }

    /// Calls a call, in thousandths, if that is to be warned of; once.
    pub(crate) fn take_warning(&mut self) -> Option<u64> {
        let Warning::Due(measured) = self.warning else {
            return None;
        };
        self.warning = Warning::Told;
        Some(measured)
    }

    /// Whether it comes close to multiplying, by the last window.
    pub(crate) fn is_near(&self) -> bool {
        self.last.radius >= NEAR
    }

    /// What is to be warned of, for the rule.
    pub(crate) fn warning_limit() -> u64 {
        milli(NEAR)
    }

    /// Takes in the calls since the last look, which was so many bins ago.
    pub(crate) fn bin(&mut self, calls: u64, bins: u64) {
        for _ in 1..bins.min(HISTORY as u64) {
            self.push(0);
        }
        self.push(calls);
        self.episode += calls;
    }

    fn push(&mut self, calls: u64) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(calls);
    }

    pub(crate) fn window_due(&self, latency_us: u64, now_us: u64) -> bool {
        let length = (3 * latency_us).clamp(WINDOW_US, LONGEST_WINDOW_US);
        now_us.saturating_sub(self.window_us) >= length
    }

    /// Draws the conclusions of a look, and of a window if one has ended.
    pub(crate) fn judge(&mut self, measured: Option<Measured>, floor: u64, latency_us: u64, now_us: u64) {
        if let Some(measured) = measured {
            self.window_us = now_us;
            self.last = measured;
            let counts = measured.calls >= FEWEST_CALLS && measured.share >= LEAST_SHARE && proven(&measured);
            self.critical = if counts && measured.radius >= CRITICAL {
                self.critical + 1
            } else {
                0
            };
            self.certain = if counts && measured.radius >= CERTAIN {
                self.certain + 1
            } else {
                0
            };
            let quiet = measured.calls < FEWEST_CALLS / 5;
            if quiet {
                self.episode = 0;
            }
            match self.warning {
                Warning::None if counts && measured.radius >= NEAR => {
                    self.warning = Warning::Due(milli(measured.radius));
                }
                Warning::Due(_) | Warning::Told if quiet || measured.radius < FAR => self.warning = Warning::None,
                _ => {}
            }
        }
        match &self.state {
            State::Open | State::Throttled { .. } => self.judge_running(measured.is_some(), floor, latency_us, now_us),
            State::Tripped { stop, until_us } if now_us >= *until_us => {
                self.state = State::HalfOpen {
                    stop: *stop,
                    until_us: now_us + HALF_OPEN_US,
                    tried: 0,
                    passed: 0,
                    of_calls: 0,
                };
            }
            State::HalfOpen {
                stop,
                until_us,
                passed,
                of_calls,
                ..
            } if now_us >= *until_us => {
                // Those that passed have tried to make more than they were: it would begin again.
                let of_calls = of_calls / u64::from(WHOLE);
                let goes_on = of_calls >= FEWEST_CALLS && of_calls * 2 >= passed * 3;
                let stop = *stop;
                self.settle(now_us);
                if goes_on {
                    self.trip(stop, now_us);
                }
            }
            State::Tripped { .. } | State::HalfOpen { .. } => {}
        }
    }

    fn judge_running(&mut self, window_ended: bool, floor: u64, latency_us: u64, now_us: u64) {
        if self.episode < floor {
            return;
        }
        if self.certain >= 2 {
            let stop = Stop {
                rule: GuardRule::Reproduction,
                measured: milli(self.last.radius),
            };
            return self.trip(stop, now_us);
        }
        if let Some(doubling_ms) = self.doubling_ms(latency_us) {
            let stop = Stop {
                rule: GuardRule::Growth,
                measured: doubling_ms,
            };
            return self.trip(stop, now_us);
        }
        if !window_ended {
            return;
        }
        match self.state {
            State::Open if self.critical >= 3 => {
                self.state = State::Throttled {
                    most: (self.peak + self.peak / 4).max(8),
                };
            }
            State::Throttled { .. } if self.critical == 0 => self.settle(now_us),
            State::Open if self.critical == 0 => self.peak = self.in_flight,
            _ => {}
        }
    }

    /// The doubling time in milliseconds, if calls doubled three times in a row within ten
    /// seconds each; looked for at several scales, none shorter than an answer takes.
    fn doubling_ms(&self, latency_us: u64) -> Option<u64> {
        let mut scale = 1;
        while scale * 4 <= HISTORY && scale as u64 * BIN_US < 10_000_000 {
            let long_enough = scale as u64 * BIN_US >= latency_us;
            if long_enough && self.history.len() >= scale * 4 {
                let sums: [u64; 4] = std::array::from_fn(|part| {
                    let from = self.history.len() - scale * (4 - part);
                    self.history.range(from..from + scale).sum()
                });
                let steady = sums.windows(2).all(|pair| pair[1] * 2 >= pair[0] * 3);
                let all: u64 = sums.iter().sum();
                if sums[0] >= 3 && steady && sums[3] >= sums[0] * 8 && all >= FEWEST_CALLS && self.grows_by_itself() {
                    let factor = (sums[3] as f64 / sums[0] as f64).log2() / 3.0;
                    return Some(milli(scale as f64 * BIN_US as f64 / 1e6 / factor));
                }
            }
            scale *= 2;
        }
        None
    }

    fn grows_by_itself(&self) -> bool {
        self.last.radius >= CRITICAL && self.last.share >= LEAST_SHARE && proven(&self.last)
    }

    fn trip(&mut self, stop: Stop, now_us: u64) {
        self.state = State::Tripped {
            stop,
            until_us: now_us + TRIPPED_US,
        };
        self.history.clear();
        (self.critical, self.certain, self.episode) = (0, 0, 0);
    }

    fn settle(&mut self, now_us: u64) {
        self.state = State::Open;
        self.window_us = now_us;
        self.peak = self.in_flight;
        self.history.clear();
        (self.critical, self.certain, self.episode) = (0, 0, 0);
    }
}

/// Whether calls of calls of calls are certain, or nothing about chains can be.
fn proven(measured: &Measured) -> bool {
    measured.deepest >= GENERATIONS || measured.of_own_accord
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "held within the range before"
)]
fn milli(value: f64) -> u64 {
    (value.clamp(0.0, 1e9) * 1000.0).round() as u64
}
