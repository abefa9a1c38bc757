//! Which VMs to move when the load has changed, and how to empty a host.
//!
//! A move must pay: what is saved at the source less what it costs at the destination, over the time for which the load is trusted to stay, must be more than the
//! migration costs (bytes, standstill, risk). It must also cost *less than half* at the destination: the half-price rule of Amir et al., which bounds the number of moves and
//! leaves no two hosts between which a VM could swing. And a VM that was moved rests for its cool-down. Thresholds play no part.
//!
//! The answer is a plan with its terms; nothing is moved here. A VM that would gain and is not moved is named with the reason.

use super::board::Board;
use super::cost::{CostModel, Terms};
use super::improve::{Improvement, Landscape, descend};
use super::plan::{Step, Stuck, Wanted, order};
use super::precopy::{Forecast, forecast};
use super::problem::Pool;
use super::{batch, rules::Refusal};
use crate::id::{HostId, VmId};

/// What a gigabyte that travels costs, in prices of hosts.
const COST_PER_GB: f64 = 0.005;
/// What a second of standstill costs.
const COST_PER_DOWNTIME_S: f64 = 0.1;
/// What could go wrong costs.
const COST_OF_RISK: f64 = 0.02;
/// Less than that is no gain.
const GAIN_MIN: f64 = 1e-6;
/// VMs that are looked at in each round: those that cost most where they are.
const CANDIDATES_MAX: usize = 64;
/// Reasons that are told.
const KEPT_TOLD_MAX: usize = 16;

/// How much may be moved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Moves in one plan.
    pub moves_max: usize,
    /// How long a VM that was moved stays, in seconds.
    pub cool_down_s: u64,
    /// How long the load is trusted to stay as it is, in seconds.
    pub trusted_s: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { moves_max: 8, cool_down_s: 1800, trusted_s: 3600 }
    }
}

/// Why a VM moves.
#[derive(Clone, Debug, PartialEq)]
pub struct Reason {
    /// Who.
    pub vm: VmId,
    /// What it costs where it is.
    pub here: Terms,
    /// What it will cost.
    pub there: Terms,
    /// What the migration costs.
    pub migration: f64,
}

/// A VM that stays although it costs much where it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// Who.
    pub vm: VmId,
    /// What it costs there.
    pub here: f64,
    /// Why.
    pub why: Why,
}

/// Why a VM stays.
#[derive(Clone, Debug, PartialEq)]
pub enum Why {
    /// It cannot be moved.
    Immovable,
    /// It was moved so many seconds ago.
    CoolingDown(u64),
    /// It would stand still while it is copied.
    Stands,
    /// It writes too fast for the link.
    DoesNotConverge,
    /// No other host may take it; one of them says this.
    NoHost(Option<Refusal>),
    /// The best host is not cheap enough.
    NotHalfPrice(HostId, f64),
    /// The migration would cost more than it gains.
    NotWorthIt(HostId, f64),
    /// The plan has as many moves as are allowed.
    PlanIsFull,
}

/// Moves that pay, in an order that fits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The potential of the pool before, and after.
    pub potential: (f64, f64),
    /// The host that shall be empty, where that is what the plan is for.
    pub evacuated: Option<HostId>,
    /// In their order.
    pub steps: Vec<Step>,
    /// Of each VM that moves.
    pub reasons: Vec<Reason>,
    /// Those that should move and cannot.
    pub stuck: Vec<Stuck>,
    /// Those that cost most and stay.
    pub kept: Vec<Kept>,
}

/// Which moves pay.
#[must_use]
pub fn rebalance(pool: &Pool, model: &CostModel, limits: &Limits) -> Plan {
    let mut view = View { board: Board::new(pool), model, limits };
    let before = view.board.potential(model);
    let start = Board::new(pool);
    let made = descend(&mut view, limits.moves_max, GAIN_MIN);
    let wanted = collapse(&start, &made, &view.board);
    let reasons: Vec<Reason> = made.iter().map(|m| reason(&start, m, model)).collect();
    let ordered = order(pool, &wanted);
    let mut kept = view.kept(made.len() >= limits.moves_max);
    // Who moves does not stay: that it rests afterwards is no news.
    kept.retain(|kept| !reasons_name(&reasons, kept.vm));
    let after = view.board.potential(model);
    let potential = (before, after);
    let (steps, stuck) = (ordered.steps, ordered.stuck);
    Plan { potential, evacuated: None, steps, reasons, stuck, kept }
}

fn reasons_name(reasons: &[Reason], vm: VmId) -> bool {
    reasons.iter().any(|reason| reason.vm == vm)
}

/// Whether a step of a plan that was made before still is what it was: the VM may go there, and it pays by the rules of [`rebalance`]. Only the cool-down does not
/// count, for a temporary move is followed by another. What makes room only, and what takes a VM on from there, must be possible; the first of them must pay by where the VM
/// ends.
///
/// # Errors
/// Why it shall not be made.
pub fn still_holds(
    pool: &Pool,
    steps: &[Step],
    at: usize,
    model: &CostModel,
    limits: &Limits,
) -> Result<(), Why> {
    let step = steps.get(at).ok_or(Why::Immovable)?;
    let view = View { board: Board::new(pool), model, limits };
    let vm = pool.vms.iter().position(|vm| vm.id == step.vm).ok_or(Why::Immovable)?;
    let there = |id| view.board.host_at(id).ok_or(Why::NoHost(None));
    let is_there = pool.vms[vm].host == Some(step.from) && pool.vms[vm].mobility.is_movable;
    let to = there(step.to)?;
    let is_onward = steps[..at].iter().any(|before| before.vm == step.vm);
    match (is_there, is_onward, step.is_temporary) {
        (false, ..) => Err(Why::Immovable),
        (true, false, false) => view.judge(vm, to).map(drop),
        (true, ..) => match view.board.refused(vm, to) {
            Some(refusal) => Err(Why::NoHost(Some(refusal))),
            None if is_onward => Ok(()),
            None => {
                let last = steps.iter().rfind(|last| last.vm == step.vm);
                view.cheap_enough(vm, there(last.map_or(step.to, |last| last.to))?).map(drop)
            }
        },
    }
}

/// Where everybody of a host goes, when that host shall be empty.
#[must_use]
pub fn evacuate(pool: &Pool, host: HostId, model: &CostModel) -> Plan {
    let mut closed = pool.clone();
    closed.hosts.iter_mut().filter(|h| h.id == host).for_each(|h| h.maintenance = true);
    let mut board = Board::new(&closed);
    let (start, before) = (board.clone(), board.potential(model));
    let there: Vec<usize> =
        (0..pool.vms.len()).filter(|vm| pool.vms[*vm].host == Some(host)).collect();
    let (movable, fixed): (Vec<usize>, Vec<usize>) =
        there.into_iter().partition(|vm| pool.vms[*vm].mobility.is_movable);
    let put = batch::insert(&mut board, &movable, model);
    let stays = |vm: &usize, why: Why| Kept { vm: pool.vms[*vm].id, here: 0.0, why };
    let unplaced = movable.iter().filter(|vm| board.vm(**vm).host == Some(host)).map(|vm| {
        let mut others = (0..board.pool.hosts.len()).filter(|h| board.host(*h).id != host);
        stays(vm, Why::NoHost(others.find_map(|h| board.refused(*vm, h))))
    });
    let kept = fixed.iter().map(|vm| stays(vm, Why::Immovable)).chain(unplaced).collect();
    let wanted: Vec<Wanted> = put
        .iter()
        .filter_map(|(vm, _)| Some(Wanted { vm: board.vm(*vm).id, to: board.vm(*vm).host? }))
        .collect();
    let reasons = put.iter().filter_map(|(vm, there)| {
        let from = start.host_of(*vm)?;
        let here = start.cost_here(*vm, from, model);
        Some(Reason { vm: start.vm(*vm).id, here, there: *there, migration: 0.0 })
    });
    let ordered = order(&closed, &wanted);
    Plan {
        potential: (before, board.potential(model)),
        evacuated: Some(host),
        reasons: reasons.collect(),
        steps: ordered.steps,
        stuck: ordered.stuck,
        kept,
    }
}

/// A VM that was moved more than once goes where it came to last; one that came back does not move.
fn collapse(start: &Board, made: &[Improvement], end: &Board) -> Vec<Wanted> {
    let mut seen: Vec<usize> = Vec::new();
    for Improvement { vm, .. } in made {
        if !seen.contains(vm) && start.host_of(*vm) != end.host_of(*vm) {
            seen.push(*vm);
        }
    }
    let wanted = |vm: usize| Some(Wanted { vm: end.vm(vm).id, to: end.vm(vm).host? });
    seen.into_iter().filter_map(wanted).collect()
}

fn reason(start: &Board, made: &Improvement, model: &CostModel) -> Reason {
    let here = start.cost_here(made.vm, made.from, model);
    let there = start.cost_there(made.vm, made.to, model);
    let migration = here.price() - there.price() - made.gain;
    Reason { vm: start.vm(made.vm).id, here, there, migration: migration.max(0.0) }
}

struct View<'a> {
    board: Board,
    model: &'a CostModel,
    limits: &'a Limits,
}

impl View<'_> {
    fn here(&self, vm: usize) -> f64 {
        let host = self.board.host_of(vm);
        host.map_or(0.0, |host| self.board.cost_here(vm, host, self.model).price())
    }

    /// Why a VM stays, whatever there is elsewhere.
    fn rests(&self, vm: usize) -> Option<Why> {
        let mobility = &self.board.vm(vm).mobility;
        if !mobility.is_movable {
            return Some(Why::Immovable);
        }
        if mobility.stands {
            return Some(Why::Stands);
        }
        let moved = mobility.moved_s_ago.filter(|ago| *ago < self.limits.cool_down_s);
        moved.map(Why::CoolingDown)
    }

    fn judge(&self, vm: usize, to: usize) -> Result<f64, Why> {
        if let Some(refusal) = self.board.refused(vm, to) {
            return Err(Why::NoHost(Some(refusal)));
        }
        let from = self.board.host_of(vm).ok_or(Why::Immovable)?;
        let link = |host: usize| self.board.host(host).link_bytes_per_s;
        let travel = forecast(&self.board.vm(vm).mobility, link(from).min(link(to)));
        let travel = travel.map_err(|_| Why::DoesNotConverge)?;
        let saved = self.cheap_enough(vm, to)?;
        let trusted = self.limits.trusted_s as f64 / 3600.0;
        let gain = saved * trusted - cost_of(&travel);
        let to = self.board.host(to).id;
        if gain > GAIN_MIN { Ok(gain) } else { Err(Why::NotWorthIt(to, cost_of(&travel))) }
    }

    /// The half-price rule: what is saved, if that is more than half.
    fn cheap_enough(&self, vm: usize, to: usize) -> Result<f64, Why> {
        let there = self.board.cost_there(vm, to, self.model).price();
        let here = self.here(vm);
        if there >= here / 2.0 {
            return Err(Why::NotHalfPrice(self.board.host(to).id, there));
        }
        Ok(here - there)
    }

    /// The VMs that cost most where they stay, each with what speaks against the best host for it.
    fn kept(&self, is_full: bool) -> Vec<Kept> {
        let told = self.dearest(false).into_iter().take(KEPT_TOLD_MAX);
        let kept = |vm: usize| {
            let from = self.board.host_of(vm);
            let others = (0..self.board.pool.hosts.len()).filter(|host| Some(*host) != from);
            let cost = |host: usize| self.board.cost_there(vm, host, self.model).price();
            let best = others.min_by(|a, b| {
                let barred = |h: usize| self.board.refused(vm, h).is_some();
                barred(*a).cmp(&barred(*b)).then(cost(*a).total_cmp(&cost(*b)))
            });
            let why = self.rests(vm).unwrap_or_else(|| match best.map(|to| self.judge(vm, to)) {
                None => Why::NoHost(None),
                Some(Err(why)) => why,
                Some(Ok(_)) => Why::PlanIsFull,
            });
            Kept { vm: self.board.vm(vm).id, here: self.here(vm), why }
        };
        let worth =
            |kept: &Kept| kept.here > COST_OF_RISK && (is_full || kept.why != Why::PlanIsFull);
        told.map(kept).filter(worth).collect()
    }

    fn dearest(&self, only_free: bool) -> Vec<usize> {
        let vms = (0..self.board.pool.vms.len()).filter(|vm| self.board.host_of(*vm).is_some());
        let free = vms.filter(|vm| !only_free || self.rests(*vm).is_none());
        let mut dearest: Vec<(f64, usize)> = free.map(|vm| (self.here(vm), vm)).collect();
        dearest.retain(|(here, _)| *here > COST_OF_RISK);
        dearest.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        dearest.into_iter().map(|(_, vm)| vm).take(CANDIDATES_MAX).collect()
    }
}

pub(super) fn cost_of(travel: &Forecast) -> f64 {
    travel.bytes / 1e9 * COST_PER_GB + travel.downtime_s * COST_PER_DOWNTIME_S + COST_OF_RISK
}

impl Landscape for View<'_> {
    fn candidates(&self) -> Vec<usize> {
        self.dearest(true)
    }

    fn host_count(&self) -> usize {
        self.board.pool.hosts.len()
    }

    fn host_of(&self, vm: usize) -> usize {
        self.board.host_of(vm).unwrap_or(usize::MAX)
    }

    fn gain(&self, vm: usize, to: usize) -> Option<f64> {
        self.judge(vm, to).ok()
    }

    fn carry_out(&mut self, vm: usize, to: usize) {
        self.board.put(vm, Some(to));
        // One plan moves it once.
        self.board.pool.vms[vm].mobility.moved_s_ago = Some(0);
    }
}
