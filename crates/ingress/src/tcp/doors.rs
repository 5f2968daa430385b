//! The ports of services: each is listened at wherever the ingress is reached, on the address of
//! the http port and at the gateways of the environments' networks.
//!
//! The node opens them itself and hands them to the node that takes its place, so that an upgrade
//! loses nobody who knocks meanwhile.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::listen::{self, Crew, Entrance};
use crate::node::Shared;
use crate::succession::GatewayUse;

/// Pause between attempts to listen at a port that somebody else has.
const TAKEN_PAUSE: Duration = Duration::from_secs(3);

/// Listens at the ports that the newest table names. Ends when the node stops.
pub(crate) async fn serve(shared: Arc<Shared>, crew: Arc<Crew>, everywhere: IpAddr) {
    let mut changes = shared.changes();
    let mut open: HashMap<SocketAddr, CancellationToken> = HashMap::new();
    let mut complained: HashSet<SocketAddr> = HashSet::new();
    loop {
        let (epoch, wanted) = wanted(&shared, everywhere);
        open.retain(|address, closed| {
            let stays = wanted.contains(address);
            if !stays {
                closed.cancel();
            }
            stays
        });
        complained.retain(|address| wanted.contains(address));
        let mut missing = false;
        for address in &wanted {
            if open.contains_key(address) {
                continue;
            }
            let closed = crew.stop.child_token();
            match listen::open_entrance(&shared, &crew, Entrance::Tcp, *address, closed.clone()) {
                Ok(()) => {
                    complained.remove(address);
                    open.insert(*address, closed);
                }
                Err(error) => {
                    missing = true;
                    if complained.insert(*address) {
                        tracing::warn!(
                            %address, %error,
                            "cannot listen at the port of a TCP service, trying again until it works; if another program has it, end that one, or give the service another port (`listen` in its [[tcp]])"
                        );
                    }
                }
            }
        }
        if epoch > 0 {
            // Also those that the node before had open and nobody wants any more.
            shared
                .succession
                .keep_only(GatewayUse::Tcp, |address| wanted.contains(address));
        }
        tokio::select! {
            biased;
            () = crew.stop.cancelled() => return,
            _ = changes.changed() => {}
            () = tokio::time::sleep(TAKEN_PAUSE), if missing => {}
        }
    }
}

/// Where to listen by the newest table, and its number.
fn wanted(shared: &Shared, everywhere: IpAddr) -> (u64, BTreeSet<SocketAddr>) {
    let table = shared.table.load();
    let covers = |gateway: &&IpAddr| !listen::covers(everywhere, **gateway);
    let gateways = table.gateways.iter().filter(covers).copied();
    let places: Vec<IpAddr> = std::iter::once(everywhere).chain(gateways).collect();
    let all = table
        .tcp
        .ports()
        .flat_map(|port| places.iter().map(move |place| SocketAddr::new(*place, port)));
    (table.epoch, all.collect())
}
