//! What instances and builds wrote.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use http::{HeaderMap, header};
use serde::Deserialize;
use weir_api::{LogGap, LogLine};
use weir_model::log::LogStream;
use weir_model::{AppName, EnvironmentId, InstanceId, ProcessName, UnixMillis};

use super::Api;
use super::error::ApiError;
use super::extract::{InEnvironment, QueryOf};
use super::{present, tasks};
use crate::logs::{Followed, Found, LineId, LogQuery, Mark, Range, Start};

/// Lines of one answer, unless fewer or more are asked for.
const LINES: usize = 500;
const MOST_LINES: usize = 10_000;
/// Lines of a text to take along.
const MOST_TEXT_LINES: u64 = 1_000_000;
const GREP_BYTES: usize = 1000;

/// The query of logs.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogsQuery {
    app: Option<String>,
    process: Option<String>,
    instance: Option<String>,
    stream: Option<String>,
    since: Option<String>,
    until: Option<String>,
    grep: Option<String>,
    before: Option<String>,
    after: Option<String>,
    around: Option<String>,
    limit: Option<u64>,
    #[serde(default)]
    build: bool,
    #[serde(default)]
    access: bool,
    #[serde(default)]
    follow: bool,
}

/// The lines that match, oldest first: the newest, or those before, behind or around a line. With
/// `Accept: text/event-stream` or `follow=true` as server-sent events `line` that go on, and `gap`
/// where lines went before they could be read; `Last-Event-ID` resumes behind the last line, in each app's log.
#[utoipa::path(get, path = "/v1/projects/{project}/environments/{environment}/logs", tag = "logs",
    params(("app" = Option<String>, Query, description = "Only of this app"), ("process" = Option<String>, Query, description = "Only of this process"),
        ("instance" = Option<String>, Query, description = "Only of this instance"), ("stream" = Option<String>, Query, description = "Only of `stdout`, `stderr` or `weir`"),
        ("since" = Option<String>, Query, description = "A duration back from now (90s, 15m, 1h, 2d) or an RFC 3339 instant"), ("until" = Option<String>, Query, description = "Likewise; only before it"),
        ("before" = Option<String>, Query, description = "The newest before the line of this identity"), ("after" = Option<String>, Query, description = "The oldest behind the line of this identity"), ("around" = Option<String>, Query, description = "The line of this identity, and half of each before and behind it"),
        ("grep" = Option<String>, Query, description = "Only lines that contain this text"), ("limit" = Option<u64>, Query, description = "1 to 10000; 500 if absent"),
        ("build" = Option<bool>, Query, description = "Of builds instead of instances"), ("access" = Option<bool>, Query, description = "Of the access log instead of what instances wrote; each line is JSON"), ("follow" = Option<bool>, Query, description = "Answer with server-sent events")),
    responses((status = 200, description = "Lines as a list, or as server-sent events", content((Vec<LogLine> = "application/json"), (String = "text/event-stream")))))]
pub(super) async fn read_logs(
    State(api): State<Api>,
    at: InEnvironment,
    QueryOf(query): QueryOf<LogsQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut wanted = log_query(at.environment.id, &query, api.context.clock.now_ms())?;
    let from = from_of(&query)?;
    if !query.follow && !tasks::wants_events(&headers) {
        let found = api.context.logs.find(wanted, from).await.map_err(ApiError::internal)?;
        let lines = found.ok_or_else(no_such_line)?;
        return Ok(Json(lines.iter().map(present::log_line).collect::<Vec<_>>()).into_response());
    }
    let mut after = match from {
        Start::End => None,
        Start::After(id) => Some(Mark::from(id)),
        Start::Before(_) | Start::Around(_) => {
            return Err(ApiError::invalid(
                "what goes on has no end to look before: only `after` goes with `follow`",
            ));
        }
    };
    if let Some(last) = headers.get("last-event-id").and_then(|value| value.to_str().ok()) {
        match last.parse::<Mark>() {
            Ok(mark) => after = Some(mark),
            // Clients of before lines had identities send the instant of the last line.
            Err(_) => wanted.since_ms = parse_since(last, 0).ok().or(wanted.since_ms),
        }
    }
    let followed = api.context.logs.follow_from(wanted, after);
    let events = followed.map(|followed| match followed {
        Followed::Line(found, mark) => tasks::json_event("line", Some(mark.to_string()), &present::log_line(&found)),
        Followed::Gap { app, lines, before, .. } => {
            let gap = LogGap {
                app: app.to_string(),
                lines,
                before: before.map(|id| id.to_string()),
            };
            tasks::json_event("gap", None, &gap)
        }
    });
    Ok(tasks::sse(
        events.take_until(api.context.stop.clone().cancelled_owned()),
    ))
}

/// The same lines as text, to take along: all that match, or the newest so many, oldest first.
#[utoipa::path(get, path = "/v1/projects/{project}/environments/{environment}/logs/text", tag = "logs",
    params(("app" = Option<String>, Query, description = "Only of this app"), ("process" = Option<String>, Query, description = "Only of this process"),
        ("instance" = Option<String>, Query, description = "Only of this instance"), ("stream" = Option<String>, Query, description = "Only of `stdout`, `stderr` or `weir`"),
        ("since" = Option<String>, Query, description = "A duration back from now (90s, 15m, 1h, 2d) or an RFC 3339 instant"), ("until" = Option<String>, Query, description = "Likewise; only before it"),
        ("before" = Option<String>, Query, description = "Only before the line of this identity"), ("after" = Option<String>, Query, description = "Only behind the line of this identity"),
        ("grep" = Option<String>, Query, description = "Only lines that contain this text"), ("limit" = Option<u64>, Query, description = "1 to 1000000; 1000000 if absent"),
        ("build" = Option<bool>, Query, description = "Of builds instead of instances"), ("access" = Option<bool>, Query, description = "Of the access log instead of what instances wrote; each line is JSON")),
    responses((status = 200, description = "A line each: instant, app.process, instance, stream, text", content((String = "text/plain")))))]
pub(super) async fn download_logs(
    State(api): State<Api>,
    at: InEnvironment,
    QueryOf(query): QueryOf<LogsQuery>,
) -> Result<Response, ApiError> {
    let wanted = log_query(at.environment.id, &query, api.context.clock.now_ms())?;
    let mut range = Range {
        limit: query.limit.unwrap_or(MOST_TEXT_LINES).clamp(1, MOST_TEXT_LINES),
        ..Range::default()
    };
    match from_of(&query)? {
        _ if query.follow => return Err(ApiError::invalid("a text to take along has an end: leave out `follow`")),
        Start::End => {}
        Start::Before(id) => range.before = Some(id),
        Start::After(id) => range.after = Some(id),
        Start::Around(_) => {
            return Err(ApiError::invalid(
                "`around` is for looking; take along by `before` or `after`",
            ));
        }
    }
    let pages = api.context.logs.walk(wanted, range);
    let pages = pages.map(|page| page.map(|lines| Bytes::from(lines.iter().map(text_of).collect::<String>())));
    let name = format!("{}-{}.log", at.project.name, at.environment.name);
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    Ok((headers, Body::from_stream(pages)).into_response())
}

fn text_of(found: &Found) -> String {
    let line = &found.line;
    let (at, stream) = (present::instant(line.at_ms), present::log_stream(line.stream));
    let instance = line
        .instance
        .map_or_else(|| "-".to_owned(), |instance| instance.to_string());
    // What an app writes between its line ends stays one line.
    let text = line.text.replace(['\n', '\r'], " ");
    format!("{at} {}.{} {instance} {stream} {text}\n", line.app, line.process)
}

fn no_such_line() -> ApiError {
    ApiError::not_found("line-not-found", "the line is kept no more, or never was")
        .with_hint("the newest lines are shown without `around`")
}

/// From where lines are looked for.
fn from_of(query: &LogsQuery) -> Result<Start, ApiError> {
    let id = |text: &str| text.parse::<LineId>().map_err(ApiError::invalid);
    match (&query.before, &query.after, &query.around) {
        (None, None, None) => Ok(Start::End),
        (Some(before), None, None) => Ok(Start::Before(id(before)?)),
        (None, Some(after), None) => Ok(Start::After(id(after)?)),
        (None, None, Some(around)) => Ok(Start::Around(id(around)?)),
        _ => Err(ApiError::invalid(
            "only one of `before`, `after` and `around` can be given",
        )),
    }
}

fn log_query(environment: EnvironmentId, query: &LogsQuery, now_ms: UnixMillis) -> Result<LogQuery, ApiError> {
    let instance = query.instance.as_deref().map(str::parse::<InstanceId>).transpose();
    if query.grep.as_ref().is_some_and(|grep| grep.len() > GREP_BYTES) {
        return Err(ApiError::invalid(format!(
            "the text to look for has {GREP_BYTES} bytes at most"
        )));
    }
    let stream = query.stream.as_deref().map(|word| {
        let mut streams = [LogStream::Stdout, LogStream::Stderr, LogStream::Weir].into_iter();
        let found = streams.find(|stream| present::log_stream(*stream) == word);
        found.ok_or_else(|| ApiError::invalid("a stream is `stdout`, `stderr` or `weir`"))
    });
    let instant_of = |text: &String| parse_since(text, now_ms);
    let limit = query
        .limit
        .map_or(LINES, |limit| usize::try_from(limit).unwrap_or(MOST_LINES));
    Ok(LogQuery {
        app: query.app.as_deref().map(AppName::new).transpose()?,
        process: query.process.as_deref().map(ProcessName::new).transpose()?,
        build: query.build,
        access: query.access,
        instance: instance
            .map_err(|error| ApiError::invalid(error.to_string()).with_hint("instances are shown by `weir status`"))?,
        stream: stream.transpose()?,
        since_ms: query.since.as_ref().map(instant_of).transpose()?,
        until_ms: query.until.as_ref().map(instant_of).transpose()?,
        grep: query.grep.clone().filter(|grep| !grep.is_empty()),
        limit: limit.clamp(1, MOST_LINES),
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
