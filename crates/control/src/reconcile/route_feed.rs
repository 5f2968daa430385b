//! What nodes are told of routes: each environment's as one line, made when they change, and which
//! of them changed since when. A new generation costs what its change costs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weir_model::EnvironmentId;
use weir_model::cache::CachePurges;
use weir_model::project::Domain;
use weir_model::route_feed::{FORMAT, Feed, Head, Part, Since, line_digest, line_text};

use super::routing::{EnvironmentRoutes, host_of};
use super::tcp;

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
            draining: current.routes.draining.iter().cloned().collect(),
            metered: current.metered.clone(),
            watched: current.watched.clone(),
            ..Part::default()
        };
        if let Some(gateway) = current.gateway {
            part.gateways.insert(gateway, current.routes.names.clone());
        }
        part.tcp = tcp::routes(environment, current);
        for service in &mut part.tcp {
            service.hosts.retain(|host| self.owner(host) == Some(environment));
        }
        for domain in current.domains.iter().filter(|domain| domain.tcp.is_none()) {
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

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use weir_model::certificate::HttpsPolicy;
    use weir_model::route::{Backend, HostRoutes};
    use weir_model::route_feed::{Line, Replica, read_batch};
    use weir_model::{DomainId, InstanceId};

    use super::super::routing::Routing;
    use super::*;

    fn environment(number: u64) -> EnvironmentId {
        EnvironmentId::from_parts(1, u128::from(number))
    }

    fn domain(environment: EnvironmentId, host: u64) -> Domain {
        Domain {
            id: DomainId::from_parts(1, u128::from(host)),
            environment,
            app: None,
            host: format!("{host}.test"),
            platform: false,
            redirect_to: fastrand::bool().then(|| "www.test".to_owned()),
            https: HttpsPolicy::default(),
            tcp: None,
            created_ms: 1,
        }
    }

    /// Few hosts for many environments: they are taken from each other all the time.
    fn contribution(number: u64) -> EnvironmentRoutes {
        let environment = environment(number);
        let mut routes = super::super::plan::Routes::default();
        routes.draining.extend(fastrand::bool().then(|| Backend {
            instance: InstanceId::from_parts(1, u128::from(fastrand::u64(0..9))),
            address: ([10, 0, 0, 1], 80).into(),
        }));
        let last = u8::try_from(number).unwrap();
        EnvironmentRoutes {
            title: format!("shop {}", fastrand::u8(0..2)),
            main_app: None,
            domains: (0..10)
                .filter(|_| fastrand::u8(0..4) == 0)
                .map(|host| domain(environment, host))
                .collect(),
            gateway: fastrand::bool().then_some(IpAddr::V4(Ipv4Addr::new(10, 1, last, 1))),
            routes,
            guard: BTreeMap::new(),
            protections: crate::protecting::Protections::default(),
            access_log: BTreeMap::new(),
            caching: super::super::caching::Caching::default(),
            metered: Vec::new(),
            watched: BTreeMap::new(),
            tcp_ports: BTreeMap::new(),
        }
    }

    #[derive(Default)]
    struct Node {
        replica: Replica,
        parts: BTreeMap<EnvironmentId, Part>,
    }

    impl Node {
        /// Asks, and gives how many lines came.
        fn ask(&mut self, routing: &Routing) -> usize {
            let batch = routing.batch(self.replica.epoch(), self.replica.generation());
            let text: String = batch.pieces().unwrap().collect();
            let batch = read_batch(text.as_bytes()).unwrap();
            let taken = self.replica.take(&batch, text.as_bytes()).unwrap();
            assert!(taken.is_right);
            for environment in taken.gone {
                self.parts.remove(&environment);
            }
            for number in taken.changed {
                let line: Line = serde_json::from_str(&text[batch.lines[number].1.clone()]).unwrap();
                self.parts.insert(line.environment, line.part.unwrap());
            }
            batch.lines.len()
        }

        fn hosts(&self) -> BTreeMap<String, HostRoutes> {
            let mut all = BTreeMap::new();
            for (name, host) in self.parts.values().flat_map(Part::hosts) {
                assert!(
                    all.insert(name.to_owned(), host.clone()).is_none(),
                    "{name} is there twice"
                );
            }
            all
        }
    }

    #[test]
    fn who_takes_the_differences_has_what_the_whole_says() {
        for seed in 0..60 {
            fastrand::seed(seed);
            let routing = Routing::new();
            routing.open(1);
            let mut nodes = [Node::default(), Node::default()];
            for step in 0..120 {
                let number = fastrand::u64(1..7);
                match fastrand::u8(0..8) {
                    0 => routing.withdraw(environment(number), step),
                    1 => drop(routing.purge(environment(number), None, None, step)),
                    _ => routing.publish(environment(number), contribution(number), step),
                }
                let node = &mut nodes[usize::from(fastrand::bool())];
                if fastrand::bool() {
                    continue;
                }
                node.ask(&routing);
                let whole = routing.snapshot();
                assert_eq!(node.hosts(), whole.hosts, "seed {seed}");
                assert_eq!(node.replica.generation(), whole.generation);
                let draining: usize = node.parts.values().map(|part| part.draining.len()).sum();
                assert_eq!(draining, whole.draining.len());
                let gateways = node.parts.values().flat_map(|part| part.gateways.keys().copied());
                assert_eq!(gateways.collect::<Vec<_>>(), whole.gateways);
            }
        }
    }

    #[test]
    fn a_node_hears_of_the_one_environment_that_changed() {
        let routing = Routing::new();
        let shop = |number: u64, title: &str| EnvironmentRoutes {
            title: title.to_owned(),
            domains: vec![domain(environment(number), number)],
            gateway: None,
            ..contribution(number % 200)
        };
        for number in 0..3_000 {
            routing.publish(environment(number), shop(number, "old"), 1);
        }
        routing.open(1);
        let mut node = Node::default();
        assert_eq!(node.ask(&routing), 3_000);
        assert_eq!(node.ask(&routing), 0);
        routing.publish(environment(7), shop(7, "new"), 2);
        routing.withdraw(environment(8), 3);
        assert_eq!(node.ask(&routing), 2);
        assert_eq!(node.hosts()["7.test"].title, "new");
        assert!(!node.hosts().contains_key("8.test"));
    }
}
