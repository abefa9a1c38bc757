//! A pool on which moves are tried: what is in use and who is where follow every move.

use std::collections::BTreeMap;

use super::cost::{CostModel, Term, Terms};
use super::place;
use super::problem::{GroupPlaces, Host, Pool, Vm};
use super::rules::{Refusal, barred, refused, wishes};
use crate::id::HostId;

/// See the [module](self). VMs and hosts go by their place in the pool's lists.
#[derive(Clone, Debug)]
pub(super) struct Board {
    pub(super) pool: Pool,
    places: GroupPlaces,
    hosts: BTreeMap<HostId, usize>,
}

impl Board {
    pub(super) fn new(pool: &Pool) -> Self {
        let hosts = pool.hosts.iter().enumerate().map(|(at, host)| (host.id, at)).collect();
        Self { pool: pool.clone(), places: GroupPlaces::of(pool), hosts }
    }

    pub(super) fn vm(&self, vm: usize) -> &Vm {
        &self.pool.vms[vm]
    }

    pub(super) fn host(&self, host: usize) -> &Host {
        &self.pool.hosts[host]
    }

    pub(super) fn host_at(&self, id: HostId) -> Option<usize> {
        self.hosts.get(&id).copied()
    }

    /// Where a VM is; `None` when it is nowhere, or on a host that the pool does not have.
    pub(super) fn host_of(&self, vm: usize) -> Option<usize> {
        self.vm(vm).host.and_then(|id| self.host_at(id))
    }

    /// By which rule a host cannot take a VM, whatever there is left.
    pub(super) fn barred(&self, vm: usize, host: usize) -> Option<Refusal> {
        barred(&self.pool, &self.places, self.vm(vm), self.host(host))
    }

    /// Why a host cannot take a VM now.
    pub(super) fn refused(&self, vm: usize, host: usize) -> Option<Refusal> {
        refused(&self.pool, &self.places, self.vm(vm), self.host(host))
    }

    /// Is there room, rules aside?
    pub(super) fn fits(&self, vm: usize, host: usize) -> bool {
        let host = self.host(host);
        host.used.lacking(&self.vm(vm).demand, &host.capacity).is_none()
    }

    /// What a VM costs on another host.
    pub(super) fn cost_there(&self, vm: usize, host: usize, model: &CostModel) -> Terms {
        place::cost(&self.pool, &self.places, (self.vm(vm), self.host(host)), model)
    }

    /// What would be saved if a VM left where it is.
    pub(super) fn cost_here(&self, vm: usize, host: usize, model: &CostModel) -> Terms {
        let (vm, host) = (self.vm(vm), self.host(host));
        let mut terms = model.terms(&vm.demand, &host.used.minus(vm.demand), &host.capacity);
        terms.add(Term::Wishes, wishes(&self.pool, &self.places, vm, host));
        terms
    }

    /// A VM leaves where it is, if anywhere, and comes there, if anywhere.
    pub(super) fn put(&mut self, vm: usize, to: Option<usize>) {
        let (demand, from) = (self.vm(vm).demand, self.host_of(vm));
        if let Some(from) = from {
            let used = &mut self.pool.hosts[from].used;
            *used = used.minus(demand);
        }
        if let Some(to) = to {
            let used = &mut self.pool.hosts[to].used;
            *used = used.plus(demand);
        }
        let id = to.map(|to| self.pool.hosts[to].id);
        let Vm { id: vm_id, host, .. } = &mut self.pool.vms[vm];
        let before = std::mem::replace(host, id);
        self.places.moved(*vm_id, before, id);
    }

    /// Charges a host for a VM that is on its way there, beside what it is charged where it is.
    pub(super) fn hold(&mut self, vm: usize, host: usize) {
        let demand = self.vm(vm).demand;
        let used = &mut self.pool.hosts[host].used;
        *used = used.plus(demand);
    }

    /// Takes [`Board::hold`] back.
    pub(super) fn let_go(&mut self, vm: usize, host: usize) {
        let demand = self.vm(vm).demand;
        let used = &mut self.pool.hosts[host].used;
        *used = used.minus(demand);
    }

    /// The price of the whole.
    pub(super) fn standing(&self, model: &CostModel) -> f64 {
        self.pool.hosts.iter().map(|host| model.standing(&host.used, &host.capacity)).sum()
    }

    /// The potential of the whole.
    pub(super) fn potential(&self, model: &CostModel) -> f64 {
        self.pool.hosts.iter().map(|host| model.potential(&host.used, &host.capacity)).sum()
    }
}
