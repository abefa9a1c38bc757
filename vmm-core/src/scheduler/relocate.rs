//! Where a VM that runs would go when somebody wants it moved, and why it can go nowhere else.
//!
//! A plan of moves asks whether a move pays; here that is decided, and only where to is open. So a host to which the model expects the guest's memory not to
//! converge is not left out: the sender has a brake and a deadline, and knows what the guest really writes.

use super::board::Board;
use super::cost::{CostModel, Term, Terms};
use super::precopy::{Forecast, forecast};
use super::problem::Pool;
use super::rebalance::cost_of;
use super::rules::Refusal;
use crate::id::{HostId, VmId};

/// One host that could take the VM.
#[derive(Clone, Debug, PartialEq)]
pub struct Destination {
    /// Which.
    pub host: HostId,
    /// What the pool costs more; less than 0 when the move relieves its host of more than it burdens the other.
    pub cost: f64,
    /// Its parts there, and the move's own.
    pub terms: Terms,
    /// How the move would go; `None` when it is not expected to converge.
    pub travel: Option<Forecast>,
}

/// Where a VM could go.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Relocation {
    /// The best first: those that are expected to converge before the others, then the cheaper.
    pub destinations: Vec<Destination>,
    /// Why the other hosts cannot take it; the one that it is on is in neither list.
    pub refusals: Vec<(HostId, Refusal)>,
}

/// Where `vm`, which runs, could go; `None` when it is on no host of the pool.
#[must_use]
pub fn relocate(pool: &Pool, vm: VmId, model: &CostModel) -> Option<Relocation> {
    let at = pool.vms.iter().position(|known| known.id == vm)?;
    let mut board = Board::new(pool);
    let from = board.host_of(at)?;
    let saved = board.cost_here(at, from, model).price();
    board.put(at, None);
    let mut found = Relocation::default();
    for host in (0..board.pool.hosts.len()).filter(|host| *host != from) {
        let id = board.host(host).id;
        if let Some(refusal) = board.refused(at, host) {
            found.refusals.push((id, refusal));
            continue;
        }
        let mut terms = board.cost_there(at, host, model);
        let link = board.host(from).link_bytes_per_s.min(board.host(host).link_bytes_per_s);
        let travel = forecast(&board.vm(at).mobility, link).ok();
        if let Some(travel) = &travel {
            terms.add(Term::Migration, cost_of(travel));
        }
        let cost = terms.price() + terms.get(Term::Migration) - saved;
        found.destinations.push(Destination { host: id, cost, terms, travel });
    }
    found.destinations.sort_by(|a, b| {
        a.travel.is_none().cmp(&b.travel.is_none()).then(a.cost.total_cmp(&b.cost))
    });
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::super::cost::Preference;
    use super::super::problem::{Host, Mobility, Needs, Vm};
    use super::super::resource::{Amounts, Resource};
    use super::*;
    use crate::host::Health;

    fn host(n: u8) -> HostId {
        HostId::from_bytes([n; 16])
    }

    fn of_host(n: u8, memory: u64) -> Host {
        let amounts = |memory| Amounts::NOTHING.with(Resource::Memory, memory);
        Host {
            id: host(n),
            name: format!("h{n}"),
            health: Health::Up,
            maintenance: false,
            zone: String::new(),
            pcpus: 4,
            features: crate::cpu::Features::default(),
            storages: std::collections::BTreeSet::new(),
            images: std::collections::BTreeSet::new(),
            capacity: Amounts::UNCOUNTED.with(Resource::Memory, 1000),
            used: amounts(memory),
            link_bytes_per_s: 100,
        }
    }

    /// A VM of 100 on the first host, which writes so much a second.
    fn pool(used: &[u64], dirty_bytes_per_s: u64) -> (Pool, VmId) {
        let id = VmId::from_bytes([9; 16]);
        let vm = Vm {
            id,
            name: "web".into(),
            demand: Amounts::NOTHING.with(Resource::Memory, 100),
            host: Some(host(1)),
            needs: Needs { vcpus: 1, ..Needs::default() },
            image: None,
            mobility: Mobility { memory_bytes: 1000, dirty_bytes_per_s, ..Mobility::default() },
        };
        let hosts = (1_u8..).zip(used).map(|(n, used)| of_host(n, *used)).collect();
        (Pool { hosts, vms: vec![vm], groups: Vec::new() }, id)
    }

    #[test]
    fn the_emptier_host_comes_first_and_the_own_one_never() {
        let (pool, vm) = pool(&[300, 600, 100, 950], 1);
        let found =
            relocate(&pool, vm, &CostModel::new(Preference::BALANCE)).expect("it is on a host");
        let hosts: Vec<HostId> = found.destinations.iter().map(|way| way.host).collect();
        assert_eq!(hosts, [host(3), host(2)]);
        assert!(found.destinations[0].cost < found.destinations[1].cost);
        let refused: Vec<_> = found.refusals.iter().map(|(id, why)| (*id, why.rule())).collect();
        assert_eq!(refused, [(host(4), "memory")]);
    }

    #[test]
    fn a_guest_that_is_not_expected_to_converge_can_be_moved_all_the_same() {
        let (pool, vm) = pool(&[300, 100], 1000);
        let found =
            relocate(&pool, vm, &CostModel::new(Preference::BALANCE)).expect("it is on a host");
        assert_eq!(found.destinations.len(), 1);
        assert_eq!(found.destinations[0].travel, None);
    }

    #[test]
    fn a_vm_that_is_nowhere_goes_nowhere() {
        let (mut pool, vm) = pool(&[300, 100], 1);
        pool.vms[0].host = None;
        assert_eq!(relocate(&pool, vm, &CostModel::new(Preference::BALANCE)), None);
    }
}
