//! What runs, told from reality: the reconciler's last observation beside what is asked for.

use std::collections::{BTreeMap, HashMap};

use weir_api::{BackgroundWork, EnvironmentStatus, Instance, InstanceRange, ProcessStatus};
use weir_engine::InstanceRole;
use weir_model::deployment::Deployment;
use weir_model::project::{Environment, EnvironmentMode, Project, Scale};
use weir_model::release::{Release, ReleaseApp};
use weir_model::scaling::Idle;
use weir_model::{AppName, ProcessName, ReleaseId};

use crate::api::ApiError;
use crate::api::present;
use crate::class_status;
use crate::context::Context;
use crate::reconcile::InstanceView;
use crate::tcp;

/// Lines shown of an instance that crashed.
const LAST_LINES: usize = 20;

/// The release that serves, if any ever went live.
pub async fn live_release(context: &Context, environment: &Environment) -> Result<Option<Release>, ApiError> {
    let Some(live) = environment.live else { return Ok(None) };
    let Some(deployment) = context.store.deployment_by_id(live).await? else {
        return Ok(None);
    };
    Ok(context.store.release_by_id(deployment.release).await?)
}

/// The release that serves, or else the one that is being deployed.
pub async fn newest_release(context: &Context, environment: &Environment) -> Result<Option<Release>, ApiError> {
    if let Some(live) = live_release(context, environment).await? {
        return Ok(Some(live));
    }
    let in_progress = context.store.deployment_list_in_progress(environment.id).await?;
    match in_progress.last() {
        Some(deployment) => Ok(context.store.release_by_id(deployment.release).await?),
        None => Ok(None),
    }
}

/// The app that answers under the environment's plain host name.
pub fn main_app(project: &Project, release: &Release) -> Option<AppName> {
    weir_model::files::main_app(release.apps.values().map(|app| &app.spec), project.name.as_str())
}

/// What runs in an environment, without its money: what of that is told depends on who asks.
pub async fn of_environment(
    context: &Context,
    project: &Project,
    environment: &Environment,
) -> Result<EnvironmentStatus, ApiError> {
    let release = newest_release(context, environment).await?;
    let deployments = context.store.deployment_list_in_progress(environment.id).await?;
    let scales = context.store.scale_list(environment.id).await?;
    let views = instances_of(context, environment);
    let class_loads = context.reconciler.class_loads(environment.id);
    let domains = context.store.domain_list(environment.id).await?;
    let mut services = match &release {
        Some(release) => tcp::addresses(context, project, environment, release, &domains).await?,
        None => BTreeMap::new(),
    };
    let mut numbers = Numbers::default();
    let mut processes = Vec::new();
    for (app, release_app) in release.iter().flat_map(|release| &release.apps) {
        for process in release_app.spec.processes.keys() {
            let views: Vec<&InstanceView> = views
                .iter()
                .filter(|view| (&view.labels.app, &view.labels.process) == (app, process))
                .collect();
            let mut status = process_status(context, environment, release_app, app, process, &scales);
            for view in views {
                status
                    .instances
                    .push(instance(context, &mut numbers, environment, view).await?);
            }
            status.tcp = services.remove(&(app.clone(), process.clone())).unwrap_or_default();
            status.classes = class_status::of_process(&release_app.spec, process, &class_loads);
            let serving = release.as_ref().map_or(0, |release| release.number);
            let ready = status.instances.iter().filter(|instance| {
                matches!(instance.state.as_str(), "ready" | "asleep") && instance.release == serving
            });
            status.ready = u32::try_from(ready.count()).unwrap_or(u32::MAX);
            processes.push(status);
        }
    }
    let deployment = match deployments.last() {
        Some(deployment) => Some(present::deployment(
            deployment,
            numbers.of(context, deployment.release).await?,
        )),
        None => None,
    };
    let newest = context.store.deployment_list(environment.id, 1).await?;
    // A canary may stay for days; what serves is as well as ever meanwhile.
    let deploying = deployments.iter().any(|deployment| !deployment.is_resting_canary());
    let (health, detail) = health_of(environment, &processes, deploying, newest.first());
    Ok(EnvironmentStatus {
        environment: present::environment(context, project, environment).await?,
        project: project.name.to_string(),
        health: health.to_owned(),
        detail,
        processes,
        domains: domains.iter().map(|domain| present::domain(context, domain)).collect(),
        deployment,
        money: None,
        maintenance: crate::api::protection::maintenance(context, environment).await?,
        refused: crate::api::protection::refused(context, environment),
    })
}

/// The running copies of an environment's processes; one-off containers are left out.
pub fn instances_of(context: &Context, environment: &Environment) -> Vec<InstanceView> {
    let mut views = context.reconciler.instances(environment.id);
    views.retain(|view| view.labels.role == InstanceRole::Instance);
    views
}

pub(crate) fn process_status(
    context: &Context,
    environment: &Environment,
    release: &ReleaseApp,
    app: &AppName,
    process: &ProcessName,
    scales: &[Scale],
) -> ProcessStatus {
    let spec = &release.spec.processes[process];
    let bounds = release.spec.bounds(process, scales);
    let wanted = match environment.mode {
        EnvironmentMode::Active => context
            .reconciler
            .scaled_to(environment.id, app, process)
            .filter(|_count| bounds.is_moving())
            .unwrap_or(bounds.least),
        EnvironmentMode::Paused | EnvironmentMode::Destroying => 0,
    };
    ProcessStatus {
        app: app.to_string(),
        process: process.to_string(),
        wanted,
        range: (bounds.is_moving() && environment.mode == EnvironmentMode::Active).then(|| InstanceRange {
            min: if bounds.idle == Idle::Stop { 0 } else { bounds.least },
            max: bounds.most,
        }),
        idle: match bounds.idle {
            Idle::Never => None,
            Idle::Freeze => Some("freeze".to_owned()),
            Idle::Stop => Some("stop".to_owned()),
        },
        ready: 0,
        command: spec.command.clone(),
        memory_bytes: spec.memory_bytes,
        cpu_milli: spec.cpu_milli,
        instances: Vec::new(),
        classes: Vec::new(),
        tcp: Vec::new(),
    }
}

async fn instance(
    context: &Context,
    numbers: &mut Numbers,
    environment: &Environment,
    view: &InstanceView,
) -> Result<Instance, ApiError> {
    let last_lines = match view.state {
        "crashed" => {
            context
                .logs
                .last_lines(environment.id, view.labels.instance, LAST_LINES)
                .await
        }
        _ => Vec::new(),
    };
    Ok(Instance {
        id: view.labels.instance.to_string(),
        release: numbers.of(context, view.labels.release).await?,
        // Right after a start of control an instance may not have been checked yet.
        state: if view.state == "unchecked" {
            "starting"
        } else {
            view.state
        }
        .to_owned(),
        reason: view.reason.clone(),
        started: present::instant(view.started_ms),
        crashes: view.crashes,
        background: background_of(context, view),
        last_lines,
    })
}

/// What an instance does although no request is in flight there.
pub fn background_of(context: &Context, view: &InstanceView) -> Option<BackgroundWork> {
    let work = context.reconciler.background(view.labels.instance)?;
    Some(BackgroundWork {
        app: view.labels.app.to_string(),
        process: view.labels.process.to_string(),
        instance: view.labels.instance.to_string(),
        since: present::instant(work.since_ms),
        cpu_ms: work.cpu_us / 1_000,
        slowed: work.slowed,
    })
}

/// Numbers of releases by identity, looked up once each.
#[derive(Debug, Default)]
pub struct Numbers(HashMap<ReleaseId, i64>);

impl Numbers {
    /// The number of a release; 0 if it is gone.
    pub async fn of(&mut self, context: &Context, release: ReleaseId) -> Result<i64, ApiError> {
        if let Some(number) = self.0.get(&release) {
            return Ok(*number);
        }
        let number = context
            .store
            .release_by_id(release)
            .await?
            .map_or(0, |release| release.number);
        self.0.insert(release, number);
        Ok(number)
    }
}

/// What brings the first release to an environment.
pub fn first_step(environment: &Environment) -> String {
    match &environment.branch {
        Some(branch) if environment.name.is_production() => format!("`git push weir {branch}`, or `weir deploy`"),
        Some(branch) => format!("`git push weir {branch}`, or `weir deploy --env {}`", environment.name),
        None => format!(
            "`weir promote production {0}`, or `weir deploy --env {0}`",
            environment.name
        ),
    }
}

/// Health in one word, and one line on what is the matter.
pub(crate) fn health_of(
    environment: &Environment,
    processes: &[ProcessStatus],
    deploying: bool,
    newest: Option<&Deployment>,
) -> (&'static str, Option<String>) {
    match environment.mode {
        EnvironmentMode::Destroying => return ("destroying", None),
        EnvironmentMode::Paused => return ("paused", Some("start it again with `weir resume`".to_owned())),
        EnvironmentMode::Active => {}
    }
    if deploying {
        return ("deploying", None);
    }
    if environment.live.is_none() {
        let failed = newest.and_then(|deployment| deployment.reason.clone());
        return match failed {
            Some(reason) => ("empty", Some(format!("the last deployment failed: {reason}"))),
            None => (
                "empty",
                Some(format!("nothing was deployed yet: {}", first_step(environment))),
            ),
        };
    }
    let short: Vec<&ProcessStatus> = processes
        .iter()
        .filter(|process| process.ready < process.wanted)
        .collect();
    let Some(first) = short.first() else {
        return ("running", None);
    };
    let crashing = first
        .instances
        .iter()
        .find(|instance| instance.state == "crashed" || instance.crashes > 0);
    let reason = crashing
        .or(first.instances.first())
        .and_then(|instance| instance.reason.clone());
    let name = format!("{}.{}", first.app, first.process);
    let mut words = format!("{} of {} instances of {name} are ready", first.ready, first.wanted);
    if let Some(reason) = reason {
        words = format!("{words}: {reason}");
    }
    if crashing.is_some() && processes.iter().all(|process| process.ready == 0) {
        return (
            "crashed",
            Some(format!("{words}; see `weir logs --process {}`", first.process)),
        );
    }
    ("degraded", Some(words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_model::{DeploymentId, EnvironmentId, EnvironmentName, ProjectId};

    fn environment(mode: EnvironmentMode, live: bool) -> Environment {
        Environment {
            id: EnvironmentId::from_parts(1, 1),
            project: ProjectId::from_parts(1, 1),
            name: EnvironmentName::production(),
            branch: None,
            mode,
            live: live.then(|| DeploymentId::from_parts(1, 1)),
            previous: None,
            previous_until_ms: 0,
            configuration_version: 0,
            created_ms: 0,
        }
    }

    fn process(wanted: u32, ready: u32, crashes: u32) -> ProcessStatus {
        let instance = Instance {
            id: String::new(),
            release: 1,
            state: if crashes > 0 { "crashed" } else { "ready" }.to_owned(),
            reason: (crashes > 0).then(|| "exited with status 1".to_owned()),
            started: String::new(),
            crashes,
            background: None,
            last_lines: Vec::new(),
        };
        ProcessStatus {
            app: "shop".to_owned(),
            process: "web".to_owned(),
            wanted,
            range: None,
            idle: None,
            ready,
            command: None,
            memory_bytes: 0,
            cpu_milli: 0,
            instances: vec![instance],
            classes: Vec::new(),
            tcp: Vec::new(),
        }
    }

    #[test]
    fn health_is_one_word() {
        let word = |environment: &Environment, processes: &[ProcessStatus], deploying| {
            health_of(environment, processes, deploying, None).0
        };
        let live = environment(EnvironmentMode::Active, true);
        assert_eq!(word(&live, &[process(1, 1, 0)], false), "running");
        assert_eq!(word(&live, &[process(2, 1, 0)], false), "degraded");
        assert_eq!(word(&live, &[process(1, 0, 3)], false), "crashed");
        assert_eq!(word(&live, &[process(1, 1, 0), process(1, 0, 3)], false), "degraded");
        assert_eq!(word(&live, &[process(2, 1, 0), process(1, 0, 3)], false), "degraded");
        assert_eq!(word(&live, &[process(1, 0, 0)], true), "deploying");
        assert_eq!(word(&environment(EnvironmentMode::Active, false), &[], false), "empty");
        assert_eq!(word(&environment(EnvironmentMode::Paused, true), &[], false), "paused");
        assert_eq!(
            word(&environment(EnvironmentMode::Destroying, true), &[], true),
            "destroying"
        );
    }
}
