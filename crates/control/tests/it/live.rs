//! What pages show live: whole states, once worked out for all who watch, and only what each may see.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use weir_model::policy::Role;
use weir_model::project::{Environment, EnvironmentMode};
use weir_model::{EnvironmentId, EnvironmentName};

use crate::harness::{Control, answer};

const PATIENCE: Duration = Duration::from_secs(30);

/// A stream of events.
struct Events {
    response: Response,
    text: String,
}

impl Events {
    async fn next(&mut self) -> Option<(String, Value)> {
        tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some((event, rest)) = self.text.split_once("\n\n") {
                    let parsed = parse(event);
                    self.text = rest.to_owned();
                    if parsed.is_some() {
                        return parsed;
                    }
                    continue;
                }
                let chunk = self.response.chunk().await.ok()??;
                self.text.push_str(std::str::from_utf8(&chunk).unwrap());
            }
        })
        .await
        .expect("no event came in time")
    }

    /// The next event of this name; ticks are passed over.
    async fn expect(&mut self, name: &str) -> Value {
        loop {
            let (found, data) = self.next().await.expect("the stream has ended");
            if found == name {
                return data;
            }
            assert_eq!(found, "tick", "{data}");
        }
    }

    /// States until one is as wanted.
    async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let state = self.expect("state").await;
            if wanted(&state["data"]) {
                return state;
            }
        }
    }
}

fn parse(text: &str) -> Option<(String, Value)> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    Some((
        field("event:")?.to_owned(),
        serde_json::from_str(field("data:")?).unwrap(),
    ))
}

async fn watch(control: &Control, token: &str, topics: &[&str]) -> Events {
    let query: Vec<String> = topics.iter().map(|topic| format!("topic={topic}")).collect();
    let request = control.request(Method::GET, &format!("/v1/live?{}", query.join("&")));
    let response = request.bearer_auth(token).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    Events {
        response,
        text: String::new(),
    }
}

#[tokio::test]
async fn topics_are_told_whole_and_again_when_they_have_changed() {
    let control = Control::start().await;
    let shop = control.project("shop").await;
    control.live(&shop).await;
    let topics = [
        "overview",
        "environment:shop/production",
        "releases:shop/production",
        "domains:shop/production",
        "caps",
        "tasks",
    ];
    let mut events = watch(&control, &control.admin, &topics).await;
    let mut states = std::collections::BTreeMap::new();
    while states.len() < topics.len() {
        let state = events.expect("state").await;
        states.insert(state["topic"].as_str().unwrap().to_owned(), state["data"].clone());
    }
    // Each is what its own request says.
    let of = |topic: &str| states[topic].clone();
    for (topic, path) in [
        ("overview", "/v1/overview"),
        (
            "environment:shop/production",
            "/v1/projects/shop/environments/production",
        ),
        (
            "domains:shop/production",
            "/v1/projects/shop/environments/production/domains",
        ),
        ("tasks", "/v1/tasks"),
    ] {
        assert_eq!(control.call(Method::GET, path, None).await.1, of(topic), "{topic}");
    }
    let caps = of("caps");
    let scopes: Vec<&str> = caps
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["scope"].as_str().unwrap())
        .collect();
    assert_eq!(scopes, ["account:default", "shop", "shop/production"]);
    let releases = of("releases:shop/production");
    assert_eq!(releases["releases"][0]["number"], 1);
    assert_eq!(releases["deployments"][0]["steps"][0]["state"], "switching");
    assert_eq!(releases["deployments"][0]["steps"][1]["state"], "live");
    let row = &of("overview")["environments"][0];
    assert_eq!(
        (&row["project"], &row["environment"], &row["release"]),
        (&json!("shop"), &json!("production"), &json!(1))
    );
    assert_eq!(
        (&row["wanted"], &row["ready"], &row["health"]),
        (&json!(3), &json!(0), &json!("degraded"))
    );
    assert_eq!(row["money"]["stopped"], false);
    assert_eq!(of("overview")["troubles"][0]["kind"], "degraded");
    // A change is told, and only of what has changed.
    let path = "/v1/projects/shop/environments/production/domains";
    control
        .call(Method::POST, path, Some(json!({"host": "www.example.org"})))
        .await;
    let mut seen = BTreeSet::new();
    while !seen.contains("domains:shop/production") {
        seen.insert(events.expect("state").await["topic"].as_str().unwrap().to_owned());
    }
    assert!(!seen.contains("releases:shop/production"), "{seen:?}");
}

#[tokio::test]
async fn a_thousand_who_watch_cost_one_look() {
    const TABS: usize = 300;
    let control = Control::start().await;
    let shop = control.project("shop").await;
    control.live(&shop).await;
    let read = control.token("read", None).await;
    let began = Instant::now();
    let mut tabs = Vec::new();
    for tab in 0..TABS {
        let token = if tab % 2 == 0 { &control.admin } else { &read };
        tabs.push(watch(&control, token, &["overview", "tasks"]).await);
    }
    // Every look has an instant of its own, so their number is that of the looks.
    let mut looks = BTreeSet::new();
    for tab in &mut tabs {
        for _ in 0..2 {
            let state = tab.expect("state").await;
            let look = (state["topic"].to_string(), state["at"].to_string());
            looks.insert(look);
        }
    }
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap() + 1;
    // `overview` every two seconds, `tasks` twice a second.
    let most = seconds / 2 + 1 + seconds * 2 + 1;
    assert!(
        looks.len() <= most && looks.len() < TABS,
        "{} looks in {seconds} s for {TABS} tabs",
        looks.len()
    );
}

#[tokio::test]
async fn each_sees_what_is_for_them_and_learns_of_nothing_else() {
    let control = Control::start().await;
    let shop = control.project("shop").await;
    control.project("other").await;
    control.live(&shop).await;
    let token = member(&control, Role::Viewer, "shop").await;
    let topics = [
        "overview",
        "environment:shop/production",
        "environment:other/production",
        "caps",
        "nonsense",
    ];
    let mut events = watch(&control, &token, &topics).await;
    let (mut refused, mut states) = (std::collections::BTreeMap::new(), std::collections::BTreeMap::new());
    while refused.len() + states.len() < topics.len() {
        let (name, data) = events.next().await.unwrap();
        let topic = data["topic"].as_str().unwrap_or_default().to_owned();
        match name.as_str() {
            "refused" => drop(refused.insert(topic, data["problem"].clone())),
            "state" => drop(states.insert(topic, data["data"].clone())),
            _ => assert_eq!(name, "tick"),
        }
    }
    assert_eq!(refused["environment:other/production"]["type"], "project-not-found");
    assert_eq!(refused["caps"]["type"], "forbidden");
    assert_eq!(refused["nonsense"]["type"], "invalid-input");
    let overview = &states["overview"];
    assert_eq!(overview["environments"].as_array().unwrap().len(), 1);
    assert_eq!(overview["environments"][0]["project"], "shop");
    assert_eq!(overview["environments"][0].get("money"), None);
    assert_eq!(overview["accounts"], json!([]));
    assert_eq!(states["environment:shop/production"].get("money"), None);
    assert!(!overview.to_string().contains("other"));
    // The same look, with other eyes.
    let (_, whole) = control.call(Method::GET, "/v1/overview", None).await;
    assert_eq!(whole["environments"].as_array().unwrap().len(), 2);
    assert!(whole["environments"][0]["money"].is_object(), "{whole}");
    // A billing role sees money, and nothing of what runs.
    let billing = member(&control, Role::Billing, "shop").await;
    let mut events = watch(&control, &billing, &["overview", "caps"]).await;
    assert_eq!(events.expect("refused").await["topic"], "overview");
    let caps = events.expect("state").await;
    assert_eq!(caps["data"].as_array().unwrap().len(), 2, "{caps}");
    assert_eq!(caps["data"][0]["scope"], "shop");
}

#[tokio::test]
async fn what_is_gone_is_refused_and_rights_count_as_they_are_now() {
    let control = Control::start().await;
    let shop = control.project("shop").await;
    let (status, account) = account(&control, Role::Viewer, "shop").await;
    assert_eq!(status, StatusCode::CREATED);
    let token = token_of(&control, &account).await;
    let body = json!({"name": "staging"});
    control
        .call(Method::POST, "/v1/projects/shop/environments", Some(body))
        .await;
    let name = EnvironmentName::new("staging").unwrap();
    let staging = control
        .context
        .store
        .environment_by_name(shop.id, &name)
        .await
        .unwrap()
        .unwrap();
    let mut events = watch(
        &control,
        &token,
        &["environment:shop/staging", "environment:shop/production"],
    )
    .await;
    events.expect("state").await;
    events.expect("state").await;
    control.context.store.environment_delete(staging.id).await.unwrap();
    let refused = events.expect("refused").await;
    assert_eq!(refused["topic"], "environment:shop/staging");
    assert_eq!(refused["problem"]["type"], "environment-not-found");
    // What is still there goes on, until the account may not see it any more.
    let production = control.production(&shop).await;
    let modes = [EnvironmentMode::Active];
    let store = &control.context.store;
    store
        .environment_set_mode(production.id, &modes, EnvironmentMode::Paused)
        .await
        .unwrap();
    events.until(|data| data["health"] == "paused").await;
    let path = format!("/v1/service-accounts/{}", account["id"].as_str().unwrap());
    let (status, _) = control.call(Method::DELETE, &path, None).await;
    assert!(status.is_success());
    let end = events.expect("end").await;
    assert_eq!(end["reason"], "signed-out");
    assert!(events.next().await.is_none(), "the stream ends");
}

#[tokio::test]
async fn ticks_go_on_while_nothing_changes_and_the_end_says_why() {
    let control = Control::start().await;
    control.project("shop").await;
    let mut events = watch(&control, &control.admin, &["domains:shop/production"]).await;
    let first = events.expect("state").await;
    let (mut last, began) = (first["at"].as_str().unwrap().to_owned(), Instant::now());
    for _ in 0..3 {
        let (name, data) = events.next().await.unwrap();
        assert_eq!(name, "tick", "{data}");
        let at = data["at"].as_str().unwrap().to_owned();
        assert!(at > last, "{at} is not behind {last}");
        last = at;
    }
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    control.context.stop.cancel();
    assert_eq!(events.expect("end").await["reason"], "restarting");
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn streams_are_bounded_in_topics() {
    let control = Control::start().await;
    let many: Vec<String> = (0..9).map(|number| format!("topic=environment:a/{number}")).collect();
    for (query, kind) in [
        (String::new(), "invalid-input"),
        (many.join("&"), "invalid-input"),
        (format!("topic={}", "x".repeat(101)), "invalid-input"),
        ("topic=overview&other=1".to_owned(), "bad-query"),
    ] {
        let (status, body) = control.call(Method::GET, &format!("/v1/live?{query}"), None).await;
        assert!(status.is_client_error(), "{query}: {status}");
        assert_eq!(body["type"], kind, "{query}");
    }
    let (status, _) = answer(control.request(Method::GET, "/v1/live?topic=overview")).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

/// Not a bound, because machines differ: it is printed (`--nocapture`).
#[tokio::test]
async fn a_thousand_environments_are_in_one_overview() {
    const PROJECTS: u32 = 250;
    let control = Control::start().await;
    let store = &control.context.store;
    for number in 0..PROJECTS {
        let project = control.project(&format!("p{number:03}")).await;
        control.live(&project).await;
        for name in ["staging", "test", "demo"] {
            let now_ms = control.context.clock.now_ms();
            let environment = weir_model::project::Environment {
                id: EnvironmentId::from_parts(now_ms, control.context.clock.random()),
                name: EnvironmentName::new(name).unwrap(),
                branch: None,
                live: None,
                ..control.production(&project).await
            };
            store.environment_insert(&environment, &[]).await.unwrap();
        }
    }
    let mut took = Vec::new();
    let mut bytes = 0;
    for _ in 0..3 {
        let began = Instant::now();
        let text = control
            .as_admin(Method::GET, "/v1/overview")
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        took.push(began.elapsed());
        bytes = text.len();
        let overview: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(overview["environments"].as_array().unwrap().len(), 1_000);
        assert_eq!(overview["environments"][0]["environment"], "demo");
        assert_eq!(overview["troubles"].as_array().unwrap().len(), 20);
        // Long enough for the next look to be a new one.
        tokio::time::sleep(Duration::from_millis(2_500)).await;
    }
    println!("overview of 1,000 environments: {took:?}, {} KiB", bytes / 1024);
}

async fn account(control: &Control, role: Role, scope: &str) -> (StatusCode, Value) {
    let name = format!("{role}-{}", control.context.clock.random() % 1_000_000);
    let body = json!({"name": name, "grant": {"role": role.as_str(), "scope": scope}});
    control.call(Method::POST, "/v1/service-accounts", Some(body)).await
}

async fn token_of(control: &Control, account: &Value) -> String {
    let path = format!("/v1/service-accounts/{}/tokens", account["id"].as_str().unwrap());
    let (status, token) = control.call(Method::POST, &path, Some(json!({"name": "x"}))).await;
    assert_eq!(status, StatusCode::CREATED, "{token}");
    token["secret"].as_str().unwrap().to_owned()
}

async fn member(control: &Control, role: Role, scope: &str) -> String {
    let (status, made) = account(control, role, scope).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    token_of(control, &made).await
}

#[tokio::test]
async fn what_there_is_no_room_for_is_watched_as_soon_as_there_is() {
    let control = Control::start().await;
    let shop = control.project("shop").await;
    let mut names = vec!["production".to_owned()];
    for number in 0..230 {
        let name = format!("e{number}");
        let id = EnvironmentId::from_parts(1, number);
        let environment = Environment::new(id, shop.id, EnvironmentName::new(&name).unwrap(), 1);
        control
            .context
            .store
            .environment_insert(&environment, &[])
            .await
            .unwrap();
        names.push(name);
    }
    let topics: Vec<String> = names
        .iter()
        .flat_map(|name| ["environment", "releases", "domains"].map(|kind| format!("{kind}:shop/{name}")))
        .collect();
    let mut streams = Vec::new();
    for some in topics.chunks(8) {
        let some: Vec<&str> = some.iter().map(String::as_str).collect();
        streams.push(watch(&control, &control.admin, &some).await);
    }
    // An account has a third of 2,000 at most; what is last is not refused for good.
    let last = topics.last().unwrap().clone();
    let mut late = watch(&control, &control.admin, &[last.as_str()]).await;
    assert_eq!(late.next().await.unwrap().0, "tick", "there is no room");
    streams.clear();
    assert_eq!(late.expect("state").await["topic"], last);
}
