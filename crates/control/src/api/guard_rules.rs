//! The rules of the guard against runaways, and what it caught.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use weir_api::{Guard, OnBackground, UpdateGuard};
use weir_ledger::{Nano, PriceBook, Sku};
use weir_model::AppName;
use weir_model::guard::{BackgroundRule, GuardRules, GuardTrip};
use weir_model::project::{Environment, Project};
use weir_model::release::{Release, ReleaseApp};

use super::Api;
use super::error::ApiError;
use super::extract::{InEnvironment, JsonBody, QueryOf};
use super::present::instant;
use crate::context::Context;
use crate::guarding;
use crate::status::{background_of, instances_of, main_app, newest_release};

const DEPTH: std::ops::RangeInclusive<u32> = 1..=1_000;
const DESCENDANTS: std::ops::RangeInclusive<u64> = 1..=1_000_000;

/// The rules of all apps of an environment, and what the guard caught lately.
#[utoipa::path(get, path = "/v1/projects/{project}/environments/{environment}/guard", tag = "guard", responses((status = 200, body = Guard)))]
pub(super) async fn get_guard(State(api): State<Api>, at: InEnvironment) -> Result<Json<Guard>, ApiError> {
    guard(&api.context, &at.project, &at.environment).await.map(Json)
}

/// Changes the rules of one app; they hold within a second.
#[utoipa::path(patch, path = "/v1/projects/{project}/environments/{environment}/guard", tag = "guard", request_body = UpdateGuard, responses((status = 200, body = Guard)))]
pub(super) async fn update_guard(
    State(api): State<Api>,
    at: InEnvironment,
    JsonBody(request): JsonBody<UpdateGuard>,
) -> Result<Json<Guard>, ApiError> {
    crate::projects::ensure_alive(&at.project, Some(&at.environment))?;
    let context = &api.context;
    let release = newest_release(context, &at.environment).await?;
    let main = release.as_ref().and_then(|release| main_app(&at.project, release));
    let app = app_of(release.as_ref(), main, request.app.as_deref())?;
    let own = context.store.guard_rules_of(at.environment.id).await?;
    let rules = updated(own.get(&app).cloned().unwrap_or_default(), &request)?;
    context
        .store
        .guard_rules_set(at.environment.id, &app, Some(&rules))
        .await?;
    context.reconciler.wake(at.environment.id);
    guard(context, &at.project, &at.environment).await.map(Json)
}

/// Which app's rules are the defaults again.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResetQuery {
    app: Option<String>,
}

/// Gives one app the default rules again.
#[utoipa::path(delete, path = "/v1/projects/{project}/environments/{environment}/guard", tag = "guard", params(("app" = Option<String>, Query, description = "The app; absent: the only one, or the main app")), responses((status = 200, body = Guard)))]
pub(super) async fn reset_guard(
    State(api): State<Api>,
    at: InEnvironment,
    QueryOf(query): QueryOf<ResetQuery>,
) -> Result<Json<Guard>, ApiError> {
    crate::projects::ensure_alive(&at.project, Some(&at.environment))?;
    let context = &api.context;
    let own = context.store.guard_rules_of(at.environment.id).await?;
    let named = query.app.as_deref().map(AppName::new).transpose()?;
    let app = match named.filter(|app| own.contains_key(app)) {
        // It may have rules and not be there any more.
        Some(app) => app,
        None => {
            let release = newest_release(context, &at.environment).await?;
            let main = release.as_ref().and_then(|release| main_app(&at.project, release));
            app_of(release.as_ref(), main, query.app.as_deref())?
        }
    };
    context.store.guard_rules_set(at.environment.id, &app, None).await?;
    context.reconciler.wake(at.environment.id);
    guard(context, &at.project, &at.environment).await.map(Json)
}

/// The app that is meant. It need not run yet, so that its rules are there when it does.
fn app_of(release: Option<&Release>, main: Option<AppName>, wanted: Option<&str>) -> Result<AppName, ApiError> {
    let Some(wanted) = wanted else {
        return main.ok_or_else(|| {
            ApiError::conflict(
                "nothing-deployed",
                "nothing is deployed here, so there is no app to take",
            )
            .with_hint("name the app: `weir guard set PROJECT APP …`")
        });
    };
    let app = AppName::new(wanted)?;
    match release {
        Some(release) if !release.apps.contains_key(&app) => {
            let names: Vec<&str> = release.apps.keys().map(AppName::as_str).collect();
            Err(
                ApiError::not_found("app-not-found", format!("there is no app `{app}` here"))
                    .with_hint(format!("there is: {}", names.join(", "))),
            )
        }
        _ => Ok(app),
    }
}

fn updated(mut rules: GuardRules, request: &UpdateGuard) -> Result<GuardRules, ApiError> {
    if let Some(depth) = request.depth {
        if !DEPTH.contains(&depth) {
            return Err(ApiError::invalid(format!(
                "a depth of {depth} is not possible; 1 to 1000 are"
            )));
        }
        rules.depth = depth;
    }
    if let Some(descendants) = request.descendants {
        if !DESCENDANTS.contains(&descendants) {
            return Err(ApiError::invalid(format!(
                "{descendants} descendants are not possible; 1 to 1000000 are"
            )));
        }
        rules.descendants = descendants;
    }
    rules.repeats = request.repeats.unwrap_or(rules.repeats);
    rules.enabled = request.enabled.unwrap_or(rules.enabled);
    rules.reproduction = request.reproduction.unwrap_or(rules.reproduction);
    rules.background = request.background.map_or(rules.background, |rule| match rule {
        OnBackground::Allow => BackgroundRule::Allow,
        OnBackground::Tell => BackgroundRule::Tell,
        OnBackground::Slow => BackgroundRule::Slow,
    });
    Ok(rules)
}

async fn guard(context: &Context, project: &Project, environment: &Environment) -> Result<Guard, ApiError> {
    let own = context.store.guard_rules_of(environment.id).await?;
    let book = context.money.book();
    let release = newest_release(context, environment).await?;
    // Rules may be set before the app runs.
    let mut apps: BTreeMap<&AppName, Option<&ReleaseApp>> = own.keys().map(|app| (app, None)).collect();
    apps.extend(
        release
            .iter()
            .flat_map(|release| &release.apps)
            .map(|(name, app)| (name, Some(app))),
    );
    let released = release.iter().flat_map(|release| &release.apps);
    let there = released.map(|(name, app)| (name, &app.spec));
    let in_force = guarding::rules(context, project, environment, own.clone(), there);
    let rules = apps.into_iter().map(|(name, app)| {
        let rules = own.get(name).cloned().unwrap_or_default();
        let bounded = app.filter(|_| rules.enabled);
        let budget = in_force.get(name).map_or(rules.descendants, |rules| rules.descendants);
        weir_api::GuardRules {
            app: name.to_string(),
            set: own.contains_key(name),
            worst_per_root: bounded.map(|app| worst_per_root(&book, app, budget).to_string()),
            enabled: rules.enabled,
            depth: rules.depth,
            descendants: rules.descendants,
            budget,
            repeats: rules.repeats,
            reproduction: rules.reproduction,
            background: match rules.background {
                BackgroundRule::Allow => OnBackground::Allow,
                BackgroundRule::Tell => OnBackground::Tell,
                BackgroundRule::Slow => OnBackground::Slow,
            },
        }
    });
    let rules = rules.collect();
    Ok(Guard {
        currency: book.currency,
        rules,
        background: instances_of(context, environment)
            .iter()
            .filter_map(|view| background_of(context, view))
            .collect(),
        trips: context
            .reconciler
            .trips(environment.id)
            .iter()
            .rev()
            .map(trip)
            .collect(),
    })
}

fn trip(trip: &GuardTrip) -> weir_api::GuardTrip {
    weir_api::GuardTrip {
        at: instant(trip.at_ms),
        app: trip.app.to_string(),
        process: trip.process.to_string(),
        rule: trip.rule.name().to_owned(),
        limit: trip.limit,
        measured: trip.measured,
        refused: trip.refused,
        warning: trip.warning,
        chain: trip.chain.clone(),
    }
}

/// What one request from outside may cost at worst with all that descends from it: each call its
/// price, and the CPU time of one instance at its limit for as long as a call may take. Memory is
/// paid for whether calls come or not, and what is sent only the cap bounds.
fn worst_per_root(book: &PriceBook, app: &ReleaseApp, budget: u64) -> Nano {
    let calls = u128::from(budget) + 1;
    let cpu_us = app
        .spec
        .processes
        .values()
        .map(|process| u128::from(process.cpu_milli) * 1_000 * u128::from(process.request_timeout_s))
        .max()
        .unwrap_or(0);
    let line = |sku: &Sku, units: u128| book.price(sku).line(units).unwrap_or(Nano::MAX);
    line(&Sku::REQUESTS, calls).saturating_add(line(&Sku::CPU, calls * cpu_us))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_changed_one_by_one_and_stay_within_bounds() {
        let request = UpdateGuard {
            depth: Some(32),
            repeats: Some(0),
            ..UpdateGuard::default()
        };
        let rules = updated(GuardRules::default(), &request).unwrap();
        let wanted = GuardRules {
            depth: 32,
            repeats: 0,
            ..GuardRules::default()
        };
        assert_eq!(rules, wanted);
        for wrong in [
            UpdateGuard {
                depth: Some(0),
                ..UpdateGuard::default()
            },
            UpdateGuard {
                depth: Some(1_001),
                ..UpdateGuard::default()
            },
            UpdateGuard {
                descendants: Some(0),
                ..UpdateGuard::default()
            },
            UpdateGuard {
                descendants: Some(1_000_001),
                ..UpdateGuard::default()
            },
        ] {
            assert!(
                updated(GuardRules::default(), &wrong).is_err(),
                "{wrong:?} was accepted"
            );
        }
    }
}
