//! Hosts that say the same: those of one environment mostly differ by their names only, so that what
//! they say is compiled once. With a hundred thousand of them this is what the table's memory is.

use std::collections::HashMap;
use std::sync::Arc;

use weir_model::EnvironmentId;
use weir_model::route::HostRoutes;

use crate::table::HostEntry;

/// So many different kinds of hosts of an environment are compared with each further one.
const MOST_COMPARED: usize = 8;

/// What was compiled so far of one snapshot.
#[derive(Debug, Default)]
pub(crate) struct Alike<'a> {
    known: HashMap<EnvironmentId, Vec<(&'a HostRoutes, Arc<HostEntry>)>>,
}

impl<'a> Alike<'a> {
    /// What a host that says the same was compiled to.
    pub(crate) fn find(&self, host: &HostRoutes) -> Option<Arc<HostEntry>> {
        let known = self.known.get(&host.environment)?;
        let (_, entry) = known.iter().find(|(known, _)| *known == host)?;
        Some(Arc::clone(entry))
    }

    /// Others may share what this host was compiled to, unless it depends on the name, or counts for
    /// this host alone.
    pub(crate) fn remember(&mut self, host: &'a HostRoutes, entry: &Arc<HostEntry>) {
        if host.redirect_to.is_some() || host.protection.is_some() {
            return;
        }
        let known = self.known.entry(host.environment).or_default();
        if known.len() < MOST_COMPARED {
            known.push((host, Arc::clone(entry)));
        }
    }
}
