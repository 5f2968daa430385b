//! Pays for what is kept: volumes, images and logs, by byte and millisecond.
//!
//! Stored data cannot be frozen, so it has to be paid for after the money for everything else is
//! gone. Therefore, what it costs to keep it for 30 days (the *tail*) is reserved in the ledger
//! as it grows, a little ahead of it. At the cap, storage is paid out of the tail. Where the tail
//! cannot grow any more, the environment counts as stopped: what runs is what writes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use weir_engine::EngineError;
use weir_ledger::book::{Command, Refusal, Scope};
use weir_ledger::wallet::Urgency;
use weir_ledger::{Nano, Price, Sku};
use weir_model::{EnvironmentId, UnixMillis};
use weir_store::StoreError;

use super::{Money, MoneyError};
use crate::context::Context;

/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(10);
/// What does not grow is measured so often.
const CALM_MS: i64 = 60_000;
/// So long is paid ahead.
const AHEAD_MS: i64 = 60_000;
/// So long is kept what nobody pays for any more.
const TAIL_MS: u64 = 30 * 86_400_000;
/// Least room that is reserved for growth.
const LEAST_HEADROOM: u64 = 16 << 20;
/// Longest wait for money on one environment.
const PATIENCE: Duration = Duration::from_secs(1);
/// Where it is kept until when what is stored is paid.
const PAID: &str = "money.storage.paid";

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
    let mut keeper = Keeper {
        paid: read_paid(&context).await,
        context,
        kept: BTreeMap::new(),
    };
    loop {
        keeper.round().await;
        tokio::select! {
            () = keeper.context.stop.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

struct Keeper {
    context: Context,
    kept: BTreeMap<EnvironmentId, Kept>,
    /// Until when each environment is paid; survives restarts, so that time without control is
    /// paid for as well.
    paid: BTreeMap<EnvironmentId, UnixMillis>,
}

async fn read_paid(context: &Context) -> BTreeMap<EnvironmentId, UnixMillis> {
    let kept = context.store.setting_get(PAID).await.ok().flatten();
    kept.and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default()
}

impl Keeper {
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
        let before = self.paid.clone();
        for id in ids {
            if self.context.stop.is_cancelled() {
                return;
            }
            self.keep(id).await;
        }
        if self.paid != before {
            let text = serde_json::to_string(&self.paid).unwrap_or_default();
            if let Err(error) = self.context.store.setting_set(PAID, &text).await {
                tracing::warn!(%error, "it was not recorded until when storage is paid");
            }
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
        self.pay(id, kept.bytes, now_ms).await;
        let money = &self.context.money;
        let result = money.reserve_tail(id, kept.bytes, headroom(kept)).await;
        if let Err(error) = result {
            tracing::warn!(environment.id = %id, %error, "the tail of what is stored was not reserved");
        }
    }

    /// Pays up to a minute from now, once less than the pause is paid.
    async fn pay(&mut self, id: EnvironmentId, bytes: u64, now_ms: UnixMillis) {
        let paid = *self.paid.entry(id).or_insert(now_ms);
        let until = now_ms + AHEAD_MS;
        if paid > now_ms + AHEAD_MS / 3 && paid <= until {
            return;
        }
        // A clock that was far ahead must not make storage free until it is reached again.
        let from = paid.min(now_ms + AHEAD_MS);
        let units = bytes.saturating_mul(u64::try_from(until - from).unwrap_or(0));
        if units == 0 || self.context.money.pay_storage(id, units).await {
            self.paid.insert(id, until);
        }
    }
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
    /// Pays for storage; where the wallet is dry, out of the tail, which takes effect with the
    /// next words to the ledger. Says whether it is paid.
    pub(super) async fn pay_storage(&self, environment: EnvironmentId, units: u64) -> bool {
        let till = self.wallets().till(environment, None, None);
        if till.pay(0, Urgency::Instance, &Sku::STORAGE, units).is_ok() {
            return true;
        }
        let waited = till.wait(Urgency::Instance, &Sku::STORAGE, units, PATIENCE).await;
        if waited.is_ok() && till.pay(0, Urgency::Instance, &Sku::STORAGE, units).is_ok() {
            self.use_tail(environment, None);
            return true;
        }
        let cost = self.book().price(&Sku::STORAGE).line(u128::from(units));
        // One more for the rounding of the line.
        self.use_tail(environment, cost.map(|cost| cost.saturating_add(Nano(1))));
        false
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

/// Bytes of volumes, images and logs of an environment. An image counts in every environment
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
    let logs = tokio::task::spawn_blocking(move || files_in(logs)).await.unwrap_or(0);
    Ok(bytes.saturating_add(logs))
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
