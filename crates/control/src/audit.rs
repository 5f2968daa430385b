//! What was done, by whom, from where: written down before the answer is out. Never bodies, never
//! secrets; the store refuses to change or remove it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderValue, Method, StatusCode, header, request};
use weir_model::UnixMillis;
use weir_model::policy::Place;
use weir_model::project::Project;
use weir_store::{AuditEntry, AuditPlace};

use crate::api::auth::{Caller, Who};
use crate::context::Context;
use crate::people::scope::ALL;
use crate::secrets::{hex, random_bytes};

/// Refusals of those who are not known that are written down in [`WINDOW_MS`]; more are only counted,
/// so that nobody fills the disk by asking.
const REFUSALS: u32 = 300;
const WINDOW_MS: i64 = 3_600_000;
/// Most places with an entry of their own for one request; of more it is said how many there are.
const SPOTS: usize = 20;

/// What is being done.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Method of the request.
    pub(crate) method: Method,
    route: &'static str,
    /// Identity of the request, which the answer bears, too.
    pub(crate) request: String,
    address: IpAddr,
    agent: String,
    target: String,
    /// Whether a token came with it, right or wrong.
    pub(crate) tried: bool,
    who: Option<(&'static str, String, String)>,
    caller: Option<Caller>,
    scope: String,
    place: Place,
}

impl Entry {
    /// A request of somebody who is not known yet.
    pub(crate) fn new(
        context: &Context,
        route: &'static str,
        parts: &request::Parts,
        peer: IpAddr,
        path: &HashMap<String, String>,
    ) -> Self {
        let agent = parts
            .headers
            .get(header::USER_AGENT)
            .map_or(&b""[..], HeaderValue::as_bytes);
        let mut target: Vec<(&String, &String)> = path
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "project" | "environment"))
            .collect();
        target.sort();
        let target: Vec<&str> = target.iter().map(|(_, value)| value.as_str()).collect();
        let at = u64::try_from(context.clock.now_ms()).unwrap_or_default();
        Self {
            method: parts.method.clone(),
            route,
            request: format!("req_{at:011x}{}", hex(&random_bytes::<6>())),
            address: peer,
            agent: String::from_utf8_lossy(agent).into_owned(),
            target: target.join(" "),
            tried: parts.headers.contains_key(header::AUTHORIZATION),
            who: None,
            caller: None,
            scope: String::new(),
            place: Place::Platform,
        }
    }

    /// Whether it may change something.
    pub(crate) fn changes(&self) -> bool {
        !matches!(self.method, Method::GET | Method::HEAD)
    }

    /// Now it is known who asks.
    pub(crate) fn by(&mut self, caller: &Caller) {
        let kind = match caller.who {
            Who::Person(..) => "person",
            Who::Token(_) => "token",
            Who::ServiceAccount(..) => "service-account",
        };
        self.who = Some((kind, caller.identity(), caller.name().to_owned()));
        self.caller = Some(caller.clone());
    }

    /// Now it is known what it is about.
    pub(crate) fn at(&mut self, scope: &str, place: Place) {
        self.scope = scope.to_owned();
        self.place = place;
    }

    /// As it is kept, at one of the places that it is about.
    fn kept(self, at_ms: UnixMillis, status: StatusCode, note: Note, at: Option<Spot>) -> AuditEntry {
        let at = at.unwrap_or(Spot {
            scope: match self.scope.is_empty() {
                true => ALL.to_owned(),
                false => self.scope,
            },
            place: self.place,
            detail: None,
        });
        let place = at.place;
        let role = self.caller.as_ref().map(|caller| caller.rights.words_in(place));
        let (kind, id, name) = match (self.who, note.who) {
            (Some((kind, id, name)), _) => (kind, Some(id), name),
            (None, Some((id, name))) if id.is_some() => ("person", id, name),
            (None, Some((_, name))) => ("unknown", None, name),
            (None, None) => ("unknown", None, String::new()),
        };
        AuditEntry {
            sequence: 0,
            at_ms,
            who_kind: kind.to_owned(),
            who_id: id,
            who: name,
            role: role.unwrap_or_else(|| "none".to_owned()),
            address: self.address.to_string(),
            agent: self.agent,
            method: self.method.to_string(),
            route: self.route.to_owned(),
            scope: at.scope,
            place: AuditPlace::from(place),
            target: if note.target.is_empty() {
                self.target
            } else {
                note.target
            },
            status: i64::from(status.as_u16()),
            request: self.request,
            detail: at.detail.unwrap_or(note.detail),
        }
    }
}

#[derive(Debug, Clone, Default)]
struct Note {
    who: Option<(Option<String>, String)>,
    target: String,
    detail: String,
    spots: Vec<Spot>,
}

/// One of the places that something is about, with what is worth knowing there: what it is elsewhere is
/// not for those who look after only this one.
#[derive(Debug, Clone)]
struct Spot {
    scope: String,
    place: Place,
    detail: Option<String>,
}

/// What a handler has to add. Never a secret.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<Note>>);

impl Notes {
    fn with(&self, change: impl FnOnce(&mut Note)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Who it is, or says to be: identity, if it is certain, and name.
    pub(crate) fn who(&self, id: Option<String>, name: &str) {
        self.with(|note| note.who = Some((id, name.to_owned())));
    }

    /// What it is about.
    pub(crate) fn target(&self, target: &str) {
        self.with(|note| target.clone_into(&mut note.target));
    }

    /// Where it is, when the path does not say so.
    pub(crate) fn at(&self, scope: &str, place: Place) {
        self.spot(scope, place, None);
    }

    /// Where it is, one of several places: each gets an entry of its own, with what is worth knowing there.
    pub(crate) fn also_at(&self, scope: &str, place: Place, detail: &str) {
        self.spot(scope, place, Some(detail.to_owned()));
    }

    /// What was said of places holds no more.
    pub(crate) fn nowhere(&self) {
        self.with(|note| note.spots.clear());
    }

    fn spot(&self, scope: &str, place: Place, detail: Option<String>) {
        let scope = scope.to_owned();
        self.with(|note| match note.spots.iter_mut().find(|spot| spot.place == place) {
            Some(known) => match (&mut known.detail, detail) {
                (Some(known), Some(more)) => *known = format!("{known}, {more}"),
                (known, more) => *known = known.take().or(more),
            },
            None => note.spots.push(Spot { scope, place, detail }),
        });
    }

    /// The same is worth knowing in all places.
    pub(crate) fn everywhere(&self, detail: &str) {
        self.with(|note| {
            detail.clone_into(&mut note.detail);
            for spot in &mut note.spots {
                spot.detail = None;
            }
        });
    }

    /// What is worth knowing besides.
    pub(crate) fn detail(&self, detail: &str) {
        self.with(|note| detail.clone_into(&mut note.detail));
    }
}

/// Writes entries.
#[derive(Debug, Default)]
pub struct Audit {
    refusals: Mutex<Refusals>,
}

#[derive(Debug, Default)]
struct Refusals {
    since_ms: UnixMillis,
    seen: u32,
}

impl Audit {
    /// Writes down what was done. What cannot be written is said in the log of Weir.
    pub(crate) async fn note(&self, context: &Context, entry: Entry, status: StatusCode, notes: &Notes) {
        let now_ms = context.clock.now_ms();
        let mut note = notes.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if entry.who.is_none() && !status.is_success() {
            match self.admit(now_ms) {
                None => return,
                Some(0) => {}
                Some(left_out) => {
                    note.detail = format!("{left_out} refusals before it were not written down. {}", note.detail);
                }
            }
        }
        let mut spots = std::mem::take(&mut note.spots);
        if spots.len() > SPOTS {
            let more = spots.len() - SPOTS;
            spots.truncate(SPOTS);
            spots.push(Spot {
                scope: ALL.to_owned(),
                place: Place::Platform,
                detail: Some(format!("and {more} more places")),
            });
        }
        if spots.is_empty() {
            return write(context, entry.kept(now_ms, status, note, None)).await;
        }
        for spot in spots {
            let kept = entry.clone().kept(now_ms, status, note.clone(), Some(spot));
            write(context, kept).await;
        }
    }

    /// Whether one more refusal is written down; if so, how many were not, since the last one was.
    fn admit(&self, now_ms: UnixMillis) -> Option<u32> {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left_out = 0;
        if now_ms - refusals.since_ms >= WINDOW_MS {
            left_out = refusals.seen.saturating_sub(REFUSALS);
            *refusals = Refusals {
                since_ms: now_ms,
                seen: 0,
            };
        }
        refusals.seen = refusals.seen.saturating_add(1);
        (refusals.seen <= REFUSALS).then_some(left_out)
    }
}

/// Writes down that a push has begun; what becomes of it is in its task.
pub(crate) async fn pushed(
    context: &Context,
    caller: &Caller,
    project: &Project,
    parts: &request::Parts,
    peer: IpAddr,
) {
    let mut entry = Entry::new(
        context,
        "/git/{repository}/git-receive-pack",
        parts,
        peer,
        &HashMap::new(),
    );
    entry.by(caller);
    entry.at(project.name.as_str(), Place::Project(project.account, project.id));
    let kept = entry.kept(context.clock.now_ms(), StatusCode::OK, Note::default(), None);
    write(context, kept).await;
}

async fn write(context: &Context, entry: AuditEntry) {
    if let Err(error) = context.store.audit_insert(&entry).await {
        tracing::error!(%error, who = entry.who, what = entry.route, "the audit log could not be written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_strangers_are_counted_when_they_are_too_many() {
        let audit = Audit::default();
        for _ in 0..REFUSALS {
            assert_eq!(audit.admit(WINDOW_MS), Some(0));
        }
        assert_eq!(audit.admit(WINDOW_MS), None);
        assert_eq!(audit.admit(WINDOW_MS), None);
        assert_eq!(audit.admit(2 * WINDOW_MS), Some(2));
        assert_eq!(audit.admit(2 * WINDOW_MS), Some(0));
    }
}
