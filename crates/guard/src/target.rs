//! A process of an app, as the guard knows it: what is called, and by which rules.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

use weir_model::guard::{BackgroundRule, GuardRules};
use weir_model::{AppName, EnvironmentId, ProcessName};

/// What is called: one process of one app. Get it once per route and keep it.
#[derive(Debug)]
pub struct Target {
    /// Counts the targets of this sentry.
    pub(crate) number: u32,
    pub(crate) environment: EnvironmentId,
    /// `app.process`.
    pub(crate) text: Box<str>,
    /// None for a text that is not of that form; such a target has no rules.
    pub(crate) names: Option<(AppName, ProcessName)>,
    rules: SharedRules,
    /// Made when they count for the first time: there may be a hundred thousand targets.
    visitors: Box<[OnceLock<Box<Counter>>]>,
}

/// Alone on its cache line, so that workers do not wait for each other's.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counter(pub(crate) AtomicU64);

#[derive(Debug)]
struct SharedRules {
    enabled: AtomicBool,
    depth: AtomicU32,
    descendants: AtomicU64,
    repeats: AtomicU32,
    reproduction: AtomicBool,
    /// The position in [`BACKGROUND`].
    background: AtomicU8,
}

const BACKGROUND: [BackgroundRule; 3] = [BackgroundRule::Allow, BackgroundRule::Tell, BackgroundRule::Slow];

impl Target {
    pub(crate) fn new(number: u32, environment: EnvironmentId, text: &str, shards: usize) -> Self {
        let names = text
            .split_once('.')
            .and_then(|(app, process)| Some((AppName::new(app).ok()?, ProcessName::new(process).ok()?)));
        let target = Self {
            number,
            environment,
            text: text.into(),
            names,
            rules: SharedRules {
                enabled: AtomicBool::new(true),
                depth: AtomicU32::new(0),
                descendants: AtomicU64::new(0),
                repeats: AtomicU32::new(0),
                reproduction: AtomicBool::new(true),
                background: AtomicU8::new(0),
            },
            visitors: (0..shards.max(1)).map(|_| OnceLock::new()).collect(),
        };
        target.set_rules(&GuardRules::default());
        target
    }

    pub(crate) fn set_rules(&self, rules: &GuardRules) {
        self.rules.enabled.store(rules.enabled, Ordering::Relaxed);
        self.rules.depth.store(rules.depth, Ordering::Relaxed);
        self.rules.descendants.store(rules.descendants, Ordering::Relaxed);
        self.rules.repeats.store(rules.repeats, Ordering::Relaxed);
        self.rules.reproduction.store(rules.reproduction, Ordering::Relaxed);
        let background = (0..).zip(BACKGROUND).find(|(_, rule)| *rule == rules.background);
        self.rules
            .background
            .store(background.map_or(0, |(place, _)| place), Ordering::Relaxed);
    }

    /// The rules that hold now.
    pub fn rules(&self) -> GuardRules {
        GuardRules {
            enabled: self.rules.enabled.load(Ordering::Relaxed),
            depth: self.rules.depth.load(Ordering::Relaxed),
            descendants: self.rules.descendants.load(Ordering::Relaxed),
            repeats: self.rules.repeats.load(Ordering::Relaxed),
            reproduction: self.rules.reproduction.load(Ordering::Relaxed),
            background: BACKGROUND[usize::from(self.rules.background.load(Ordering::Relaxed))],
        }
    }

    pub(crate) fn descendants(&self) -> u64 {
        self.rules.descendants.load(Ordering::Relaxed)
    }

    pub(crate) fn count_visitor(&self, shard: usize) {
        self.visitors[shard % self.visitors.len()]
            .get_or_init(Box::default)
            .0
            .fetch_add(1, Ordering::Relaxed);
    }

    /// Requests of visitors since the start.
    pub(crate) fn visitors(&self) -> u64 {
        self.visitors
            .iter()
            .filter_map(OnceLock::get)
            .map(|counter| counter.0.load(Ordering::Relaxed))
            .sum()
    }
}
