//! What the guard is told and what it tells: rules as nodes get them, and its findings in words.

use std::collections::BTreeMap;

use weir_ledger::book::{Scope, Standing};
use weir_ledger::{Nano, PriceBook, Sku};
use weir_model::guard::{GuardRule, GuardRules, GuardTrip, calls_within_a_tenth};
use weir_model::project::{Environment, Project};
use weir_model::spec::{AppSpec, ProcessSpec};
use weir_model::{AppName, ProcessName};

use crate::context::Context;

type Processes = BTreeMap<ProcessName, ProcessSpec>;

/// Rules of the apps of an environment as nodes judge by them: those that were set, and for the
/// others the defaults, in which a tenth of the cap bounds the descendants of one request.
pub(crate) fn rules<'a>(
    context: &Context,
    project: &Project,
    environment: &Environment,
    mut own: BTreeMap<AppName, GuardRules>,
    apps: impl IntoIterator<Item = (&'a AppName, &'a AppSpec)>,
) -> BTreeMap<AppName, GuardRules> {
    let book = context.money.book();
    let limit = least_limit(context, project, environment);
    for (name, spec) in apps {
        let rules = own.entry(name.clone()).or_default();
        rules.descendants = budget(&book, limit, &spec.processes, rules);
    }
    own
}

/// The lowest cap on the way from an environment to its account.
fn least_limit(context: &Context, project: &Project, environment: &Environment) -> Option<Nano> {
    let path = [
        Scope::Environment(environment.id),
        Scope::Project(project.id),
        Scope::Account(project.account),
    ];
    let limit = |standing: Standing| standing.cap.map(|cap| cap.limit);
    let limits = path
        .into_iter()
        .filter_map(|scope| context.money.standing(scope).and_then(limit));
    limits.min()
}

/// Calls that may descend from one request. A number other than the default was declared by the
/// owner, who was told what it may cost.
fn budget(book: &PriceBook, limit: Option<Nano>, processes: &Processes, rules: &GuardRules) -> u64 {
    let usual = GuardRules::default().descendants;
    match limit {
        Some(limit) if rules.descendants == usual => usual.min(calls_within_a_tenth(limit.0, call(book, processes).0)),
        _ => rules.descendants,
    }
}

/// What a call costs where instances work at their limits: its price, and its share of the CPU
/// time of an instance that serves as many at once as it may, each for as long as it may take.
fn call(book: &PriceBook, processes: &Processes) -> Nano {
    let cpu_us = processes.values().map(|process| {
        let whole = u128::from(process.cpu_milli) * 1_000 * u128::from(process.request_timeout_s);
        whole / u128::from(process.concurrency.max(1))
    });
    let line = |sku: &Sku, units: u128| book.price(sku).line(units).unwrap_or(Nano::MAX);
    line(&Sku::REQUESTS, 1).saturating_add(line(&Sku::CPU, cpu_us.max().unwrap_or(0)))
}

/// The kind of event that a finding is.
pub(crate) fn kind_of(trip: &GuardTrip) -> &'static str {
    match (trip.warning, trip.rule) {
        (true, _) => "guard.warned",
        (false, GuardRule::Background) => "guard.background",
        (false, _) => "guard.tripped",
    }
}

/// A finding as a line for people, with its evidence.
pub(crate) fn words(trip: &GuardTrip) -> String {
    let GuardTrip {
        app,
        process,
        limit,
        measured,
        ..
    } = trip;
    let (rule, evidence) = (trip.rule.name(), trip.chain.join(" → "));
    match (trip.warning, trip.rule) {
        (true, _) => format!(
            "calls to {app}.{process} come close to a runaway: {rule} {measured} (it warns from {limit} on); {evidence}"
        ),
        (false, GuardRule::Background) => format!(
            "{app}.{process} works although no request is in flight: {measured} thousandths of a core; {}",
            trip.chain.join(", ")
        ),
        (false, _) => {
            let what = if trip.refused { "refused" } else { "would have refused" };
            format!("the guard {what} calls to {app}.{process}: {rule} {measured} (limit {limit}); {evidence}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn processes(cpu_milli: u32, concurrency: u32) -> Processes {
        let process = ProcessSpec {
            cpu_milli,
            concurrency,
            request_timeout_s: 60,
            ..ProcessSpec::default()
        };
        BTreeMap::from([(ProcessName::web(), process)])
    }

    #[test]
    fn a_tenth_of_a_small_cap_bounds_what_was_not_declared() {
        let book = PriceBook::built_in();
        let of = |limit: i64, app: &Processes, descendants: u64| {
            let rules = GuardRules {
                descendants,
                ..GuardRules::default()
            };
            budget(&book, Some(Nano(limit)), app, &rules)
        };
        let app = processes(1_000, 20);
        let cost = call(&book, &app).0;
        assert!(cost > book.price(&Sku::REQUESTS).line(1).unwrap().0);
        assert_eq!(of(7_000_000_000, &app, 1_000), 1_000);
        assert_eq!(of(cost * 10 * 331, &app, 1_000), 331);
        assert_eq!(of(0, &app, 1_000), 1);
        // Declared, and its cost was told.
        assert_eq!(of(cost * 10 * 331, &app, 5_000), 5_000);
        assert_eq!(of(cost * 10 * 331, &app, 400), 400);
        assert_eq!(budget(&book, None, &app, &GuardRules::default()), 1_000);
    }
}
