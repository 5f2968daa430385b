//! Tasks, their lines, and changes of state, to read and to watch.

use std::collections::HashMap;
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
use weir_model::task::{Task, TaskState};
use weir_store::{ChangeSearch, TaskSearch};

use super::Api;
use super::auth::Caller;
use super::error::ApiError;
use super::extract::{PathOf, QueryOf};
use super::guard::About;
use super::{live, place, present};
use crate::context::Context;
use crate::tasks::TaskEvent;

/// Lines of one answer, unless fewer or more are asked for.
const LINES: i64 = 1000;
const MOST_LINES: i64 = 20_000;
/// Tasks of one answer, unless fewer or more are asked for.
const TASKS: i64 = 50;
const MOST_TASKS: i64 = 500;
/// Changes of one list, likewise.
const CHANGES: i64 = 100;
const MOST_CHANGES: i64 = 500;

/// The query of tasks.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TasksQuery {
    limit: Option<i64>,
    before: Option<String>,
    project: Option<String>,
    environment: Option<String>,
    state: Option<String>,
}

/// Lists tasks, newest first, of what the one who asks may see.
#[utoipa::path(get, path = "/v1/tasks", tag = "tasks",
    params(("limit" = Option<i64>, Query, description = "1 to 500; 50 if absent"), ("before" = Option<String>, Query, description = "Only tasks that are older than this one"),
        ("project" = Option<String>, Query, description = "Only of the project of this name"), ("environment" = Option<String>, Query, description = "Only of this environment of the project"),
        ("state" = Option<String>, Query, description = "Only in this state")),
    responses((status = 200, body = Vec<weir_api::Task>)))]
pub(super) async fn list_tasks(
    State(api): State<Api>,
    caller: Caller,
    QueryOf(query): QueryOf<TasksQuery>,
) -> Result<Json<Vec<weir_api::Task>>, ApiError> {
    let Some(search) = search_of(&api.context, &caller, &query).await? else {
        return Ok(Json(Vec::new()));
    };
    Ok(Json(found(&api.context, &search).await?))
}

/// What is looked for; `None` where there cannot be any.
async fn search_of(context: &Context, caller: &Caller, query: &TasksQuery) -> Result<Option<TaskSearch>, ApiError> {
    let mut search = TaskSearch {
        project: query.project.clone(),
        within: live::within(&caller.rights, Permission::See),
        limit: query.limit.unwrap_or(TASKS).clamp(1, MOST_TASKS),
        ..TaskSearch::default()
    };
    if let Some(state) = &query.state {
        let wrong = |_| {
            let shown: String = state.chars().take(40).collect();
            ApiError::invalid(format!("`{shown}` is no state of a task"))
                .with_hint("queued, running, done, failed and superseded are")
        };
        search.state = Some(state.parse::<TaskState>().map_err(wrong)?);
    }
    if let Some(before) = &query.before {
        let missing = || ApiError::not_found("task-not-found", "the task to go on from is not there any more");
        let id: TaskId = before.parse().map_err(|_| missing())?;
        // Its identity says when it was made, so that one that is gone, or somebody else's, is as good.
        search.before = Some((id.created_ms(), id));
    }
    if let Some(name) = &query.environment {
        let Some(project) = &query.project else {
            return Err(ApiError::invalid("an environment is one of a project")
                .with_hint("name the project, too: `project=shop&environment=staging`"));
        };
        let path = HashMap::from([
            ("project".to_owned(), project.clone()),
            ("environment".to_owned(), name.clone()),
        ]);
        let subject = place::subject(context, About::Environment, &path).await;
        let Some(environment) = subject.ok().and_then(|subject| subject.environment) else {
            return Ok(None);
        };
        search.environment = Some(environment.id);
    }
    Ok(Some(search))
}

/// The tasks that are looked for, newest first.
pub(super) async fn found(context: &Context, search: &TaskSearch) -> Result<Vec<weir_api::Task>, ApiError> {
    let mut answer = Vec::new();
    for task in context.store.task_search(search).await? {
        answer.push(present::task(context, &task).await?);
    }
    Ok(answer)
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
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangesQuery {
    after: Option<i64>,
    before: Option<i64>,
    limit: Option<i64>,
    project: Option<String>,
    environment: Option<String>,
    kind: Option<String>,
}

/// Changes of state. As server-sent events `change`: from now on, or behind `after` or `Last-Event-ID`.
/// With `Accept: application/json` those of the past, newest first; the newest 10,000 are kept.
#[utoipa::path(get, path = "/v1/events", tag = "tasks",
    params(("after" = Option<i64>, Query, description = "Only changes behind this sequence; absent: from now on, or of all times in a list"),
        ("before" = Option<i64>, Query, description = "Of a list: only changes before this sequence"), ("limit" = Option<i64>, Query, description = "Of a list: 1 to 500; 100 if absent"),
        ("project" = Option<String>, Query, description = "Only of the project of this name"), ("environment" = Option<String>, Query, description = "Only of environments of this name"),
        ("kind" = Option<String>, Query, description = "Only kinds that begin like this: `deployment.`")),
    responses((status = 200, description = "Server-sent events `change`, or a list", content((Change = "text/event-stream"), (Vec<Change> = "application/json")))))]
pub(super) async fn watch_changes(
    State(api): State<Api>,
    caller: Caller,
    QueryOf(query): QueryOf<ChangesQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let lists = headers
        .get_all(header::ACCEPT)
        .iter()
        .any(|value| value.to_str().is_ok_and(|value| value.contains("application/json")));
    if lists && !wants_events(&headers) {
        let search = ChangeSearch {
            before: query.before,
            after: query.after,
            project: query.project,
            environment: query.environment,
            kind: query.kind,
            within: live::within(&caller.rights, Permission::See),
            limit: query.limit.unwrap_or(CHANGES).clamp(1, MOST_CHANGES),
        };
        let found = api.context.store.change_search(&search).await?;
        return Ok(Json(found.iter().map(present::change).collect::<Vec<_>>()).into_response());
    }
    if query.before.is_some() || query.limit.is_some() {
        return Err(ApiError::invalid("`before` and `limit` are for a list of the past")
            .with_hint("ask for it with `Accept: application/json`"));
    }
    let after = match last_event_id(&headers).or(query.after) {
        Some(after) => after,
        None => api.context.tasks.newest_change().await?,
    };
    let changes = api.context.tasks.changes(after);
    let context = api.context.clone();
    let changes = changes.filter_map(move |change| {
        let (context, rights, wanted) = (context.clone(), caller.rights.clone(), query.wants(&change));
        async move { (wanted && is_seen(&context, &rights, &change).await).then_some(change) }
    });
    let events =
        changes.map(|change| json_event("change", Some(change.sequence.to_string()), &present::change(&change)));
    Ok(sse(events.take_until(api.context.stop.clone().cancelled_owned())))
}

impl ChangesQuery {
    fn wants(&self, change: &weir_store::Change) -> bool {
        let is = |wanted: &Option<String>, found: Option<&str>| wanted.is_none() || wanted.as_deref() == found;
        is(&self.project, Some(&change.project))
            && is(&self.environment, change.environment.as_deref())
            && self.kind.as_ref().is_none_or(|kind| change.kind.starts_with(kind))
    }
}

/// Whether a change is of something that may be seen. What is gone is for those who see everything.
async fn is_seen(context: &Context, rights: &Rights, change: &weir_store::Change) -> bool {
    if rights.may(Permission::See, Place::Platform) {
        return true;
    }
    let Ok(subject) = place::project(context, &change.project).await else {
        return false;
    };
    // What another one of the same name has left is nobody's any more.
    if subject
        .project
        .as_ref()
        .is_none_or(|project| change.at_ms < project.created_ms)
    {
        return false;
    }
    let place = match (subject.project, change.environment.as_deref()) {
        (Some(project), Some(name)) => {
            let environments = context.store.environment_list(project.id).await.unwrap_or_default();
            let found = environments
                .iter()
                .find(|environment| environment.name.as_str() == name && environment.created_ms <= change.at_ms);
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
