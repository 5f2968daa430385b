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
use weir_model::policy::{Permission, Place, Rights};
use weir_model::task::Task;

use super::Api;
use super::auth::Caller;
use super::environments::ListQuery;
use super::error::ApiError;
use super::extract::{PathOf, QueryOf};
use super::place::{self, Places};
use super::present;
use crate::context::Context;
use crate::tasks::TaskEvent;

/// Lines of one answer, unless fewer or more are asked for.
const LINES: i64 = 1000;
const MOST_LINES: i64 = 20_000;
/// Tasks that are looked through for those that somebody may see.
const MOST_LOOKED_AT: i64 = 5_000;

/// Lists tasks, newest first, of the projects that the token may know of.
#[utoipa::path(get, path = "/v1/tasks", tag = "tasks", params(("limit" = Option<i64>, Query, description = "1 to 500; 50 if absent")), responses((status = 200, body = Vec<weir_api::Task>)))]
pub(super) async fn list_tasks(
    State(api): State<Api>,
    caller: Caller,
    QueryOf(query): QueryOf<ListQuery>,
) -> Result<Json<Vec<weir_api::Task>>, ApiError> {
    let mut answer = Vec::new();
    let limit = usize::try_from(query.limit()).unwrap_or(1);
    for task in seen_tasks(&api, &caller, query.limit()).await?.into_iter().take(limit) {
        answer.push(present::task(&api.context, &task).await?);
    }
    Ok(Json(answer))
}

/// Tasks of what the one who asks may see; those of what is gone are for those who see everything.
async fn seen_tasks(api: &Api, caller: &Caller, limit: i64) -> Result<Vec<Task>, ApiError> {
    let store = &api.context.store;
    if caller.rights.may(Permission::See, Place::Platform) {
        return Ok(store.task_list(None, limit).await?);
    }
    let places = Places::of(&api.context).await?;
    let mut tasks = store.task_list(None, MOST_LOOKED_AT).await?;
    tasks.retain(|task| {
        let place = places.of_project(task.project, task.environment);
        place.is_some_and(|place| caller.rights.may(Permission::See, place))
    });
    Ok(tasks)
}

async fn visible_task(api: &Api, id: &str) -> Result<Task, ApiError> {
    let missing =
        || ApiError::not_found("task-not-found", "there is no such task").with_hint("list them with `weir tasks`");
    let id: TaskId = id.parse().map_err(|_| missing())?;
    api.context.store.task_by_id(id).await?.ok_or_else(missing)
}

/// One task.
#[utoipa::path(get, path = "/v1/tasks/{task}", tag = "tasks", params(("task" = String, Path, description = "Identity of the task")), responses((status = 200, body = weir_api::Task)))]
pub(super) async fn get_task(
    State(api): State<Api>,
    PathOf(id): PathOf<String>,
) -> Result<Json<weir_api::Task>, ApiError> {
    let task = visible_task(&api, &id).await?;
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
    PathOf(id): PathOf<String>,
    QueryOf(query): QueryOf<LinesQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let task = visible_task(&api, &id).await?;
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
    let after = match last_event_id(&headers).or(query.after) {
        Some(after) => after,
        None => api.context.tasks.newest_change().await?,
    };
    let changes = api.context.tasks.changes(after);
    let context = api.context.clone();
    let changes = changes.filter_map(move |change| {
        let (context, rights) = (context.clone(), caller.rights.clone());
        async move { is_seen(&context, &rights, &change).await.then_some(change) }
    });
    let events =
        changes.map(|change| json_event("change", Some(change.sequence.to_string()), &present::change(&change)));
    Ok(sse(events.take_until(api.context.stop.clone().cancelled_owned())))
}

/// Whether a change is of something that may be seen. What is gone is for those who see everything.
async fn is_seen(context: &Context, rights: &Rights, change: &weir_store::Change) -> bool {
    if rights.may(Permission::See, Place::Platform) {
        return true;
    }
    let Ok(subject) = place::project(context, &change.project).await else {
        return false;
    };
    let place = match (subject.project, change.environment.as_deref()) {
        (Some(project), Some(name)) => {
            let environments = context.store.environment_list(project.id).await.unwrap_or_default();
            let found = environments
                .iter()
                .find(|environment| environment.name.as_str() == name);
            found.map(|environment| Place::Environment(project.account, project.id, environment.id))
        }
        _ => None,
    };
    rights.may(Permission::See, place.unwrap_or(subject.place))
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
