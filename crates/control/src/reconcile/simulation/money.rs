//! What must hold of an environment without money.

use super::*;

impl World {
    /// Without money nothing is started or thawed, no visitor gets through, and everything of
    /// the live release that runs is frozen or ended at once.
    pub(super) fn must_cost_nothing(&self, desired: &Desired, observed: &Observed, plan: &Plan) {
        if desired.unpaid.is_none() || desired.mode != EnvironmentMode::Active {
            return;
        }
        let seed = self.seed;
        let unpaid = |entry: &Entry| matches!(entry.state, RouteState::Unpaid { .. }) && entry.pool.is_empty();
        assert!(
            plan.routes.entries.values().all(unpaid),
            "seed {seed}: visitors get through without money"
        );
        let mut ended = BTreeSet::new();
        for action in &plan.actions {
            match action {
                Action::Freeze { instance } | Action::Stop { instance, .. } => drop(ended.insert(*instance)),
                Action::Start { .. } | Action::StartRelease { .. } | Action::Thaw { .. } => {
                    panic!("seed {seed}: {action:?} without money")
                }
                _ => {}
            }
        }
        let Some(live) = &desired.live else { return };
        for (process, wanted) in &live.apps[&shop()].instances {
            let mine = |fact: &&Fact| is_mine(live, fact) && fact.labels.process == *process && !fact.stopping;
            let alive = |fact: &&Fact| !matches!(fact.state, InstanceState::Exited { .. });
            let facts: Vec<&Fact> = observed.instances.iter().filter(mine).filter(alive).collect();
            let left_over = facts.len().saturating_sub(*wanted as usize);
            let running = facts
                .iter()
                .filter(|fact| fact.state == InstanceState::Running && !ended.contains(&fact.labels.instance));
            assert!(
                running.count() <= left_over,
                "seed {seed}: {process} goes on without money"
            );
        }
    }
}
