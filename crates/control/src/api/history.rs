//! The past of what is measured, for charts.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use weir_api::{MetricMark, MetricSeries, Metrics};
use weir_model::UnixMillis;
use weir_model::policy::{Permission, Place};

use super::Api;
use super::auth::Caller;
use super::error::ApiError;
use super::extract::{InEnvironment, QueryOf};
use super::logs::parse_since;
use super::present::instant;
use crate::metrics::history::{Apart, Range, Series};

/// Releases that are marked at most.
const MARKS: i64 = 500;
/// How far back is told if nobody says.
const BACK_MS: i64 = 3_600_000;

/// What is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MetricsQuery {
    series: Option<String>,
    from: Option<String>,
    until: Option<String>,
    step_s: Option<u32>,
    by: Option<By>,
}

/// What is told apart.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum By {
    Process,
}

/// What happened in an environment, in steps of equal length; `cost` needs the permission to see money.
#[utoipa::path(get, path = "/v1/projects/{project}/environments/{environment}/metrics", tag = "metrics",
    params(("series" = Option<String>, Query, description = "Names, separated by commas: requests, errors, latency_p50, latency_p95, latency_p99, cpu, memory, instances, egress, cost; absent: all that may be seen"),
        ("from" = Option<String>, Query, description = "A duration back from now (15m, 1h, 30d) or an RFC 3339 instant; absent: an hour back"),
        ("until" = Option<String>, Query, description = "The same; absent: now"),
        ("step_s" = Option<u32>, Query, description = "Seconds of a step, rounded up to 10, 30, 60, 300, 900, 1800, 3600, 7200, 21600 or 86400, and to what is kept for so long; absent: the least that gives 400 points at most"),
        ("by" = Option<String>, Query, description = "process: one series for each")),
    responses((status = 200, body = Metrics)))]
pub(super) async fn get_metrics(
    State(api): State<Api>,
    at: InEnvironment,
    caller: Caller,
    QueryOf(query): QueryOf<MetricsQuery>,
) -> Result<Json<Metrics>, ApiError> {
    let context = &api.context;
    let place = Place::Environment(at.project.account, at.project.id, at.environment.id);
    let sees_money = caller.rights.may(Permission::SeeMoney, place);
    let series = series_of(query.series.as_deref(), sees_money)?;
    if series.contains(&Series::Cost) && !sees_money {
        let scope = format!("{}/{}", at.project.name, at.environment.name);
        return Err(caller.refusal(Permission::SeeMoney, &scope));
    }
    let apart = query.by.map_or(Apart::Nothing, |By::Process| Apart::Processes);
    let now_ms = context.clock.now_ms();
    let range = range_of(&query, apart, now_ms)?;
    let currency = context.money.book().currency;
    let history = &context.history;
    let lines = history.read(&context.store, at.environment.id, &range, &series, apart);
    let lines = lines.await?.into_iter().map(|line| MetricSeries {
        name: line.series.name().to_owned(),
        unit: line.series.unit(&currency),
        app: line.app,
        process: line.process,
        values: line.values,
    });
    let marks = context
        .store
        .release_mark_list(at.environment.id, range.from_ms, range.until_ms, MARKS);
    let marks = marks.await?.into_iter().map(|mark| MetricMark {
        at: instant(mark.at_ms),
        release: mark.release,
        kind: mark.kind.as_str().to_owned(),
    });
    Ok(Json(Metrics {
        from: instant(range.from_ms),
        until: instant(range.until_ms.min(now_ms)),
        step_s: u32::try_from(range.step_ms / 1_000).unwrap_or(u32::MAX),
        series: lines.collect(),
        marks: marks.collect(),
    }))
}

/// The figures that are asked for, or all that may be seen.
fn series_of(names: Option<&str>, sees_money: bool) -> Result<Vec<Series>, ApiError> {
    let Some(names) = names else {
        let all = Series::ALL.into_iter();
        return Ok(all.filter(|series| sees_money || *series != Series::Cost).collect());
    };
    let named = |name: &str| {
        let found = Series::ALL.into_iter().find(|series| series.name() == name);
        found.ok_or_else(|| {
            let shown: String = name.chars().take(40).collect();
            let known = Series::ALL.map(Series::name).join(", ");
            ApiError::invalid(format!("there is no series `{shown}`")).with_hint(format!("there are {known}"))
        })
    };
    names.split(',').map(|name| named(name.trim())).collect()
}

fn range_of(query: &MetricsQuery, apart: Apart, now_ms: UnixMillis) -> Result<Range, ApiError> {
    let parsed = |text: &Option<String>| text.as_deref().map(|text| parse_since(text, now_ms)).transpose();
    let until_ms = parsed(&query.until)?.unwrap_or(now_ms);
    let from_ms = parsed(&query.from)?.unwrap_or_else(|| until_ms.saturating_sub(BACK_MS));
    Range::choose(from_ms, until_ms, query.step_s, apart, now_ms).ok_or_else(|| {
        ApiError::invalid("there is nothing between `from` and `until`")
            .with_detail(format!("from {} until {}", instant(from_ms), instant(until_ms)))
            .with_hint("`from` has to be before `until` and before now; figures are kept for 13 months")
    })
}
