//! Tasks, their lines, and changes of state, to read and to watch.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt};
use http::{HeaderMap, header};
use serde::{Deserialize, Serialize};
use weir_api::{Change, TaskLine};
use weir_model::TaskId;
use weir_model::task::Task;

use super::Api;
use super::auth::Caller;
use super::environments::ListQuery;
use super::error::ApiError;
use super::extract::{PathOf, QueryOf};
use super::present;
use crate::tasks::TaskEvent;

/// Lines of one answer, unless fewer or more are asked for.
const LINES: i64 = 1000;
const MOST_LINES: i64 = 20_000;

/// Lists tasks, newest first, of the projects that the token may know of.
#[utoipa::path(get, path = "/v1/tasks", tag = "tasks", params(("limit" = Option<i64>, Query, description = "1 to 500; 50 if absent")), responses((status = 200, body = Vec<weir_api::Task>)))]
pub(super) async fn list_tasks(
    State(api): State<Api>,
    caller: Caller,
    QueryOf(query): QueryOf<ListQuery>,
) -> Result<Json<Vec<weir_api::Task>>, ApiError> {
    let mut answer = Vec::new();
    for task in api.context.store.task_list(caller.token.project, query.limit()).await? {
        answer.push(present::task(&api.context, &task).await?);
    }
    Ok(Json(answer))
}

async fn visible_task(api: &Api, caller: &Caller, id: &str) -> Result<Task, ApiError> {
    let missing =
        || ApiError::not_found("task-not-found", "there is no such task").with_hint("list them with `weir tasks`");
    let id: TaskId = id.parse().map_err(|_| missing())?;
    api.context
        .store
        .task_by_id(id)
        .await?
        .filter(|task| caller.sees(task.project))
        .ok_or_else(missing)
}

/// One task.
#[utoipa::path(get, path = "/v1/tasks/{task}", tag = "tasks", params(("task" = String, Path, description = "Identity of the task")), responses((status = 200, body = weir_api::Task)))]
pub(super) async fn get_task(
    State(api): State<Api>,
    caller: Caller,
    PathOf(id): PathOf<String>,
) -> Result<Json<weir_api::Task>, ApiError> {
    let task = visible_task(&api, &caller, &id).await?;
    Ok(Json(present::task(&api.context, &task).await?))
}

/// The query of a task's lines.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LinesQuery {
    #[serde(default)]
    after: i64,
    limit: Option<i64>,
    #[serde(default)]
    follow: bool,
}

/// The lines of a task. With `Accept: text/event-stream` or `follow=true` as server-sent events:
/// `line` with the sequence as id, and at last `end` with the task; `Last-Event-ID` resumes.
#[utoipa::path(get, path = "/v1/tasks/{task}/log", tag = "tasks",
    params(("task" = String, Path, description = "Identity of the task"), ("after" = Option<i64>, Query, description = "Only lines behind this sequence"),
        ("limit" = Option<i64>, Query, description = "1 to 20000; 1000 if absent"), ("follow" = Option<bool>, Query, description = "Answer with server-sent events")),
    responses((status = 200, description = "Lines as a list, or as server-sent events", content((Vec<TaskLine> = "application/json"), (String = "text/event-stream")))))]
pub(super) async fn get_task_log(
    State(api): State<Api>,
    caller: Caller,
    PathOf(id): PathOf<String>,
    QueryOf(query): QueryOf<LinesQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let task = visible_task(&api, &caller, &id).await?;
    if query.follow || wants_events(&headers) {
        let after = last_event_id(&headers).unwrap_or(query.after);
        return Ok(follow_task(api, task.id, after));
    }
    let limit = query.limit.unwrap_or(LINES).clamp(1, MOST_LINES);
    let lines = api.context.store.task_lines(task.id, query.after, limit).await?;
    Ok(Json(lines.iter().map(present::task_line).collect::<Vec<_>>()).into_response())
}

fn follow_task(api: Api, task: TaskId, after: i64) -> Response {
    let events = api.context.tasks.follow(task, after);
    let stop = api.context.stop.clone();
    let events = events.filter_map(move |event| {
        let api = api.clone();
        async move {
            match event {
                TaskEvent::Line(line) => Some(json_event(
                    "line",
                    Some(line.sequence.to_string()),
                    &present::task_line(&line),
                )),
                TaskEvent::End(task) => present::task(&api.context, &task)
                    .await
                    .ok()
                    .map(|task| json_event("end", None, &task)),
                // The stream breaks off without `end`, and the client resumes.
                TaskEvent::Lost => None,
            }
        }
    });
    sse(events.take_until(stop.cancelled_owned()))
}

/// The query of changes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangesQuery {
    after: Option<i64>,
}

/// Changes of state as server-sent events `change`, from now on, or behind `after` or
/// `Last-Event-ID`.
#[utoipa::path(get, path = "/v1/events", tag = "tasks", params(("after" = Option<i64>, Query, description = "Only changes behind this sequence; absent: from now on")),
    responses((status = 200, description = "Server-sent events `change`", content((Change = "text/event-stream")))))]
pub(super) async fn watch_changes(
    State(api): State<Api>,
    caller: Caller,
    QueryOf(query): QueryOf<ChangesQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let only = match caller.token.project {
        Some(project) => Some(
            api.context
                .store
                .project_by_id(project)
                .await?
                .map_or_else(String::new, |project| project.name.to_string()),
        ),
        None => None,
    };
    let after = match last_event_id(&headers).or(query.after) {
        Some(after) => after,
        None => api.context.tasks.newest_change().await?,
    };
    let changes = api.context.tasks.changes(after);
    let changes =
        changes.filter(move |change| std::future::ready(only.as_ref().is_none_or(|only| *only == change.project)));
    let events =
        changes.map(|change| json_event("change", Some(change.sequence.to_string()), &present::change(&change)));
    Ok(sse(events.take_until(api.context.stop.clone().cancelled_owned())))
}

/// Whether the client asks for server-sent events.
pub(super) fn wants_events(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .any(|value| value.to_str().is_ok_and(|value| value.contains("text/event-stream")))
}

fn last_event_id(headers: &HeaderMap) -> Option<i64> {
    headers.get("last-event-id")?.to_str().ok()?.trim().parse().ok()
}

/// One event with JSON in it.
pub(super) fn json_event<T: Serialize>(name: &str, id: Option<String>, data: &T) -> Event {
    let event = Event::default()
        .event(name)
        .data(serde_json::to_string(data).unwrap_or_default());
    match id {
        Some(id) => event.id(id),
        None => event,
    }
}

/// An answer of events, with a sign of life every 15 s.
pub(super) fn sse(events: impl Stream<Item = Event> + Send + 'static) -> Response {
    let events = events.map(Ok::<_, Infallible>);
    let mut response = Sse::new(events)
        .keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
        .into_response();
    // Proxies in between must not collect events.
    response
        .headers_mut()
        .insert("x-accel-buffering", http::HeaderValue::from_static("no"));
    response
}
