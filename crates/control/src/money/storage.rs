//! Pays for what is kept: volumes, images and logs, by byte and millisecond.
//!
//! Stored data cannot be frozen, so it has to be paid for after the money for everything else is
//! gone. Therefore, what it costs to keep it for 30 days (the *tail*) is reserved in the ledger
//! as it grows, a little ahead of it. At the cap, storage is paid out of the tail. Where the tail
//! cannot grow any more, the environment counts as stopped: what runs is what writes. When the tail
//! is used up, the reconciler deletes the data, once its owner was told (`kept`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use weir_engine::EngineError;
use weir_ledger::book::{Command, Refusal, Scope};
use weir_ledger::protocol::DenialReason;
use weir_ledger::wallet::{Till, Urgency};
use weir_ledger::{Nano, Price, Sku};
use weir_model::{EnvironmentId, UnixMillis};
use weir_store::StoreError;

use super::kept::{Fate, Told, Warning, fate, kept_until, paid_until};
use super::{Alert, Keeping, Money, MoneyError, reason_in_words};
use crate::api::present::instant;
use crate::context::Context;

/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(10);
/// What does not grow is measured so often.
const CALM_MS: i64 = 60_000;
/// So long is paid ahead.
const AHEAD_MS: i64 = 60_000;
/// Longest time that is paid at once.
const PIECE_MS: i64 = 5 * 86_400_000;
/// So long is kept what nobody pays for any more.
const TAIL_MS: u64 = 30 * 86_400_000;
/// Least room that is reserved for growth.
const LEAST_HEADROOM: u64 = 16 << 20;
/// What opening a lease and a line in it, and the rounding of both, may cost.
const ROUNDING: Nano = Nano(10);
/// Longest wait for money on one environment; a refusal of before holds for a second.
const PATIENCE: Duration = Duration::from_secs(3);
/// Longest wait for money that was granted and is on its way.
const UNDERWAY: Duration = Duration::from_secs(5);
/// Pause before a wallet that was refused is looked at again.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);
/// Where it is kept until when what is stored is paid.
const PAID: &str = "money.storage.paid";
/// Where it is kept who was told that their data will be deleted.
const TOLD: &str = "money.storage.told";

/// Why an environment could not be measured.
#[derive(Debug, thiserror::Error)]
enum MeasureError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// What is known of one environment.
#[derive(Debug, Clone, Copy, Default)]
struct Kept {
    bytes: u64,
    measured_ms: UnixMillis,
    /// Bytes that came since the measure before.
    growth: u64,
}

/// Measures and pays until control stops.
pub async fn run(context: Context) {
    let mut keeper = Keeper::new(context).await;
    loop {
        keeper.round().await;
        tokio::select! {
            () = keeper.context.stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// Measures and pays once, and what is due since long in full.
pub async fn catch_up(context: Context) {
    Keeper::new(context).await.round().await;
}

struct Keeper {
    context: Context,
    kept: BTreeMap<EnvironmentId, Kept>,
    /// Until when each environment is paid; survives restarts, so that time without control is
    /// paid for as well.
    paid: BTreeMap<EnvironmentId, UnixMillis>,
    /// Who was told that their data will be deleted.
    told: BTreeMap<EnvironmentId, Told>,
}

async fn read_setting<T: serde::de::DeserializeOwned + Default>(context: &Context, name: &str) -> T {
    let kept = context.store.setting_get(name).await.ok().flatten();
    kept.and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default()
}

async fn write_setting<T: serde::Serialize>(context: &Context, name: &str, value: &T) {
    let text = serde_json::to_string(value).unwrap_or_default();
    if let Err(error) = context.store.setting_set(name, &text).await {
        tracing::warn!(%error, "what is known of paid storage was not recorded");
    }
}

impl Keeper {
    async fn new(context: Context) -> Self {
        Self {
            paid: read_setting(&context, PAID).await,
            told: read_setting(&context, TOLD).await,
            context,
            kept: BTreeMap::new(),
        }
    }

    async fn round(&mut self) {
        let environments = match self.context.store.environment_list_all().await {
            Ok(environments) => environments,
            Err(error) => {
                tracing::warn!(%error, "what is stored cannot be looked at; trying again");
                return;
            }
        };
        let ids: BTreeSet<EnvironmentId> = environments.iter().map(|environment| environment.id).collect();
        self.kept.retain(|id, _| ids.contains(id));
        self.paid.retain(|id, _| ids.contains(id));
        self.told.retain(|id, _| ids.contains(id));
        let before = self.paid.clone();
        for id in ids {
            if self.context.stop.is_cancelled() {
                break;
            }
            self.keep(id).await;
        }
        // Also when it was broken off: what was paid is not paid again after the next start.
        if self.paid != before {
            write_setting(&self.context, PAID, &self.paid).await;
        }
    }

    async fn keep(&mut self, id: EnvironmentId) {
        let now_ms = self.context.clock.now_ms();
        let kept = self.kept.get(&id).copied().unwrap_or_default();
        let calm = kept.growth == 0 && now_ms.abs_diff(kept.measured_ms) < CALM_MS.unsigned_abs();
        if kept.measured_ms == 0 || !calm {
            match measure(&self.context, id).await {
                Ok(bytes) => {
                    let grown = bytes.saturating_sub(kept.bytes);
                    let growth = if kept.measured_ms == 0 { 0 } else { grown };
                    let measured_ms = now_ms;
                    self.kept.insert(
                        id,
                        Kept {
                            bytes,
                            measured_ms,
                            growth,
                        },
                    );
                }
                Err(error) => {
                    tracing::warn!(environment.id = %id, %error, "what an environment stores could not be measured");
                    return;
                }
            }
        }
        let Some(kept) = self.kept.get(&id).copied() else {
            return;
        };
        // What is due since long takes several pieces.
        while self.pay(id, kept.bytes, now_ms).await == Paid::Piece {}
        let money = &self.context.money;
        let result = money.reserve_tail(id, kept.bytes, headroom(kept)).await;
        if let Err(error) = result {
            tracing::warn!(environment.id = %id, %error, "the tail of what is stored was not reserved");
        }
        self.look_ahead(id, kept.bytes, now_ms).await;
    }

    /// Sees to it that data which nobody pays for any more is deleted, and its owner told before.
    async fn look_ahead(&mut self, id: EnvironmentId, bytes: u64, now_ms: UnixMillis) {
        let money = &self.context.money;
        let stopped = money.stopped(id).filter(|reason| is_lasting(*reason));
        let standing = money.standing(Scope::Environment(id));
        let (Some(reason), Some(standing), true) = (stopped, standing, bytes > 0) else {
            money.set_keeping(id, None);
            if self.told.remove(&id).is_some() {
                write_setting(&self.context, TOLD, &self.told).await;
            }
            return;
        };
        let price = money.book().price(&Sku::STORAGE);
        let paid_ms = self.paid.get(&id).copied().unwrap_or(now_ms);
        let paid_until_ms = paid_until(paid_ms, standing.reserved, price, bytes);
        let mut told = self.told.get(&id).copied().unwrap_or_default();
        let fate = fate(paid_until_ms, told, now_ms);
        if let Fate::Warn(warning) = fate {
            let until_ms = kept_until(paid_until_ms, told, now_ms);
            if !self.warn(id, warning, reason, until_ms, now_ms).await {
                return;
            }
            told.note(warning, now_ms);
            self.told.insert(id, told);
            write_setting(&self.context, TOLD, &self.told).await;
        }
        let keeping = Keeping {
            until_ms: kept_until(paid_until_ms, told, now_ms),
            forfeited: fate == Fate::Delete,
        };
        self.context.money.set_keeping(id, Some(keeping));
        if keeping.forfeited {
            self.context.reconciler.wake(id);
        }
    }

    /// Tells the owner until when the data is kept. Says whether that worked.
    async fn warn(
        &self,
        id: EnvironmentId,
        warning: Warning,
        reason: DenialReason,
        until_ms: UnixMillis,
        now_ms: UnixMillis,
    ) -> bool {
        let alert = Alert {
            id: format!("storage-{id}-{warning:?}-{now_ms}"),
            at_ms: now_ms,
            scope: Scope::Environment(id),
            kind: "money.data-ends",
            message: format!(
                "{}; volumes, images and logs are kept until {} and then deleted for good, unless there is money",
                reason_in_words(reason),
                instant(until_ms)
            ),
        };
        let told = tell(&self.context, &alert).await;
        if let Err(error) = &told {
            tracing::warn!(environment.id = %id, %error, "an owner could not be told that data will be deleted; trying again");
        }
        told.is_ok()
    }

    /// Pays up to a minute from now, once less than the pause is paid; of a long time a piece, so
    /// that the tail is used as far as it goes.
    async fn pay(&mut self, id: EnvironmentId, bytes: u64, now_ms: UnixMillis) -> Paid {
        let paid = *self.paid.entry(id).or_insert(now_ms);
        let ahead = now_ms + AHEAD_MS;
        if paid > now_ms + AHEAD_MS / 3 && paid <= ahead {
            return Paid::All;
        }
        // A clock that was far ahead must not make storage free until it is reached again.
        let from = paid.min(ahead);
        let most_ms = i64::try_from(u64::MAX / bytes.max(1)).unwrap_or(i64::MAX).min(PIECE_MS);
        let until = ahead.min(from.saturating_add(most_ms));
        let units = bytes.saturating_mul(u64::try_from(until - from).unwrap_or(0));
        if units > 0 && !self.context.money.pay_storage(id, units).await {
            return Paid::Nothing;
        }
        self.paid.insert(id, until);
        if until == ahead { Paid::All } else { Paid::Piece }
    }
}

/// How far something is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Paid {
    Nothing,
    /// A piece, and more is due.
    Piece,
    All,
}

/// Whether money does not come back by itself within hours.
fn is_lasting(reason: DenialReason) -> bool {
    !matches!(reason, DenialReason::Pace | DenialReason::Recalling)
}

async fn tell(context: &Context, alert: &Alert) -> Result<(), StoreError> {
    for sink in crate::serve::sinks() {
        sink.deliver(context, alert).await?;
    }
    Ok(())
}

/// The data of an environment is gone; says so.
pub(crate) async fn deleted(context: &Context, environment: EnvironmentId) -> Result<(), StoreError> {
    let now_ms = context.clock.now_ms();
    let alert = Alert {
        id: format!("storage-{environment}-deleted-{now_ms}"),
        at_ms: now_ms,
        scope: Scope::Environment(environment),
        kind: "money.data-deleted",
        message: "volumes, images and logs were deleted: what was held to keep them is used up".to_owned(),
    };
    tell(context, &alert).await?;
    context.money.set_keeping(environment, None);
    Ok(())
}

/// Room for growth: a tenth, or what came in lately several times over.
fn headroom(kept: Kept) -> u64 {
    (kept.bytes / 10)
        .max(kept.growth.saturating_mul(12))
        .max(LEAST_HEADROOM)
}

/// What keeping so many bytes for 30 days costs.
fn tail(price: Price, bytes: u64) -> Nano {
    price.line(u128::from(bytes) * u128::from(TAIL_MS)).unwrap_or(Nano::MAX)
}

impl Money {
    /// Pays for storage; where the wallet is dry, out of the tail. Says whether it is paid.
    ///
    /// The tail is open only while somebody waits here: what lies idle in a wallet goes back to
    /// where there may be no room for it, and not into the tail.
    pub(super) async fn pay_storage(&self, environment: EnvironmentId, units: u64) -> bool {
        let till = self.wallets().till(environment, None, None);
        if till.pay(0, Urgency::Instance, &Sku::STORAGE, units).is_ok() {
            return true;
        }
        // The ledger takes it from the tail only where there is no room for it. It is open before
        // anything is asked for, so that nothing is refused that would have to be waited out.
        let cost = self.book().price(&Sku::STORAGE).line(u128::from(units));
        let cost = cost.map(|cost| cost.saturating_add(ROUNDING));
        self.use_tail(environment, cost).await;
        let paid = pay_within(&till, units, PATIENCE).await;
        let left = self.use_tail(environment, None).await;
        // What was granted at the last moment is fetched: nobody else would spend it.
        let granted = matches!((left, cost), (Some(left), Some(cost)) if left < cost);
        paid || (granted && pay_within(&till, units, UNDERWAY).await)
    }

    /// Reserves the tail of so many bytes and of room for growth, before that is used up.
    pub(super) async fn reserve_tail(
        &self,
        environment: EnvironmentId,
        bytes: u64,
        headroom: u64,
    ) -> Result<(), MoneyError> {
        let Some(standing) = self.standing(Scope::Environment(environment)) else {
            return Ok(());
        };
        let price = self.book().price(&Sku::STORAGE);
        let headroom = if bytes == 0 { 0 } else { headroom };
        let wanted = tail(price, bytes.saturating_add(headroom));
        let least = tail(price, bytes.saturating_add(headroom / 2));
        let too_much = tail(price, bytes.saturating_add(headroom.saturating_mul(2)));
        if (least..=too_much).contains(&standing.reserved) {
            self.set_unreserved(environment, None);
            return Ok(());
        }
        // Better the tail of what is there than none.
        for total in [wanted, tail(price, bytes)] {
            if total <= standing.reserved && standing.reserved <= too_much {
                break;
            }
            match self.command(Command::Reserve { environment, total }).await {
                Ok(_) => {
                    self.set_unreserved(environment, None);
                    return Ok(());
                }
                Err(MoneyError::Refused(Refusal::NoRoom(reason))) => self.set_unreserved(environment, Some(reason)),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Pays as soon as there is money for it. Says whether it is paid.
async fn pay_within(till: &Till, units: u64, patience: Duration) -> bool {
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        let waited = till.wait(Urgency::Instance, &Sku::STORAGE, units, left).await;
        if till.pay(0, Urgency::Instance, &Sku::STORAGE, units).is_ok() {
            return true;
        }
        if left.is_zero() {
            return false;
        }
        if waited.is_err() {
            // The refusal of before still counts.
            tokio::time::sleep(REFUSED_PAUSE).await;
        }
    }
}

/// Bytes of volumes, images, logs and uploads of an environment. An image counts in every environment
/// whose releases name it, layers that it shares with others included.
async fn measure(context: &Context, environment: EnvironmentId) -> Result<u64, MeasureError> {
    let mut bytes = 0_u64;
    for (_, _, volume) in context.meters.volumes_usage(environment).await? {
        bytes = bytes.saturating_add(volume);
    }
    let mut images = BTreeSet::new();
    for release in context.store.release_list(environment, i64::MAX).await? {
        images.extend(release.apps.into_values().map(|app| app.image));
    }
    for image in images {
        if let Some(facts) = context.engine.image_inspect(&image).await? {
            bytes = bytes.saturating_add(facts.size_bytes);
        }
    }
    let logs = context.config.data.join("logs").join(environment.to_string());
    // A folder that cannot be looked at has nothing in it that grows.
    let uploads = crate::uploads::folder_of(&context.config, environment);
    let both = tokio::task::spawn_blocking(move || files_in(logs).saturating_add(files_in(uploads)));
    Ok(bytes.saturating_add(both.await.unwrap_or(0)))
}

/// Bytes of all files in a folder and those below it; 0 if it is not there.
fn files_in(folder: PathBuf) -> u64 {
    let mut folders = vec![folder];
    let mut bytes = 0_u64;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(facts) if facts.is_dir() => folders.push(entry.path()),
                Ok(facts) => bytes = bytes.saturating_add(facts.len()),
                Err(_) => {}
            }
        }
    }
    bytes
}
