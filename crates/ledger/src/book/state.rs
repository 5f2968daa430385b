//! What the journal has led to. Serialised, it is a checkpoint.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use weir_model::{AccountId, EnvironmentId, ProjectId, UnixMillis};

use super::event::{LeaseNumber, Span};
use super::{Cap, Funds, Scope, Settings};
use crate::money::Nano;
use crate::price::{PriceBook, Sku};
use crate::protocol::{DenialReason, Incarnation, LeaseKey, LineKey, MeterName};

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Books {
    pub(super) settings: Settings,
    #[serde(with = "pairs")]
    pub(super) scopes: BTreeMap<Scope, ScopeBook>,
    pub(super) environments: BTreeMap<EnvironmentId, EnvironmentBook>,
    pub(super) accounts: BTreeMap<AccountId, AccountBook>,
    pub(super) meters: BTreeMap<MeterName, MeterBook>,
    pub(super) leases: BTreeMap<LeaseNumber, Lease>,
    /// Of the last lease.
    pub(super) last_lease: LeaseNumber,
    pub(super) prices: BTreeMap<u32, PriceBook>,
    /// Commands that must not be done twice, by their id.
    pub(super) documents: BTreeMap<String, Document>,
}

/// A scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ScopeBook {
    pub(super) parent: Option<Scope>,
    pub(super) cap: Option<Cap>,
    pub(super) gone: bool,
    /// The period that runs.
    pub(super) window: Window,
    /// Periods that are over and have leases still.
    pub(super) old: Vec<Window>,
    /// The tail of what is stored, held in whichever period runs.
    pub(super) reserved: Nano,
    pub(super) bucket: Bucket,
    /// Thresholds told in this period, in percent.
    pub(super) crossed: BTreeSet<u8>,
    pub(super) stopped: Option<Stop>,
    /// Open leases of the scope and all below it.
    pub(super) leases: BTreeSet<LeaseNumber>,
}

/// One period of one scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Window {
    /// Counts the periods of the scope, from 0.
    pub(super) number: u32,
    pub(super) span: Span,
    pub(super) settled: Nano,
    /// By leases, and by the rounding of lines that leases are open on.
    pub(super) held: Nano,
    /// How many leases were opened in it and are open still.
    pub(super) leases: u32,
}

/// How fast money is let out: full it holds a tenth of the cap, and it fills with the cap in
/// six hours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bucket {
    /// Below zero after a purchase that is larger than the bucket.
    pub(super) level: i64,
    pub(super) at_ms: UnixMillis,
}

/// Nothing was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stop {
    pub(super) reason: DenialReason,
    pub(super) needed: Nano,
}

/// What an environment has used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EnvironmentBook {
    pub(super) reserve: Funds,
    pub(super) sheets: Vec<Sheet>,
}

/// The lines of an environment while no period of its path ended and by one version of the
/// prices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sheet {
    pub(super) windows: Windows,
    pub(super) price_version: u32,
    /// Open leases on it.
    pub(super) leases: u32,
    #[serde(with = "pairs")]
    pub(super) lines: BTreeMap<LineKey, Line>,
}

/// The numbers of the periods of environment, project and account.
pub(super) type Windows = [u32; 3];

/// What one line has used. Its cost is rounded up once: `cost + loss = ceil(units * price)`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) units: u128,
    pub(super) cost: Nano,
    /// Borne by the provider.
    pub(super) loss: Nano,
    /// Each lease pays its share rounded up; what that is more than the line's cost stays held
    /// until no lease is open on the sheet.
    pub(super) spare: Funds,
}

/// Who pays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AccountBook {
    pub(super) billing: bool,
    pub(super) free: Funds,
    pub(super) held: Funds,
    pub(super) reserved: Funds,
    pub(super) promise: Option<PromiseBook>,
    pub(super) debt: Nano,
    pub(super) loss: Nano,
    pub(super) stop_order: Vec<ProjectId>,
    /// Used and not invoiced.
    pub(super) usage: BTreeMap<Sku, Nano>,
}

/// A promised payment that is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PromiseBook {
    /// What is not paid of it.
    pub(super) outstanding: Nano,
    pub(super) due_ms: UnixMillis,
}

/// Whatever spends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MeterBook {
    pub(super) incarnation: Incarnation,
    pub(super) boot: u64,
    /// Up to here nothing of it is believed.
    pub(super) fenced: Incarnation,
    #[serde(with = "pairs")]
    pub(super) open: BTreeMap<LeaseKey, LeaseNumber>,
    /// The highest number of a lease in this incarnation, by environment.
    pub(super) highest: BTreeMap<EnvironmentId, u32>,
}

/// Money that a meter may spend. It holds `granted - returned - settled`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lease {
    pub(super) meter: MeterName,
    pub(super) incarnation: Incarnation,
    pub(super) key: LeaseKey,
    pub(super) price_version: u32,
    pub(super) project: ProjectId,
    pub(super) account: AccountId,
    pub(super) windows: Windows,
    pub(super) opened_ms: UnixMillis,
    pub(super) granted: Nano,
    pub(super) returned: Nano,
    pub(super) settled: Nano,
    /// What it holds, and what that is made of.
    pub(super) funds: Funds,
    /// Settled usage, in total.
    #[serde(with = "pairs")]
    pub(super) usage: BTreeMap<LineKey, u64>,
}

/// A command that was done and must not be done twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Document {
    pub(super) body: String,
    pub(super) account: AccountId,
    pub(super) kind: DocumentKind,
}

/// What such a command did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum DocumentKind {
    Deposit,
    Promise,
    Correction,
    Invoice,
}

impl Lease {
    /// The scopes that it counts in, and in which of their periods.
    pub(super) fn path(&self) -> [(Scope, u32); 3] {
        [
            (Scope::Environment(self.key.environment), self.windows[0]),
            (Scope::Project(self.project), self.windows[1]),
            (Scope::Account(self.account), self.windows[2]),
        ]
    }
}

impl ScopeBook {
    /// The period with this number, if anything of it is left.
    pub(super) fn window_mut(&mut self, number: u32) -> Option<&mut Window> {
        if self.window.number == number {
            return Some(&mut self.window);
        }
        self.old.iter_mut().find(|window| window.number == number)
    }

    /// What is held in the period that runs.
    pub(super) fn held(&self) -> Nano {
        let mut held = self.window.held;
        held += self.reserved;
        held
    }

    /// What is spent or may be spent in the period that runs.
    pub(super) fn committed(&self) -> Nano {
        let mut committed = self.held();
        committed += self.window.settled;
        committed
    }

    /// What the cap leaves; nothing where it was lowered below what is committed.
    pub(super) fn room(&self) -> Option<Nano> {
        let left = |cap: Cap| cap.limit.saturating_sub(self.committed()).max(Nano::ZERO);
        self.cap.map(left)
    }
}

/// JSON's keys are texts, so maps with other keys are written as lists of pairs.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub(super) fn deserialize<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Vec::<(K, V)>::deserialize(deserializer)?.into_iter().collect())
    }
}
