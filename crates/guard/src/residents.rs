//! Which instance has which address, learned environment by environment.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use weir_model::route::RouteSnapshot;
use weir_model::route_feed::{Part, parts_of};
use weir_model::{EnvironmentId, InstanceId};

use crate::seat::Seat;
use crate::sentry::{Addresses, Sentry, TargetName, is_own, lock};
use crate::target::Target;

/// Those of all environments.
#[derive(Debug, Default)]
pub(crate) struct Residents {
    households: HashMap<EnvironmentId, Household>,
    /// As they are to be published.
    addresses: Addresses,
    addresses_changed: bool,
    /// Not there any more, and perhaps in use still.
    left_seats: Vec<InstanceId>,
    left_targets: Vec<TargetName>,
}

/// Those of one environment.
#[derive(Debug, Default)]
struct Household {
    /// Instances, whether they have an address of their own or not.
    seats: Box<[(Arc<Seat>, Option<IpAddr>)]>,
    targets: Box<[Arc<Target>]>,
}

impl Residents {
    fn replace(&mut self, environment: EnvironmentId, household: Option<Household>) {
        let before = match household {
            Some(household) => {
                let before = self.households.insert(environment, household);
                before.unwrap_or_default()
            }
            None => self.households.remove(&environment).unwrap_or_default(),
        };
        let now = self.households.get(&environment);
        let same = now.is_some_and(|now| {
            let pairs = now.seats.iter().zip(&before.seats);
            now.seats.len() == before.seats.len()
                && pairs.into_iter().all(|(a, b)| Arc::ptr_eq(&a.0, &b.0) && a.1 == b.1)
        });
        if !same {
            for (seat, address) in &before.seats {
                let Some(address) = address else { continue };
                if self
                    .addresses
                    .get(address)
                    .is_some_and(|there| Arc::ptr_eq(there, seat))
                {
                    self.addresses.remove(address);
                    self.addresses_changed = true;
                }
            }
            for (seat, address) in now.iter().flat_map(|now| &now.seats) {
                if let Some(address) = address {
                    self.addresses.insert(*address, Arc::clone(seat));
                    self.addresses_changed = true;
                }
            }
            let left = before.seats.iter().map(|(seat, _)| seat.instance());
            self.left_seats.extend(left);
        }
        let stays =
            |target: &&Arc<Target>| now.is_some_and(|now| now.targets.iter().any(|one| Arc::ptr_eq(one, target)));
        let left = before.targets.iter().filter(|target| !stays(target));
        self.left_targets
            .extend(left.map(|target| (environment, target.text.clone())));
    }
}

impl Sentry {
    /// Learns from a snapshot which instance has which address, and the rules. Call it before
    /// routes are compiled from the snapshot. Rules of a target whose routes differ in them are
    /// those of the last route.
    pub fn update(&self, snapshot: &RouteSnapshot) {
        let parts = parts_of(snapshot);
        let known: Vec<EnvironmentId> = lock(&self.inner.residents).households.keys().copied().collect();
        for environment in known.iter().filter(|known| !parts.contains_key(known)) {
            self.learn(*environment, None);
        }
        for (environment, part) in &parts {
            self.learn(*environment, Some(part));
        }
        self.learned();
        drop_unused(&mut lock(&self.inner.seats));
        drop_unused(&mut lock(&self.inner.targets));
    }

    /// Learns of one environment what [`Self::update`] does of all; none: it is gone. Addresses count
    /// from [`Self::learned`] on.
    pub fn learn(&self, environment: EnvironmentId, part: Option<&Part>) {
        let household = part.map(|part| self.household(environment, part));
        lock(&self.inner.residents).replace(environment, household);
    }

    /// All changes have been told: from now on addresses are known by them.
    pub fn learned(&self) {
        let mut residents = lock(&self.inner.residents);
        if std::mem::take(&mut residents.addresses_changed) {
            self.inner.addresses.store(Arc::new(residents.addresses.clone()));
        }
        let mut seats = lock(&self.inner.seats);
        residents.left_seats.retain(|id| is_used(&mut seats, id));
        drop(seats);
        let mut targets = lock(&self.inner.targets);
        residents.left_targets.retain(|name| is_used(&mut targets, name));
    }

    fn household(&self, environment: EnvironmentId, part: &Part) -> Household {
        let mut residents: Vec<(InstanceId, String, Option<IpAddr>)> = Vec::new();
        let mut targets: Vec<Arc<Target>> = Vec::new();
        let mut known = HashSet::new();
        for route in part.kinds.iter().flat_map(|kind| &kind.routes) {
            let target = self.target(environment, &route.target);
            target.set_rules(&route.guard);
            if !targets.iter().any(|known| Arc::ptr_eq(known, &target)) {
                targets.push(target);
            }
            let of_canary = route.canary.iter().flat_map(|canary| &canary.pool);
            for backend in route.pool.iter().chain(of_canary) {
                let address = Some(backend.address.ip());
                if known.insert((backend.instance, address)) {
                    residents.push((backend.instance, route.target.clone(), address));
                }
            }
        }
        residents.extend(part.metered.iter().map(|metered| {
            let text = format!("{}.{}", metered.app, metered.process);
            (metered.instance, text, metered.address)
        }));
        let mut seats = lock(&self.inner.seats);
        let named = residents.into_iter().map(|(instance, text, address)| {
            let seat = seats
                .entry(instance)
                .or_insert_with(|| Arc::new(self.new_seat(instance, environment, &text)));
            if seat.target.names.is_none() {
                // Somebody asked for it before it was known.
                *seat = Arc::new(self.new_seat(instance, environment, &text));
            }
            // Instances that share this machine's own address cannot be told from visitors.
            (Arc::clone(seat), address.filter(|address| !is_own(address)))
        });
        Household {
            seats: named.collect(),
            targets: targets.into_boxed_slice(),
        }
    }
}

/// Whether anybody uses it still; forgets it otherwise.
fn is_used<K: Eq + std::hash::Hash, V>(map: &mut HashMap<K, Arc<V>>, key: &K) -> bool {
    let is_used = map.get(key).is_some_and(|value| Arc::strong_count(value) > 1);
    if !is_used {
        map.remove(key);
    }
    is_used
}

fn drop_unused<K, V>(map: &mut HashMap<K, Arc<V>>) {
    map.retain(|_, value| Arc::strong_count(value) > 1);
}
