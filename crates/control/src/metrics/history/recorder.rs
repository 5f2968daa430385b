//! Looks every ten seconds, and writes every minute.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use weir_ledger::Sku;
use weir_model::{EnvironmentId, UnixMillis};
use weir_store::StoreError;

use super::chunk::TIERS;
use super::sample::{InstanceLook, Key, Look, Sampler, Spent};
use crate::context::Context;
use crate::metrics::ingress;

/// Between two looks.
const LOOK_MS: i64 = TIERS[0].step_ms;
/// Between two writes.
const WRITE_MS: u64 = 60_000;
/// Between two removals of what is too old.
const PRUNE_MS: u64 = 3_600_000;
/// So long meters are read in one look; what is not read by then has a gap.
const READING: Duration = Duration::from_secs(5);
/// What happened in a longer stretch without a look counts as of this long ago at most.
const LONGEST_BACK_MS: u64 = 60_000;

/// Takes looks and keeps what they say.
#[derive(Debug)]
pub struct Recorder {
    context: Context,
    sampler: Sampler,
    environments: HashSet<EnvironmentId>,
    looked_ms: Option<u64>,
    written_ms: u64,
    pruned_ms: Option<u64>,
}

/// Records until control is told to stop.
pub async fn run(context: Context) {
    let stop = context.stop.clone();
    let began = tokio::time::Instant::now();
    let mut recorder = Recorder::new(context);
    loop {
        // In step with the clock, so that each look tells of one whole point.
        let wait_ms = LOOK_MS - recorder.context.clock.now_ms().rem_euclid(LOOK_MS);
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(Duration::from_millis(wait_ms.unsigned_abs())) => {}
        }
        if let Err(error) = recorder.look(began.elapsed()).await {
            tracing::warn!(%error, "what was measured cannot be kept now; charts may have a gap");
        }
    }
    if let Err(error) = recorder.flush().await {
        tracing::warn!(%error, "the last minute of what was measured cannot be kept; charts have a gap");
    }
}

impl Recorder {
    /// Has seen nothing yet.
    pub fn new(context: Context) -> Self {
        Self {
            context,
            sampler: Sampler::default(),
            environments: HashSet::new(),
            looked_ms: None,
            written_ms: 0,
            pruned_ms: None,
        }
    }

    /// Takes a look; `steady` is the time since any beginning, on a clock that is never set. Writes and
    /// prunes what is due.
    pub async fn look(&mut self, steady: Duration) -> Result<(), StoreError> {
        let steady_ms = u64::try_from(steady.as_millis()).unwrap_or(u64::MAX);
        let look = self.see(steady_ms).await?;
        self.environments.clone_from(&look.environments);
        let points = self.sampler.take(&look);
        let elapsed_ms = self
            .looked_ms
            .replace(steady_ms)
            .map(|before| steady_ms.saturating_sub(before));
        // In the middle of the stretch of which it tells, so that a look which comes late counts where it belongs.
        let back_ms = elapsed_ms.unwrap_or(0).min(LONGEST_BACK_MS) / 2;
        let at_ms = self
            .context
            .clock
            .now_ms()
            .saturating_sub(i64::try_from(back_ms).unwrap_or(0));
        self.load(at_ms).await?;
        self.context.history.memory().add(at_ms, points);
        if steady_ms.saturating_sub(self.written_ms) >= WRITE_MS {
            self.written_ms = steady_ms;
            self.flush().await?;
        }
        if self
            .pruned_ms
            .is_none_or(|pruned_ms| steady_ms.saturating_sub(pruned_ms) >= PRUNE_MS)
        {
            self.prune().await?;
            self.pruned_ms = Some(steady_ms);
        }
        Ok(())
    }

    /// Writes what is not written yet.
    pub async fn flush(&mut self) -> Result<(), StoreError> {
        let history = Arc::clone(&self.context.history);
        history.memory().close(self.context.clock.now_ms(), &self.environments);
        let dirty = history.memory().take_dirty();
        let written = self.context.store.metric_chunk_put(&dirty).await;
        if written.is_err() {
            history.memory().put_back();
        }
        written
    }

    /// Removes what is older than is kept.
    pub async fn prune(&mut self) -> Result<(), StoreError> {
        let now_ms = self.context.clock.now_ms();
        for tier in TIERS {
            let from_ms = tier.kept_from(now_ms);
            self.context.store.metric_chunk_prune(tier.step_ms, from_ms).await?;
        }
        let kept_ms = TIERS.iter().map(|tier| tier.kept_ms).max().unwrap_or(0);
        self.context
            .store
            .release_mark_prune(now_ms.saturating_sub(kept_ms))
            .await
    }

    async fn load(&self, at_ms: UnixMillis) -> Result<(), StoreError> {
        let missing = self.context.history.memory().missing(at_ms);
        for (tier, from_ms) in missing {
            let stored = self.context.store.metric_chunk_list_at(tier.step_ms, from_ms).await?;
            let damaged = self.context.history.memory().load(&tier, from_ms, stored);
            if damaged > 0 {
                tracing::warn!(
                    damaged,
                    from_ms,
                    tier.step_ms,
                    "what is kept of charts cannot be read and is left out; it shows as a gap"
                );
            }
        }
        Ok(())
    }

    async fn see(&self, steady_ms: u64) -> Result<Look, StoreError> {
        let context = &self.context;
        let environments: HashSet<EnvironmentId> = context
            .store
            .environment_list_all()
            .await?
            .iter()
            .map(|environment| environment.id)
            .collect();
        let mut look = Look {
            steady_ms,
            node: ingress::counted(context).await.ok(),
            ..Look::default()
        };
        let deadline = tokio::time::Instant::now() + READING;
        for environment in &environments {
            self.instances(*environment, &mut look, deadline).await;
            self.spent(*environment, &mut look);
        }
        look.environments = environments;
        Ok(look)
    }

    /// One-off containers count, too: they use and cost something, but they are no ready instances.
    async fn instances(&self, environment: EnvironmentId, look: &mut Look, deadline: tokio::time::Instant) {
        let since_ms = self.looked_ms.map(|before| look.steady_ms.saturating_sub(before));
        let began_ms = since_ms.map(|since_ms| {
            let now_ms = self.context.clock.now_ms();
            now_ms.saturating_sub(i64::try_from(since_ms).unwrap_or(i64::MAX))
        });
        for view in self.context.reconciler.instances(environment) {
            if matches!(view.state, "exited" | "crashed") {
                continue;
            }
            let instance = view.labels.instance;
            let is_instance = view.labels.role == weir_engine::InstanceRole::Instance;
            let read = async {
                let meters = &self.context.meters;
                let usage = meters.usage(instance).await;
                let memory_bytes = match usage {
                    // It has ended, or has not begun.
                    Ok(None) => Some(0),
                    _ => meters.memory_bytes(instance).await.ok().flatten(),
                };
                (usage.ok().flatten(), memory_bytes)
            };
            let read = tokio::time::timeout_at(deadline, read).await;
            let (usage, memory_bytes) = read.unwrap_or_default();
            look.instances.push(InstanceLook {
                key: Key {
                    environment,
                    app: view.labels.app.to_string(),
                    process: view.labels.process.to_string(),
                },
                instance,
                is_new: began_ms.is_some_and(|began_ms| view.started_ms >= began_ms),
                ready: is_instance && matches!(view.state, "ready" | "asleep"),
                cpu_us: usage.map(|usage| usage.cpu_us),
                memory_bytes,
            });
        }
    }

    fn spent(&self, environment: EnvironmentId, look: &mut Look) {
        let Some((period_ms, lines)) = self.context.money.spent(environment) else {
            return;
        };
        look.spent.extend(lines.into_iter().map(|line| Spent {
            key: Key {
                environment,
                app: line.app.map(|app| app.to_string()).unwrap_or_default(),
                process: line.process.map(|process| process.to_string()).unwrap_or_default(),
            },
            line: (line.sku.to_string(), line.price_version),
            period_ms,
            egress_bytes: match line.sku == Sku::EGRESS {
                true => u64::try_from(line.units).unwrap_or(u64::MAX),
                false => 0,
            },
            cost_nano: u64::try_from(line.amount.0).unwrap_or(0),
        }));
    }
}
