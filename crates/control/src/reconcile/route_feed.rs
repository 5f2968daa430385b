//! What nodes are told of routes: each environment's as one line, made when they change, and which
//! of them changed since when. A new generation costs what its change costs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weir_model::EnvironmentId;
use weir_model::cache::CachePurges;
use weir_model::project::Domain;
use weir_model::route_feed::{FORMAT, Feed, Head, Part, Since, line_digest, line_text};

use super::routing::{EnvironmentRoutes, host_of};

/// So many lines are one piece of an answer.
const LINES_IN_PIECE: usize = 256;

/// What was told, and what is to be told to whom.
#[derive(Debug)]
pub(super) struct RouteFeed {
    /// This run of control, above 0.
    epoch: u64,
    feed: Feed,
    lines: BTreeMap<EnvironmentId, Arc<str>>,
    /// Hosts, with each environment that has them: while one is moved there may be two. The last one
    /// has it.
    claims: BTreeSet<(Box<str>, EnvironmentId)>,
}

/// What a node is answered.
#[derive(Debug)]
pub struct RouteBatch {
    head: Head,
    lines: Vec<Arc<str>>,
}

impl RouteFeed {
    pub(super) fn new() -> Self {
        Self {
            // Below 2^53, so that every reader of JSON gets it whole.
            epoch: fastrand::u64(1..1 << 53),
            feed: Feed::default(),
            lines: BTreeMap::new(),
            claims: BTreeSet::new(),
        }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// An environment's domains change. Returns the other environments that have a host no more, or
    /// have it again, because of that.
    pub(super) fn claim(
        &mut self,
        environment: EnvironmentId,
        before: &[Domain],
        now: &[Domain],
    ) -> BTreeSet<EnvironmentId> {
        let mut others = BTreeSet::new();
        let hosts: BTreeSet<&str> = before.iter().chain(now).map(|domain| domain.host.as_str()).collect();
        let now: BTreeSet<&str> = now.iter().map(|domain| domain.host.as_str()).collect();
        for host in hosts {
            let had = self.owner(host);
            let key = (host.into(), environment);
            match now.contains(host) {
                true => self.claims.insert(key),
                false => self.claims.remove(&key),
            };
            let has = self.owner(host);
            if had != has {
                others.extend(had.into_iter().chain(has));
            }
        }
        others.remove(&environment);
        others
    }

    fn owner(&self, host: &str) -> Option<EnvironmentId> {
        let first = (Box::from(host), EnvironmentId::from_parts(0, 0));
        let claims = self.claims.range(first..).take_while(|(of, _)| **of == *host);
        claims.last().map(|(_, environment)| *environment)
    }

    /// The environment contributes this from a generation on.
    pub(super) fn set(&mut self, environment: EnvironmentId, current: &EnvironmentRoutes, generation: u64) {
        let line = match line_text(environment, Some(&self.part(environment, current))) {
            Ok(line) => line,
            Err(error) => {
                tracing::error!(environment.id = %environment, %error, "the routes of an environment cannot be written as JSON; nodes go on with those before. Report this as a bug of Weir");
                return;
            }
        };
        if self.lines.get(&environment).is_some_and(|known| **known == *line) {
            return;
        }
        self.feed.set(environment, generation, line_digest(line.as_bytes()));
        self.lines.insert(environment, line.into());
    }

    /// The environment is gone from a generation on.
    pub(super) fn remove(&mut self, environment: EnvironmentId, generation: u64) {
        self.feed.remove(environment, generation);
        self.lines.remove(&environment);
    }

    fn part(&self, environment: EnvironmentId, current: &EnvironmentRoutes) -> Part {
        let mut part = Part {
            draining: current.routes.draining.clone(),
            metered: current.metered.clone(),
            watched: current.watched.clone(),
            ..Part::default()
        };
        if let Some(gateway) = current.gateway {
            part.gateways.insert(gateway, current.routes.names.clone());
        }
        for domain in &current.domains {
            if self.owner(&domain.host) == Some(environment) {
                part.insert(domain.host.clone(), &host_of(environment, current, domain));
            }
        }
        part
    }

    /// What a node is told that has a generation of a run of control; everything, unless it is known
    /// what changed since.
    pub(super) fn answer(&self, epoch: u64, after: u64, generation: u64, purges: &CachePurges) -> RouteBatch {
        let since = match epoch == self.epoch && after <= generation {
            true => self.feed.since(after),
            false => Since::Whole,
        };
        let (after, lines, purges) = match since {
            Since::Whole => (None, self.lines.values().cloned().collect::<Vec<_>>(), purges.clone()),
            Since::Changed(changed) => {
                let told = changed.into_iter();
                let told = told.filter_map(|(environment, is_there)| match is_there {
                    true => self.lines.get(&environment).cloned(),
                    false => line_text(environment, None).ok().map(Arc::from),
                });
                // The others it has carried out.
                let list = purges.list.iter().filter(|purge| purge.number > after);
                let purges = CachePurges {
                    list: list.cloned().collect(),
                    ..*purges
                };
                (Some(after), told.collect(), purges)
            }
        };
        let head = Head {
            weir_routes: FORMAT,
            epoch: self.epoch,
            generation,
            after,
            lines: u64::try_from(lines.len()).unwrap_or(u64::MAX),
            digest: self.feed.digest(),
            cache_purges: purges,
        };
        RouteBatch { head, lines }
    }
}

impl RouteBatch {
    /// Its text, in pieces that are made one after the other: the whole of it may be large.
    ///
    /// # Errors
    /// None that is known: the head can be written as JSON.
    pub fn pieces(self) -> serde_json::Result<impl Iterator<Item = String> + Send + use<>> {
        let head = serde_json::to_string(&self.head)? + "\n";
        let lines = self.lines;
        let pieces = lines.len().div_ceil(LINES_IN_PIECE);
        let piece = move |number: usize| {
            let of_piece = lines.iter().skip(number * LINES_IN_PIECE).take(LINES_IN_PIECE);
            let mut text = String::new();
            for line in of_piece {
                text.push_str(line);
                text.push('\n');
            }
            text
        };
        Ok(std::iter::once(head).chain((0..pieces).map(piece)))
    }
}
