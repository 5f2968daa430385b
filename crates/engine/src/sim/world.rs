//! The simulated machine: what exists, and what happens to it as time passes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use weir_model::{AppName, EnvironmentId, InstanceId, VolumeName};

use crate::{
    EngineError, EngineEvent, ImageFacts, InstanceRole, InstanceSpec, InstanceState, Network, ObservedInstance,
    OutputChunk,
};

use super::{Behaviour, Faults, SimBuild};

/// A watcher that does not listen is told to look at everything rather than kept in memory.
const MOST_EVENTS: usize = 1024;

/// What a watcher has not heard yet.
pub(super) type EventQueue = Arc<Mutex<VecDeque<EngineEvent>>>;

/// A simulated container.
#[derive(Debug)]
pub(super) struct SimInstance {
    pub(super) spec: InstanceSpec,
    pub(super) behaviour: Behaviour,
    pub(super) state: InstanceState,
    pub(super) address: Option<IpAddr>,
    pub(super) written: Vec<OutputChunk>,
    /// When the start that was asked for shows.
    starts_at_ms: Option<u64>,
    created_ms: u64,
    started_ms: u64,
    /// Since when it runs without being frozen.
    runs_since_ms: u64,
    /// How long it ran before that.
    ran_ms: u64,
    /// What it may use since it was limited, in thousandths of a core: at which age that was, and
    /// the CPU time used until then.
    limited: Option<(u32, u64, u64)>,
    /// When it ends after SIGTERM, and with which status.
    stops_at: Option<(u64, i64)>,
    /// It ends with its start.
    doomed: bool,
}

impl SimInstance {
    /// How long it has run, frozen time left out.
    fn age_ms(&self, now_ms: u64) -> u64 {
        match self.state {
            InstanceState::Running => self.ran_ms + now_ms.saturating_sub(self.runs_since_ms),
            _ => self.ran_ms,
        }
    }

    /// CPU time used since its start, in microseconds.
    pub(super) fn cpu_us(&self, now_ms: u64) -> u64 {
        let busy_milli = self.behaviour.busy_milli;
        let (cpu_milli, from_age_ms, before_us) = self.limited.unwrap_or((busy_milli, 0, 0));
        before_us + (self.age_ms(now_ms) - from_age_ms) * u64::from(busy_milli.min(cpu_milli))
    }

    /// It gets at most so many thousandths of a core from now on.
    pub(super) fn limit_cpu(&mut self, cpu_milli: u32, now_ms: u64) {
        self.limited = Some((cpu_milli, self.age_ms(now_ms), self.cpu_us(now_ms)));
    }

    /// When something happens to it by itself.
    fn due_ms(&self) -> Option<u64> {
        match self.state {
            InstanceState::Created => self.starts_at_ms,
            InstanceState::Running => {
                let at_age = |age_ms: u64| self.runs_since_ms + age_ms.saturating_sub(self.ran_ms);
                let exits = self.behaviour.exit.map(|exit| at_age(exit.after_ms));
                let stops = self.stops_at.map(|(at_ms, _status)| at_ms);
                let writes = self
                    .behaviour
                    .output
                    .get(self.written.len())
                    .map(|line| at_age(line.after_ms));
                [exits, stops, writes].into_iter().flatten().min()
            }
            InstanceState::Frozen | InstanceState::Exited { .. } => None,
        }
    }
}

/// The machine.
#[derive(Debug)]
pub(super) struct World {
    pub(super) now_ms: u64,
    pub(super) random: fastrand::Rng,
    pub(super) faults: Faults,
    pub(super) instances: BTreeMap<InstanceId, SimInstance>,
    pub(super) starts: BTreeMap<InstanceId, u64>,
    pub(super) networks: BTreeMap<EnvironmentId, Network>,
    pub(super) volumes: BTreeSet<(EnvironmentId, AppName, VolumeName)>,
    pub(super) volume_bytes: BTreeMap<(EnvironmentId, AppName, VolumeName), u64>,
    /// Where tests have put the files of volumes.
    pub(super) volume_folders: BTreeMap<(EnvironmentId, AppName, VolumeName), PathBuf>,
    /// Bytes that an environment may send in total, and those that it has sent.
    pub(super) egress: BTreeMap<EnvironmentId, (u64, u64)>,
    pub(super) images: BTreeMap<String, ImageFacts>,
    pub(super) builds: BTreeMap<String, SimBuild>,
    pub(super) exec_status: BTreeMap<String, i64>,
    pub(super) sizes: BTreeMap<String, (u16, u16)>,
    pub(super) last_observation: Vec<ObservedInstance>,
    behaviours: BTreeMap<(String, Option<InstanceRole>), Behaviour>,
    watchers: Vec<Weak<Mutex<VecDeque<EngineEvent>>>>,
    /// Until when the engine does not answer.
    away_until_ms: Option<u64>,
    made_networks: u32,
    pub(super) counter: u64,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            now_ms: 1_000,
            random: fastrand::Rng::with_seed(seed),
            faults: Faults::default(),
            instances: BTreeMap::new(),
            starts: BTreeMap::new(),
            networks: BTreeMap::new(),
            volumes: BTreeSet::new(),
            volume_bytes: BTreeMap::new(),
            volume_folders: BTreeMap::new(),
            egress: BTreeMap::new(),
            images: BTreeMap::new(),
            builds: BTreeMap::new(),
            exec_status: BTreeMap::new(),
            sizes: BTreeMap::new(),
            last_observation: Vec::new(),
            behaviours: BTreeMap::new(),
            watchers: Vec::new(),
            away_until_ms: None,
            made_networks: 0,
            counter: 0,
        }
    }

    /// Whether a fault happens now.
    pub(super) fn happens(&mut self, fault: fn(&Faults) -> f64) -> bool {
        let probability = fault(&self.faults);
        probability > 0.0 && self.random.f64() < probability
    }

    pub(super) fn is_away(&self) -> bool {
        self.away_until_ms.is_some()
    }

    pub(super) fn go_away(&mut self, for_ms: u64) {
        self.away_until_ms = Some(self.now_ms + for_ms);
    }

    // ---- time ----

    /// When something happens by itself.
    pub(super) fn next_due_ms(&self) -> Option<u64> {
        let instances = self.instances.values().filter_map(SimInstance::due_ms).min();
        [instances, self.away_until_ms].into_iter().flatten().min()
    }

    /// Lets everything happen that falls due until an instant.
    pub(super) fn advance_to(&mut self, target_ms: u64) {
        while let Some(due_ms) = self.next_due_ms().filter(|due_ms| *due_ms <= target_ms) {
            self.now_ms = self.now_ms.max(due_ms);
            self.happen();
        }
        self.now_ms = self.now_ms.max(target_ms);
    }

    /// Lets everything happen that is due now.
    fn happen(&mut self) {
        if self.away_until_ms.is_some_and(|until_ms| until_ms <= self.now_ms) {
            self.away_until_ms = None;
            self.tell_all(&EngineEvent::Resync);
        }
        let now_ms = self.now_ms;
        let due: Vec<InstanceId> = self
            .instances
            .iter()
            .filter(|(_id, instance)| instance.due_ms().is_some_and(|due_ms| due_ms <= now_ms))
            .map(|(id, _instance)| *id)
            .collect();
        for id in due {
            self.happen_to(id);
        }
    }

    fn happen_to(&mut self, id: InstanceId) {
        let now_ms = self.now_ms;
        let Some(instance) = self.instances.get_mut(&id) else {
            return;
        };
        if instance.state == InstanceState::Created {
            self.run(id);
            return;
        }
        let age_ms = instance.age_ms(now_ms);
        while let Some(line) = instance.behaviour.output.get(instance.written.len()) {
            if line.after_ms > age_ms {
                break;
            }
            let count = i64::try_from(instance.written.len()).unwrap_or(0);
            let at_ns = i64::try_from(now_ms).unwrap_or(0).saturating_mul(1_000_000) + count;
            let text = Bytes::copy_from_slice(line.text.as_bytes());
            instance.written.push(OutputChunk {
                at_ns,
                stream: line.stream,
                text,
            });
        }
        let stopped = instance.stops_at.filter(|(at_ms, _status)| *at_ms <= now_ms);
        let exited = instance.behaviour.exit.filter(|exit| exit.after_ms <= age_ms);
        if let Some(exit) = exited {
            self.end(id, exit.status, exit.out_of_memory);
        } else if let Some((_at_ms, status)) = stopped {
            self.end(id, status, false);
        }
    }

    // ---- instances ----

    /// Makes an instance with all it needs, unless it exists.
    pub(super) fn create(&mut self, spec: &InstanceSpec) -> Result<(), EngineError> {
        let id = spec.labels.instance;
        if self.instances.contains_key(&id) {
            return Ok(());
        }
        let Some(behaviour) = self.behaviour_for(&spec.image, spec.labels.role) else {
            return Err(EngineError::Refused(format!(
                "the image {} is not on this machine",
                spec.image
            )));
        };
        self.network(spec.labels.environment);
        for volume in spec.volumes.keys() {
            self.volumes
                .insert((spec.labels.environment, spec.labels.app.clone(), volume.clone()));
        }
        let instance = SimInstance {
            spec: spec.clone(),
            behaviour,
            state: InstanceState::Created,
            address: None,
            written: Vec::new(),
            starts_at_ms: None,
            created_ms: self.now_ms,
            started_ms: 0,
            runs_since_ms: 0,
            ran_ms: 0,
            limited: None,
            stops_at: None,
            doomed: false,
        };
        self.instances.insert(id, instance);
        self.changed(id);
        Ok(())
    }

    /// Starts an instance that was never started. Gives the instant at which that shows.
    pub(super) fn start(&mut self, id: InstanceId) -> u64 {
        let doomed = self.happens(|faults| faults.start_dies);
        let vanishes = self.happens(|faults| faults.start_vanishes);
        let now_ms = self.now_ms;
        let Some(instance) = self.instances.get_mut(&id) else {
            return now_ms;
        };
        if instance.state != InstanceState::Created || instance.starts_at_ms.is_some() {
            return instance.starts_at_ms.unwrap_or(now_ms);
        }
        *self.starts.entry(id).or_default() += 1;
        if vanishes {
            self.remove(id);
            return now_ms;
        }
        instance.doomed = doomed;
        let starts_at_ms = now_ms + instance.behaviour.start_ms;
        instance.starts_at_ms = Some(starts_at_ms);
        self.advance_to(now_ms);
        starts_at_ms
    }

    fn run(&mut self, id: InstanceId) {
        let now_ms = self.now_ms;
        let Some(environment) = self.instances.get(&id).map(|instance| instance.spec.labels.environment) else {
            return;
        };
        let address = self.free_address(environment);
        let Some(instance) = self.instances.get_mut(&id) else {
            return;
        };
        instance.state = InstanceState::Running;
        instance.starts_at_ms = None;
        instance.address = Some(address);
        instance.started_ms = now_ms;
        instance.runs_since_ms = now_ms;
        let doomed = instance.doomed;
        self.changed(id);
        if doomed {
            self.end(id, 1, false);
        }
    }

    pub(super) fn end(&mut self, id: InstanceId, status: i64, out_of_memory: bool) {
        let now_ms = self.now_ms;
        let Some(instance) = self.instances.get_mut(&id) else {
            return;
        };
        if !matches!(instance.state, InstanceState::Running | InstanceState::Frozen) {
            return;
        }
        instance.ran_ms = instance.age_ms(now_ms);
        instance.state = InstanceState::Exited { status, out_of_memory };
        instance.address = None;
        self.changed(id);
    }

    pub(super) fn end_all(&mut self, status: i64) {
        let all: Vec<InstanceId> = self.instances.keys().copied().collect();
        for id in all {
            self.end(id, status, false);
            // A start that had not come through never will.
            if let Some(instance) = self.instances.get_mut(&id) {
                instance.starts_at_ms = None;
            }
        }
    }

    pub(super) fn remove(&mut self, id: InstanceId) {
        if let Some(instance) = self.instances.remove(&id) {
            self.tell_all(&EngineEvent::Changed(instance.spec.labels.environment));
        }
    }

    pub(super) fn freeze(&mut self, id: InstanceId) -> Result<(), EngineError> {
        let now_ms = self.now_ms;
        let instance = self.find(id)?;
        match instance.state {
            InstanceState::Frozen => return Ok(()),
            InstanceState::Running => {}
            _ => {
                return Err(EngineError::Refused(format!(
                    "the instance {id} does not run and cannot be frozen"
                )));
            }
        }
        instance.ran_ms = instance.age_ms(now_ms);
        instance.state = InstanceState::Frozen;
        self.changed(id);
        Ok(())
    }

    pub(super) fn thaw(&mut self, id: InstanceId) -> Result<(), EngineError> {
        let now_ms = self.now_ms;
        let instance = self.find(id)?;
        match instance.state {
            InstanceState::Running => return Ok(()),
            InstanceState::Frozen => {}
            _ => {
                return Err(EngineError::Refused(format!(
                    "the instance {id} does not run and cannot be thawed"
                )));
            }
        }
        instance.state = InstanceState::Running;
        instance.runs_since_ms = now_ms;
        self.changed(id);
        Ok(())
    }

    /// SIGTERM now and SIGKILL after the grace. Whether there is anything to wait for.
    pub(super) fn terminate(&mut self, id: InstanceId, grace_ms: u64) -> bool {
        let now_ms = self.now_ms;
        if self
            .instances
            .get(&id)
            .is_some_and(|instance| instance.state == InstanceState::Frozen)
        {
            let _runs_now = self.thaw(id);
        }
        let Some(instance) = self.instances.get_mut(&id) else {
            return false;
        };
        if instance.state != InstanceState::Running {
            return false;
        }
        let killed = (now_ms + grace_ms, 137);
        let stopped = (now_ms + instance.behaviour.stop_ms, 143);
        let ends = if instance.behaviour.ignores_sigterm || killed.0 < stopped.0 {
            killed
        } else {
            stopped
        };
        instance.stops_at = Some(instance.stops_at.map_or(ends, |before| before.min(ends)));
        true
    }

    pub(super) fn is_ready(&self, id: InstanceId) -> bool {
        self.instances.get(&id).is_some_and(|instance| {
            instance.state == InstanceState::Running
                && instance
                    .behaviour
                    .ready_after_ms
                    .is_some_and(|after_ms| after_ms <= instance.age_ms(self.now_ms))
        })
    }

    pub(super) fn find(&mut self, id: InstanceId) -> Result<&mut SimInstance, EngineError> {
        self.instances
            .get_mut(&id)
            .ok_or_else(|| EngineError::NotFound(format!("the instance {id}")))
    }

    pub(super) fn observe(&self, environment: Option<EnvironmentId>) -> Vec<ObservedInstance> {
        self.instances
            .values()
            .filter(|instance| environment.is_none_or(|wanted| wanted == instance.spec.labels.environment))
            .map(|instance| {
                let started_ms = if instance.started_ms == 0 {
                    instance.created_ms
                } else {
                    instance.started_ms
                };
                ObservedInstance {
                    labels: instance.spec.labels.clone(),
                    state: instance.state,
                    address: instance.address,
                    started_ms: i64::try_from(started_ms).unwrap_or(i64::MAX),
                }
            })
            .collect()
    }

    // ---- what they need ----

    pub(super) fn network(&mut self, environment: EnvironmentId) -> Network {
        if let Some(network) = self.networks.get(&environment) {
            return *network;
        }
        let gateway = IpAddr::V4(Ipv4Addr::from(0x0a40_0001_u32.wrapping_add(self.made_networks << 10)));
        self.made_networks += 1;
        self.networks.insert(environment, Network { gateway });
        Network { gateway }
    }

    /// The lowest address that is free, as real engines soon give an address to somebody else.
    fn free_address(&mut self, environment: EnvironmentId) -> IpAddr {
        let IpAddr::V4(gateway) = self.network(environment).gateway else {
            return IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        };
        let taken: BTreeSet<IpAddr> = self
            .instances
            .values()
            .filter_map(|instance| instance.address)
            .collect();
        (u32::from(gateway) + 1..)
            .map(|address| IpAddr::V4(Ipv4Addr::from(address)))
            .find(|address| !taken.contains(address))
            .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    pub(super) fn set_behaviour(&mut self, image: &str, role: Option<InstanceRole>, behaviour: Behaviour) {
        self.behaviours.insert((image.to_owned(), role), behaviour);
    }

    /// How an image behaves, by the name that is used for it or any other that it has; `None`
    /// if it is not on the machine.
    fn behaviour_for(&self, image: &str, role: InstanceRole) -> Option<Behaviour> {
        let id = self.images.get(image).map(|facts| facts.id.as_str());
        let is_known = id.is_some() || self.images.values().any(|facts| facts.id == image);
        let id = id.unwrap_or(image);
        let tags = self
            .images
            .iter()
            .filter(|(_tag, facts)| facts.id == id)
            .map(|(tag, _facts)| tag.as_str());
        let names: Vec<&str> = [image].into_iter().chain(tags).collect();
        [Some(role), None]
            .into_iter()
            .find_map(|role| {
                names
                    .iter()
                    .find_map(|name| self.behaviours.get(&((*name).to_owned(), role)).cloned())
            })
            .or_else(|| is_known.then(Behaviour::default))
    }

    // ---- events ----

    pub(super) fn watch(&mut self) -> EventQueue {
        let queue: EventQueue = Arc::new(Mutex::new(VecDeque::from([EngineEvent::Resync])));
        self.watchers.push(Arc::downgrade(&queue));
        queue
    }

    fn changed(&mut self, id: InstanceId) {
        if let Some(instance) = self.instances.get(&id) {
            let event = EngineEvent::Changed(instance.spec.labels.environment);
            self.tell_all(&event);
        }
    }

    fn tell_all(&mut self, event: &EngineEvent) {
        self.watchers.retain(|watcher| watcher.strong_count() > 0);
        for index in 0..self.watchers.len() {
            let is_lost = *event != EngineEvent::Resync && (self.is_away() || self.happens(|faults| faults.event_lost));
            let Some(queue) = self.watchers[index].upgrade() else {
                continue;
            };
            let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
            if is_lost || queue.back() == Some(event) {
                continue;
            }
            if queue.len() >= MOST_EVENTS {
                queue.clear();
                queue.push_back(EngineEvent::Resync);
            }
            queue.push_back(event.clone());
        }
    }
}
