//! What instances and builds wrote.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use http::HeaderMap;
use serde::Deserialize;
use weir_api::LogLine;
use weir_model::{AppName, EnvironmentId, InstanceId, ProcessName, UnixMillis};

use super::Api;
use super::error::ApiError;
use super::extract::{InEnvironment, QueryOf};
use super::{present, tasks};
use crate::logs::LogQuery;

/// Lines of one answer, unless fewer or more are asked for.
const LINES: usize = 500;
const MOST_LINES: usize = 10_000;
const GREP_BYTES: usize = 1000;

/// The query of logs.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogsQuery {
    app: Option<String>,
    process: Option<String>,
    instance: Option<String>,
    since: Option<String>,
    grep: Option<String>,
    limit: Option<usize>,
    #[serde(default)]
    build: bool,
    #[serde(default)]
    access: bool,
    #[serde(default)]
    follow: bool,
}

/// The newest lines that match, oldest first. With `Accept: text/event-stream` or `follow=true`
/// as server-sent events `line` that go on; `Last-Event-ID` resumes.
#[utoipa::path(get, path = "/v1/projects/{project}/environments/{environment}/logs", tag = "logs",
    params(("app" = Option<String>, Query, description = "Only of this app"), ("process" = Option<String>, Query, description = "Only of this process"),
        ("instance" = Option<String>, Query, description = "Only of this instance"), ("since" = Option<String>, Query, description = "A duration back from now (90s, 15m, 1h, 2d) or an RFC 3339 instant"),
        ("grep" = Option<String>, Query, description = "Only lines that contain this text"), ("limit" = Option<usize>, Query, description = "1 to 10000; 500 if absent"),
        ("build" = Option<bool>, Query, description = "Of builds instead of instances"), ("access" = Option<bool>, Query, description = "Of the access log instead of what instances wrote; each line is JSON"), ("follow" = Option<bool>, Query, description = "Answer with server-sent events")),
    responses((status = 200, description = "Lines as a list, or as server-sent events", content((Vec<LogLine> = "application/json"), (String = "text/event-stream")))))]
pub(super) async fn read_logs(
    State(api): State<Api>,
    at: InEnvironment,
    QueryOf(query): QueryOf<LogsQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut wanted = log_query(at.environment.id, &query, api.context.clock.now_ms())?;
    if !query.follow && !tasks::wants_events(&headers) {
        let lines = api.context.logs.read(wanted).await.map_err(ApiError::internal)?;
        return Ok(Json(lines.iter().map(present::log_line).collect::<Vec<_>>()).into_response());
    }
    if let Some(last) = headers.get("last-event-id").and_then(|value| value.to_str().ok()) {
        // The instant of the last line: lines of the same millisecond may come twice, none is lost.
        wanted.since_ms = parse_since(last, 0).ok().or(wanted.since_ms);
    }
    let lines = api.context.logs.follow(wanted);
    let events =
        lines.map(|line| tasks::json_event("line", Some(present::instant(line.at_ms)), &present::log_line(&line)));
    Ok(tasks::sse(
        events.take_until(api.context.stop.clone().cancelled_owned()),
    ))
}

fn log_query(environment: EnvironmentId, query: &LogsQuery, now_ms: UnixMillis) -> Result<LogQuery, ApiError> {
    let instance = query.instance.as_deref().map(str::parse::<InstanceId>).transpose();
    if query.grep.as_ref().is_some_and(|grep| grep.len() > GREP_BYTES) {
        return Err(ApiError::invalid(format!(
            "the text to look for has {GREP_BYTES} bytes at most"
        )));
    }
    Ok(LogQuery {
        app: query.app.as_deref().map(AppName::new).transpose()?,
        process: query.process.as_deref().map(ProcessName::new).transpose()?,
        build: query.build,
        access: query.access,
        instance: instance
            .map_err(|error| ApiError::invalid(error.to_string()).with_hint("instances are shown by `weir status`"))?,
        since_ms: query
            .since
            .as_deref()
            .map(|since| parse_since(since, now_ms))
            .transpose()?,
        grep: query.grep.clone().filter(|grep| !grep.is_empty()),
        limit: query.limit.unwrap_or(LINES).clamp(1, MOST_LINES),
        ..LogQuery::new(environment)
    })
}

/// An instant, or a duration back from now: `90s`, `15m`, `1h`, `2d`, `1h30m`.
pub(super) fn parse_since(text: &str, now_ms: UnixMillis) -> Result<UnixMillis, ApiError> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(at.as_millisecond());
    }
    let duration_ms = parse_duration_ms(text).ok_or_else(|| {
        let shown: String = text.chars().take(80).collect();
        ApiError::invalid(format!("`{shown}` is neither a duration nor an instant"))
            .with_hint("for example `--since 1h`, `--since 2d` or `--since 2030-01-31T12:00:00Z`")
    })?;
    Ok(now_ms.saturating_sub(duration_ms))
}

fn parse_duration_ms(text: &str) -> Option<i64> {
    let mut rest = text.trim();
    let mut total_ms = 0_i64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: i64 = rest[..digits].parse().ok()?;
        let unit = &rest[digits..];
        let (unit_ms, length) = match unit.as_bytes() {
            [b'm', b's', ..] => (1, 2),
            [b's', ..] => (1000, 1),
            [b'm', ..] => (60_000, 1),
            [b'h', ..] => (3_600_000, 1),
            [b'd', ..] => (86_400_000, 1),
            [b'w', ..] => (604_800_000, 1),
            _ => return None,
        };
        total_ms = total_ms.checked_add(number.checked_mul(unit_ms)?)?;
        rest = unit[length..].trim_start();
    }
    Some(total_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_duration_or_an_instant() {
        let now_ms = 1_700_000_000_000;
        assert_eq!(parse_since("1h", now_ms).unwrap(), now_ms - 3_600_000);
        assert_eq!(parse_since("1h30m", now_ms).unwrap(), now_ms - 5_400_000);
        assert_eq!(parse_since("2d", now_ms).unwrap(), now_ms - 172_800_000);
        assert_eq!(parse_since("1970-01-01T00:00:01Z", now_ms).unwrap(), 1000);
        for bad in [
            "",
            "h",
            "1",
            "1y",
            "-1h",
            "99999999999999999999h",
            "9223372036854775807w",
            "yesterday",
        ] {
            assert!(parse_since(bad, now_ms).is_err(), "{bad} was accepted");
        }
    }
}
