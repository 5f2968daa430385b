//! What pages show while they are open: one stream with the whole states of what they show, each as
//! soon as it has changed. Whoever connects anew gets everything anew, so nothing can be missed.
//!
//! The stream has no task of its own: what is sent is taken when it is read, so that a slow reader
//! costs nothing but the newest state.

mod content;
mod hub;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use axum::response::sse::Event;
use futures_util::future::select_all;
use http::StatusCode;
use tokio::time::Instant;
use weir_api::{LiveEnd, LiveRefused, LiveTick};
use weir_model::policy::{Permission, Reach, Rights};
use weir_model::{AccountId, UnixMillis};

pub(super) use hub::{Live, Topic};

use super::Api;
use super::auth::Caller;
use super::error::ApiError;
use super::extract::QueryOf;
use super::guard::{self, About, SeesToItsEnd};
use super::present::instant;
use super::{place, tasks};
use crate::context::Context;
use hub::{Seat, Watched};

/// Most topics of one stream.
const TOPICS: usize = 8;
/// Longest name of a topic, in bytes.
const TOPIC_BYTES: usize = 100;
/// So often it is said as of when everything is.
const TICK: Duration = Duration::from_secs(2);
/// So often it is looked whether who watches still may.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// What is shown live, as server-sent events: `state` with a whole topic, first and whenever it has
/// changed; `refused` for a topic that one may not see, or that is gone; `tick` with the instant as of
/// which everything is; `end`. Topics are `overview`, `environment:PROJECT/ENVIRONMENT`, `releases:…`,
/// `domains:…`, `caps` and `tasks`.
#[utoipa::path(get, path = "/v1/live", tag = "live",
    params(("topic" = Vec<String>, Query, description = "1 to 8 topics, each as `topic=…`")),
    responses((status = 200, description = "Server-sent events `state`, `refused`, `tick`, `end`", content((weir_api::LiveState = "text/event-stream")))))]
pub(super) async fn watch_live(
    State(api): State<Api>,
    caller: Caller,
    QueryOf(query): QueryOf<Vec<(String, String)>>,
) -> Result<Response, ApiError> {
    let names = names_of(query)?;
    let seat = api.live.seat(caller.identity())?;
    let now = Instant::now();
    let mut stream = Stream {
        topics: Vec::new(),
        later: Vec::new(),
        ready: VecDeque::new(),
        next_tick: now + TICK,
        next_look: now + LOOK_AGAIN,
        ticked_ms: UnixMillis::MIN,
        over: false,
        names,
        caller,
        api,
        _seat: seat,
    };
    stream.choose().await;
    let events = futures_util::stream::unfold(stream, |mut stream| async move {
        let event = stream.next().await?;
        Some((event, stream))
    });
    let mut response = tasks::sse(events);
    response.extensions_mut().insert(SeesToItsEnd);
    Ok(response)
}

fn names_of(query: Vec<(String, String)>) -> Result<Vec<String>, ApiError> {
    let example = "for example: /v1/live?topic=overview&topic=environment:shop/production";
    let mut names: Vec<String> = Vec::new();
    for (key, value) in query {
        if key != "topic" {
            let words = "the query cannot be read: only `topic` is known";
            return Err(ApiError::new(StatusCode::BAD_REQUEST, "bad-query", words).with_hint(example));
        }
        if value.len() > TOPIC_BYTES {
            return Err(ApiError::invalid(format!("a topic has {TOPIC_BYTES} bytes at most")).with_hint(example));
        }
        if !names.contains(&value) {
            names.push(value);
        }
    }
    if names.is_empty() || names.len() > TOPICS {
        return Err(ApiError::invalid(format!("a stream has 1 to {TOPICS} topics")).with_hint(example));
    }
    Ok(names)
}

/// The topic of a name with the account whose it is, if it is for the one who asks.
async fn topic_of(context: &Context, caller: &Caller, name: &str) -> Result<(Topic, Option<AccountId>), ApiError> {
    let somewhere = |permission: Permission| match caller.rights.may_somewhere(permission) {
        true => Ok(()),
        false => Err(caller.refusal(permission, "anywhere")),
    };
    let (kind, of) = match name.split_once(':') {
        Some((kind, of)) => (kind, Some(of)),
        None => (name, None),
    };
    match (kind, of.and_then(|of| of.split_once('/'))) {
        ("overview", None) if of.is_none() => somewhere(Permission::See).map(|()| (Topic::Overview, None)),
        ("caps", None) if of.is_none() => somewhere(Permission::SeeMoney).map(|()| (Topic::Caps, None)),
        ("tasks", None) if of.is_none() => {
            somewhere(Permission::See)?;
            Ok((Topic::Tasks(within(&caller.rights, Permission::See)), None))
        }
        ("environment" | "releases" | "domains", Some((project, environment))) => {
            let path = HashMap::from([
                ("project".to_owned(), project.to_owned()),
                ("environment".to_owned(), environment.to_owned()),
            ]);
            let subject = place::subject(context, About::Environment, &path).await?;
            let subject = guard::judge(caller, Permission::See, About::Environment, subject, &path)?;
            let id = subject.environment.map(|environment| environment.id);
            let id = id.ok_or_else(|| ApiError::internal("the topic is about no environment"))?;
            let topic = match kind {
                "environment" => Topic::Environment(id),
                "releases" => Topic::Releases(id),
                _ => Topic::Domains(id),
            };
            Ok((topic, subject.place.account()))
        }
        _ => Err(ApiError::invalid(format!("`{name}` is not a topic")).with_hint(
            "topics are overview, caps, tasks, and environment:, releases: and domains: with PROJECT/ENVIRONMENT",
        )),
    }
}

/// Where somebody may do something, by identity; `None`: everywhere.
pub(super) fn within(rights: &Rights, permission: Permission) -> Option<Vec<String>> {
    let reaches = rights.grants().iter().filter(|grant| grant.power.allows(permission));
    let mut keys: Vec<String> = reaches.clone().map(|grant| grant.reach.key()).collect();
    if reaches.clone().any(|grant| grant.reach == Reach::Platform) {
        return None;
    }
    // The same rights have the same text, whatever the order in which they were given.
    keys.sort();
    keys.dedup();
    Some(keys)
}

/// A topic of a stream.
struct One {
    name: String,
    topic: Topic,
    watched: Watched,
    /// What was sent last.
    sent: Option<std::sync::Arc<str>>,
    /// As of when that is.
    at_ms: Option<UnixMillis>,
}

/// One who watches.
struct Stream {
    api: Api,
    caller: Caller,
    /// As they were asked for.
    names: Vec<String>,
    /// Of those, what could not be watched for the moment.
    later: Vec<String>,
    topics: Vec<One>,
    ready: VecDeque<Event>,
    next_tick: Instant,
    next_look: Instant,
    ticked_ms: UnixMillis,
    over: bool,
    _seat: Seat,
}

impl Stream {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.over {
                return None;
            }
            let stop = self.api.context.stop.clone();
            tokio::select! {
                biased;
                () = stop.cancelled() => self.end("restarting"),
                () = tokio::time::sleep_until(self.next_look) => self.look_again().await,
                changed = news(&mut self.topics) => self.take(changed),
                () = tokio::time::sleep_until(self.next_tick) => self.tick(),
            }
        }
    }

    fn end(&mut self, reason: &str) {
        let reason = reason.to_owned();
        self.ready
            .push_back(tasks::json_event("end", None, &LiveEnd { reason }));
        self.over = true;
    }

    /// Watches what was asked for, as far as it is for them; what is watched already goes on.
    async fn choose(&mut self) {
        let mut before = std::mem::take(&mut self.topics);
        self.later.clear();
        for name in self.names.clone() {
            let index = before.iter().position(|one| one.name == name);
            let old = index.map(|index| before.swap_remove(index));
            self.choose_one(name, old).await;
        }
    }

    async fn choose_one(&mut self, name: String, old: Option<One>) {
        let (topic, account) = match topic_of(&self.api.context, &self.caller, &name).await {
            Ok(found) => found,
            Err(error) => return self.not_chosen(name, old, &error),
        };
        if let Some(old) = old.filter(|old| old.topic == topic) {
            return self.topics.push(old);
        }
        match self.api.live.watch(&self.api.context, topic.clone(), account) {
            Ok(mut watched) => {
                // What is known already is news, too.
                watched.mark_changed();
                self.topics.push(One {
                    name,
                    topic,
                    watched,
                    sent: None,
                    at_ms: None,
                });
            }
            Err(error) => self.not_chosen(name, None, &error),
        }
    }

    /// Nobody loses anything, or is refused for good, because the database is busy or there is no room for
    /// the moment: it is tried again.
    fn not_chosen(&mut self, name: String, old: Option<One>, error: &ApiError) {
        if !error.status.is_server_error() {
            return self.refuse(&name, error);
        }
        match old {
            Some(old) => self.topics.push(old),
            None => self.later.push(name),
        }
    }

    fn refuse(&mut self, name: &str, error: &ApiError) {
        let refused = LiveRefused {
            topic: name.to_owned(),
            problem: error.problem(),
        };
        self.ready.push_back(tasks::json_event("refused", None, &refused));
    }

    /// Takes in what is new of a topic; `None`: nobody looks at it any more, so they are to ask anew.
    fn take(&mut self, changed: Option<usize>) {
        let Some(index) = changed else {
            self.over = true;
            return;
        };
        let one = &mut self.topics[index];
        let Some(state) = one.watched.borrow_and_update().clone() else {
            return;
        };
        match state.seen_by(&self.caller.rights) {
            Ok(text) => {
                one.at_ms = Some(state.at_ms);
                if one.sent.as_ref() == Some(&text) {
                    return;
                }
                let name = serde_json::Value::from(one.name.as_str());
                let data = format!(r#"{{"topic":{name},"at":"{}","data":{text}}}"#, instant(state.at_ms));
                one.sent = Some(text);
                self.ready.push_back(Event::default().event("state").data(data));
            }
            Err(error) => {
                let gone = self.topics.swap_remove(index);
                // Whoever is given its name next is somebody else's.
                self.names.retain(|name| *name != gone.name);
                self.refuse(&gone.name, &error);
            }
        }
    }

    /// Says as of when everything is, if that has moved on.
    fn tick(&mut self) {
        self.next_tick = Instant::now() + TICK;
        let known = self.topics.iter().filter_map(|one| one.at_ms);
        let at_ms = known.min().unwrap_or_else(|| self.api.context.clock.now_ms());
        if at_ms > self.ticked_ms {
            self.ticked_ms = at_ms;
            let tick = LiveTick { at: instant(at_ms) };
            self.ready.push_back(tasks::json_event("tick", None, &tick));
        }
    }

    /// Looks whether they still may see what they see.
    async fn look_again(&mut self) {
        self.next_look = Instant::now() + LOOK_AGAIN;
        match self.caller.rights_now(&self.api.context).await {
            Ok(None) => self.end("signed-out"),
            Ok(Some(rights)) if rights == self.caller.rights => {
                for name in std::mem::take(&mut self.later) {
                    self.choose_one(name, None).await;
                }
            }
            Ok(Some(rights)) => {
                self.caller.rights = rights;
                self.choose().await;
                for one in &mut self.topics {
                    one.watched.mark_changed();
                }
            }
            // Nobody loses anything because the database is busy.
            Err(error) => tracing::debug!(?error, "it is not known whether somebody still may"),
        }
    }
}

/// Returns when one of the topics has changed, with which one. `None`: it is not looked at any more.
async fn news(topics: &mut [One]) -> Option<usize> {
    if topics.is_empty() {
        return std::future::pending().await;
    }
    let changes = topics.iter_mut().map(|one| Box::pin(one.watched.changed()));
    let (changed, index, _) = select_all(changes).await;
    changed.ok().map(|()| index)
}
