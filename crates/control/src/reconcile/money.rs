//! The reconciler and money: whether there is any, what the node has to pay for, and what control
//! holds for instances that no node pays for yet.

use std::collections::BTreeSet;

use weir_engine::{InstanceLabels, InstanceRole, InstanceSpec, InstanceState};
use weir_ledger::protocol::DenialReason;
use weir_model::project::{Environment, Project};
use weir_model::route::MeteredInstance;
use weir_model::{AppName, InstanceId, ProcessName, UnixMillis};

use super::driver::{PassError, Wanted, Worker};
use super::funds::{self, Size};
use super::plan::{ONE_OFF_GRACE_S, Observed, Unpaid};
use crate::{billing, guarding};

/// Visitors are told to come back after so many seconds while money is let out slowly.
const PACE_RETRY_S: u64 = 60;

impl Worker {
    /// Whether, and since when, there is no money for the environment.
    pub(super) fn unpaid(&mut self, project: &Project, environment: &Environment) -> Option<Unpaid> {
        let Some(reason) = self.context.money.stopped(self.environment) else {
            self.unpaid_since_ms = None;
            return None;
        };
        let since_ms = *self.unpaid_since_ms.get_or_insert_with(|| self.context.clock.now_ms());
        Some(Unpaid {
            message: funds::words(reason, project.name.as_str(), environment.name.as_str()),
            retry_after_s: if reason == DenialReason::Pace { PACE_RETRY_S } else { 0 },
            since_ms,
        })
    }

    /// Everything of the environment that uses CPU time or memory, or is about to.
    pub(super) async fn metered(&mut self, observed: &Observed) -> Result<Vec<MeteredInstance>, PassError> {
        let mut metered = Vec::new();
        for fact in &observed.instances {
            if matches!(fact.state, InstanceState::Exited { .. }) {
                continue;
            }
            let Some(size) = self.size_of(&fact.labels).await? else {
                continue;
            };
            metered.push(MeteredInstance {
                address: fact.address,
                frozen: fact.state == InstanceState::Frozen,
                stopping: fact.stopping,
                ..metered_instance(&fact.labels, size)
            });
        }
        Ok(metered)
    }

    /// The limits of an instance: those of its process, and of `web` for one-off commands.
    async fn size_of(&mut self, labels: &InstanceLabels) -> Result<Option<Size>, PassError> {
        let Some(release) = self.release(labels.release).await? else {
            return Ok(None);
        };
        let Some(app) = release.apps.get(&labels.app) else {
            return Ok(None);
        };
        let of = |process: &ProcessName| app.spec.processes.get(process).cloned();
        let spec = of(&labels.process)
            .or_else(|| of(&ProcessName::web()))
            .unwrap_or_default();
        let grace_s = match labels.role {
            InstanceRole::Instance => spec.grace_s,
            InstanceRole::Release | InstanceRole::Run => ONE_OFF_GRACE_S,
        };
        Ok(Some(Size {
            memory_bytes: spec.memory_bytes,
            cpu_milli: spec.cpu_milli,
            grace_s,
        }))
    }

    /// Sees to it that everything that runs is paid for: by the node, or for the first seconds
    /// by control. What cannot be paid for is frozen.
    pub(super) async fn hold_for(
        &mut self,
        wanted: &Wanted,
        observed: &Observed,
        now_ms: UnixMillis,
    ) -> Result<(), PassError> {
        let there: BTreeSet<InstanceId> = observed.instances.iter().map(|fact| fact.labels.instance).collect();
        // Before the node has spoken to this control nothing is known; it pays as it did before.
        let Some(paying) = self.context.reconciler.shared.routing.paying() else {
            return Ok(());
        };
        let funds = &self.context.reconciler.shared.clone().funds;
        funds.settle(self.environment, &there, &paying, now_ms);
        self.awaited_payers.settle(&there, &paying);
        for fact in &observed.instances {
            let id = fact.labels.instance;
            let runs = fact.state == InstanceState::Running && !fact.stopping;
            if !runs || paying.contains(&id) || funds.covers(id, now_ms) {
                continue;
            }
            let Some(size) = self.size_of(&fact.labels).await? else {
                continue;
            };
            let wallets = self.context.money.wallets().clone();
            if let Err(reason) = funds.secure(&wallets, &fact.labels, size, now_ms).await {
                if self.will_be_paid(id) {
                    continue;
                }
                tracing::info!(instance.id = %id, %reason, "{}: frozen, because nobody pays for it", wanted.title());
                self.context.engine.instance_freeze(id).await?;
            }
        }
        Ok(())
    }

    /// Whether a node pays for an instance by now, or is about to: while one node takes the place of
    /// another, there is a moment in which none does. Near the cap control has no money to bridge it.
    fn will_be_paid(&mut self, instance: InstanceId) -> bool {
        let routing = &self.context.reconciler.shared.routing;
        let is_paid = routing.paying().is_none_or(|paying| paying.contains(&instance));
        let now_ms = self.context.clock.now_ms();
        is_paid || (routing.is_handing_over() && self.awaited_payers.may_wait(instance, now_ms))
    }

    /// Thaws an instance once its first seconds are paid for. Returns whether it was.
    pub(super) async fn thaw(
        &mut self,
        wanted: &Wanted,
        observed: &Observed,
        instance: InstanceId,
    ) -> Result<bool, PassError> {
        let Some(fact) = observed.instances.iter().find(|fact| fact.labels.instance == instance) else {
            return Ok(false);
        };
        let Some(size) = self.size_of(&fact.labels).await? else {
            return Ok(false);
        };
        let wallets = self.context.money.wallets().clone();
        let now_ms = self.context.clock.now_ms();
        let funds = &self.context.reconciler.shared.funds;
        if let Err(reason) = funds.secure(&wallets, &fact.labels, size, now_ms).await {
            tracing::debug!(instance.id = %instance, %reason, "{}: stays frozen", wanted.title());
            return Ok(false);
        }
        self.context.engine.instance_thaw(instance).await?;
        Ok(true)
    }

    /// Of what is to be started, that whose first seconds can be paid for, once it can send, too.
    /// A deployment that cannot be paid for is refused in words; what serves already is tried
    /// again later.
    pub(super) async fn afford(
        &mut self,
        wanted: &Wanted,
        observed: &Observed,
        specs: Vec<InstanceSpec>,
    ) -> Result<Vec<InstanceSpec>, PassError> {
        let wallets = self.context.money.wallets().clone();
        let funds = &self.context.reconciler.shared.clone().funds;
        let mut affordable = Vec::new();
        let mut starting = Vec::new();
        for spec in specs {
            let Some(size) = self.size_of(&spec.labels).await? else {
                continue;
            };
            let now_ms = self.context.clock.now_ms();
            match funds.secure(&wallets, &spec.labels, size, now_ms).await {
                Ok(()) => {
                    starting.push(metered_instance(&spec.labels, size));
                    affordable.push(spec);
                }
                Err(reason) => {
                    let (project, environment) = (wanted.project.name.as_str(), wanted.environment.name.as_str());
                    let words = funds::words_of(reason, project, environment);
                    tracing::info!(
                        project.name = project,
                        environment.name = environment,
                        "nothing is started: {words}"
                    );
                    if Some(spec.labels.deployment) != wanted.environment.live
                        || spec.labels.role == InstanceRole::Release
                    {
                        self.refused.insert(spec.labels.deployment, words);
                    } else {
                        let key = (spec.labels.app.clone(), spec.labels.process.clone());
                        let bought = affordable.iter().filter(|spec: &&InstanceSpec| {
                            (&spec.labels.app, &spec.labels.process) == (&key.0, &key.1)
                        });
                        let bought = u32::try_from(bought.count()).unwrap_or(u32::MAX);
                        let there = there_of(observed, &key).saturating_add(bought);
                        let scalers = &self.context.reconciler.shared.scalers;
                        scalers.no_room(self.environment, &key, there, now_ms);
                    }
                }
            }
        }
        if !starting.is_empty() {
            let routing = &self.context.reconciler.shared.routing;
            let now_ms = self.context.clock.now_ms();
            routing.announce(self.environment, starting, now_ms).await;
        }
        Ok(affordable)
    }

    /// Tells what the guard refused since it was last told.
    pub(super) async fn tell_trips(&self, wanted: &Wanted) {
        let trips = self.context.reconciler.shared.routing.untold_trips(self.environment);
        let (project, environment) = (wanted.project.name.as_str(), wanted.environment.name.as_str());
        for trip in trips {
            let message = guarding::words(&trip);
            let tasks = &self.context.tasks;
            tasks
                .change(project, Some(environment), guarding::kind_of(&trip), &message)
                .await;
            billing::guard_tripped(&self.context, &wanted.project, &wanted.environment, &trip, &message).await;
        }
    }
}

/// An instance of this size that is about to start, as the node is told of it.
pub(super) fn metered_instance(labels: &InstanceLabels, size: Size) -> MeteredInstance {
    MeteredInstance {
        instance: labels.instance,
        environment: labels.environment,
        app: labels.app.clone(),
        process: labels.process.clone(),
        memory_bytes: size.memory_bytes,
        cpu_milli: size.cpu_milli,
        grace_s: size.grace_s,
        address: None,
        frozen: false,
        stopping: false,
    }
}

/// How many instances of a process there are.
fn there_of(observed: &Observed, (app, process): &(AppName, ProcessName)) -> u32 {
    let there = observed.instances.iter().filter(|fact| {
        (&fact.labels.app, &fact.labels.process) == (app, process)
            && fact.labels.role == InstanceRole::Instance
            && !fact.stopping
            && !matches!(fact.state, InstanceState::Exited { .. })
    });
    u32::try_from(there.count()).unwrap_or(u32::MAX)
}
