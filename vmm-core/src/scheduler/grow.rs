//! More for one VM: in place before elsewhere, unless elsewhere is cheaper.

use super::board::Board;
use super::cost::{CostModel, Term, Terms};
use super::precopy::{Forecast, forecast};
use super::problem::{Pool, Vm};
use super::rebalance::cost_of;
use super::resource::Amounts;
use super::rules::Refusal;
use crate::id::{HostId, VmId};

/// One way to give a VM more.
#[derive(Clone, Debug, PartialEq)]
pub struct Way {
    /// The host that it is on then.
    pub host: HostId,
    /// What the pool costs more; less than 0 when a move relieves its host of more than it burdens the other.
    pub cost: f64,
    /// Its parts at the host that it is on then; a move has its own.
    pub terms: Terms,
    /// How the move would go; `None` in place.
    pub travel: Option<Forecast>,
}

/// How a VM gets more.
#[derive(Clone, Debug, PartialEq)]
pub struct Growth {
    /// The best way first; none when nobody has room.
    pub ways: Vec<Way>,
    /// Why it cannot be in place, and why other hosts cannot take it.
    pub refusals: Vec<(HostId, Refusal)>,
}

/// How `vm`, which runs, gets `demand` in all; `None` when it is on no host of the pool.
#[must_use]
pub fn grow(pool: &Pool, vm: VmId, demand: Amounts, model: &CostModel) -> Option<Growth> {
    let at = pool.vms.iter().position(|known| known.id == vm)?;
    let board = Board::new(pool);
    let from = board.host_of(at)?;
    // What it has now is given back, and the whole of it asked for: the same question in place and elsewhere.
    let saved = board.cost_here(at, from, model).price();
    let mut asked = board;
    asked.put(at, None);
    asked.pool.vms[at] = Vm { demand, ..asked.pool.vms[at].clone() };
    let mut growth = Growth { ways: Vec::new(), refusals: Vec::new() };
    for host in 0..asked.pool.hosts.len() {
        let id = asked.host(host).id;
        let is_here = host == from;
        // A VM that runs is there already: only room counts.
        let refusal = if is_here { lacking(&asked, at, host) } else { asked.refused(at, host) };
        if let Some(refusal) = refusal {
            growth.refusals.push((id, refusal));
            continue;
        }
        let mut terms = asked.cost_there(at, host, model);
        let mut travel = None;
        if !is_here {
            let vm = asked.vm(at);
            let link = asked.host(from).link_bytes_per_s.min(asked.host(host).link_bytes_per_s);
            let is_movable = vm.mobility.is_movable && !vm.mobility.stands;
            let Some(found) = forecast(&vm.mobility, link).ok().filter(|_| is_movable) else {
                continue;
            };
            terms.add(Term::Migration, cost_of(&found));
            travel = Some(found);
        }
        let cost = terms.price() + terms.get(Term::Migration) - saved;
        growth.ways.push(Way { host: id, cost, terms, travel });
    }
    let in_place_first = |way: &Way| way.travel.is_some();
    growth
        .ways
        .sort_by(|a, b| a.cost.total_cmp(&b.cost).then(in_place_first(a).cmp(&in_place_first(b))));
    Some(growth)
}

fn lacking(board: &Board, vm: usize, host: usize) -> Option<Refusal> {
    let (vm, host) = (board.vm(vm), board.host(host));
    let resource = host.used.lacking(&vm.demand, &host.capacity)?;
    let free = host.capacity[resource].saturating_sub(host.used[resource]);
    Some(Refusal::Lacking { resource, needed: vm.demand[resource], free })
}
