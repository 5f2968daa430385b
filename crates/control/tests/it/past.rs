//! What pages show of the past: tasks, changes, lines of logs; and what is told before it is destroyed.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use weir_model::log::{LogLine, LogStream};
use weir_model::task::{TaskKind, TaskState};
use weir_model::{AppName, EnvironmentId, ProcessName};

use crate::browser::owner;
use crate::harness::{Control, answer};

const SHOP: &str = "/v1/projects/shop/environments/production";

async fn list(control: &Control, token: &str, path: &str) -> Vec<Value> {
    let request = control
        .request(Method::GET, path)
        .bearer_auth(token)
        .header("accept", "application/json");
    let (status, body) = answer(request).await;
    assert_eq!(status, StatusCode::OK, "{path}: {body}");
    body.as_array().unwrap().clone()
}

fn all<'a>(rows: &'a [Value], field: &str) -> Vec<&'a str> {
    rows.iter().map(|row| row[field].as_str().unwrap()).collect()
}

#[tokio::test]
async fn tasks_are_found_by_what_is_looked_for_and_read_back_page_by_page() {
    let control = Control::start().await;
    let (shop, other) = (control.project("shop").await, control.project("other").await);
    let production = control.production(&shop).await;
    let tasks = &control.context.tasks;
    for number in 0..5 {
        let task = tasks
            .create(TaskKind::Push, shop.id, Some(production.id), &format!("s{number}"))
            .await
            .unwrap();
        tasks
            .create(TaskKind::Push, other.id, None, &format!("o{number}"))
            .await
            .unwrap();
        if number % 2 == 0 {
            tasks.end(task.id, TaskState::Failed, Some("it broke")).await;
        }
    }
    let admin = control.admin.as_str();
    let shops = list(&control, admin, "/v1/tasks?project=shop").await;
    let mut titles = all(&shops, "title");
    titles.sort_unstable();
    assert_eq!(titles, ["s0", "s1", "s2", "s3", "s4"]);
    let failed = list(
        &control,
        admin,
        "/v1/tasks?project=shop&environment=production&state=failed",
    )
    .await;
    assert_eq!(failed.len(), 3);
    assert!(
        list(&control, admin, "/v1/tasks?project=shop&environment=staging")
            .await
            .is_empty()
    );
    // Page by page, without a gap or a double, also for who may see one project only.
    let token = control.token("read", Some("shop")).await;
    for (token, wanted) in [(admin, 10), (token.as_str(), 5)] {
        let (mut seen, mut before) = (Vec::new(), String::new());
        loop {
            let page = list(&control, token, &format!("/v1/tasks?limit=2{before}")).await;
            seen.extend(all(&page, "id").into_iter().map(ToOwned::to_owned));
            if page.len() < 2 {
                break;
            }
            before = format!("&before={}", seen.last().unwrap());
        }
        let mut single = seen.clone();
        single.sort_unstable();
        single.dedup();
        assert_eq!((seen.len(), single.len()), (wanted, wanted), "{seen:?}");
    }
    for (query, kind) in [
        ("state=lost", "invalid-input"),
        ("before=x", "task-not-found"),
        ("environment=a", "invalid-input"),
    ] {
        let (_, body) = control.call(Method::GET, &format!("/v1/tasks?{query}"), None).await;
        assert_eq!(body["type"], kind, "{query}");
    }
}

#[tokio::test]
async fn changes_of_the_past_are_for_those_who_may_see_what_they_are_of() {
    let control = Control::start().await;
    // Of a project that is gone: whoever gets its name must not read it.
    control
        .context
        .tasks
        .change("shop", Some("production"), "deployment.live", "of somebody else")
        .await;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    control.project("shop").await;
    control.project("other").await;
    for number in 0..4 {
        let kind = if number % 2 == 0 {
            "deployment.live"
        } else {
            "deployment.failed"
        };
        control
            .context
            .tasks
            .change("shop", Some("production"), kind, &format!("s{number}"))
            .await;
        control
            .context
            .tasks
            .change("other", None, "variables.changed", &format!("o{number}"))
            .await;
    }
    let shop = control.token("read", Some("shop")).await;
    let found = list(&control, &shop, "/v1/events?kind=deployment.").await;
    assert_eq!(
        all(&found, "message"),
        ["s3", "s2", "s1", "s0"],
        "newest first, and nothing of before"
    );
    let found = list(&control, &shop, "/v1/events?kind=deployment.f&limit=1").await;
    assert_eq!(all(&found, "message"), ["s3"]);
    let before = found[0]["sequence"].as_i64().unwrap();
    let found = list(
        &control,
        &shop,
        &format!("/v1/events?kind=deployment.f&before={before}"),
    )
    .await;
    assert_eq!(all(&found, "message"), ["s1"]);
    assert!(list(&control, &shop, "/v1/events?project=other").await.is_empty());
    // A percent sign is one, and no pattern.
    assert!(list(&control, &control.admin, "/v1/events?kind=%25").await.is_empty());
    let found = list(
        &control,
        &control.admin,
        "/v1/events?environment=production&kind=deployment.live",
    )
    .await;
    assert_eq!(all(&found, "message"), ["s2", "s0", "of somebody else"]);
    let (status, _) = answer(control.as_admin(Method::GET, "/v1/events?limit=3")).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "a stream has no limit");
}

fn line(app: &str, at_ms: i64, text: String) -> LogLine {
    LogLine {
        at_ms,
        app: AppName::new(app).unwrap(),
        process: ProcessName::web(),
        instance: None,
        stream: if text.ends_with(['1', '4', '7']) {
            LogStream::Stderr
        } else {
            LogStream::Stdout
        },
        text,
    }
}

/// Lines of two apps, some of which come late; gives how many.
async fn write(control: &Control, environment: EnvironmentId) -> usize {
    const LINES: i64 = 400;
    let start_ms = 1_700_000_000_000;
    for number in 0..LINES {
        let app = if number % 3 == 0 { "api" } else { "shop" };
        // Every seventh was written half a second before it came.
        let at_ms = start_ms + number * 10 - if number % 7 == 0 { 500 } else { 0 };
        control
            .context
            .logs
            .append(environment, &[line(app, at_ms, format!("line {number}"))])
            .await;
    }
    control.context.logs.flush().await;
    usize::try_from(LINES).unwrap()
}

#[tokio::test]
async fn a_log_is_read_from_any_line_in_both_directions_without_gap_or_double() {
    let control = Control::start().await;
    let shop = control.project("shop").await;
    let production = control.production(&shop).await;
    let lines = write(&control, production.id).await;
    let admin = control.admin.as_str();
    let whole = list(&control, admin, &format!("{SHOP}/logs?limit=10000")).await;
    let ids = all(&whole, "id");
    assert_eq!(ids.len(), lines);
    assert!(ids.is_sorted(), "identities sort as the lines do");
    // Back from the newest.
    let mut back: Vec<String> = Vec::new();
    loop {
        let before = back.first().map(|id| format!("&before={id}")).unwrap_or_default();
        let page = list(&control, admin, &format!("{SHOP}/logs?limit=37{before}")).await;
        if page.is_empty() {
            break;
        }
        back.splice(0..0, all(&page, "id").into_iter().map(ToOwned::to_owned));
    }
    assert_eq!(back, ids);
    // On from the oldest.
    let mut on = vec![ids[0].to_owned()];
    loop {
        let page = list(
            &control,
            admin,
            &format!("{SHOP}/logs?limit=41&after={}", on.last().unwrap()),
        )
        .await;
        if page.is_empty() {
            break;
        }
        on.extend(all(&page, "id").into_iter().map(ToOwned::to_owned));
    }
    assert_eq!(on, ids);
    // Around one; with a filter the line itself is there, and the others match.
    let around = list(&control, admin, &format!("{SHOP}/logs?limit=9&around={}", ids[200])).await;
    assert_eq!(all(&around, "id"), ids[196..205]);
    let around = list(
        &control,
        admin,
        &format!("{SHOP}/logs?limit=5&around={}&grep=5", ids[200]),
    )
    .await;
    assert_eq!(around.len(), 5);
    assert!(around.iter().any(|line| line["id"] == ids[200]));
    // The same identities whatever else is asked for.
    let errors = list(
        &control,
        admin,
        &format!("{SHOP}/logs?limit=10000&stream=stderr&app=api"),
    )
    .await;
    assert!(!errors.is_empty());
    for line in &errors {
        assert_eq!((&line["stream"], &line["app"]), (&json!("stderr"), &json!("api")));
        assert!(ids.contains(&line["id"].as_str().unwrap()), "{line}");
    }
    let until = list(
        &control,
        admin,
        &format!("{SHOP}/logs?limit=10000&until=2023-11-14T22:13:21Z"),
    )
    .await;
    assert!(!until.is_empty() && until.len() < lines);
    for (query, kind) in [
        ("before=x", "invalid-input"),
        ("stream=both", "invalid-input"),
        ("around=001700000000000,shop,000000000009999", "line-not-found"),
        ("around=001700000000000,nothing,000000000000000", "line-not-found"),
        (
            "before=001700000000000,shop,1&after=001700000000000,shop,1",
            "invalid-input",
        ),
    ] {
        let (_, body) = control.call(Method::GET, &format!("{SHOP}/logs?{query}"), None).await;
        assert_eq!(body["type"], kind, "{query}");
    }
}

#[tokio::test]
async fn a_whole_log_is_taken_along_as_text() {
    let control = Control::start().await;
    let shop = control.project("shop").await;
    let production = control.production(&shop).await;
    let lines = write(&control, production.id).await;
    let whole = list(&control, &control.admin, &format!("{SHOP}/logs?limit=10000")).await;
    let text = async |query: &str| {
        let response = control
            .as_admin(Method::GET, &format!("{SHOP}/logs/text{query}"))
            .send()
            .await
            .unwrap();
        assert_eq!(
            response.headers()["content-disposition"],
            "attachment; filename=\"shop-production.log\""
        );
        response.text().await.unwrap()
    };
    let all_of_it = text("").await;
    assert_eq!(all_of_it.lines().count(), lines);
    for (line, shown) in whole.iter().zip(all_of_it.lines()) {
        assert!(shown.ends_with(line["text"].as_str().unwrap()), "{shown} is not {line}");
    }
    let newest = text("?limit=10").await;
    assert_eq!(
        newest.lines().collect::<Vec<_>>(),
        all_of_it.lines().skip(lines - 10).collect::<Vec<_>>()
    );
    let after = text(&format!("?after={}", whole[389]["id"].as_str().unwrap())).await;
    assert_eq!(after, newest);
    let found = text("?grep=line%207&app=shop").await;
    assert!(
        found.lines().count() > 3
            && found
                .lines()
                .all(|line| line.contains("shop.web - ") && line.contains("line 7"))
    );
}

#[tokio::test]
async fn a_person_confirms_what_cannot_be_taken_back_and_is_told_what_goes() {
    let control = Control::start().await;
    let shop = control.project("shop").await;
    control.live(&shop).await;
    let path = "/v1/projects/shop/environments";
    control.call(Method::POST, path, Some(json!({"name": "staging"}))).await;
    let variables = json!({"set": {"KEY": {"value": "1", "secret": true}, "MODE": {"value": "x"}}});
    control
        .call(Method::PATCH, &format!("{SHOP}/variables"), Some(variables))
        .await;
    control
        .call(
            Method::POST,
            &format!("{SHOP}/domains"),
            Some(json!({"host": "www.example.org"})),
        )
        .await;
    let (status, loss) = control.call(Method::GET, &format!("{SHOP}/loss"), None).await;
    assert_eq!(status, StatusCode::OK, "{loss}");
    assert_eq!(
        (
            &loss["domains"],
            &loss["secrets"],
            loss["releases"].as_i64().unwrap() >= 1
        ),
        (&json!(["www.example.org"]), &json!(1), true)
    );
    let mut browser = owner(&control).await;
    for path in [
        "/v1/projects/shop/environments/staging",
        "/v1/projects/shop/environments/staging?confirm=staging",
    ] {
        let (status, body) = browser.call(Method::DELETE, path, None).await;
        assert_eq!(
            (status, &body["type"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!("confirm")),
            "{path}"
        );
    }
    let path = "/v1/projects/shop/environments/staging?confirm=shop/staging";
    assert_eq!(browser.call(Method::DELETE, path, None).await.0, StatusCode::ACCEPTED);
    let (status, body) = browser.call(Method::DELETE, "/v1/projects/shop", None).await;
    assert_eq!(
        (status, &body["type"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("confirm"))
    );
    // A program goes without, but not with a wrong name.
    let (status, _) = control
        .call(Method::DELETE, "/v1/projects/shop?confirm=shopp", None)
        .await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        control.call(Method::DELETE, "/v1/projects/shop", None).await.0,
        StatusCode::ACCEPTED
    );
}

#[tokio::test]
async fn what_a_release_would_change_and_who_asked_for_it_is_told() {
    let control = Control::start().await;
    let shop = control.project("shop").await;
    control.live(&shop).await;
    let variables = json!({"set": {"KEY": {"value": "hidden", "secret": true}, "MODE": {"value": "x"}}});
    let token = control.token("deploy", Some("shop")).await;
    let request = control
        .request(Method::PATCH, &format!("{SHOP}/variables"))
        .bearer_auth(&token)
        .json(&variables);
    let (status, body) = answer(request).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
    let (status, body) = control
        .call(Method::GET, &format!("{SHOP}/releases/2/difference"), None)
        .await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(
        (&body["from"], &body["to"], &body["images"]),
        (&json!(1), &json!(2), &json!([]))
    );
    let wanted = json!([
        {"name": "KEY", "change": "added", "secret": true},
        {"name": "MODE", "change": "added", "secret": false},
    ]);
    assert_eq!(body["variables"], wanted);
    assert!(!body.to_string().contains("hidden"));
    let (_, body) = control
        .call(Method::GET, &format!("{SHOP}/releases/1/difference?to=2"), None)
        .await;
    assert_eq!(body["variables"][0]["change"], "removed");
    for path in [
        "releases/9/difference",
        "releases/x/difference",
        "releases/1/difference?to=9",
    ] {
        let (_, body) = control.call(Method::GET, &format!("{SHOP}/{path}"), None).await;
        assert_eq!(body["type"], "release-not-found", "{path}");
    }
    let releases = list(&control, &control.admin, &format!("{SHOP}/releases")).await;
    assert_eq!(
        (&releases[0]["by"], releases[1].get("by")),
        (&json!("deploy token"), None)
    );
    assert_eq!(releases[1]["message"], "first");
    let deployments = list(&control, &control.admin, &format!("{SHOP}/deployments")).await;
    assert_eq!(deployments[0]["by"], "deploy token");
    assert_eq!(deployments[0]["steps"][0]["state"], "pending");
}

/// The next lines of a log that goes on, with their identities.
async fn follow(control: &Control, after: Option<&str>, number: usize) -> Vec<(String, String)> {
    let mut request = control
        .as_admin(Method::GET, &format!("{SHOP}/logs?limit=100"))
        .header("accept", "text/event-stream");
    if let Some(after) = after {
        request = request.header("last-event-id", after);
    }
    let (mut response, mut text) = (request.send().await.unwrap(), String::new());
    let read = async {
        while text.matches("event: line").count() < number || !text.ends_with("\n\n") {
            text.push_str(std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap());
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), read)
        .await
        .unwrap();
    let events = text.split("\n\n").filter(|event| event.contains("event: line"));
    let field = |event: &str, name: &str| {
        let value = event.lines().find_map(|line| line.strip_prefix(name));
        value.unwrap().trim().to_owned()
    };
    events
        .map(|event| {
            let data: Value = serde_json::from_str(&field(event, "data:")).unwrap();
            let id = field(event, "id:");
            assert_eq!(data["id"], id.split(';').next().unwrap());
            (field(event, "id:"), data["text"].as_str().unwrap().to_owned())
        })
        .collect()
}

#[tokio::test]
async fn a_followed_log_goes_on_behind_the_last_line() {
    let control = Control::start().await;
    let shop = control.project("shop").await;
    let production = control.production(&shop).await;
    let append = async |at_ms, text: &str| {
        let line = line("shop", at_ms, text.to_owned());
        control.context.logs.append(production.id, &[line]).await;
        control.context.logs.flush().await;
    };
    append(1_000_000, "one").await;
    append(1_000_000, "two").await;
    let first = follow(&control, None, 2).await;
    let texts = |lines: &[(String, String)]| lines.iter().map(|(_, text)| text.clone()).collect::<Vec<_>>();
    assert_eq!(texts(&first), ["one", "two"]);
    // What comes late, or in the same moment, is not missed, and nothing comes twice.
    append(900_000, "late").await;
    append(1_000_000, "same").await;
    let rest = follow(&control, Some(&first[1].0), 2).await;
    assert_eq!(texts(&rest), ["late", "same"]);
    let rest = follow(&control, Some(&first[0].0), 3).await;
    assert_eq!(texts(&rest), ["two", "late", "same"]);
}

#[tokio::test]
async fn what_another_app_wrote_meanwhile_is_not_left_out() {
    let control = Control::start().await;
    let shop = control.project("shop").await;
    let production = control.production(&shop).await;
    let append = async |app: &str, at_ms, text: &str| {
        let line = line(app, at_ms, text.to_owned());
        control.context.logs.append(production.id, &[line]).await;
        control.context.logs.flush().await;
    };
    append("shop", 2_000_000, "one").await;
    append("data", 1_000_000, "two").await;
    let first = follow(&control, None, 2).await;
    let texts = |lines: &[(String, String)]| lines.iter().map(|(_, text)| text.clone()).collect::<Vec<_>>();
    assert_eq!(texts(&first), ["two", "one"]);
    // Lines that stand before the last one that was seen, in a log that was there and in one that was not.
    append("data", 1_500_000, "three").await;
    append("worker", 1_600_000, "four").await;
    let rest = follow(&control, Some(&first[1].0), 2).await;
    assert_eq!(texts(&rest), ["three", "four"]);
    // In the middle of what was told, too.
    let rest = follow(&control, Some(&first[0].0), 3).await;
    assert_eq!(texts(&rest), ["three", "four", "one"]);
    append("shop", 1_000_000, "five").await;
    let rest = follow(&control, Some(&rest[2].0), 1).await;
    assert_eq!(texts(&rest), ["five"]);
}
