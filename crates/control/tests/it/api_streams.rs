//! Lines of tasks and changes of state, as they come, and resumed.

use std::time::Duration;

use futures_util::StreamExt;
use reqwest::{Method, Response};
use serde_json::Value;
use weir_control::tasks::TaskEvent;
use weir_model::TaskId;
use weir_model::project::Project;
use weir_model::task::{LineKind, TaskKind, TaskState};

use crate::harness::Control;

const PATIENCE: Duration = Duration::from_secs(20);

struct Events {
    response: Response,
    text: String,
}

#[derive(Debug)]
struct Event {
    name: String,
    id: Option<String>,
    data: Value,
}

impl Events {
    async fn next(&mut self) -> Option<Event> {
        tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some((event, rest)) = self.text.split_once("\n\n") {
                    let event = parse(event);
                    self.text = rest.to_owned();
                    if event.is_some() {
                        return event;
                    }
                    continue;
                }
                let chunk = self.response.chunk().await.unwrap()?;
                self.text.push_str(std::str::from_utf8(&chunk).unwrap());
            }
        })
        .await
        .expect("no event came in time")
    }
}

fn parse(text: &str) -> Option<Event> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let data = serde_json::from_str(field("data:")?).unwrap();
    Some(Event {
        name: field("event:")?.to_owned(),
        id: field("id:").map(ToOwned::to_owned),
        data,
    })
}

async fn watch(control: &Control, path: &str, last_id: Option<&str>) -> Events {
    let mut request = control
        .as_admin(Method::GET, path)
        .header("accept", "text/event-stream");
    if let Some(last_id) = last_id {
        request = request.header("last-event-id", last_id);
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    Events {
        response,
        text: String::new(),
    }
}

async fn task(control: &Control, project: &Project) -> TaskId {
    control
        .context
        .tasks
        .create(TaskKind::Push, project.id, None, "push")
        .await
        .unwrap()
        .id
}

#[tokio::test]
async fn a_watched_task_is_resumed_where_it_was_left() {
    let control = Control::start().await;
    let shop = control.project("shop").await;
    let id = task(&control, &shop).await;
    let path = format!("/v1/tasks/{id}/log");
    let tasks = &control.context.tasks;
    tasks.step(id, "Building web").await;
    tasks.line(id, LineKind::Output, "one\ntwo\n").await;
    let mut events = watch(&control, &path, None).await;
    let mut last_id = None;
    for (wanted, kind) in [("Building web", "step"), ("one", "output"), ("two", "output")] {
        let event = events.next().await.unwrap();
        assert_eq!(
            (
                event.name.as_str(),
                event.data["text"].as_str(),
                event.data["kind"].as_str()
            ),
            ("line", Some(wanted), Some(kind))
        );
        last_id = event.id;
    }
    drop(events);
    tasks.line(id, LineKind::Output, "three").await;
    let mut events = watch(&control, &path, last_id.as_deref()).await;
    assert_eq!(events.next().await.unwrap().data["text"], "three");
    tasks.line(id, LineKind::Output, "four").await;
    assert_eq!(events.next().await.unwrap().data["text"], "four");
    tasks.end(id, TaskState::Failed, Some("it broke")).await;
    let error = events.next().await.unwrap();
    assert_eq!(
        (error.data["text"].as_str(), error.data["kind"].as_str()),
        (Some("it broke"), Some("error"))
    );
    let end = events.next().await.unwrap();
    assert_eq!(
        (
            end.name.as_str(),
            end.data["state"].as_str(),
            end.data["error"].as_str()
        ),
        ("end", Some("failed"), Some("it broke"))
    );
    assert!(events.next().await.is_none());
    let list: Value = control
        .as_admin(Method::GET, &format!("{path}?after=3&limit=1"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(
        (list.as_array().unwrap().len(), list[0]["text"].as_str()),
        (1, Some("three"))
    );
}

#[tokio::test]
async fn thousands_of_lines_keep_their_order_without_gap() {
    const LINES: usize = 6000;
    let control = Control::start().await;
    let shop = control.project("shop").await;
    let id = task(&control, &shop).await;
    let early = control.context.tasks.follow(id, 0);
    let tasks = control.context.tasks.clone();
    let writer = tokio::spawn(async move {
        for number in 0..LINES {
            tasks.line(id, LineKind::Output, &format!("line {number}")).await;
        }
        tasks.end(id, TaskState::Done, None).await;
        // An end that comes too late changes nothing.
        tasks.end(id, TaskState::Failed, Some("too late")).await;
    });
    let late = control.context.tasks.follow(id, 100);
    for (stream, skipped) in [(early.boxed(), 0), (late.boxed(), 100)] {
        let events: Vec<TaskEvent> = tokio::time::timeout(PATIENCE, stream.collect()).await.unwrap();
        assert_eq!(events.len(), LINES - skipped + 1);
        for (index, event) in events[..events.len() - 1].iter().enumerate() {
            let TaskEvent::Line(line) = event else {
                panic!("{event:?}")
            };
            assert_eq!(
                (line.sequence, line.text.as_str()),
                (
                    i64::try_from(index + skipped).unwrap() + 1,
                    format!("line {}", index + skipped).as_str()
                )
            );
        }
        assert!(matches!(events.last(), Some(TaskEvent::End(task)) if task.state == TaskState::Done));
    }
    writer.await.unwrap();
}

#[tokio::test]
async fn changes_are_told_from_now_on_or_from_where_one_left() {
    let control = Control::start().await;
    control.project("shop").await;
    let mut events = watch(&control, "/v1/events?after=0", None).await;
    let created = events.next().await.unwrap();
    assert_eq!(
        (created.name.as_str(), created.data["kind"].as_str()),
        ("change", Some("project.created"))
    );
    let mut live = watch(&control, "/v1/events", None).await;
    control
        .context
        .tasks
        .change("shop", Some("production"), "deployment.live", "v1 serves")
        .await;
    assert_eq!(events.next().await.unwrap().data["message"], "v1 serves");
    assert_eq!(live.next().await.unwrap().data["message"], "v1 serves");
    control.context.tasks.change("shop", None, "second", "more").await;
    let mut resumed = watch(&control, "/v1/events", created.id.as_deref()).await;
    assert_eq!(resumed.next().await.unwrap().data["message"], "v1 serves");
    assert_eq!(resumed.next().await.unwrap().data["message"], "more");
}
