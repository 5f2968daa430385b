//! Certificates: every host name that was added gets one, by itself, and in time a new one.
//!
//! [`decide`](decide::decide) (pure) says what to do next; [`run`] does it: looks whether a name
//! leads here ([`look`]), asks the authority ([`acme`]), has the node answer its questions, and puts
//! the certificate in force. What the nodes get is [`Certificates::subscribe`]: whole, kept apart from
//! the routes, because it is secret and changes seldom. Nodes go on with what they have while
//! control is away. Only names that were added are ever asked for.
//!
//! It fails by trying again: whatever is wrong is said in words with the name, and nothing is given
//! up. Keys are kept sealed.

mod acme;
mod chain;
mod decide;
mod dns;
mod http;
mod look;
mod memory;
mod names;
mod order;
mod rfc2136;
mod run;
mod settings;
#[cfg(test)]
mod simulation;
mod uploads;
mod warnings;
mod words;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use weir_model::certificate::{Certificate, CertificateSet, Challenge};
use weir_model::{CertificateId, UnixMillis};

use crate::clock::Clock;
use crate::secrets::{hex, random_bytes};

use look::Sign;
pub use run::run;
pub use settings::{
    Authority, DnsZone, authority, dns as dns_zone, set_authority, set_dns, unset_authority, unset_dns,
};
pub use uploads::{list, remove, upload};
pub use words::present;

/// So long may the node take to put answers in force.
const NODE_PATIENCE: Duration = Duration::from_secs(30);
/// Most names that wait to be tried because somebody wants it.
const MOST_RETRIES: usize = 10_000;

/// What is in force, and how each name stands; cheap to clone.
#[derive(Debug, Clone)]
pub struct Certificates {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Arc<dyn Clock>,
    set: watch::Sender<Arc<CertificateSet>>,
    /// By certificate, oldest first; and the questions that are open.
    parts: Mutex<Parts>,
    /// The version that the node serves by.
    applied: watch::Sender<u64>,
    /// Something has changed that was decided by.
    changed: Notify,
    standings: Mutex<words::Standings>,
    /// Names that somebody wants to be tried now.
    retries: Mutex<Vec<String>>,
    sign: Sign,
}

#[derive(Debug, Default)]
struct Parts {
    /// In the order in which they are told to nodes: of two for the same name the last one serves.
    certificates: BTreeMap<(UnixMillis, CertificateId), Certificate>,
    challenges: Vec<Challenge>,
    /// Whose certificate those get who name no host.
    default_host: Option<String>,
    /// Until everything was read once, nodes go on with what they have.
    open: bool,
}

impl Certificates {
    /// Nothing is in force yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let shared = Shared {
            clock,
            set: watch::Sender::new(Arc::default()),
            parts: Mutex::default(),
            applied: watch::Sender::new(0),
            changed: Notify::new(),
            standings: Mutex::default(),
            retries: Mutex::default(),
            sign: Sign {
                token: format!("weir-{}", hex(&random_bytes::<16>())),
                answer: hex(&random_bytes::<16>()),
            },
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// What nodes serve by, as it changes; version 0 means that there is nothing to say yet.
    pub fn subscribe(&self) -> watch::Receiver<Arc<CertificateSet>> {
        self.shared.set.subscribe()
    }

    /// A node says which version it serves by.
    pub fn node_reported(&self, version: u64) {
        self.shared.applied.send_if_modified(|applied| {
            let newer = *applied != version;
            *applied = version;
            newer
        });
        if version > self.shared.set.borrow().version {
            // It has one of a control whose clock was ahead: go on above it.
            let parts = self.parts();
            self.publish(&parts, version + 1);
        }
    }

    /// Names, settings or uploaded certificates have changed: look at everything anew.
    pub fn reload(&self) {
        self.shared.changed.notify_one();
    }

    /// Tries a name now, without the rest of its pause. Limits hold.
    pub fn retry(&self, name: &str) {
        let mut retries = self.shared.retries.lock().unwrap_or_else(PoisonError::into_inner);
        if retries.len() < MOST_RETRIES {
            retries.push(name.to_owned());
        }
        drop(retries);
        self.reload();
    }

    fn take_retries(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.retries.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a host has a certificate now.
    pub fn covers(&self, host: &str) -> bool {
        self.standings().covers(host, self.shared.clock.now_ms())
    }

    fn is_in_force(&self, id: CertificateId) -> bool {
        self.parts().certificates.keys().any(|(_, held)| *held == id)
    }

    fn parts(&self) -> std::sync::MutexGuard<'_, Parts> {
        // Every change of it is whole, whatever panics.
        self.shared.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn standings(&self) -> std::sync::MutexGuard<'_, words::Standings> {
        self.shared.standings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the nodes. Returns the version.
    fn publish(&self, parts: &Parts, least: u64) -> u64 {
        if !parts.open {
            return 0;
        }
        let before = self.shared.set.borrow().version;
        let now = u64::try_from(self.shared.clock.now_ms()).unwrap_or(0);
        let version = (before + 1).max(now).max(least);
        self.shared.set.send_replace(Arc::new(CertificateSet {
            version,
            certificates: parts.certificates.values().cloned().collect(),
            challenges: parts.challenges.clone(),
            default_host: parts.default_host.clone(),
        }));
        version
    }

    /// Puts certificates in force, and others out of it.
    fn change(&self, add: Vec<(UnixMillis, CertificateId, Certificate)>, remove: &[CertificateId]) {
        let mut parts = self.parts();
        parts.certificates.retain(|(_, id), _| !remove.contains(id));
        let add = add.into_iter().map(|(rank, id, certificate)| ((rank, id), certificate));
        parts.certificates.extend(add);
        self.publish(&parts, 0);
    }

    /// Whose certificate those get who name no host.
    fn set_default(&self, host: Option<String>) {
        let mut parts = self.parts();
        if parts.default_host != host {
            parts.default_host = host;
            self.publish(&parts, 0);
        }
    }

    /// From now on nodes are told.
    fn open(&self) {
        let mut parts = self.parts();
        parts.open = true;
        let sign = &self.shared.sign;
        let everywhere = Challenge {
            host: String::new(),
            token: sign.token.clone(),
            key_authorization: sign.answer.clone(),
        };
        if !parts.challenges.contains(&everywhere) {
            parts.challenges.push(everywhere);
        }
        self.publish(&parts, 0);
    }

    /// Has the node answer questions of an authority; returns once it does. Fails with words.
    async fn answer(&self, challenges: &[Challenge]) -> Result<(), String> {
        let version = {
            let mut parts = self.parts();
            parts.challenges.extend_from_slice(challenges);
            self.publish(&parts, 0)
        };
        self.in_force(version).await
    }

    /// Returns once the node serves by everything that was put in force. Fails with words.
    async fn all_in_force(&self) -> Result<(), String> {
        let version = self.shared.set.borrow().version;
        self.in_force(version).await
    }

    async fn in_force(&self, version: u64) -> Result<(), String> {
        let mut applied = self.shared.applied.subscribe();
        let applied = applied.wait_for(|applied| *applied >= version);
        match tokio::time::timeout(NODE_PATIENCE, applied).await {
            Ok(_) => Ok(()),
            Err(_) => Err(format!(
                "the node does not answer for its names: it has not taken the last change within {} s",
                NODE_PATIENCE.as_secs()
            )),
        }
    }

    /// These questions are not open any more.
    fn take_back(&self, challenges: &[Challenge]) {
        if challenges.is_empty() {
            return;
        }
        let mut parts = self.parts();
        let before = parts.challenges.len();
        parts.challenges.retain(|challenge| !challenges.contains(challenge));
        if parts.challenges.len() < before {
            self.publish(&parts, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    fn challenge(host: &str) -> Challenge {
        Challenge {
            host: host.to_owned(),
            token: "token".to_owned(),
            key_authorization: "token.key".to_owned(),
        }
    }

    #[tokio::test]
    async fn nodes_hear_nothing_before_everything_was_read() {
        let certificates = Certificates::new(Arc::new(SystemClock));
        let set = certificates.subscribe();
        certificates.take_back(&[challenge("a")]);
        assert_eq!(set.borrow().version, 0);
        certificates.open();
        let first = set.borrow().version;
        assert!(first > 0);
        assert_eq!(set.borrow().challenges.len(), 1, "the sign by which we know ourselves");
    }

    #[tokio::test]
    async fn an_answer_is_in_force_when_the_node_says_so() {
        let certificates = Certificates::new(Arc::new(SystemClock));
        certificates.open();
        let mut set = certificates.subscribe();
        let questions = [challenge("a.example.org")];
        let answer = certificates.answer(&questions);
        tokio::pin!(answer);
        let early = tokio::time::timeout(Duration::from_millis(20), &mut answer).await;
        assert!(early.is_err(), "no node has taken it");
        let version = set.borrow_and_update().version;
        certificates.node_reported(version - 1);
        let early = tokio::time::timeout(Duration::from_millis(20), &mut answer).await;
        assert!(early.is_err(), "it has the one before");
        certificates.node_reported(version);
        answer.await.unwrap();
        certificates.take_back(&questions);
        assert_eq!(set.borrow_and_update().challenges.len(), 1);
        certificates.node_reported(u64::MAX / 2);
        assert_eq!(
            set.borrow().version,
            u64::MAX / 2 + 1,
            "above a control whose clock was ahead"
        );
    }
}
