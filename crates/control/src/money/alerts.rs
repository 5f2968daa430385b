//! What people are told about money, once each, also over restarts.
//!
//! Most of it are events of the ledger (a threshold crossed, a stop, a resume); how far they were
//! told is kept by their row of the journal, so that a restart goes on behind it. Forecasts are
//! made here, from the pace of the last minutes, or of the last seconds where that is higher: what
//! begins to spend all at once is told of within seconds.
//!
//! Who tells is an [`AlertSink`]: the changes of a project here, mail and webhooks elsewhere.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use weir_ledger::Nano;
use weir_ledger::book::{Change, Event, Scope, Standing};
use weir_ledger::protocol::DenialReason;
use weir_model::UnixMillis;
use weir_store::StoreError;

use super::reminders::Reminders;
use super::{chain, service};
use crate::context::Context;

/// Where it is kept how far was told.
const TOLD: &str = "money.told";
/// Where it is kept which forecasts were told.
const FORECASTS: &str = "money.forecasts";
/// Where it is kept which promised payments were reminded of.
const REMINDERS: &str = "money.reminders";
/// Alerts that may wait in memory; what is more is read from the journal again.
const WAITING: usize = 1024;
/// Pause between two forecasts, and before another attempt to tell.
const PAUSE: Duration = Duration::from_secs(1);
/// A forecast is told when the cap is nearer than this, in minutes.
const NEAR_MINUTES: [i64; 2] = [10, 1];
/// A burst is spending that has gone on for so many stretches of time, each so long: one purchase
/// is none.
const STRETCHES: usize = 3;
const STRETCH_MS: i64 = 2_000;
/// Told again only if the cap has been farther away than this in the meantime.
const FAR_MINUTES: i64 = 60;

/// Something about money that people are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// The same for the same alert, however often it is delivered.
    pub id: String,
    /// When it happened.
    pub at_ms: UnixMillis,
    /// Whose money.
    pub scope: Scope,
    /// `money.crossed`, `money.stopped`, `money.resumed`, `money.forecast`, `money.promise-due`,
    /// `money.promise-broken`.
    pub kind: &'static str,
    /// One line for people.
    pub message: String,
}

/// Tells people. May get the same alert again after a crash or a failure.
#[async_trait]
pub trait AlertSink: Send + Sync + std::fmt::Debug {
    /// Tells it, or keeps it durably to be told. Fails if it is to be delivered again.
    async fn deliver(&self, context: &Context, alert: &Alert) -> Result<(), StoreError>;
}

/// Writes alerts among the changes of the projects that they are about.
#[derive(Debug, Clone, Copy, Default)]
pub struct ChangeSink;

#[async_trait]
impl AlertSink for ChangeSink {
    async fn deliver(&self, context: &Context, alert: &Alert) -> Result<(), StoreError> {
        let store = &context.store;
        let mut environment_name = None;
        let projects = match alert.scope {
            Scope::Environment(id) => {
                let Some(environment) = store.environment_by_id(id).await? else {
                    return Ok(());
                };
                environment_name = Some(environment.name);
                store.project_by_id(environment.project).await?.into_iter().collect()
            }
            Scope::Project(id) => store.project_by_id(id).await?.into_iter().collect(),
            // Everything that the account pays for is concerned.
            Scope::Account(id) => {
                let mut projects = store.project_list().await?;
                projects.retain(|project| project.account == id);
                projects
            }
        };
        for project in projects {
            let environment = environment_name.as_ref().map(|name| name.as_str());
            context
                .tasks
                .change(project.name.as_str(), environment, alert.kind, &alert.message)
                .await;
        }
        Ok(())
    }
}

/// Events that wait to be told.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    queue: Mutex<Queue>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    events: Vec<(i64, Event)>,
    /// Something may not be in `events`: the journal has it.
    missed: bool,
}

impl Waiting {
    pub(super) fn push(&self, events: Vec<(i64, Event)>) {
        if events.is_empty() {
            return;
        }
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.events.len() + events.len() > WAITING {
            queue.missed = true;
        } else {
            queue.events.extend(events);
        }
        drop(queue);
        self.news.notify_one();
    }

    /// Something may have been written that was not pushed.
    pub(super) fn missed(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).missed = true;
        self.news.notify_one();
    }

    fn take(&self) -> Queue {
        std::mem::take(&mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whether people are told of it.
pub(super) fn is_told(change: &Change) -> bool {
    matches!(
        change,
        Change::Crossed { .. } | Change::Stopped { .. } | Change::Resumed { .. } | Change::PromiseBroken { .. }
    )
}

/// Tells of everything until control stops.
pub async fn run(context: Context, sinks: Vec<std::sync::Arc<dyn AlertSink>>) {
    let mut teller = Teller {
        told: None,
        forecasts: None,
        reminders: None,
        context,
        sinks,
    };
    teller.context.money.shared.alerts.missed();
    loop {
        if let Err(error) = teller.round().await {
            tracing::warn!(%error, "alerts about money could not be told; trying again");
            teller.context.money.shared.alerts.missed();
        }
        let stop = teller.context.stop.clone();
        tokio::select! {
            () = stop.cancelled() => return,
            () = teller.context.money.shared.alerts.news.notified() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

struct Teller {
    context: Context,
    sinks: Vec<std::sync::Arc<dyn AlertSink>>,
    /// The row of the journal up to which all is told.
    told: Option<i64>,
    forecasts: Option<Forecasts>,
    reminders: Option<Reminders>,
}

impl Teller {
    async fn round(&mut self) -> Result<(), StoreError> {
        let queue = self.context.money.shared.alerts.take();
        let told = self.told().await?;
        if queue.missed {
            self.catch_up(told).await?;
        } else {
            for (sequence, event) in queue.events {
                self.tell(sequence, &event).await?;
            }
        }
        let standings = self.context.money.standings();
        self.remind(&standings).await?;
        self.forecast(&standings).await
    }

    async fn told(&mut self) -> Result<i64, StoreError> {
        if let Some(told) = self.told {
            return Ok(told);
        }
        let kept = self.context.store.setting_get(TOLD).await?;
        let told = kept.and_then(|text| text.parse().ok()).unwrap_or(0);
        self.told = Some(told);
        Ok(told)
    }

    /// Everything behind a row.
    async fn catch_up(&mut self, mut after: i64) -> Result<(), StoreError> {
        loop {
            let rows = self.context.store.ledger_journal(after, service::PAGE).await?;
            let Some(last) = rows.last() else {
                return Ok(());
            };
            after = last.sequence;
            for row in &rows {
                // A row that cannot be read is the audit's to tell of.
                if let Ok(event) = chain::read(row, row.sequence, &row.previous_hash) {
                    self.tell(row.sequence, &event).await?;
                }
            }
        }
    }

    async fn tell(&mut self, sequence: i64, event: &Event) -> Result<(), StoreError> {
        if self.told.is_some_and(|told| sequence <= told) {
            return Ok(());
        }
        let Some(alert) = alert_of(sequence, event) else {
            return Ok(());
        };
        self.deliver(&alert).await?;
        self.context.store.setting_set(TOLD, &sequence.to_string()).await?;
        self.told = Some(sequence);
        Ok(())
    }

    async fn deliver(&self, alert: &Alert) -> Result<(), StoreError> {
        for sink in &self.sinks {
            sink.deliver(&self.context, alert).await?;
        }
        Ok(())
    }

    async fn remind(&mut self, standings: &[Standing]) -> Result<(), StoreError> {
        let context = &self.context;
        let kept = match self.reminders.take() {
            Some(reminders) => reminders,
            None => {
                let text = context.store.setting_get(REMINDERS).await?;
                text.and_then(|text| serde_json::from_str(&text).ok())
                    .unwrap_or_default()
            }
        };
        let (now_ms, zone) = (context.clock.now_ms(), context.money.time_zone());
        let mut reminders = kept.clone();
        for standing in standings {
            let Scope::Account(id) = standing.scope else {
                continue;
            };
            let account = context.money.account(id);
            let alert = account.and_then(|account| reminders.look(&account, now_ms, &zone));
            if let Some(alert) = alert {
                self.deliver(&alert).await?;
            }
        }
        if reminders != kept {
            let text = serde_json::to_string(&reminders).unwrap_or_default();
            self.context.store.setting_set(REMINDERS, &text).await?;
        }
        self.reminders = Some(reminders);
        Ok(())
    }

    async fn forecast(&mut self, standings: &[Standing]) -> Result<(), StoreError> {
        let mut forecasts = match self.forecasts.take() {
            Some(forecasts) => forecasts,
            None => Forecasts::read(self.context.store.setting_get(FORECASTS).await?),
        };
        forecasts.keep(standings);
        let now_ms = self.context.clock.now_ms();
        let alerts: Vec<Alert> = standings
            .iter()
            .filter_map(|standing| forecasts.look(standing, now_ms))
            .collect();
        for alert in &alerts {
            self.deliver(alert).await?;
        }
        if std::mem::take(&mut forecasts.changed) {
            let text = serde_json::to_string(&forecasts.told).unwrap_or_default();
            self.context.store.setting_set(FORECASTS, &text).await?;
        }
        self.forecasts = Some(forecasts);
        Ok(())
    }
}

/// Which forecasts were told.
#[derive(Debug, Default)]
struct Forecasts {
    /// By scope: the nearest that was told, in minutes.
    told: BTreeMap<String, Told>,
    changed: bool,
    bursts: BTreeMap<String, Burst>,
}

/// The pace of the last seconds of one scope.
#[derive(Debug, Default)]
struct Burst {
    /// Instant and total spent, oldest first, a stretch apart from each other.
    looks: VecDeque<(UnixMillis, Nano)>,
}

impl Burst {
    /// Takes in a look and tells what is spent an hour at the slowest pace of the last stretches.
    /// A total or a clock that went back begins anew.
    fn observe(&mut self, now_ms: UnixMillis, spent: Nano) -> Nano {
        match self.looks.back() {
            Some((at_ms, before)) if *at_ms > now_ms || *before > spent => self.looks.clear(),
            Some((at_ms, _)) if now_ms - at_ms < STRETCH_MS => return self.per_hour(),
            _ => {}
        }
        self.looks.push_back((now_ms, spent));
        if self.looks.len() > STRETCHES + 1 {
            self.looks.pop_front();
        }
        self.per_hour()
    }

    fn per_hour(&self) -> Nano {
        if self.looks.len() <= STRETCHES {
            return Nano::ZERO;
        }
        let paces = self.looks.iter().zip(self.looks.iter().skip(1)).map(|(before, after)| {
            let (passed_ms, spent) = (after.0 - before.0, after.1.saturating_sub(before.1));
            i128::from(spent.0) * 3_600_000 / i128::from(passed_ms.max(1))
        });
        Nano(i64::try_from(paces.min().unwrap_or(0)).unwrap_or(i64::MAX))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    minutes: i64,
    /// Of the period that it was told for.
    from_ms: UnixMillis,
}

impl Forecasts {
    fn read(kept: Option<String>) -> Self {
        Self {
            told: kept
                .and_then(|text| serde_json::from_str(&text).ok())
                .unwrap_or_default(),
            changed: false,
            bursts: BTreeMap::new(),
        }
    }

    /// Forgets scopes that are gone.
    fn keep(&mut self, standings: &[Standing]) {
        let known: BTreeSet<String> = standings.iter().map(|standing| name_of(standing.scope)).collect();
        self.bursts.retain(|name, _| known.contains(name));
    }

    /// What is to be told of a scope now, if anything.
    fn look(&mut self, standing: &Standing, now_ms: UnixMillis) -> Option<Alert> {
        standing.cap?;
        let name = name_of(standing.scope);
        let burst = self.bursts.entry(name.clone()).or_default();
        let pace = standing.burn_per_hour.max(burst.observe(now_ms, standing.settled));
        let minutes = minutes_left(standing, pace);
        let told = self.told.get(&name).copied();
        if told.is_some_and(|told| minutes > FAR_MINUTES || told.from_ms != standing.from_ms) {
            self.told.remove(&name);
            self.changed = true;
        }
        // What stands already needs no forecast.
        if standing.stopped.is_some() {
            return None;
        }
        let near = NEAR_MINUTES.into_iter().filter(|near| minutes < *near).min()?;
        let from_ms = standing.from_ms;
        if self.told.get(&name).is_some_and(|told| told.minutes <= near) {
            return None;
        }
        self.told.insert(name.clone(), Told { minutes: near, from_ms });
        self.changed = true;
        let left = standing.limit.saturating_sub(standing.settled);
        Some(Alert {
            id: format!("forecast-{name}-{from_ms}-{near}-{now_ms}"),
            at_ms: now_ms,
            scope: standing.scope,
            kind: "money.forecast",
            message: format!(
                "at the present pace of {pace} an hour, the cap of {} is reached within {near} min ({left} left)",
                standing.limit
            ),
        })
    }
}

/// Whole minutes until the cap is reached at the present pace; many where it never is.
fn minutes_left(standing: &Standing, per_hour: Nano) -> i64 {
    let left = standing.limit.saturating_sub(standing.settled).0.max(0);
    if per_hour <= Nano::ZERO {
        return i64::MAX;
    }
    let minutes = i128::from(left) * 60 / i128::from(per_hour.0);
    i64::try_from(minutes).unwrap_or(i64::MAX)
}

fn name_of(scope: Scope) -> String {
    match scope {
        Scope::Account(id) => id.to_string(),
        Scope::Project(id) => id.to_string(),
        Scope::Environment(id) => id.to_string(),
    }
}

fn alert_of(sequence: i64, event: &Event) -> Option<Alert> {
    let (scope, kind, message) = match &event.change {
        Change::Crossed {
            scope,
            percent,
            spent,
            limit,
        } => {
            let message = format!("{percent} % of the cap of {limit} is spent: {spent}");
            (*scope, "money.crossed", message)
        }
        Change::Stopped { scope, reason, .. } => {
            let message = format!("no more money: {}", reason_in_words(*reason));
            (*scope, "money.stopped", message)
        }
        Change::Resumed { scope } => (*scope, "money.resumed", "there is money again".to_owned()),
        Change::PromiseBroken { account, debt, .. } => {
            let message = format!("a promised payment was not made in time; {debt} is owed for what was spent of it");
            (Scope::Account(*account), "money.promise-broken", message)
        }
        _ => return None,
    };
    Some(Alert {
        id: format!("journal-{sequence}"),
        at_ms: event.at_ms,
        scope,
        kind,
        message,
    })
}

/// What stands in the way, as part of a sentence.
pub fn reason_in_words(reason: DenialReason) -> &'static str {
    match reason {
        DenialReason::EnvironmentCap => "the environment's cap is reached",
        DenialReason::ProjectCap => "the project's cap is reached",
        DenialReason::AccountCap => "the account's cap is reached",
        DenialReason::Balance => "the account's balance is empty",
        DenialReason::Pace => "it was spent too fast; the rest is let out slowly",
        DenialReason::Recalling => "idle money of others is being called back",
        DenialReason::Gone => "it does not exist any more",
    }
}

#[cfg(test)]
mod tests {
    use weir_ledger::Period;
    use weir_ledger::book::Cap;
    use weir_model::ProjectId;

    use super::*;

    const UNIT: i64 = 1_000_000_000;

    /// A project with a cap of 7 that has spent so much.
    fn standing(settled: i64) -> Standing {
        Standing {
            scope: Scope::Project(ProjectId::from_parts(1, 1)),
            cap: Some(Cap {
                limit: Nano(7 * UNIT),
                period: Period::Month,
                pace: false,
            }),
            limit: Nano(7 * UNIT),
            settled: Nano(settled),
            held: Nano::ZERO,
            reserved: Nano::ZERO,
            from_ms: 0,
            until_ms: None,
            stopped: None,
            // As it is for the last five minutes of which nearly all were quiet.
            burn_per_hour: Nano(UNIT / 100),
        }
    }

    /// Seconds after which alerts are told, of a scope that is looked at once a second.
    fn told(seconds: i64, spent: impl Fn(i64) -> i64) -> Vec<i64> {
        let mut forecasts = Forecasts::default();
        (0..seconds)
            .filter(|second| {
                forecasts
                    .look(&standing(spent(*second)), 1_000_000 + second * 1_000)
                    .is_some()
            })
            .collect()
    }

    #[test]
    fn a_burst_that_reaches_the_cap_within_minutes_is_told_within_seconds() {
        // Quiet for a minute, then a hundredth of the cap a second: a hundred seconds to the end.
        let seconds = told(140, |second| (second - 60).max(0) * UNIT * 7 / 100);
        assert_eq!(seconds.len(), 2, "at ten minutes and at one: {seconds:?}");
        assert!((66..=70).contains(&seconds[0]), "{seconds:?}");
        // A page where a minute is left.
        assert!((99..=103).contains(&seconds[1]), "{seconds:?}");
    }

    #[test]
    fn one_purchase_and_a_steady_pace_are_no_burst() {
        assert_eq!(told(300, |second| if second < 100 { 0 } else { UNIT }), [0; 0]);
        // A tenth of the cap an hour.
        assert_eq!(told(300, |second| second * UNIT * 7 / 36_000), [0; 0]);
    }

    #[test]
    fn a_new_period_and_a_clock_that_jumps_begin_anew() {
        let mut burst = Burst::default();
        for second in 0..10 {
            burst.observe(second * 2_000, Nano(second * UNIT));
        }
        assert_eq!(burst.per_hour(), Nano(1_800 * UNIT));
        assert_eq!(burst.observe(30_000, Nano(0)), Nano::ZERO);
        assert_eq!(burst.observe(10_000, Nano(UNIT)), Nano::ZERO);
    }
}
