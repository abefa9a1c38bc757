//! Moves that would pay: looked for again and again, shown at the pools, and kept as a decision when they are other ones than before.
//!
//! Nothing is moved here. A plan is worth keeping because of what it was made of: an hour later nobody can tell any more why a host was hot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use vmm_core::id::{HostId, PoolId, VmId};
use vmm_core::scheduler::record::{Question, Record};
use vmm_core::scheduler::{CostModel, Limits, Plan, rebalance};

use super::{Reconciler, Turn};
use crate::app::{App, Made, Object};

/// Who, from where, to where.
type Moves = Vec<(VmId, HostId, HostId)>;

#[derive(Default)]
pub(super) struct Advice {
    known: Moves,
}

impl Reconciler for Advice {
    fn name(&self) -> &'static str {
        "advice"
    }

    fn every(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn turn(&mut self, app: &Arc<App>) -> Turn {
        let pool = app.lock().problem(Instant::now());
        let looked = pool.vms.len();
        let (limits, preference) = (Limits::default(), app.config.preference);
        // Whoever cannot be moved is not worth the search.
        let plan = match pool.vms.iter().any(|vm| vm.mobility.is_movable) {
            true => rebalance(&pool, &CostModel::new(preference), &limits),
            false => Plan::default(),
        };
        let moves: Moves = plan.steps.iter().map(|step| (step.vm, step.from, step.to)).collect();
        if moves == self.known {
            return Turn { looked, changed: 0 };
        }
        show(app, &moves);
        let changed = moves.len().max(1);
        if !moves.is_empty() {
            let answer = in_words(&plan);
            tracing::info!(moves = moves.len(), answer, "moves would pay");
            let record = Record { question: Question::Rebalance(limits), preference, pool };
            app.keep_decision(Made { record, task: None, answer });
        }
        self.known = moves;
        Turn { looked, changed }
    }
}

fn in_words(plan: &Plan) -> String {
    let (before, after) = plan.potential;
    let moves = match plan.steps.len() {
        1 => "1 move".to_owned(),
        count => format!("{count} moves"),
    };
    format!("{moves} would pay: the load would cost {after:.3} instead of {before:.3}")
}

/// Each pool shows how many of the moves are within it.
fn show(app: &App, moves: &Moves) {
    let mut state = app.lock();
    let mut advice: BTreeMap<PoolId, u64> = BTreeMap::new();
    for (_, from, _) in moves {
        if let Some(host) = state.hosts.get(from) {
            *advice.entry(host.record.pool).or_default() += 1;
        }
    }
    let before = std::mem::replace(&mut state.advice, advice);
    let pools: Vec<PoolId> = state.places.pools().map(|pool| pool.id).collect();
    for pool in pools {
        if before.get(&pool) != state.advice.get(&pool) {
            state.journal.touched(Object::Pool(pool));
        }
    }
}
