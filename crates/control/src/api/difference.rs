//! What making a release live would change.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use weir_api::{ImageDifference, ProcessDifference, ReleaseDifference, VariableDifference};
use weir_model::project::Environment;
use weir_model::release::{Release, ReleaseSource};
use weir_model::spec::ProcessSpec;

use super::Api;
use super::error::ApiError;
use super::extract::{InEnvironment, PathOf, QueryOf};
use crate::context::Context;
use crate::status::live_release;

/// The query of a difference.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DifferenceQuery {
    to: Option<i64>,
}

/// What making a release live changes, against the one that serves, or another one.
#[utoipa::path(get, path = "/v1/projects/{project}/environments/{environment}/releases/{number}/difference", tag = "deployments",
    params(("number" = i64, Path, description = "Number of the release that would be live"), ("to" = Option<i64>, Query, description = "Compare with this release; absent: with the one that serves")),
    responses((status = 200, body = ReleaseDifference)))]
pub(super) async fn get_difference(
    State(api): State<Api>,
    at: InEnvironment,
    PathOf((_, _, number)): PathOf<(String, String, String)>,
    QueryOf(query): QueryOf<DifferenceQuery>,
) -> Result<Json<ReleaseDifference>, ApiError> {
    let number: i64 = number.parse().map_err(|_| no_such_release(&number))?;
    let to = release_of(&api.context, &at.environment, number).await?;
    let from = match query.to {
        Some(number) => Some(release_of(&api.context, &at.environment, number).await?),
        None => live_release(&api.context, &at.environment).await?,
    };
    Ok(Json(difference(from.as_ref(), &to)))
}

async fn release_of(context: &Context, environment: &Environment, number: i64) -> Result<Release, ApiError> {
    let found = context.store.release_by_number(environment.id, number).await?;
    found.ok_or_else(|| no_such_release(&number.to_string()))
}

fn no_such_release(number: &str) -> ApiError {
    let shown: String = number.chars().take(20).collect();
    ApiError::not_found(
        "release-not-found",
        format!("there is no release {shown}, or it is kept no more"),
    )
    .with_hint("list them with `weir releases`")
}

fn difference(from: Option<&Release>, to: &Release) -> ReleaseDifference {
    let commit = |release: &Release| match &release.source {
        ReleaseSource::Push { commit, .. } => Some(commit.clone()),
        _ => None,
    };
    ReleaseDifference {
        from: from.map(|release| release.number),
        to: to.number,
        images: images(from, to),
        variables: variables(from, to),
        processes: processes(from, to),
        commit_from: from.and_then(commit),
        commit_to: commit(to),
        notes: notes(from, to),
    }
}

/// What has come, gone, or is not the same any more; `same` says what of two is the same.
fn changes<K: Ord + Clone, V>(
    before: &BTreeMap<K, V>,
    after: &BTreeMap<K, V>,
    same: impl Fn(&V, &V) -> bool,
) -> Vec<(K, &'static str)> {
    let keys: BTreeSet<&K> = before.keys().chain(after.keys()).collect();
    let change = |key: &K| match (before.get(key), after.get(key)) {
        (None, Some(_)) => Some("added"),
        (Some(_), None) => Some("removed"),
        (Some(before), Some(after)) if !same(before, after) => Some("changed"),
        _ => None,
    };
    keys.into_iter()
        .filter_map(|key| Some((key.clone(), change(key)?)))
        .collect()
}

fn images(from: Option<&Release>, to: &Release) -> Vec<ImageDifference> {
    let of = |release: &Release| -> BTreeMap<String, String> {
        let apps = release.apps.iter();
        apps.map(|(name, app)| (name.to_string(), app.image.clone())).collect()
    };
    let changes = changes(&from.map(of).unwrap_or_default(), &of(to), String::eq).into_iter();
    changes
        .map(|(app, change)| ImageDifference {
            app,
            change: change.to_owned(),
        })
        .collect()
}

/// By name; those of `weir.toml` as `APP: NAME`.
fn variables(from: Option<&Release>, to: &Release) -> Vec<VariableDifference> {
    let of = |release: &Release| -> BTreeMap<String, (String, bool)> {
        let set = release.configuration.iter();
        let set = set.map(|variable| (variable.name.to_string(), (variable.value.clone(), variable.secret)));
        let written = release.apps.iter().flat_map(|(app, one)| {
            let variables = one.spec.variables.iter();
            variables.map(move |(name, value)| (format!("{app}: {name}"), (value.clone(), false)))
        });
        set.chain(written).collect()
    };
    let (before, after) = (from.map(of).unwrap_or_default(), of(to));
    let changes = changes(&before, &after, <(String, bool)>::eq).into_iter();
    changes
        .map(|(name, change)| VariableDifference {
            secret: after
                .get(&name)
                .or_else(|| before.get(&name))
                .is_some_and(|(_, secret)| *secret),
            change: change.to_owned(),
            name,
        })
        .collect()
}

fn processes(from: Option<&Release>, to: &Release) -> Vec<ProcessDifference> {
    let of = |release: &Release| -> BTreeMap<String, ProcessSpec> {
        let apps = release.apps.iter();
        let all = apps.flat_map(|(app, one)| {
            let processes = one.spec.processes.iter();
            processes.map(move |(process, spec)| (format!("{app}.{process}"), spec.clone()))
        });
        all.collect()
    };
    let (before, after) = (from.map(of).unwrap_or_default(), of(to));
    let changes = changes(&before, &after, ProcessSpec::eq).into_iter();
    changes
        .map(|(process, change)| ProcessDifference {
            detail: match (before.get(&process), after.get(&process)) {
                (Some(before), Some(after)) => detail(before, after),
                (_, Some(only)) | (Some(only), None) => only.command.clone().unwrap_or_default(),
                (None, None) => String::new(),
            },
            change: change.to_owned(),
            process,
        })
        .collect()
}

/// What is different about a process, in words.
fn detail(before: &ProcessSpec, after: &ProcessSpec) -> String {
    let command = |spec: &ProcessSpec| {
        spec.command
            .clone()
            .unwrap_or_else(|| "the image's own command".to_owned())
    };
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    let mut words = Vec::new();
    let mut compare = |name: &str, before: String, after: String| {
        if before != after {
            words.push(format!("{name} {before} → {after}"));
        }
    };
    compare("command", command(before), command(after));
    compare("instances", before.instances.to_string(), after.instances.to_string());
    compare("memory", mib(before.memory_bytes), mib(after.memory_bytes));
    compare(
        "CPU",
        format!("{}/1000 core", before.cpu_milli),
        format!("{}/1000 core", after.cpu_milli),
    );
    compare("port", before.port.to_string(), after.port.to_string());
    compare(
        "concurrency",
        before.concurrency.to_string(),
        after.concurrency.to_string(),
    );
    if words.is_empty() {
        return "other settings".to_owned();
    }
    words.join(", ")
}

fn notes(from: Option<&Release>, to: &Release) -> Vec<String> {
    let mut notes = Vec::new();
    let all = || from.into_iter().chain([to]).flat_map(|release| release.apps.values());
    if all().any(|app| !app.spec.volumes.is_empty()) {
        notes.push("volumes keep what they hold now".to_owned());
    }
    let goes_back = from.is_some_and(|from| to.number < from.number);
    if goes_back && to.apps.values().any(|app| app.spec.release.is_some()) {
        notes.push("the release command does not run again".to_owned());
    }
    if all().any(|app| app.spec.is_exclusive()) {
        notes.push("requests wait while the old instances stop and the new ones start".to_owned());
    }
    notes
}
