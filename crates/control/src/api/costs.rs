//! Costs: what was spent, on what, by which prices; equal to the ledger to the last unit.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use jiff::tz::TimeZone;
use serde::Deserialize;
use weir_api::{CostLine, CostReport};
use weir_ledger::book::Scope;
use weir_ledger::{Nano, PriceBook, Sku};
use weir_model::UnixMillis;
use weir_model::policy::{Permission, Place};
use weir_model::project::Project;
use weir_store::Account;

use super::Api;
use super::auth::Caller;
use super::error::ApiError;
use super::extract::{InProject, QueryOf};
use super::present::instant;
use super::prices;
use super::scopes::{self, Names};
use crate::civil;
use crate::context::Context;
use crate::money::{Bucket, CostColumn, CostQuery, CostRow};

/// The query of a report.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CostParameters {
    environment: Option<String>,
    since: Option<String>,
    until: Option<String>,
    by: Option<By>,
    per: Option<Per>,
}

/// What is told apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum By {
    Environment,
    App,
    Process,
    Sku,
    SkuOfProcess,
    /// Everything, the version of the prices too.
    #[default]
    Line,
}

impl By {
    fn columns(self) -> &'static [CostColumn] {
        use CostColumn as Column;
        match self {
            Self::Environment => &[Column::Project, Column::Environment],
            Self::App => &[Column::Project, Column::Environment, Column::App],
            Self::Process => &[Column::Project, Column::Environment, Column::App, Column::Process],
            Self::Sku => &[Column::Sku],
            Self::SkuOfProcess => &[
                Column::Project,
                Column::Environment,
                Column::App,
                Column::Process,
                Column::Sku,
            ],
            Self::Line => &[
                Column::Project,
                Column::Environment,
                Column::App,
                Column::Process,
                Column::Sku,
                Column::PriceVersion,
            ],
        }
    }
}

/// How time is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Per {
    Hour,
    Day,
    Month,
}

/// What all projects cost that the token may know of.
#[utoipa::path(get, path = "/v1/cost", tag = "costs",
    params(("since" = Option<String>, Query, description = "From then on, in whole hours: a duration back from now (24h, 7d), a date (its beginning in the time zone of the report) or an RFC 3339 instant; absent: since the period of the cap began"),
        ("until" = Option<String>, Query, description = "Until then; absent: until now"),
        ("by" = Option<String>, Query, description = "environment, app, process, sku, sku-of-process, or line (everything, and the default)"),
        ("per" = Option<String>, Query, description = "hour, day or month; absent: time is not divided")),
    responses((status = 200, body = CostReport)))]
pub(super) async fn get_cost(
    State(api): State<Api>,
    caller: Caller,
    QueryOf(query): QueryOf<CostParameters>,
) -> Result<Json<CostReport>, ApiError> {
    if query.environment.is_some() {
        return Err(ApiError::invalid("an environment is one of a project")
            .with_hint("ask at /v1/projects/PROJECT/cost, or `weir cost PROJECT --env ENVIRONMENT`"));
    }
    let projects: Vec<Project> = api.context.store.project_list().await?;
    let seen: Vec<Project> = projects
        .into_iter()
        .filter(|project| caller.sees_money(project))
        .collect();
    // By account where that may be seen, so that projects that are gone are in it.
    let mut accounts: Vec<_> = api
        .context
        .store
        .account_list()
        .await?
        .iter()
        .map(|account| account.id)
        .collect();
    accounts.retain(|account| caller.rights.may(Permission::SeeMoney, Place::Account(*account)));
    let mut scopes: Vec<Scope> = accounts.iter().map(|account| Scope::Account(*account)).collect();
    let alone = seen.iter().filter(|project| !accounts.contains(&project.account));
    scopes.extend(alone.map(|project| Scope::Project(project.id)));
    let first = Scope::Account(Account::default_id());
    report(&api.context, first, &scopes, &seen, &query).await.map(Json)
}

/// What a project, or one of its environments, costs.
#[utoipa::path(get, path = "/v1/projects/{project}/cost", tag = "costs",
    params(("environment" = Option<String>, Query, description = "Only this environment"),
        ("since" = Option<String>, Query, description = "From then on, in whole hours: a duration back from now (24h, 7d), a date (its beginning in the time zone of the report) or an RFC 3339 instant; absent: since the period of the cap began"),
        ("until" = Option<String>, Query, description = "Until then; absent: until now"),
        ("by" = Option<String>, Query, description = "environment, app, process, sku, sku-of-process, or line (everything, and the default)"),
        ("per" = Option<String>, Query, description = "hour, day or month; absent: time is not divided")),
    responses((status = 200, body = CostReport)))]
pub(super) async fn get_project_cost(
    State(api): State<Api>,
    at: InProject,
    QueryOf(query): QueryOf<CostParameters>,
) -> Result<Json<CostReport>, ApiError> {
    let scope = match &query.environment {
        None => Scope::Project(at.project.id),
        Some(name) => {
            let environments = api.context.store.environment_list(at.project.id).await?;
            let found = environments
                .iter()
                .find(|environment| environment.name.as_str() == name);
            let missing = || crate::projects::no_such_environment(&at.project.name, name);
            Scope::Environment(found.ok_or_else(missing)?.id)
        }
    };
    let projects = std::slice::from_ref(&at.project);
    report(&api.context, scope, &[scope], projects, &query).await.map(Json)
}

/// Asks the ledger and tells what it says. `first` is the scope whose period the report begins
/// with where nothing else is asked for.
async fn report(
    context: &Context,
    first: Scope,
    scopes: &[Scope],
    projects: &[Project],
    query: &CostParameters,
) -> Result<CostReport, ApiError> {
    let now_ms = context.clock.now_ms();
    let (from_ms, until_ms) = span(context, first, query, now_ms)?;
    let by = query.by.unwrap_or_default();
    let bucket = query.per.map_or(Bucket::Total, |per| match per {
        Per::Hour => Bucket::Hour,
        Per::Day => Bucket::Day,
        Per::Month => Bucket::Month,
    });
    // What was lost has an SKU of its own, so that has to be told apart in any case.
    let mut columns = by.columns().to_vec();
    if !columns.contains(&CostColumn::Sku) {
        columns.push(CostColumn::Sku);
    }
    let mut sums = Sums::new(by);
    for scope in scopes {
        let rows = context
            .money
            .costs(CostQuery {
                scope: *scope,
                from_ms,
                until_ms,
                bucket,
                by: columns.clone(),
            })
            .await?;
        for row in rows {
            sums.add(row)?;
        }
    }
    let books = context.money.books();
    let names = Names::of(context, projects).await?;
    let (lost, total) = (sums.lost, sums.total);
    Ok(CostReport {
        currency: context.money.book().currency,
        from: instant(from_ms),
        until: instant(until_ms),
        time_zone: context.money.settings().time_zone,
        lines: sums.lines(&names, &books, query.per.is_some()),
        lost: lost.to_string(),
        total: total.to_string(),
    })
}

/// From when until when, in whole hours.
fn span(
    context: &Context,
    first: Scope,
    query: &CostParameters,
    now_ms: UnixMillis,
) -> Result<(UnixMillis, UnixMillis), ApiError> {
    let zone = context.money.time_zone();
    let parse = |text: &String| parse_when(text, now_ms, &zone);
    let since = query.since.as_ref().map(parse).transpose()?;
    let until = query.until.as_ref().map(parse).transpose()?;
    let from_ms = match since {
        Some(since) => since,
        None => scopes::standing(context, first)?.from_ms,
    };
    let from_ms = civil::hour_of(from_ms, &zone);
    let until_ms = until.unwrap_or(now_ms + 1);
    if until_ms <= from_ms {
        return Err(
            ApiError::invalid("the end is not after the beginning").with_detail(format!(
                "from {} until {}",
                instant(from_ms),
                instant(until_ms)
            )),
        );
    }
    Ok((from_ms, until_ms))
}

/// A duration back from now, a date in the time zone or an instant.
fn parse_when(text: &str, now_ms: UnixMillis, zone: &TimeZone) -> Result<UnixMillis, ApiError> {
    match civil::begin_of(text, zone) {
        Some(midnight_ms) => Ok(midnight_ms),
        None => super::logs::parse_since(text, now_ms),
    }
}

/// Rows, added up by what is told apart.
struct Sums {
    keeps_sku: bool,
    rows: BTreeMap<CostRow, (Option<u128>, Nano)>,
    lost: Nano,
    total: Nano,
}

impl Sums {
    fn new(by: By) -> Self {
        Self {
            keeps_sku: by.columns().contains(&CostColumn::Sku),
            rows: BTreeMap::new(),
            lost: Nano::ZERO,
            total: Nano::ZERO,
        }
    }

    fn add(&mut self, row: CostRow) -> Result<(), ApiError> {
        let sum = |a: Nano, b: Nano| {
            a.checked_add(b)
                .ok_or_else(|| ApiError::internal("costs add up to more than can be written"))
        };
        let amount = row.amount;
        if row.sku.as_ref() == Some(&Sku::LOST) {
            self.lost = sum(self.lost, amount)?;
        }
        self.total = sum(self.total, amount)?;
        let units = row.units.filter(|_| self.keeps_sku);
        let key = CostRow {
            sku: row.sku.filter(|_| self.keeps_sku),
            units: None,
            amount: Nano::ZERO,
            ..row
        };
        let entry = self.rows.entry(key).or_default();
        entry.0 = match (entry.0, units) {
            (Some(a), Some(b)) => a.checked_add(b),
            (a, b) => a.or(b),
        };
        entry.1 = sum(entry.1, amount)?;
        Ok(())
    }

    fn lines(self, names: &Names, books: &[PriceBook], timed: bool) -> Vec<CostLine> {
        let line = |(row, (units, amount)): (CostRow, (Option<u128>, Nano))| CostLine {
            at: timed.then(|| instant(row.from_ms)),
            project: row.project.map(|id| names.project(id)),
            environment: row.environment.map(|id| names.environment(id)),
            app: row.app.map(|app| app.to_string()),
            process: row.process.map(|process| process.to_string()),
            units: units.map(|units| units.to_string()),
            price: row.price_version.zip(row.sku.as_ref()).and_then(|(version, sku)| {
                let book = books.iter().find(|book| book.version == version)?;
                (*sku != Sku::LOST).then(|| prices::price(sku, book.price(sku)))
            }),
            price_version: row.price_version,
            sku: row.sku.map(|sku| sku.to_string()),
            amount: amount.to_string(),
        };
        let mut lines: Vec<CostLine> = self.rows.into_iter().map(line).collect();
        lines.sort_by(|a, b| {
            let key = |line: &CostLine| {
                (
                    line.at.clone(),
                    line.project.clone(),
                    line.environment.clone(),
                    line.app.clone(),
                    line.process.clone(),
                )
            };
            key(a)
                .cmp(&key(b))
                .then_with(|| (&a.sku, a.price_version).cmp(&(&b.sku, b.price_version)))
        });
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_model::{EnvironmentId, ProjectId};

    fn row(sku: Sku, units: u128, amount: i64) -> CostRow {
        CostRow {
            from_ms: 0,
            project: Some(ProjectId::from_parts(1, 1)),
            environment: Some(EnvironmentId::from_parts(1, 1)),
            app: None,
            process: None,
            sku: Some(sku),
            price_version: None,
            units: Some(units),
            amount: Nano(amount),
        }
    }

    #[test]
    fn what_is_not_told_apart_is_added_up_to_the_last_unit() {
        let mut sums = Sums::new(By::Environment);
        for (sku, amount) in [(Sku::CPU, 1), (Sku::LOST, 20), (Sku::CPU, 300)] {
            sums.add(row(sku, 7, amount)).unwrap();
        }
        assert_eq!((sums.lost, sums.total), (Nano(20), Nano(321)));
        let lines = sums.lines(&Names::default(), &[], false);
        assert_eq!(lines.len(), 1);
        assert_eq!((lines[0].amount.as_str(), &lines[0].units), ("0.000000321", &None));
        assert!(
            lines[0].project.as_deref().unwrap().starts_with("prj_"),
            "gone, so told by its identity"
        );
        let mut sums = Sums::new(By::Sku);
        sums.add(row(Sku::CPU, 7, 1)).unwrap();
        sums.add(row(Sku::CPU, 5, 2)).unwrap();
        let lines = sums.lines(&Names::default(), &[], false);
        assert_eq!(
            (lines[0].units.as_deref(), lines[0].sku.as_deref()),
            (Some("12"), Some("cpu"))
        );
    }

    #[test]
    fn dates_durations_and_instants_are_understood() {
        let now_ms = 1_800_000_000_000;
        let parse = |text| parse_when(text, now_ms, &TimeZone::get("Europe/Berlin").unwrap());
        assert_eq!(parse("24h").unwrap(), now_ms - 24 * 3_600_000);
        assert_eq!(parse("1970-01-02").unwrap(), 23 * 3_600_000);
        assert_eq!(parse("1970-01-01T00:00:01Z").unwrap(), 1_000);
        assert!(parse("yesterday").is_err());
    }
}
