//! Moves in an order that fits at every step.
//!
//! While a VM moves, both its hosts are charged for it. Moves of one *wave* can run at the same time; the next wave begins when they are done. Where each of some moves waits
//! for another's room (two full hosts that exchange VMs), one of the VMs goes to a third host meanwhile: a temporary move.

use std::collections::BTreeMap;

use super::board::Board;
use super::precopy::{Forecast, forecast};
use super::problem::Pool;
use crate::id::{HostId, VmId};

/// Moves that may touch one host in one wave, in or out.
const WAVE_MOVES_PER_HOST: usize = 2;

/// A VM shall be somewhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Who.
    pub vm: VmId,
    /// Where.
    pub to: HostId,
}

/// One move of a plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Moves of one wave can run at the same time.
    pub wave: u32,
    /// Who.
    pub vm: VmId,
    /// From where.
    pub from: HostId,
    /// Where to.
    pub to: HostId,
    /// It makes room, and another step takes it where it shall be.
    pub is_temporary: bool,
    /// How it would go, when it converges.
    pub forecast: Option<Forecast>,
}

/// Why a VM that shall move cannot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// Who.
    pub vm: VmId,
    /// Where it should have gone.
    pub to: HostId,
    /// Why not.
    pub why: String,
}

/// The steps, and who is left over.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Order {
    /// In their order.
    pub steps: Vec<Step>,
    /// Those that cannot be moved, even by way of a third host.
    pub stuck: Vec<Stuck>,
}

/// Orders moves.
#[must_use]
pub fn order(pool: &Pool, wanted: &[Wanted]) -> Order {
    let mut ordering = Ordering {
        board: Board::new(pool),
        waiting: Vec::new(),
        detoured: Vec::new(),
        order: Order::default(),
        wave: 0,
    };
    let vms: BTreeMap<VmId, usize> =
        pool.vms.iter().enumerate().map(|(index, vm)| (vm.id, index)).collect();
    for Wanted { vm, to } in wanted {
        match (vms.get(vm), ordering.board.host_at(*to)) {
            (Some(index), Some(host)) => ordering.waiting.push((*index, host)),
            _ => ordering.stuck(*vm, *to, "it is not in the pool".into()),
        }
    }
    while !ordering.waiting.is_empty() && (ordering.wave() || ordering.detour()) {}
    for (vm, to) in std::mem::take(&mut ordering.waiting) {
        let why = ordering.board.refused(vm, to).map_or_else(
            || "there is no third host that could take it meanwhile".to_owned(),
            |refusal| format!("{}: {refusal}", ordering.board.host(to).name),
        );
        let (vm, to) = (ordering.board.vm(vm).id, ordering.board.host(to).id);
        ordering.stuck(vm, to, why);
    }
    ordering.order
}

struct Ordering {
    board: Board,
    waiting: Vec<(usize, usize)>,
    /// Who has been moved out of the way: nobody is twice.
    detoured: Vec<usize>,
    order: Order,
    wave: u32,
}

impl Ordering {
    fn stuck(&mut self, vm: VmId, to: HostId, why: String) {
        self.order.stuck.push(Stuck { vm, to, why });
    }

    /// All that can move now, at the same time. False when none can.
    fn wave(&mut self) -> bool {
        let mut busy: BTreeMap<usize, usize> = BTreeMap::new();
        let mut under_way: Vec<(usize, usize)> = Vec::new();
        let mut still: Vec<(usize, usize)> = Vec::new();
        for (vm, to) in std::mem::take(&mut self.waiting) {
            let Some(from) = self.board.host_of(vm) else { continue };
            if from == to {
                continue;
            }
            let is_free = |host: &usize| busy.get(host).copied().unwrap_or(0) < WAVE_MOVES_PER_HOST;
            let may = is_free(&from) && is_free(&to) && self.board.refused(vm, to).is_none();
            if !may {
                still.push((vm, to));
                continue;
            }
            *busy.entry(from).or_default() += 1;
            *busy.entry(to).or_default() += 1;
            self.board.hold(vm, to);
            under_way.push((vm, to));
            self.step((vm, from, to), false);
        }
        self.waiting = still;
        for (vm, to) in &under_way {
            self.board.let_go(*vm, *to);
            self.board.put(*vm, Some(*to));
        }
        self.wave += u32::from(!under_way.is_empty());
        !under_way.is_empty()
    }

    /// The smallest VM that stands in the way goes to a third host, and waits there.
    fn detour(&mut self) -> bool {
        let size = |vm: usize| self.board.vm(vm).mobility.memory_bytes;
        let mut blocked: Vec<(usize, usize)> =
            self.waiting.iter().copied().filter(|(vm, _)| !self.detoured.contains(vm)).collect();
        blocked.sort_by_key(|(vm, _)| size(*vm));
        for (vm, to) in blocked {
            let Some(from) = self.board.host_of(vm) else { continue };
            let others =
                (0..self.board.pool.hosts.len()).filter(|host| *host != from && *host != to);
            let room = |host: &usize| self.board.refused(vm, *host).is_none();
            let Some(meanwhile) = others.into_iter().find(room) else { continue };
            self.detoured.push(vm);
            self.step((vm, from, meanwhile), true);
            self.board.put(vm, Some(meanwhile));
            self.wave += 1;
            return true;
        }
        false
    }

    fn step(&mut self, (vm, from, to): (usize, usize, usize), is_temporary: bool) {
        let (source, destination) = (self.board.host(from), self.board.host(to));
        let link = source.link_bytes_per_s.min(destination.link_bytes_per_s);
        let step = Step {
            wave: self.wave,
            vm: self.board.vm(vm).id,
            from: source.id,
            to: destination.id,
            is_temporary,
            forecast: forecast(&self.board.vm(vm).mobility, link).ok(),
        };
        self.order.steps.push(step);
    }
}
