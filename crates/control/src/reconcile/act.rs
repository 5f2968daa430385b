//! Performs what was decided. Every action is safe to repeat; one that may take long runs in
//! the background, and its instance counts as `stopping` meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt};
use weir_engine::{EngineError, InstanceLabels, InstanceRole, InstanceSpec, InstanceState};
use weir_model::deployment::{DeploymentEvent, DeploymentState};
use weir_model::log::LogStream;
use weir_model::release::{Release, ReleaseApp};
use weir_model::spec::ProcessSpec;
use weir_model::task::{LineKind, TaskState};
use weir_model::{AppName, DeploymentId, InstanceId, ProcessName, UnixMillis};

use super::driver::{PassError, Wanted, Worker};
use super::plan::{Action, CanaryCrashes, Crashes, Fact, Observed, is_mine};
use crate::money::storage;
use crate::projects;
use crate::secrets::SecretError;

/// A process that ran at least so long before it crashed begins anew with the counting.
const STABLE_MS: i64 = 60_000;
/// Longest pause between restarts of a process that crashes again and again.
const LONGEST_PAUSE_MS: i64 = 60_000;
/// So often is tried to remove images that something has hold of; then they are left to whoever
/// that is.
const MOST_DESTROY_ATTEMPTS: u32 = 20;
/// So many lines of a crashed instance's output go into the message.
const LAST_LINES: usize = 20;
/// Longest wait for the output of something that has ended.
const LAST_OUTPUT: Duration = Duration::from_secs(2);

impl Worker {
    /// Performs actions. Returns whether something was done that calls for another look.
    pub(super) async fn act(
        &mut self,
        wanted: &Wanted,
        observed: &Observed,
        actions: Vec<Action>,
    ) -> Result<bool, PassError> {
        let mut starts: Vec<InstanceSpec> = Vec::new();
        let mut acted = false;
        for action in actions {
            acted |= match action {
                Action::Start {
                    deployment,
                    app,
                    process,
                } => {
                    starts.extend(self.instance_spec(wanted, deployment, &app, &process).await?);
                    false
                }
                Action::StartRelease { deployment, app } => {
                    starts.extend(self.release_spec(wanted, deployment, &app).await?);
                    false
                }
                Action::Stop { instance, grace_s } => self.stop(instance, Some(grace_s)),
                Action::Remove { instance } => self.stop(instance, None),
                Action::Freeze { instance } => {
                    self.context.engine.instance_freeze(instance).await?;
                    true
                }
                Action::Thaw { instance } => self.thaw(wanted, observed, instance).await?,
                Action::Crashed { instance, reason } => self.crashed(wanted, observed, instance, &reason).await,
                Action::Advance {
                    deployment,
                    from,
                    event,
                    reason,
                } => self.advance(wanted, observed, deployment, from, event, reason).await?,
                Action::ForgetPrevious { deployment } => {
                    self.context
                        .store
                        .environment_forget_previous(self.environment, deployment)
                        .await?
                }
            };
        }
        let refused = self.refused.len();
        let starts = self.afford(wanted, observed, starts).await?;
        // A refusal is news, too.
        acted |= !starts.is_empty() || self.refused.len() > refused;
        self.start_all(wanted, starts).await?;
        Ok(acted)
    }

    /// Starts side by side. A refusal is remembered for the plan; anything else is tried again.
    async fn start_all(&mut self, wanted: &Wanted, specs: Vec<InstanceSpec>) -> Result<(), PassError> {
        let engine = &self.context.engine;
        let results = join_all(
            specs
                .iter()
                .map(|spec| engine.instance_start(spec).map(move |result| (spec, result))),
        )
        .await;
        let now_ms = self.context.clock.now_ms();
        let mut failed = None;
        for (spec, result) in results {
            let labels = &spec.labels;
            match result {
                Ok(()) => {
                    self.recent.insert(labels.instance, (labels.clone(), now_ms));
                    self.context.logs.watch_instance(labels);
                    if let Some(deployment) = wanted.deployments.get(&labels.deployment)
                        && labels.role == InstanceRole::Release
                    {
                        self.forward(labels, deployment.task);
                    }
                }
                Err(error) if error.retryable() => failed = Some(error),
                Err(error) => {
                    self.refused.insert(labels.deployment, error.to_string());
                    self.count_crash(&labels.app, &labels.process, now_ms, now_ms);
                    // What is left of the attempt is in the way of the next one.
                    self.stop(labels.instance, None);
                }
            }
        }
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Ends (`grace_s`) and removes an instance in the background.
    pub(super) fn stop(&mut self, instance: InstanceId, grace_s: Option<u32>) -> bool {
        if !self.stopping.insert(instance) {
            return false;
        }
        self.recent.remove(&instance);
        let context = self.context.clone();
        self.background.spawn(async move {
            let end = async {
                if let Some(grace_s) = grace_s {
                    context.engine.instance_stop(instance, grace_s).await?;
                }
                // Its last lines are often the ones that matter.
                context.logs.finish_instance(instance).await;
                context.engine.instance_remove(instance).await
            };
            (instance, end.await)
        });
        true
    }

    async fn crashed(&mut self, wanted: &Wanted, observed: &Observed, instance: InstanceId, reason: &str) -> bool {
        let Some(fact) = observed.instances.iter().find(|fact| fact.labels.instance == instance) else {
            return false;
        };
        if !self.counted.insert(instance) {
            return false;
        }
        let labels = &fact.labels;
        let now_ms = self.context.clock.now_ms();
        let count = match canary_of(wanted, fact) {
            Some(deployment) => self.count_canary_crash(wanted, deployment, fact, reason, now_ms),
            None => self.count_crash(&labels.app, &labels.process, fact.started_ms, now_ms),
        };
        self.context.logs.note(labels, reason).await;
        let message = format!("{}.{} {reason} (crash {count} in a row)", labels.app, labels.process);
        tracing::info!(project.name = %wanted.project.name, environment.name = %wanted.environment.name, instance.id = %instance, "{}: {message}", wanted.title());
        let (project, environment) = (wanted.project.name.as_str(), wanted.environment.name.as_str());
        self.context
            .tasks
            .change(project, Some(environment), "instance.crashed", &message)
            .await;
        true
    }

    fn count_crash(&mut self, app: &AppName, process: &ProcessName, started_ms: UnixMillis, now_ms: UnixMillis) -> u32 {
        let crashes = self.crashes.entry((app.clone(), process.clone())).or_default();
        *crashes = once_more(*crashes, started_ms, now_ms);
        crashes.count
    }

    /// How often in a row the process of an instance crashed.
    pub(super) fn crashes_of(&self, wanted: &Wanted, fact: &Fact) -> u32 {
        let (app, process) = (fact.labels.app.clone(), fact.labels.process.clone());
        let crashes = match canary_of(wanted, fact) {
            Some(canary) => self
                .canary_crashes
                .get(&(canary, app, process))
                .map(|known| known.crashes),
            None => self.crashes.get(&(app, process)).copied(),
        };
        crashes.map_or(0, |crashes| crashes.count)
    }

    /// Counted apart: what a canary does is nothing against the release that serves.
    fn count_canary_crash(
        &mut self,
        wanted: &Wanted,
        deployment: DeploymentId,
        fact: &Fact,
        reason: &str,
        now_ms: UnixMillis,
    ) -> u32 {
        let in_progress = |id: &DeploymentId| wanted.desired.in_progress.iter().any(|target| target.deployment == *id);
        self.canary_crashes.retain(|(id, ..), _| in_progress(id));
        let key = (deployment, fact.labels.app.clone(), fact.labels.process.clone());
        let known = self.canary_crashes.entry(key).or_default();
        *known = CanaryCrashes {
            crashes: once_more(known.crashes, fact.started_ms, now_ms),
            reason: reason.to_owned(),
        };
        known.crashes.count
    }

    // --- deployments ---

    async fn advance(
        &mut self,
        wanted: &Wanted,
        observed: &Observed,
        id: DeploymentId,
        from: DeploymentState,
        event: DeploymentEvent,
        reason: Option<String>,
    ) -> Result<bool, PassError> {
        let Some(deployment) = wanted.deployments.get(&id) else {
            return Ok(false);
        };
        let to = match from.on(event) {
            Ok(to) => to,
            Err(illegal) => {
                tracing::error!(deployment.id = %id, error = %illegal, "the plan asked for an impossible step");
                return Ok(false);
            }
        };
        let now_ms = self.context.clock.now_ms();
        if from == DeploymentState::Releasing {
            self.finish_forwarding().await;
        }
        let last_lines = match to {
            DeploymentState::Failed => self.last_lines_of_failed(observed, id).await,
            _ => Vec::new(),
        };
        let store = &self.context.store;
        let taken = match to {
            DeploymentState::Live => {
                let until_ms = now_ms + i64::from(self.context.config.keep_previous_s) * 1000;
                store.deployment_go_live(id, until_ms, now_ms).await?
            }
            _ => {
                store
                    .deployment_advance(id, from, to, reason.as_deref(), now_ms)
                    .await?
            }
        };
        if taken {
            let number = self
                .release(deployment.release)
                .await?
                .map_or(0, |release| release.number);
            self.tell(
                wanted,
                deployment.task,
                number,
                to,
                reason.as_deref(),
                &last_lines,
                now_ms - deployment.entered_ms,
            )
            .await;
        }
        Ok(taken)
    }

    /// Tells the deployment's task, and who watches changes, which state it has entered.
    #[expect(clippy::too_many_arguments, reason = "one sentence made of seven facts")]
    async fn tell(
        &mut self,
        wanted: &Wanted,
        task: weir_model::TaskId,
        number: i64,
        state: DeploymentState,
        reason: Option<&str>,
        last_lines: &[String],
        took_ms: i64,
    ) {
        let tasks = self.context.tasks.clone();
        let change = |kind: &'static str, message: String| {
            let (project, environment) = (wanted.project.name.to_string(), wanted.environment.name.to_string());
            let tasks = tasks.clone();
            async move { tasks.change(&project, Some(&environment), kind, &message).await }
        };
        let title = wanted.title();
        match state {
            DeploymentState::Releasing => tasks.step(task, "Running the release command").await,
            DeploymentState::Starting => tasks.step(task, "Starting new instances").await,
            DeploymentState::Holding => {
                tasks
                    .step(task, "Holding requests while the one-writer volume changes hands")
                    .await;
            }
            DeploymentState::Canary => {
                let part = wanted.canary_words();
                let line = format!("Release {number} is a canary and gets {part}; all others stay with the live one");
                tasks.line(task, LineKind::Info, &line).await;
                let hint = "See how it does: weir canary. Then: weir canary promote, or weir canary abort";
                tasks.line(task, LineKind::Hint, hint).await;
                change("deployment.canary", format!("release {number} gets {part}")).await;
                tasks.end(task, TaskState::Done, None).await;
            }
            DeploymentState::Switching => tasks.step(task, "Switching routes").await,
            DeploymentState::Live => {
                self.crashes.clear();
                self.refused.clear();
                tracing::info!(project.name = %wanted.project.name, environment.name = %wanted.environment.name, release.number = number, "{title}: release {number} is live");
                tasks
                    .line(
                        task,
                        LineKind::Info,
                        &format!("Release {number} is live after {took_ms} ms for the switch"),
                    )
                    .await;
                change("deployment.live", format!("release {number} is live")).await;
                tasks.end(task, TaskState::Done, None).await;
            }
            DeploymentState::Failed => {
                let reason = reason.unwrap_or("it failed");
                for line in last_lines {
                    tasks.line(task, LineKind::Output, line).await;
                }
                tracing::info!(project.name = %wanted.project.name, environment.name = %wanted.environment.name, release.number = number, "{title}: release {number} failed: {reason}");
                change("deployment.failed", format!("release {number}: {reason}")).await;
                tasks.end(task, TaskState::Failed, Some(reason)).await;
            }
            DeploymentState::Superseded => {
                tasks.end(task, TaskState::Superseded, reason).await;
            }
            DeploymentState::Pending | DeploymentState::Retired => {}
        }
    }

    /// What the instance wrote last whose end or silence failed the deployment.
    async fn last_lines_of_failed(&self, observed: &Observed, deployment: DeploymentId) -> Vec<String> {
        let culprit = observed
            .instances
            .iter()
            .filter(|fact| fact.labels.deployment == deployment && fact.labels.role == InstanceRole::Instance)
            .min_by_key(|fact| {
                (
                    !matches!(fact.state, InstanceState::Exited { .. }),
                    fact.probe == super::plan::Probe::Ready,
                )
            });
        let Some(fact) = culprit else { return Vec::new() };
        let mut output = self.context.engine.instance_output(fact.labels.instance, 0);
        let mut lines = std::collections::VecDeque::new();
        let read = async {
            while let Some(Ok(chunk)) = output.next().await {
                if lines.len() == LAST_LINES {
                    lines.pop_front();
                }
                lines.push_back(String::from_utf8_lossy(&chunk.text).into_owned());
            }
        };
        // One that still runs goes on writing: what it wrote so far is there at once.
        let limit = if matches!(fact.state, InstanceState::Exited { .. }) {
            LAST_OUTPUT
        } else {
            LAST_OUTPUT / 4
        };
        let _ = tokio::time::timeout(limit, read).await;
        lines.into()
    }

    /// Sends the output of a release command into the deployment's task.
    fn forward(&mut self, labels: &InstanceLabels, task: weir_model::TaskId) {
        let (context, instance) = (self.context.clone(), labels.instance);
        let handle = tokio::spawn(async move {
            let mut output = context.engine.instance_output(instance, 0);
            while let Some(Ok(chunk)) = output.next().await {
                let kind = match chunk.stream {
                    LogStream::Stdout | LogStream::Stderr => LineKind::Output,
                    LogStream::Weir => LineKind::Info,
                };
                context
                    .tasks
                    .line(task, kind, &String::from_utf8_lossy(&chunk.text))
                    .await;
            }
        });
        self.forwarding.insert(instance, handle);
    }

    async fn finish_forwarding(&mut self) {
        for (_, handle) in self.forwarding.drain() {
            let abort = handle.abort_handle();
            if tokio::time::timeout(LAST_OUTPUT, handle).await.is_err() {
                abort.abort();
            }
        }
    }

    // --- what an instance is to be ---

    async fn instance_spec(
        &mut self,
        wanted: &Wanted,
        deployment: DeploymentId,
        app: &AppName,
        process: &ProcessName,
    ) -> Result<Option<InstanceSpec>, PassError> {
        let Some(release) = self.release_of(wanted, deployment).await? else {
            return Ok(None);
        };
        let Some(release_app) = release.apps.get(app) else {
            return Ok(None);
        };
        let Some(spec) = release_app.spec.processes.get(process) else {
            return Ok(None);
        };
        let routed = release_app.spec.is_routed(process);
        let labels = self.labels(
            InstanceRole::Instance,
            &release,
            deployment,
            app,
            process,
            routed.then_some(spec.port),
        );
        Ok(Some(
            self.container(wanted, &release, release_app, spec, spec.command.clone(), labels)
                .await?,
        ))
    }

    async fn release_spec(
        &mut self,
        wanted: &Wanted,
        deployment: DeploymentId,
        app: &AppName,
    ) -> Result<Option<InstanceSpec>, PassError> {
        let Some(release) = self.release_of(wanted, deployment).await? else {
            return Ok(None);
        };
        let Some(release_app) = release.apps.get(app) else {
            return Ok(None);
        };
        let Some(command) = release_app.spec.release.as_ref().map(|release| release.command.clone()) else {
            return Ok(None);
        };
        let spec = release_app
            .spec
            .processes
            .get(&ProcessName::web())
            .cloned()
            .unwrap_or_default();
        let Ok(process) = ProcessName::new("release") else {
            return Ok(None);
        };
        let labels = self.labels(InstanceRole::Release, &release, deployment, app, &process, None);
        if let Some(deployment) = wanted.deployments.get(&deployment) {
            self.context
                .tasks
                .line(deployment.task, LineKind::Info, &format!("{app}: {command}"))
                .await;
        }
        Ok(Some(
            self.container(wanted, &release, release_app, &spec, Some(command), labels)
                .await?,
        ))
    }

    async fn release_of(
        &mut self,
        wanted: &Wanted,
        deployment: DeploymentId,
    ) -> Result<Option<std::sync::Arc<Release>>, PassError> {
        match wanted.deployments.get(&deployment) {
            Some(deployment) => self.release(deployment.release).await,
            None => Ok(None),
        }
    }

    fn labels(
        &self,
        role: InstanceRole,
        release: &Release,
        deployment: DeploymentId,
        app: &AppName,
        process: &ProcessName,
        port: Option<u16>,
    ) -> InstanceLabels {
        InstanceLabels {
            instance: InstanceId::from_parts(self.context.clock.now_ms(), self.context.clock.random()),
            role,
            environment: self.environment,
            app: app.clone(),
            process: process.clone(),
            release: release.id,
            deployment,
            port,
        }
    }

    async fn container(
        &self,
        wanted: &Wanted,
        release: &Release,
        release_app: &ReleaseApp,
        spec: &ProcessSpec,
        command: Option<String>,
        labels: InstanceLabels,
    ) -> Result<InstanceSpec, PassError> {
        let domains = self.context.store.domain_list(self.environment).await?;
        let place = Place {
            project: wanted.project.name.as_str(),
            environment: wanted.environment.name.as_str(),
            public_url: public_url(&self.context.config, &domains, &labels.app),
        };
        let variables = variables(&self.context.sealer, release, release_app, &place, &labels, spec)
            .map_err(|error| EngineError::Refused(error.to_string()))?;
        Ok(container(release_app, spec, command, labels, variables))
    }
}

/// Where an instance runs, as it is told.
pub(crate) struct Place<'a> {
    /// `WEIR_PROJECT`.
    pub(crate) project: &'a str,
    /// `WEIR_ENVIRONMENT`.
    pub(crate) environment: &'a str,
    /// `WEIR_PUBLIC_URL`.
    pub(crate) public_url: String,
}

/// The address of an app: that of its own host, or the environment's.
pub(crate) fn public_url(config: &crate::Config, domains: &[weir_model::project::Domain], app: &AppName) -> String {
    let own = domains.iter().find(|domain| domain.app.as_ref() == Some(app));
    let main = domains
        .iter()
        .filter(|domain| domain.app.is_none())
        .min_by_key(|domain| !domain.platform);
    own.or(main)
        .map(|domain| config.url_of(&domain.host))
        .unwrap_or_default()
}

/// The complete environment of a container: the specification's variables, over them those of
/// the environment, over them the platform's own.
pub(crate) fn variables(
    sealer: &crate::secrets::Sealer,
    release: &Release,
    release_app: &ReleaseApp,
    place: &Place<'_>,
    labels: &InstanceLabels,
    spec: &ProcessSpec,
) -> Result<BTreeMap<String, String>, SecretError> {
    let mut variables = release_app.spec.variables.clone();
    for variable in &release.configuration {
        let value = sealer.value_of(release.environment, variable)?;
        variables.insert(variable.name.to_string(), value.into_exposed());
    }
    let port = labels.port.unwrap_or(spec.port);
    for (name, value) in [
        ("PORT", port.to_string()),
        ("WEIR_PUBLIC_URL", place.public_url.clone()),
        ("WEIR_PROJECT", place.project.to_owned()),
        ("WEIR_ENVIRONMENT", place.environment.to_owned()),
        ("WEIR_APP", labels.app.to_string()),
        ("WEIR_PROCESS", labels.process.to_string()),
        ("WEIR_RELEASE", release.number.to_string()),
        ("WEIR_INSTANCE", labels.instance.to_string()),
    ] {
        variables.insert(name.to_owned(), value);
    }
    Ok(variables)
}

/// A container of an app's image with the limits of a process.
pub(crate) fn container(
    release_app: &ReleaseApp,
    spec: &ProcessSpec,
    command: Option<String>,
    labels: InstanceLabels,
    variables: BTreeMap<String, String>,
) -> InstanceSpec {
    InstanceSpec {
        image: release_app.image.clone(),
        command,
        variables,
        memory_bytes: spec.memory_bytes,
        cpu_milli: spec.cpu_milli,
        max_processes: spec.max_processes,
        max_open_files: spec.max_open_files,
        volumes: release_app
            .spec
            .volumes
            .iter()
            .map(|(name, volume)| (name.clone(), volume.path.clone()))
            .collect(),
        // The node answers lookups of private names: the engine would also name instances that
        // are frozen or not ready.
        network_names: Vec::new(),
        terminal: false,
        interactive: false,
        labels,
    }
}

/// The canary that an instance belongs to, if it does.
fn canary_of(wanted: &Wanted, fact: &Fact) -> Option<DeploymentId> {
    let mut targets = wanted.desired.in_progress.iter();
    let canary = targets.find(|target| target.state == DeploymentState::Canary && is_mine(target, fact));
    canary.map(|target| target.deployment)
}

/// One more crash in a row, or the first one of a new row.
fn once_more(before: Crashes, started_ms: UnixMillis, now_ms: UnixMillis) -> Crashes {
    let stable = now_ms - started_ms >= STABLE_MS;
    let count = if stable { 1 } else { before.count.saturating_add(1) };
    Crashes {
        count,
        not_before_ms: now_ms + pause_after(count),
    }
}

/// The first restart is at once, then 1 s, 2 s, 4 s … up to a minute.
fn pause_after(crashes: u32) -> i64 {
    match crashes {
        0 | 1 => 0,
        count => (1000_i64 << (count - 2).min(16)).min(LONGEST_PAUSE_MS),
    }
}

impl Worker {
    /// Deletes what an environment stores that nobody can pay for any more, once none of its
    /// instances is there. The environment itself stays, with its configuration.
    pub(super) async fn delete_data(&mut self, observed: &Observed) -> Result<(), PassError> {
        if !observed.instances.is_empty() || !self.stopping.is_empty() {
            return Ok(());
        }
        let context = self.context.clone();
        self.remove_volumes().await?;
        super::housekeeping::remove_images_of(&context, self.environment).await?;
        let removed = context.logs.remove_environment(self.environment).await;
        removed.map_err(|error| EngineError::Refused(format!("the logs cannot be removed: {error}")))?;
        tracing::warn!(environment.id = %self.environment, "what the environment stored is deleted: nobody paid for it");
        Ok(storage::deleted(&context, self.environment).await?)
    }

    async fn remove_volumes(&self) -> Result<(), PassError> {
        let engine = &self.context.engine;
        for (environment, app, volume) in engine.volume_list().await? {
            if environment == self.environment {
                engine.volume_remove(environment, &app, &volume).await?;
            }
        }
        Ok(())
    }

    /// Removes what is left of an environment that is being destroyed, once none of its
    /// instances is. Returns whether it is gone for good.
    pub(super) async fn destroy(&mut self, wanted: &Wanted, observed: &Observed) -> Result<bool, PassError> {
        if !observed.instances.is_empty() || !self.stopping.is_empty() {
            return Ok(false);
        }
        let context = self.context.clone();
        self.remove_volumes().await?;
        context.engine.network_remove(self.environment).await?;
        let held = super::housekeeping::remove_images_of(&context, self.environment).await?;
        if held > 0 && self.destroy_attempts < MOST_DESTROY_ATTEMPTS {
            self.destroy_attempts += 1;
            return Ok(false);
        }
        let others = context.store.environment_list(wanted.project.id).await?;
        let last = wanted.project.destroying && others.iter().all(|other| other.id == self.environment);
        let ended = match last {
            true => projects::finish_destroy(&context, &wanted.project).await,
            false => projects::finish_destroy_environment(&context, &wanted.environment).await,
        };
        ended.map_err(|error| EngineError::Refused(error.to_string()))?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_of_a_crash_loop_slow_down_to_a_minute() {
        let pauses: Vec<i64> = (1..=9).map(pause_after).collect();
        assert_eq!(pauses, [0, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!(pause_after(u32::MAX), 60_000);
    }
}
