//! What VMs of a class use: those that were made alike, of the same kernel, vCPUs and memory.
//!
//! A new VM is expected to use what its likes use, until it was measured itself. A class of fewer than three says nothing.

use std::collections::BTreeMap;

use tokio::time::Instant;
use vmm_core::scheduler::{Amounts, Resource};
use vmm_proto::v1;

use super::problem::Histories;
use super::state::State;

/// VMs that a class needs before it is believed.
const TRUSTED: u64 = 3;

/// Kernel, vCPUs, memory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Class(String, u32, u64);

impl Class {
    fn of(spec: &v1::Spec) -> Self {
        Self(spec.kernel.clone(), spec.vcpus, spec.memory_kib)
    }
}

/// What each class uses.
#[derive(Debug, Default)]
pub(crate) struct Profiles(BTreeMap<Class, Amounts>);

impl Profiles {
    /// Of a VM that is made so.
    pub(super) fn of(&self, spec: &v1::Spec) -> Option<Amounts> {
        self.0.get(&Class::of(spec)).copied()
    }
}

/// The sum over the VMs of a class.
#[derive(Default)]
struct Sum {
    vms: u64,
    of: [u64; 4],
}

impl Sum {
    fn add(&mut self, histories: &Histories, at_s: u64) {
        self.vms += 1;
        for (sum, forecast) in self.of.iter_mut().zip(histories.forecasts(at_s)) {
            *sum = sum.saturating_add(forecast.unwrap_or(0));
        }
    }

    fn mean(&self) -> Option<Amounts> {
        let resources = Resource::CONTENDED.into_iter().zip(self.of);
        let mean = resources.fold(Amounts::NOTHING, |amounts, (resource, sum)| {
            amounts.with(resource, sum / self.vms.max(1))
        });
        (self.vms >= TRUSTED).then_some(mean)
    }
}

impl State {
    /// Looks anew at what VMs use. Answers how many were looked at, and how many classes are known.
    pub(crate) fn profile(&mut self, now: Instant) -> (usize, usize) {
        let at_s = self.clock_s(now);
        let mut sums: BTreeMap<Class, Sum> = BTreeMap::new();
        let is_measured = |vm: &&super::state::Vm| vm.histories.forecasts(at_s)[0].is_some();
        let running = self.vms.values().filter(|vm| vm.record.state().has_domain());
        for vm in running.filter(is_measured) {
            sums.entry(Class::of(&vm.record.spec)).or_default().add(&vm.histories, at_s);
        }
        let known = sums.into_iter().filter_map(|(class, sum)| Some((class, sum.mean()?)));
        self.profiles = Profiles(known.collect());
        (self.vms.len(), self.profiles.0.len())
    }
}
