//! Moves that would pay: looked for again and again in each pool that wants it, shown there, and kept as a decision when they are other ones than before. A plan is
//! worth keeping because of what it was made of: an hour later nobody can tell any more why a host was hot.
//!
//! ```text
//!   pool says     off        nobody looks
//!                 advise     look ─► shown, kept
//!                 carry out  look ─► shown, kept ─► carried out (see `carry`) ─► a pause ─► look
//! ```
//!
//! A pool whose plan is being carried out, or in which anybody moves a VM or empties a host, is not looked at for that: what is charged on two hosts would mislead. After a plan that was stopped
//! by a move the pool rests, and that VM for its cool-down, so that what cannot work is not tried every minute. All of that is forgotten with the
//! manager: another one looks at the pool as it is then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use vmm_core::host::Health;
use vmm_core::id::{HostId, PoolId, VmId};
use vmm_core::scheduler::record::{Question, Record};
use vmm_core::scheduler::{CostModel, Limits, Plan, Pool, rebalance};
use vmm_proto::v1::Rebalance;

use super::carry::{Carry, End};
use super::{Reconciler, Turn};
use crate::app::{App, Made, Object, State};

/// Between two looks at a pool, at most.
const LOOKS: Duration = Duration::from_secs(60);
/// While moves are made, their tasks are looked at this often.
const STEPS: Duration = Duration::from_secs(2);
/// A pool rests after a plan: until what is measured is of after it; and after one that was stopped.
const REST: Duration = Duration::from_secs(60);
const REST_AFTER_FAILURE: Duration = Duration::from_secs(600);

/// Who, from where, to where.
type Moves = Vec<(VmId, HostId, HostId)>;

#[derive(Default)]
pub(super) struct Advice {
    /// What was found in each pool when it was looked at last.
    known: BTreeMap<PoolId, Moves>,
    looked: Option<Instant>,
    carries: Vec<Carry>,
    /// Pools that are not rebalanced until then.
    rests: BTreeMap<PoolId, Instant>,
    /// VMs whose move came to nothing, and when.
    failed: BTreeMap<VmId, Instant>,
    is_begun: bool,
}

impl Reconciler for Advice {
    fn name(&self) -> &'static str {
        "advice"
    }

    fn every(&self) -> Duration {
        if self.carries.is_empty() { LOOKS } else { STEPS }
    }

    fn turn(&mut self, app: &Arc<App>) -> Turn {
        if !std::mem::replace(&mut self.is_begun, true) {
            self.carries = Carry::left_over(&app.lock());
        }
        let now = Instant::now();
        let steps = self.advance(app, now);
        // Turns come after half of their time at the earliest.
        if self.looked.is_some_and(|at| now.saturating_duration_since(at) < LOOKS / 2) {
            return Turn { looked: self.carries.len(), changed: steps };
        }
        self.looked = Some(now);
        let (looked, found) = self.look(app, now);
        Turn { looked, changed: steps + found }
    }
}

/// A pool, as far as it matters here.
struct Asked {
    id: PoolId,
    name: String,
    rebalance: Rebalance,
    /// Somebody moves a VM in it, or empties a host.
    is_busy: bool,
}

impl Advice {
    fn advance(&mut self, app: &Arc<App>, now: Instant) -> usize {
        let before = self.carries.len();
        let mut carries = std::mem::take(&mut self.carries);
        carries.retain_mut(|carry| {
            let Some(end) = carry.advance(app) else { return true };
            self.note_end(carry.pool(), end, now);
            false
        });
        self.carries = carries;
        before - self.carries.len()
    }

    fn note_end(&mut self, pool: Option<PoolId>, end: End, now: Instant) {
        let rest = match end {
            End::Stopped(Some(vm)) => {
                self.failed.insert(vm, now);
                REST_AFTER_FAILURE
            }
            End::Done | End::Stopped(None) => REST,
        };
        if let Some(pool) = pool {
            self.rests.insert(pool, now + rest);
        }
    }

    fn look(&mut self, app: &Arc<App>, now: Instant) -> (usize, usize) {
        let (problem, pools) = {
            let state = app.lock();
            (state.problem(now), asked(&state))
        };
        self.failed.retain(|_, at| rested_s(*at, now) < Limits::default().cool_down_s);
        self.rests.retain(|_, until| *until > now);
        let before = self.known.clone();
        self.known.retain(|id, _| pools.iter().any(|pool| pool.id == *id));
        for pool in &pools {
            self.look_at(app, pool, &problem, now);
        }
        let changed = |moves: &Moves| moves.len().max(1);
        let others = self.known.iter().filter(|(id, moves)| before.get(id) != Some(moves));
        let gone = before.keys().filter(|id| !self.known.contains_key(id)).count();
        let changed = others.map(|(_, moves)| changed(moves)).sum::<usize>() + gone;
        if changed > 0 {
            show(app, &self.known);
        }
        (problem.vms.len(), changed)
    }

    fn look_at(&mut self, app: &Arc<App>, asked: &Asked, problem: &Pool, now: Instant) {
        let carries_out = asked.rebalance == Rebalance::CarryOut;
        if asked.rebalance == Rebalance::Off {
            self.known.remove(&asked.id);
            return;
        }
        let is_open = self.carries.iter().any(|carry| carry.pool() == Some(asked.id));
        if is_open || (carries_out && (asked.is_busy || self.rests.contains_key(&asked.id))) {
            return;
        }
        let mut pool = within(problem, &asked.name);
        if carries_out {
            self.let_rest(&mut pool, now);
        }
        let (limits, preference) = (Limits::default(), app.config.preference);
        // Whoever cannot be moved is not worth the search.
        let plan = match pool.vms.iter().any(|vm| vm.mobility.is_movable) {
            true => rebalance(&pool, &CostModel::new(preference), &limits),
            false => Plan::default(),
        };
        let moves: Moves = plan.steps.iter().map(|step| (step.vm, step.from, step.to)).collect();
        let is_news = self.known.get(&asked.id).map_or(&[][..], Vec::as_slice) != moves;
        if !moves.is_empty() && (is_news || carries_out) {
            let answer = in_words(&plan);
            tracing::info!(pool = asked.name, moves = moves.len(), answer, "moves would pay");
            let carried = carries_out.then(|| Carry::told(&asked.name, &pool, &plan));
            let record = Record { question: Question::Rebalance(limits), preference, pool };
            let made = Made { record, task: None, answer, carried };
            match carries_out {
                true => self.carry_out(app, asked.id, plan, &made),
                false => app.keep_decision(made),
            }
        }
        match moves.is_empty() {
            true => drop(self.known.remove(&asked.id)),
            false => drop(self.known.insert(asked.id, moves)),
        }
    }

    fn carry_out(&mut self, app: &Arc<App>, pool: PoolId, plan: Plan, made: &Made) {
        let Some(told) = made.carried.clone() else { return };
        match app.keep_decision_now(made) {
            Ok(decision) => {
                let mut carry = Carry::of(decision, pool, plan.steps, told);
                match carry.advance(app) {
                    Some(end) => self.note_end(Some(pool), end, Instant::now()),
                    None => self.carries.push(carry),
                }
            }
            Err(error) => {
                tracing::error!(%error, "a plan could not be written down, and is not carried out")
            }
        }
    }

    /// Whose move has failed is not moved again at once, as if it had been moved.
    fn let_rest(&self, pool: &mut Pool, now: Instant) {
        for vm in &mut pool.vms {
            let Some(at) = self.failed.get(&vm.id) else { continue };
            let (failed, moved) = (rested_s(*at, now), vm.mobility.moved_s_ago);
            vm.mobility.moved_s_ago = Some(moved.map_or(failed, |moved| moved.min(failed)));
        }
    }
}

fn rested_s(since: Instant, now: Instant) -> u64 {
    now.saturating_duration_since(since).as_secs()
}

fn asked(state: &State) -> Vec<Asked> {
    let pool_of = |host: HostId| state.hosts.get(&host).map(|host| host.record.pool);
    let moves = state.moves_under_way().map(|(source, _)| source);
    let emptied = state.evacuations().filter_map(|task| task.host);
    let busy: BTreeSet<PoolId> = moves.chain(emptied).filter_map(pool_of).collect();
    let asked = |pool: &crate::store::PoolRecord| Asked {
        id: pool.id,
        name: pool.name.clone(),
        rebalance: pool.rebalance,
        is_busy: busy.contains(&pool.id),
    };
    state.places.pools().map(asked).collect()
}

/// Of all that is known, what matters in one pool: its hosts, who is on them, and whoever of another pool is in a group with one of those. From a host that is not heard
/// nobody can be moved.
pub(super) fn within(problem: &Pool, name: &str) -> Pool {
    let own: BTreeMap<HostId, bool> = problem
        .hosts
        .iter()
        .filter(|host| host.zone == name)
        .map(|host| (host.id, host.health == Health::Up))
        .collect();
    let is_own = |vm: &vmm_core::scheduler::Vm| vm.host.is_some_and(|at| own.contains_key(&at));
    let there: BTreeSet<VmId> =
        problem.vms.iter().filter(|vm| is_own(vm)).map(|vm| vm.id).collect();
    let groups: Vec<_> =
        problem.groups.iter().filter(|group| !group.members.is_disjoint(&there)).cloned().collect();
    let bound: BTreeSet<VmId> =
        groups.iter().flat_map(|group| group.members.iter().copied()).collect();
    let mut vms: Vec<_> =
        problem.vms.iter().filter(|vm| is_own(vm) || bound.contains(&vm.id)).cloned().collect();
    for vm in &mut vms {
        let is_heard = vm.host.and_then(|at| own.get(&at)).copied().unwrap_or(false);
        vm.mobility.is_movable &= is_heard;
    }
    let hosts = problem.hosts.iter().filter(|host| own.contains_key(&host.id)).cloned().collect();
    Pool { hosts, vms, groups }
}

fn in_words(plan: &Plan) -> String {
    let (before, after) = plan.potential;
    let moves = match plan.steps.len() {
        1 => "1 move".to_owned(),
        count => format!("{count} moves"),
    };
    format!("{moves} would pay: the load would cost {after:.3} instead of {before:.3}")
}

/// Each pool shows how many moves would pay in it.
fn show(app: &App, known: &BTreeMap<PoolId, Moves>) {
    let count = |moves: &Moves| u64::try_from(moves.len()).unwrap_or(u64::MAX);
    let advice = known.iter().map(|(pool, moves)| (*pool, count(moves))).collect();
    let mut state = app.lock();
    let before = std::mem::replace(&mut state.advice, advice);
    let pools: Vec<PoolId> = state.places.pools().map(|pool| pool.id).collect();
    for pool in pools {
        if before.get(&pool) != state.advice.get(&pool) {
            state.journal.touched(Object::Pool(pool));
        }
    }
}
