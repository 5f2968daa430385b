//! How the routes travel from control to the nodes: by environment, and of those only the ones that
//! changed.
//!
//! What is sent, and kept on disk, is a log of batches. A batch is a [`Head`] on a line of its own
//! and then as many lines as it says, each the whole [`Part`] of one environment or that it is
//! gone. A batch is in force when all of it is there. Control remembers when each environment
//! changed last ([`Feed`]), so that it answers from any generation with what changed since; a node
//! ([`Replica`]) takes only what follows on what it has, and compares a digest of the whole.

mod feed;
mod log;
#[cfg(test)]
mod worlds;

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::cache::CachePurges;
use crate::route::{Backend, HostRoutes, MeteredInstance, RouteSnapshot, WatchedProcess};
use crate::tcp::TcpRoute;
use crate::{EnvironmentId, InstanceId};

pub use feed::{Feed, Refusal, Replica, Since, Taken};
pub use log::{Batch, Log, LogError, read_batch, read_log};

/// The form of batches that this reads and writes.
pub const FORMAT: u32 = 1;
/// So many kinds of hosts of an environment are compared with each further one.
const MOST_COMPARED: usize = 8;

/// What one environment contributes to what nodes serve by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Part {
    /// What its hosts say; those that say the same share one.
    pub kinds: Vec<HostRoutes>,
    /// By host name, lower case, without port: which of the kinds it is.
    pub hosts: BTreeMap<String, u32>,
    /// Addresses of its networks, with the private names that may be looked up there.
    pub gateways: BTreeMap<IpAddr, BTreeMap<String, Vec<IpAddr>>>,
    /// Instances that finish what they have.
    pub draining: Vec<Backend>,
    /// Instances that have to be paid for.
    pub metered: Vec<MeteredInstance>,
    /// Processes that scale or sleep, by `app.process`.
    pub watched: BTreeMap<String, WatchedProcess>,
    /// What is reached by TCP and not by HTTP.
    pub tcp: Vec<TcpRoute>,
}

/// What a batch begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// [`FORMAT`].
    pub weir_routes: u32,
    /// Which run of control says this. Another one knows nothing of earlier generations.
    pub epoch: u64,
    /// Whoever has applied it serves by this generation.
    pub generation: u64,
    /// On which generation it follows; none: it is everything that there is.
    pub after: Option<u64>,
    /// How many lines follow.
    pub lines: u64,
    /// Sum, modulo 2^64, of the [digests](line_digest) of all environments' lines once it is applied.
    pub digest: u64,
    /// Kept answers to be forgotten.
    #[serde(default)]
    pub cache_purges: CachePurges,
}

/// One environment, on a line of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Which.
    pub environment: EnvironmentId,
    /// None: it is gone.
    pub part: Option<Part>,
}

/// Whose routes are those of which nobody knows whose they are; only snapshots of an earlier
/// control have any.
pub fn nobody() -> EnvironmentId {
    EnvironmentId::from_parts(0, 0)
}

/// The text of a line, without its end.
///
/// # Errors
/// None that is known: all of it can be written as JSON.
pub fn line_text(environment: EnvironmentId, part: Option<&Part>) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Borrowed<'a> {
        environment: EnvironmentId,
        part: Option<&'a Part>,
    }
    serde_json::to_string(&Borrowed { environment, part })
}

/// The digest of a line without its end: the first 64 bits of its SHA-256.
pub fn line_digest(line: &[u8]) -> u64 {
    let whole: [u8; 32] = Sha256::digest(line).into();
    let (first, _) = whole.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
    u64::from_be_bytes(*first)
}

impl Part {
    /// Adds a host.
    pub fn insert(&mut self, name: String, host: &HostRoutes) {
        let recent = self.kinds.len().saturating_sub(MOST_COMPARED);
        let known = self.kinds[recent..].iter().rposition(|kind| kind == host);
        let index = known.map_or(self.kinds.len(), |position| recent + position);
        if index == self.kinds.len() {
            self.kinds.push(host.clone());
        }
        self.hosts.insert(name, u32::try_from(index).unwrap_or(u32::MAX));
    }

    /// The hosts and what they say. A host whose kind is not there says nothing and is left out.
    pub fn hosts(&self) -> impl Iterator<Item = (&str, &HostRoutes)> {
        let kind = |index: &u32| self.kinds.get(usize::try_from(*index).ok()?);
        self.hosts
            .iter()
            .filter_map(move |(name, index)| Some((name.as_str(), kind(index)?)))
    }
}

/// A snapshot taken apart by environment.
pub fn parts_of(snapshot: &RouteSnapshot) -> BTreeMap<EnvironmentId, Part> {
    let mut parts: BTreeMap<EnvironmentId, Part> = BTreeMap::new();
    let mut owners: BTreeMap<InstanceId, EnvironmentId> = BTreeMap::new();
    for (name, host) in &snapshot.hosts {
        let of_route = host.routes.iter().flat_map(|route| {
            let of_canary = route.canary.iter().flat_map(|canary| &canary.pool);
            route.pool.iter().chain(of_canary)
        });
        owners.extend(of_route.map(|backend| (backend.instance, host.environment)));
        parts.entry(host.environment).or_default().insert(name.clone(), host);
    }
    for tcp in &snapshot.tcp {
        let pool = tcp.route.pool.iter();
        owners.extend(pool.map(|backend| (backend.instance, tcp.environment)));
        parts.entry(tcp.environment).or_default().tcp.push(tcp.clone());
    }
    for metered in &snapshot.metered {
        owners.insert(metered.instance, metered.environment);
        let part = parts.entry(metered.environment).or_default();
        part.metered.push(metered.clone());
    }
    for backend in &snapshot.draining {
        let owner = owners.get(&backend.instance).copied().unwrap_or_else(nobody);
        parts.entry(owner).or_default().draining.push(backend.clone());
    }
    for gateway in &snapshot.gateways {
        let owner = snapshot.networks.get(gateway).copied().unwrap_or_else(nobody);
        let names = snapshot.names.get(gateway).cloned().unwrap_or_default();
        parts.entry(owner).or_default().gateways.insert(*gateway, names);
    }
    for (environment, watched) in &snapshot.watched {
        parts.entry(*environment).or_default().watched.clone_from(watched);
    }
    parts
}

/// What a node has kept on disk, also in the form of earlier versions. What cannot be understood is
/// left out.
pub fn read_kept(text: &[u8]) -> BTreeMap<EnvironmentId, Part> {
    let Ok(log) = read_log(text) else {
        let snapshot: Option<RouteSnapshot> = serde_json::from_slice(text).ok();
        return snapshot.as_ref().map(parts_of).unwrap_or_default();
    };
    let part = |range: std::ops::Range<usize>| serde_json::from_slice::<Line>(&text[range]).ok()?.part;
    let lines = log.lines.into_iter();
    lines
        .filter_map(|(environment, range)| Some((environment, part(range)?)))
        .collect()
}

/// The whole text of a batch that says what a snapshot says; for snapshots of an earlier control,
/// whose run has no number (its `epoch` is 0).
///
/// # Errors
/// None that is known: all of it can be written as JSON.
pub fn batch_of(snapshot: &RouteSnapshot) -> serde_json::Result<String> {
    let parts = parts_of(snapshot);
    let (mut text, mut digest) = (String::new(), 0_u64);
    for (environment, part) in &parts {
        let line = line_text(*environment, Some(part))?;
        digest = digest.wrapping_add(line_digest(line.as_bytes()));
        text.push_str(&line);
        text.push('\n');
    }
    let head = Head {
        weir_routes: FORMAT,
        epoch: 0,
        generation: snapshot.generation,
        after: None,
        lines: u64::try_from(parts.len()).unwrap_or(u64::MAX),
        digest,
        cache_purges: snapshot.cache_purges.clone(),
    };
    Ok(format!("{}\n{text}", serde_json::to_string(&head)?))
}
