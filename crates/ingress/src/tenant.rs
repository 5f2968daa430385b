//! What outlives the routes of one environment, and what of tables is its own.

use std::net::IpAddr;
use std::sync::Arc;

use weir_model::EnvironmentId;
use weir_model::route::{Backend, HostRoutes, Route};

use crate::admission::Gate;
use crate::class;
use crate::clock::Clock;
use crate::era::Era;
use crate::process::Process;

/// One environment, as the registry keeps it between two changes. There may be a hundred thousand,
/// so nothing here has room to spare.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) era: Arc<Era>,
    /// Names of its hosts.
    pub(crate) hosts: Box<[Arc<str>]>,
    /// By `app.process`.
    pub(crate) processes: Box<[(Box<str>, Process)]>,
    pub(crate) gates: Box<[ClassGate]>,
    /// Instances of its pools, each once.
    pub(crate) pooled: Box<[Backend]>,
    pub(crate) draining: Box<[Backend]>,
    pub(crate) gateways: Box<[IpAddr]>,
    /// Of its instances.
    pub(crate) addresses: Box<[IpAddr]>,
}

/// Where requests of a class wait. Those of the default class wait at the gate of their process.
#[derive(Debug, Clone)]
pub(crate) struct ClassGate {
    pub(crate) target: Box<str>,
    pub(crate) class: Box<str>,
    pub(crate) gate: Arc<Gate>,
}

impl Tenant {
    /// One that nothing is known of yet.
    pub(crate) fn new(epoch: u64) -> Self {
        Self {
            era: Arc::new(Era::new(epoch)),
            hosts: Box::default(),
            processes: Box::default(),
            gates: Box::default(),
            pooled: Box::default(),
            draining: Box::default(),
            gateways: Box::default(),
            addresses: Box::default(),
        }
    }
}

/// The gates of classes of one environment: those that were there, and those that are.
#[derive(Debug)]
pub(crate) struct ClassGates {
    clock: Clock,
    pub(crate) previous: Vec<ClassGate>,
    pub(crate) current: Vec<ClassGate>,
}

impl ClassGates {
    pub(crate) fn new(clock: Clock, previous: Box<[ClassGate]>) -> Self {
        Self {
            clock,
            previous: previous.into_vec(),
            current: Vec::new(),
        }
    }

    /// Where requests of the route's class wait, if that is not where all of the process do.
    pub(crate) fn of_class(&mut self, route: &Route) -> Option<Arc<Gate>> {
        let class = route
            .class
            .as_ref()
            .filter(|class| usize::from(class.number) != class::DEFAULT)?;
        Some(self.of(&route.target, &class.name))
    }

    /// Where requests wait that are for the canary: its places are not those of the other release.
    pub(crate) fn of_canary(&mut self, route: &Route) -> Arc<Gate> {
        let class = route.class.as_ref().map_or("", |class| class.name.as_str());
        // No class has a space in its name.
        self.of(&route.target, &format!("canary {class}"))
    }

    fn of(&mut self, target: &str, class: &str) -> Arc<Gate> {
        let is_meant = |gate: &ClassGate| (&*gate.target, &*gate.class) == (target, class);
        if let Some(known) = self.current.iter().find(|gate| is_meant(gate)) {
            return Arc::clone(&known.gate);
        }
        let kept = self.previous.iter().position(is_meant);
        let gate = match kept {
            Some(place) => self.previous.swap_remove(place),
            None => ClassGate {
                target: target.into(),
                class: class.into(),
                gate: Arc::new(Gate::new(self.clock)),
            },
        };
        self.current.push(gate.clone());
        gate.gate
    }
}

/// What all routes of one environment in one table share.
#[derive(Debug, Clone)]
pub(crate) struct Edition {
    pub(crate) environment: EnvironmentId,
    pub(crate) epoch: u64,
    pub(crate) era: Arc<Era>,
}

/// Whether what the host says depends on its name, or counts for it alone, so that others cannot
/// share what it is compiled to.
pub(crate) fn is_its_own(host: &HostRoutes) -> bool {
    host.redirect_to.is_some() || host.protection.is_some()
}
