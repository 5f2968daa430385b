//! What the parts of control share.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use weir_engine::{Engine, Meters};
use weir_store::Store;

use crate::certificates::Certificates;
use crate::clock::Clock;
use crate::config::Config;
use crate::logs::Logs;
use crate::metrics::history::History;
use crate::money::Money;
use crate::protecting::Hashes;
use crate::push::Pushes;
use crate::reconcile::Reconciler;
use crate::secrets::Sealer;
use crate::tasks::Tasks;
use crate::volumes::Volumes;

/// What the parts of control share; cheap to clone.
#[derive(Debug, Clone)]
pub struct Context {
    /// Configuration.
    pub config: Arc<Config>,
    /// Desired state.
    pub store: Store,
    /// Reality.
    pub engine: Arc<dyn Engine>,
    /// What can be measured of reality.
    pub meters: Arc<dyn Meters>,
    /// Time and randomness.
    pub clock: Arc<dyn Clock>,
    /// Lines and ends of tasks, and changes of state, for those who watch.
    pub tasks: Tasks,
    /// What instances and builds wrote.
    pub logs: Logs,
    /// Pushes and uploads that are under way, and the builds that wait for their turn.
    pub pushes: Pushes,
    /// Who waits for a turn in which volumes, and what was counted there.
    pub volumes: Arc<Volumes>,
    /// The past of what is measured, for charts.
    pub history: Arc<History>,
    /// Seals and opens secrets.
    pub sealer: Sealer,
    /// Hashes of the passwords that stand before apps.
    pub hashes: Hashes,
    /// The ledger, and control's own wallets.
    pub money: Money,
    /// Certificates of host names, as nodes serve by them.
    pub certificates: Certificates,
    /// Drives reality; is woken after every change of desired state.
    pub reconciler: Reconciler,
    /// Cancelled when control is to stop.
    pub stop: CancellationToken,
}
