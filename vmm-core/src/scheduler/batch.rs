//! Many VMs at once: the one that loses most by waiting goes first, and what came out badly is taken apart and tried again.
//!
//! *Regret insertion*: of each VM the cheapest and the second cheapest host are known; the VM with the largest difference is put first, one that only one host can take
//! before all others. Putting one makes only one host dearer, so only those who wanted that host look again.
//!
//! *Large-neighbourhood repair*: some VMs of the batch are taken out again, at random from a seed, and put back by regret. What is no better is taken back.

use std::collections::BTreeMap;

use super::board::Board;
use super::cost::{CostModel, Terms};
use super::problem::{Pool, Vm};
use super::rules::Refusal;
use crate::id::{HostId, VmId};

/// How hard to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Rounds of repair.
    pub repairs: u32,
    /// What is taken out is drawn from this.
    pub seed: u64,
}

impl Default for Effort {
    fn default() -> Self {
        Self { repairs: 20, seed: 1 }
    }
}

/// One VM's place.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    /// Who.
    pub vm: VmId,
    /// Where.
    pub host: HostId,
    /// What it cost when it was put there.
    pub terms: Terms,
}

/// One VM that fits nowhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Unplaced {
    /// Who.
    pub vm: VmId,
    /// Each host's reason, when all others are placed.
    pub refusals: Vec<(HostId, Refusal)>,
}

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// In the order in which they were put.
    pub placed: Vec<Placed>,
    /// Those that fit nowhere.
    pub unplaced: Vec<Unplaced>,
}

/// Places `vms`, which are nowhere yet, into `pool`.
#[must_use]
pub fn batch(pool: &Pool, vms: &[Vm], model: &CostModel, effort: Effort) -> Batch {
    let mut whole = pool.clone();
    let first = whole.vms.len();
    whole.vms.extend(vms.iter().map(|vm| Vm { host: None, ..vm.clone() }));
    let mut board = Board::new(&whole);
    let wanted: Vec<usize> = (first..first + vms.len()).collect();
    let put = insert(&mut board, &wanted, model);
    let (board, put) = repair(board, put, (model, effort), &wanted);
    report(&board, put, &wanted)
}

/// Whether VMs that are nowhere yet can be put where a batch put them: the pool may have changed since.
///
/// # Errors
/// The first that cannot, in this order, and why.
pub fn still_fits(
    pool: &Pool,
    vms: &[Vm],
    places: &[(VmId, HostId)],
) -> Result<(), (VmId, Option<Refusal>)> {
    let mut whole = pool.clone();
    whole.vms.extend(vms.iter().map(|vm| Vm { host: None, ..vm.clone() }));
    let mut board = Board::new(&whole);
    let index: BTreeMap<VmId, usize> =
        whole.vms.iter().enumerate().map(|(at, vm)| (vm.id, at)).collect();
    for (id, to) in places {
        let (Some(vm), Some(host)) = (index.get(id), board.host_at(*to)) else {
            return Err((*id, None));
        };
        if let Some(refusal) = board.refused(*vm, host) {
            return Err((*id, Some(refusal)));
        }
        board.put(*vm, Some(host));
    }
    Ok(())
}

/// VMs that are alike have the same number: what one of them finds, all do.
fn kinds(board: &Board, vms: &[usize]) -> BTreeMap<usize, usize> {
    let mut groups: BTreeMap<VmId, Vec<usize>> = BTreeMap::new();
    for (number, group) in board.pool.groups.iter().enumerate() {
        for member in &group.members {
            groups.entry(*member).or_default().push(number);
        }
    }
    let alike = |one: usize, other: usize| {
        let (one, other) = (board.vm(one), board.vm(other));
        one.demand == other.demand
            && one.needs == other.needs
            && one.image == other.image
            && (one.host, groups.get(&one.id)) == (other.host, groups.get(&other.id))
    };
    let mut firsts: Vec<usize> = Vec::new();
    let mut kinds = BTreeMap::new();
    for vm in vms {
        let known = firsts.iter().position(|first| alike(*first, *vm));
        kinds.insert(*vm, known.unwrap_or(firsts.len()));
        if known.is_none() {
            firsts.push(*vm);
        }
    }
    kinds
}

/// What VMs find on a board as it is now; of those that are alike, one looks.
struct Looks<'a> {
    kinds: &'a BTreeMap<usize, usize>,
    found: BTreeMap<usize, Waiting>,
}

impl<'a> Looks<'a> {
    fn new(kinds: &'a BTreeMap<usize, usize>) -> Self {
        Self { kinds, found: BTreeMap::new() }
    }

    fn of(&mut self, board: &Board, vm: usize, model: &CostModel) -> Waiting {
        let kind = self.kinds.get(&vm).copied().unwrap_or(usize::MAX);
        let found = self.found.entry(kind).or_insert_with(|| Waiting::look(board, vm, model));
        Waiting { vm, ..*found }
    }
}

/// Puts VMs that are on the board already, wherever they are, somewhere else; those that are nowhere afterwards fit nowhere.
pub(super) fn insert(board: &mut Board, vms: &[usize], model: &CostModel) -> Vec<(usize, Terms)> {
    let kinds = kinds(board, vms);
    let mut looks = Looks::new(&kinds);
    let mut waiting: Vec<Waiting> =
        vms.iter().map(|vm| looks.of(board, *vm, model)).filter(Waiting::has_place).collect();
    let mut put = Vec::new();
    while let Some(next) = most_urgent(&waiting) {
        let Waiting { vm, best, .. } = waiting.swap_remove(next);
        let Some((host, terms)) = best else { continue };
        board.put(vm, Some(host));
        put.push((vm, terms));
        let mut looks = Looks::new(&kinds);
        for other in &mut waiting {
            // Where there are groups, a VM that is put can bar others anywhere.
            if other.wants(host) || !board.pool.groups.is_empty() {
                *other = looks.of(board, other.vm, model);
            }
        }
        waiting.retain(Waiting::has_place);
    }
    put
}

/// A VM that is not put yet, with its two cheapest hosts.
#[derive(Clone, Copy)]
struct Waiting {
    vm: usize,
    size: f64,
    best: Option<(usize, Terms)>,
    second: Option<(usize, f64)>,
}

impl Waiting {
    fn look(board: &Board, vm: usize, model: &CostModel) -> Self {
        let mut waiting = Self { vm, size: 0.0, best: None, second: None };
        for host in 0..board.pool.hosts.len() {
            if !board.fits(vm, host) || board.barred(vm, host).is_some() {
                continue;
            }
            let terms = board.cost_there(vm, host, model);
            waiting.offer(host, terms);
        }
        let demand = &board.vm(vm).demand;
        waiting.size = waiting.best.map_or(0.0, |(host, _)| {
            let capacity = &board.host(host).capacity;
            super::Resource::ALL.into_iter().map(|r| demand.share(capacity, r)).fold(0.0, f64::max)
        });
        waiting
    }

    fn offer(&mut self, host: usize, terms: Terms) {
        let cost = terms.total();
        match self.best {
            Some((_, best)) if cost >= best.total() => {
                if self.second.is_none_or(|(_, second)| cost < second) {
                    self.second = Some((host, cost));
                }
            }
            before => {
                self.second = before.map(|(host, terms)| (host, terms.total()));
                self.best = Some((host, terms));
            }
        }
    }

    fn has_place(&self) -> bool {
        self.best.is_some()
    }

    fn wants(&self, host: usize) -> bool {
        let of_best = self.best.is_some_and(|(best, _)| best == host);
        of_best || self.second.is_some_and(|(second, _)| second == host)
    }

    /// What it loses if its best host is taken; then the larger one first.
    fn urgency(&self) -> (f64, f64) {
        let best = self.best.map_or(0.0, |(_, terms)| terms.total());
        (self.second.map_or(f64::INFINITY, |(_, second)| second - best), self.size)
    }
}

fn most_urgent(waiting: &[Waiting]) -> Option<usize> {
    let order = |a: &Waiting, b: &Waiting| {
        let ((regret_a, size_a), (regret_b, size_b)) = (a.urgency(), b.urgency());
        regret_a.total_cmp(&regret_b).then(size_a.total_cmp(&size_b)).then(b.vm.cmp(&a.vm))
    };
    (0..waiting.len()).max_by(|a, b| order(&waiting[*a], &waiting[*b]))
}

fn repair(
    mut board: Board,
    mut put: Vec<(usize, Terms)>,
    (model, effort): (&CostModel, Effort),
    wanted: &[usize],
) -> (Board, Vec<(usize, Terms)>) {
    let mut draw = Draw(effort.seed | 1);
    let mut best = value(&board, wanted, model);
    for _ in 0..effort.repairs {
        let mut trial = board.clone();
        // A tenth, and at least two: one alone would go back where it was.
        let taken: Vec<usize> = wanted.iter().copied().filter(|_| draw.below(10) == 0).collect();
        if taken.len() < 2 {
            continue;
        }
        taken.iter().for_each(|vm| trial.put(*vm, None));
        let nowhere: Vec<usize> =
            wanted.iter().copied().filter(|vm| trial.host_of(*vm).is_none()).collect();
        let again = insert(&mut trial, &nowhere, model);
        let trial_value = value(&trial, wanted, model);
        if trial_value < best {
            put.retain(|(vm, _)| !nowhere.contains(vm));
            put.extend(again);
            (board, best) = (trial, trial_value);
        }
    }
    (board, put)
}

/// Fewer VMs without a place, then less cost.
fn value(board: &Board, wanted: &[usize], model: &CostModel) -> (usize, f64) {
    let nowhere = wanted.iter().filter(|vm| board.host_of(**vm).is_none()).count();
    (nowhere, board.standing(model))
}

fn report(board: &Board, put: Vec<(usize, Terms)>, wanted: &[usize]) -> Batch {
    let place = |(vm, terms): (usize, Terms)| {
        let host = board.vm(vm).host?;
        Some(Placed { vm: board.vm(vm).id, host, terms })
    };
    let nowhere = wanted.iter().filter(|vm| board.host_of(**vm).is_none());
    let refusal = |vm: usize, host: usize| Some((board.host(host).id, board.refused(vm, host)?));
    let unplaced = nowhere.map(|vm| Unplaced {
        vm: board.vm(*vm).id,
        refusals: (0..board.pool.hosts.len()).filter_map(|host| refusal(*vm, host)).collect(),
    });
    Batch { unplaced: unplaced.collect(), placed: put.into_iter().filter_map(place).collect() }
}

/// Xorshift: the same seed takes out the same VMs.
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}
