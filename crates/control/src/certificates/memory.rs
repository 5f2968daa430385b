//! What is remembered of certificates and of the attempts to get them. Pure; whoever changes it
//! writes the same into the store.

use std::collections::BTreeMap;

use weir_model::{CertificateId, UnixMillis};

use super::decide::{Held, Limits, Order, Plan, Spent, Subject, Tried, Wanted, World, away_pause_ms, decide};

/// What is remembered.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    pub(super) limits: Limits,
    pub(super) held: Vec<Held>,
    pub(super) tried: BTreeMap<String, Tried>,
    pub(super) spent: Spent,
    /// How often in a row the authority could not be reached.
    pub(super) away: u32,
}

impl Memory {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            held: Vec::new(),
            tried: BTreeMap::new(),
            spent: Spent::default(),
            away: 0,
        }
    }

    pub(super) fn plan(&self, wanted: &[Wanted], under_way: &[Order], now_ms: UnixMillis) -> Plan {
        let world = World {
            wanted,
            held: &self.held,
            tried: &self.tried,
            spent: &self.spent,
            under_way,
            limits: self.limits,
        };
        decide(&world, now_ms)
    }

    /// An order was placed.
    pub(super) fn ordered(&mut self, now_ms: UnixMillis) {
        self.spent.orders.push(now_ms);
    }

    /// A name does not lead here.
    pub(super) fn led_elsewhere(&mut self, name: &str, now_ms: UnixMillis, random: u64) -> Tried {
        let tried = self.tried.get(name).copied().unwrap_or_default();
        let tried = tried.led_elsewhere(now_ms, random);
        self.tried.insert(name.to_owned(), tried);
        tried
    }

    /// The authority refused a name.
    pub(super) fn refused(&mut self, name: &str, now_ms: UnixMillis, random: u64) -> Tried {
        let tried = self
            .tried
            .get(name)
            .copied()
            .unwrap_or_default()
            .refused(now_ms, random);
        self.tried.insert(name.to_owned(), tried);
        self.spent.failures.entry(name.to_owned()).or_default().push(now_ms);
        self.away = 0;
        tried
    }

    /// The authority does not want to hear of something for a while.
    pub(super) fn limited(&mut self, subject: Subject, until_ms: UnixMillis) {
        let until = self.spent.barred.entry(subject).or_insert(until_ms);
        *until = until_ms.max(*until);
    }

    /// The authority could not be reached. Nothing is asked until the instant that is returned.
    pub(super) fn unreachable(&mut self, now_ms: UnixMillis, random: u64) -> UnixMillis {
        let until_ms = now_ms + away_pause_ms(self.away, random);
        // Orders that were under way together fail together; that is one failure.
        if self
            .spent
            .barred
            .get(&Subject::Account)
            .is_none_or(|until| *until <= now_ms)
        {
            self.away = self.away.saturating_add(1);
            self.limited(Subject::Account, until_ms);
        }
        self.spent.barred.get(&Subject::Account).copied().unwrap_or(until_ms)
    }

    /// A certificate was issued. Returns those that nobody needs beside it.
    pub(super) fn issued(&mut self, held: Held, registered: &str, now_ms: UnixMillis) -> Vec<CertificateId> {
        for name in &held.names {
            self.tried.remove(name);
        }
        let certificates = self.spent.certificates.entry(registered.to_owned()).or_default();
        certificates.push(now_ms);
        self.away = 0;
        self.hold(held)
    }

    /// Takes a certificate in. Returns those that nobody needs beside it.
    pub(super) fn hold(&mut self, held: Held) -> Vec<CertificateId> {
        self.held.push(held);
        let mut longest: BTreeMap<&str, (UnixMillis, CertificateId)> = BTreeMap::new();
        for held in &self.held {
            for name in &held.names {
                let best = longest.entry(name).or_insert((held.not_after_ms, held.id));
                *best = (held.not_after_ms, held.id).max(*best);
            }
        }
        let needed = |held: &Held| {
            held.uploaded
                || held
                    .names
                    .iter()
                    .any(|name| longest.get(name.as_str()).is_some_and(|(_, id)| *id == held.id))
        };
        let over: Vec<CertificateId> = self
            .held
            .iter()
            .filter(|held| !needed(held))
            .map(|held| held.id)
            .collect();
        self.held.retain(|held| !over.contains(&held.id));
        over
    }

    /// Takes a certificate away.
    pub(super) fn drop_held(&mut self, id: CertificateId) {
        self.held.retain(|held| held.id != id);
    }

    /// Forgets what does not count any more.
    pub(super) fn prune(&mut self, now_ms: UnixMillis) {
        let since_ms = now_ms - self.limits.longest_ms();
        let young = |past: &mut Vec<UnixMillis>| {
            past.retain(|at| *at > since_ms);
            !past.is_empty()
        };
        young(&mut self.spent.orders);
        self.spent.certificates.retain(|_, past| young(past));
        self.spent.failures.retain(|_, past| young(past));
        self.spent.barred.retain(|_, until| *until > now_ms);
    }
}
