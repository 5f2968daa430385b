//! What is set on an environment: variables, numbers of instances, and whether it runs at all.

use std::collections::BTreeMap;

use weir_api::{Accepted, InstanceNumber, SetScale, UpdateVariables};
use weir_model::project::{Environment, EnvironmentMode, Project, Scale, Variable};
use weir_model::release::Release;
use weir_model::scaling::InstanceRange;
use weir_model::spec::AppSpec;
use weir_model::task::{LineKind, Task, TaskKind, TaskState};
use weir_model::{AppName, ProcessName, VariableName};

use crate::api::ApiError;
use crate::context::Context;
use crate::deploy::{self, Wish};
use crate::projects::ensure_alive;
use crate::status::{live_release, newest_release};
use crate::worst_case;

/// Longest value of a variable, in bytes.
const VALUE_BYTES: usize = 64 << 10;
/// Most variables of an environment, and bytes of all of them: the kernel passes them to each
/// process in one block.
const VARIABLES: usize = 1000;
const ALL_BYTES: usize = 512 << 10;
/// Most instances of a process.
const INSTANCES: u32 = 100;

/// Asks for a deployment and gives the task that tells of it. Where it is refused, the task
/// says so too.
pub async fn deploy_as_task(
    context: &Context,
    project: &Project,
    environment: &Environment,
    title: &str,
    wish: Wish,
) -> Result<(Task, Release), ApiError> {
    ensure_alive(project, Some(environment))?;
    let task = context
        .tasks
        .create(TaskKind::Deploy, project.id, Some(environment.id), title)
        .await?;
    match deploy::deploy(context, environment, wish, task.id).await {
        Ok((release, _)) => Ok((task, release)),
        Err(error) => {
            context
                .tasks
                .end(task.id, TaskState::Failed, Some(&error.to_string()))
                .await;
            Err(error.into())
        }
    }
}

/// Sets and unsets variables, and makes one release of it.
pub async fn update_variables(
    context: &Context,
    project: &Project,
    environment: &Environment,
    request: &UpdateVariables,
) -> Result<Accepted, ApiError> {
    ensure_alive(project, Some(environment))?;
    let present = context.store.variable_list(environment.id).await?;
    let (set, unset) = checked_changes(context, environment, &present, request)?;
    let mut names: Vec<String> = set.iter().map(|variable| variable.name.to_string()).collect();
    names.extend(unset.iter().map(ToString::to_string));
    let live = live_release(context, environment).await?;
    let waiting = live
        .as_ref()
        .is_some_and(|live| live.configuration_version != environment.configuration_version);
    if names.is_empty() && (request.no_deploy || !waiting) {
        return Ok(nothing("nothing changed: the variables are like this already"));
    }
    if !names.is_empty() {
        context.store.variables_update(environment.id, &set, &unset).await?;
        let message = format!("changed: {}", names.join(", "));
        context
            .tasks
            .change(
                project.name.as_str(),
                Some(environment.name.as_str()),
                "variables.changed",
                &message,
            )
            .await;
    }
    if request.no_deploy {
        return Ok(nothing("kept; the next release will have it"));
    }
    if live.is_none() {
        return Ok(nothing("kept; the first push will have it"));
    }
    // The mode of a moment ago may be outdated; deploying refuses by itself what cannot be.
    if environment.mode == EnvironmentMode::Paused {
        return Ok(nothing(
            "kept; the environment is paused, and the next release will have it",
        ));
    }
    deploy_configuration(context, project, environment, names).await
}

/// Makes a release of the variables as they are now.
async fn deploy_configuration(
    context: &Context,
    project: &Project,
    environment: &Environment,
    names: Vec<String>,
) -> Result<Accepted, ApiError> {
    let title = format!("new variables of {} ({})", project.name, environment.name);
    // The version rose with the change.
    let environment = context
        .store
        .environment_by_id(environment.id)
        .await?
        .unwrap_or_else(|| environment.clone());
    let deployed = deploy_as_task(context, project, &environment, &title, Wish::Configuration { names }).await;
    let (task, release) =
        deployed.map_err(|error| error.with_detail("the variables are kept, but were not deployed"))?;
    Ok(Accepted {
        task: Some(task.id.to_string()),
        message: format!("release {} is being deployed", release.number),
    })
}

/// Deploys what `--no-deploy` left waiting.
pub async fn redeploy(context: &Context, project: &Project, environment: &Environment) -> Result<Accepted, ApiError> {
    let live = live_release(context, environment).await?;
    let Some(live) = live.filter(|live| live.configuration_version != environment.configuration_version) else {
        return Ok(nothing("nothing is waiting to be deployed"));
    };
    let present = context.store.variable_list(environment.id).await?;
    deploy_configuration(
        context,
        project,
        environment,
        changed_names(&live.configuration, &present),
    )
    .await
}

fn nothing(message: &str) -> Accepted {
    Accepted {
        task: None,
        message: message.to_owned(),
    }
}

/// Names that differ between two configurations.
fn changed_names(before: &[Variable], now: &[Variable]) -> Vec<String> {
    let by_name = |list: &[Variable]| -> BTreeMap<VariableName, (String, bool)> {
        list.iter()
            .map(|variable| (variable.name.clone(), (variable.value.clone(), variable.secret)))
            .collect()
    };
    let (before, now) = (by_name(before), by_name(now));
    let mut names: Vec<String> = now
        .iter()
        .filter(|(name, value)| before.get(*name) != Some(*value))
        .map(|(name, _)| name.to_string())
        .collect();
    names.extend(
        before
            .keys()
            .filter(|name| !now.contains_key(*name))
            .map(ToString::to_string),
    );
    names
}

type Changes = (Vec<Variable>, Vec<VariableName>);

/// The changes that really change something, sealed; or every rule that the request breaks.
fn checked_changes(
    context: &Context,
    environment: &Environment,
    present: &[Variable],
    request: &UpdateVariables,
) -> Result<Changes, ApiError> {
    let mut problems = Vec::new();
    let (mut set, mut unset) = (Vec::new(), Vec::new());
    let now_ms = context.clock.now_ms();
    for (name, wanted) in &request.set {
        let name = match VariableName::new(name) {
            Ok(name) => name,
            Err(error) => {
                problems.push(error.to_string());
                continue;
            }
        };
        if wanted.value.len() > VALUE_BYTES {
            problems.push(format!(
                "the value of {name} has {} bytes; 65536 are allowed",
                wanted.value.len()
            ));
        } else if wanted.value.contains('\0') {
            problems.push(format!("the value of {name} contains a NUL byte"));
        } else if request.unset.iter().any(|other| other == name.as_str()) {
            problems.push(format!("{name} is both set and unset"));
        } else if !is_same(context, environment, present, &name, wanted) {
            let value = match wanted.secret {
                true => context.sealer.seal(environment.id, &name, &wanted.value)?,
                false => wanted.value.clone(),
            };
            set.push(Variable {
                name,
                value,
                secret: wanted.secret,
                build: wanted.build,
                updated_ms: now_ms,
            });
        }
    }
    for name in &request.unset {
        match VariableName::new(name) {
            Ok(name) if present.iter().any(|variable| variable.name == name) => unset.push(name),
            Ok(name) => problems.push(format!("{name} is not set")),
            Err(error) => problems.push(error.to_string()),
        }
    }
    if request.set.is_empty() && request.unset.is_empty() {
        problems.push("there is nothing to set or unset".to_owned());
    }
    unset.sort();
    unset.dedup();
    problems.extend(too_much(present, &set, &unset));
    if problems.is_empty() {
        return Ok((set, unset));
    }
    Err(
        ApiError::invalid("the variables cannot be changed like this; nothing was changed")
            .with_detail(problems.join("; ")),
    )
}

fn is_same(
    context: &Context,
    environment: &Environment,
    present: &[Variable],
    name: &VariableName,
    wanted: &weir_api::SetVariable,
) -> bool {
    present.iter().any(|variable| {
        variable.name == *name
            && (variable.secret, variable.build) == (wanted.secret, wanted.build)
            // A secret that does not open any more is to be sealed anew.
            && context.sealer.value_of(environment.id, variable).is_ok_and(|value| value.expose() == wanted.value)
    })
}

fn too_much(present: &[Variable], set: &[Variable], unset: &[VariableName]) -> Option<String> {
    let mut sizes: BTreeMap<&VariableName, usize> = present
        .iter()
        .map(|variable| (&variable.name, variable.value.len()))
        .collect();
    sizes.extend(set.iter().map(|variable| (&variable.name, variable.value.len())));
    for name in unset {
        sizes.remove(name);
    }
    let bytes: usize = sizes.values().sum();
    if sizes.len() > VARIABLES {
        return Some(format!("an environment has {VARIABLES} variables at most"));
    }
    (bytes > ALL_BYTES).then(|| format!("all values together have {bytes} bytes; {ALL_BYTES} are allowed"))
}

/// Sets numbers of instances of processes.
pub async fn set_scale(
    context: &Context,
    project: &Project,
    environment: &Environment,
    request: &SetScale,
) -> Result<Accepted, ApiError> {
    ensure_alive(project, Some(environment))?;
    let Some(release) = newest_release(context, environment).await? else {
        return Err(ApiError::conflict(
            "nothing-deployed",
            format!("nothing was deployed to `{}` yet", environment.name),
        )
        .with_hint(crate::status::first_step(environment)));
    };
    let wanted = checked_scale(project, &release, request)?;
    let present = context.store.scale_list(environment.id).await?;
    let range = |scale: &Scale| {
        let set = present
            .iter()
            .find(|other| (&other.app, &other.process) == (&scale.app, &scale.process));
        let spec = &release.apps[&scale.app].spec.processes[&scale.process];
        let of_file = || spec.scaling.range.unwrap_or(InstanceRange::fixed(spec.instances));
        set.map_or_else(of_file, Scale::range)
    };
    if wanted.iter().all(|scale| range(scale) == scale.range()) {
        return Ok(nothing("nothing changed: the numbers are like this already"));
    }
    let mut scales = present.clone();
    scales.retain(|scale| {
        !wanted
            .iter()
            .any(|new| (&new.app, &new.process) == (&scale.app, &scale.process))
    });
    scales.extend(wanted.iter().cloned());
    let worst = worst_case::sentence(context, project, environment, &worst_case::loads(&release, &scales));
    context.store.scale_set(environment.id, &wanted).await?;
    let words: Vec<String> = wanted
        .iter()
        .map(|scale| {
            let most = scale.most.map(|most| format!("..{most}")).unwrap_or_default();
            format!("{}.{}={}{most}", scale.app, scale.process, scale.instances)
        })
        .collect();
    context
        .tasks
        .change(
            project.name.as_str(),
            Some(environment.name.as_str()),
            "scale.changed",
            &words.join(" "),
        )
        .await;
    if environment.mode == EnvironmentMode::Paused {
        return Ok(nothing("noted; it is paused, and `weir resume` starts it like that"));
    }
    let title = format!("scale {} ({}): {}", project.name, environment.name, words.join(" "));
    let task = context
        .tasks
        .create(TaskKind::Scale, project.id, Some(environment.id), &title)
        .await?;
    context.tasks.line(task.id, LineKind::Info, &worst).await;
    context.reconciler.wake(environment.id);
    Ok(Accepted {
        task: Some(task.id.to_string()),
        message: format!("scaling; {worst}"),
    })
}

async fn task_for(
    context: &Context,
    project: &Project,
    environment: &Environment,
    kind: TaskKind,
    title: &str,
    message: &str,
) -> Result<Accepted, ApiError> {
    let task = context
        .tasks
        .create(kind, project.id, Some(environment.id), title)
        .await?;
    context.reconciler.wake(environment.id);
    Ok(Accepted {
        task: Some(task.id.to_string()),
        message: message.to_owned(),
    })
}

/// Resolves `process` and `app.process`, and checks every number.
fn checked_scale(project: &Project, release: &Release, request: &SetScale) -> Result<Vec<Scale>, ApiError> {
    if request.processes.is_empty() {
        return Err(ApiError::invalid("no process is named").with_hint("for example `weir scale web=2 worker=1`"));
    }
    let known = || {
        let names = release
            .apps
            .iter()
            .flat_map(|(app, it)| it.spec.processes.keys().map(move |process| format!("{app}.{process}")));
        format!("its processes are: {}", names.collect::<Vec<_>>().join(", "))
    };
    let mut scales: Vec<Scale> = Vec::new();
    for (key, number) in &request.processes {
        let shown: String = key.chars().take(80).collect();
        let found = find_process(project, release, key);
        let Some((app, process)) = found else {
            return Err(ApiError::invalid(format!("there is no process `{shown}`")).with_detail(known()));
        };
        let spec = &release.apps[&app].spec;
        let (instances, most) = checked_number(*number, &shown, spec, &process)?;
        if most.unwrap_or(instances) > 1 && release.apps[&app].spec.is_exclusive() {
            return Err(ApiError::invalid(format!(
                "`{shown}` can have one instance at most, because a volume of `{app}` admits one writer"
            ))
            .with_hint("say `writers = \"many\"` for the volume in weir.toml if the app can share it"));
        }
        if scales
            .iter()
            .any(|scale| (&scale.app, &scale.process) == (&app, &process))
        {
            return Err(ApiError::invalid(format!("`{shown}` is named twice")));
        }
        scales.push(Scale {
            app,
            process,
            instances,
            most,
        });
    }
    Ok(scales)
}

/// A number of instances, or the least and the most.
fn checked_number(
    number: InstanceNumber,
    shown: &str,
    app: &AppSpec,
    process: &ProcessName,
) -> Result<(u32, Option<u32>), ApiError> {
    let (instances, most) = match number {
        InstanceNumber::Fixed(instances) => (instances, None),
        InstanceNumber::Moving { min, max } => (min, Some(max)),
    };
    let highest = most.unwrap_or(instances);
    if highest > INSTANCES {
        return Err(ApiError::invalid(format!(
            "`{shown}` cannot have {highest} instances; {INSTANCES} are the most"
        )));
    }
    if most.is_some() && (highest == 0 || instances > highest) {
        return Err(
            ApiError::invalid(format!("`{shown}` cannot have from {instances} to {highest} instances")).with_hint(
                format!("the least comes first and the most is 1 or more, like `weir scale {shown}=1..5`"),
            ),
        );
    }
    if most.is_some() && !app.is_routed(process) {
        return Err(ApiError::invalid(format!(
            "the number of `{shown}` cannot follow the requests, because no route leads to it"
        ))
        .with_hint(format!("give it a fixed number, like `weir scale {shown}=2`")));
    }
    Ok((instances, most))
}

/// The app and process that a key names: `app.process`, or `process` of the main app, or of the
/// only app that has it.
pub fn find_process(project: &Project, release: &Release, key: &str) -> Option<(AppName, ProcessName)> {
    if let Some((app, process)) = key.split_once('.') {
        let (app, process) = (AppName::new(app).ok()?, ProcessName::new(process).ok()?);
        return release
            .apps
            .get(&app)?
            .spec
            .processes
            .contains_key(&process)
            .then_some((app, process));
    }
    let process = ProcessName::new(key).ok()?;
    let has = |app: &AppName| release.apps[app].spec.processes.contains_key(&process);
    if let Some(main) = crate::status::main_app(project, release).filter(|app| has(app)) {
        return Some((main, process));
    }
    let mut having = release.apps.keys().filter(|app| has(app));
    let only = having.next()?.clone();
    having.next().is_none().then_some((only, process))
}

/// Stops everything that runs in an environment and keeps all that it has.
pub async fn pause(context: &Context, project: &Project, environment: &Environment) -> Result<Accepted, ApiError> {
    ensure_alive(project, Some(environment))?;
    let changed = context
        .store
        .environment_set_mode(environment.id, &[EnvironmentMode::Active], EnvironmentMode::Paused)
        .await?;
    if !changed {
        return Ok(nothing("it is paused already"));
    }
    context
        .tasks
        .change(
            project.name.as_str(),
            Some(environment.name.as_str()),
            "environment.paused",
            "paused",
        )
        .await;
    let title = format!("pause {} ({})", project.name, environment.name);
    task_for(context, project, environment, TaskKind::Pause, &title, "pausing").await
}

/// Starts again what was paused.
pub async fn resume(context: &Context, project: &Project, environment: &Environment) -> Result<Accepted, ApiError> {
    ensure_alive(project, Some(environment))?;
    let changed = context
        .store
        .environment_set_mode(environment.id, &[EnvironmentMode::Paused], EnvironmentMode::Active)
        .await?;
    if !changed {
        return Ok(nothing("it is not paused"));
    }
    context
        .tasks
        .change(
            project.name.as_str(),
            Some(environment.name.as_str()),
            "environment.resumed",
            "resumed",
        )
        .await;
    let title = format!("resume {} ({})", project.name, environment.name);
    task_for(context, project, environment, TaskKind::Resume, &title, "resuming").await
}

/// Runs the live release of another environment of the project here, without a build.
pub async fn promote(
    context: &Context,
    project: &Project,
    environment: &Environment,
    from: &str,
) -> Result<Accepted, ApiError> {
    let missing = || crate::projects::no_such_environment(&project.name, from);
    let name = weir_model::EnvironmentName::new(from).map_err(|_| missing())?;
    let from = context
        .store
        .environment_by_name(project.id, &name)
        .await?
        .ok_or_else(missing)?;
    if from.id == environment.id {
        return Err(ApiError::invalid(format!("`{name}` cannot be promoted to itself"))
            .with_hint("for example `weir promote staging production`"));
    }
    let title = format!("promotion of {name} to {} of {}", environment.name, project.name);
    let (task, release) = deploy_as_task(context, project, environment, &title, Wish::Promotion { from }).await?;
    Ok(Accepted {
        task: Some(task.id.to_string()),
        message: format!("release {} is being deployed", release.number),
    })
}

/// A rollback, a restart, or what `--no-deploy` left waiting.
pub async fn create_deployment(
    context: &Context,
    project: &Project,
    environment: &Environment,
    request: &weir_api::CreateDeployment,
) -> Result<Accepted, ApiError> {
    let place = format!("{} ({})", project.name, environment.name);
    if request.release.is_some() && request.kind != "rollback" {
        return Err(ApiError::invalid("only a rollback names a release"));
    }
    let (title, wish) = match request.kind.as_str() {
        "rollback" => match request.release {
            Some(number) => (
                format!("rollback of {place} to release {number}"),
                Wish::Rollback { release: Some(number) },
            ),
            None => (format!("rollback of {place}"), Wish::Rollback { release: None }),
        },
        "restart" => (format!("restart of {place}"), Wish::Restart),
        "redeploy" => return redeploy(context, project, environment).await,
        other => {
            let shown: String = other.chars().take(80).collect();
            return Err(ApiError::invalid(format!(
                "`{shown}` is no kind of deployment: rollback, restart or redeploy"
            ))
            .with_hint("new code comes by `git push` or `weir deploy`"));
        }
    };
    let (task, release) = deploy_as_task(context, project, environment, &title, wish).await?;
    Ok(Accepted {
        task: Some(task.id.to_string()),
        message: format!("release {} is being deployed", release.number),
    })
}
