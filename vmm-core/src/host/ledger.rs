//! What a host has, and who has reserved how much of it, for what reason.

use std::collections::BTreeMap;

use crate::id::VmId;
use crate::units::{BytesPerSecond, Kib, MilliCpu};

/// What a host can give to VMs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostCapacity {
    /// Physical CPUs, in thousandths.
    pub cpu: MilliCpu,
    /// Memory for VMs: all but Xen's and dom0's.
    pub memory: Kib,
    /// What its disks sustain, as configured.
    pub disk: BytesPerSecond,
}

/// What a host was measured to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostLoad {
    /// Prepared VMs that wait to be taken.
    pub shell_count: u32,
    /// Memory that they hold; it counts as free for VMs, since they give way.
    pub shell_memory: Kib,
    /// Busy CPUs.
    pub cpu: MilliCpu,
    /// Memory that Xen has free.
    pub memory_free: Kib,
    /// Disk throughput of all VMs.
    pub disk: BytesPerSecond,
}

/// Why capacity is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReservationReason {
    /// A VM that is being started here, or grown.
    Start,
    /// A VM that runs here.
    Running,
    /// A VM that is on its way here from another host.
    Incoming,
    /// A VM that runs on another host by now, and of which a copy may still be here.
    Outgoing,
}

/// Capacity that is charged to a VM on one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Its processor time.
    pub cpu: MilliCpu,
    /// Its memory.
    pub memory: Kib,
    /// Its disk throughput.
    pub disk: BytesPerSecond,
    /// Why.
    pub reason: ReservationReason,
}

/// The reservation does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{asked} of memory do not fit into the {free} that are not reserved")]
pub struct NoRoom {
    /// What was asked for.
    pub asked: Kib,
    /// What is left.
    pub free: Kib,
}

/// All reservations on one host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    capacity: HostCapacity,
    reservations: BTreeMap<VmId, Reservation>,
    /// Of all of them, so that nobody adds them up at each placement.
    sum: Sum,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    cpu: MilliCpu,
    memory: Kib,
    disk: BytesPerSecond,
}

impl Sum {
    fn with(self, one: Reservation) -> Self {
        Self {
            cpu: self.cpu + one.cpu,
            memory: self.memory + one.memory,
            disk: self.disk + one.disk,
        }
    }
}

impl Ledger {
    /// An empty one.
    #[must_use]
    pub fn new(capacity: HostCapacity) -> Self {
        Self { capacity, ..Self::default() }
    }

    /// Takes a new report of what the host has. What is reserved stays reserved.
    pub fn set_capacity(&mut self, capacity: HostCapacity) {
        self.capacity = capacity;
    }

    /// What the host has.
    #[must_use]
    pub fn capacity(&self) -> HostCapacity {
        self.capacity
    }

    /// What is charged, by VM.
    pub fn reservations(&self) -> impl Iterator<Item = (VmId, Reservation)> + '_ {
        self.reservations.iter().map(|(vm, reservation)| (*vm, *reservation))
    }

    /// Memory that nobody has reserved.
    #[must_use]
    pub fn memory_free(&self) -> Kib {
        self.capacity.memory.saturating_sub(self.reserved().memory)
    }

    /// The sum of all reservations; its reason means nothing.
    #[must_use]
    pub fn reserved(&self) -> Reservation {
        let Sum { cpu, memory, disk } = self.sum;
        Reservation { cpu, memory, disk, reason: ReservationReason::Running }
    }

    /// Would [`Ledger::reserve`] charge it?
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn check(&self, vm: VmId, reservation: Reservation) -> Result<(), NoRoom> {
        let before = self.reservations.get(&vm).map_or(Kib::ZERO, |r| r.memory);
        let free = self.memory_free() + before;
        // A VM that shrinks must not be refused because the host has become too small.
        if reservation.memory > free && reservation.memory > before {
            return Err(NoRoom { asked: reservation.memory, free });
        }
        Ok(())
    }

    /// Charges `vm`, replacing what it was charged before.
    ///
    /// # Errors
    /// [`NoRoom`]; the old charge stays then.
    pub fn reserve(&mut self, vm: VmId, reservation: Reservation) -> Result<(), NoRoom> {
        self.check(vm, reservation)?;
        self.acknowledge(vm, reservation);
        Ok(())
    }

    /// Records a VM that was found running, whether or not it fits: it is there.
    pub fn acknowledge(&mut self, vm: VmId, reservation: Reservation) {
        match self.reservations.insert(vm, reservation) {
            None => self.sum = self.sum.with(reservation),
            Some(_) => self.add_up(),
        }
    }

    /// Gives it back; what was charged, if anything.
    pub fn release(&mut self, vm: VmId) -> Option<Reservation> {
        let released = self.reservations.remove(&vm);
        if released.is_some() {
            self.add_up();
        }
        released
    }

    /// Sums saturate, so nothing can be taken off one.
    fn add_up(&mut self) {
        self.sum = self.reservations.values().copied().fold(Sum::default(), Sum::with);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vm(n: u8) -> VmId {
        VmId::from_bytes([n; 16])
    }

    fn memory(mib: u64) -> Reservation {
        Reservation {
            cpu: MilliCpu(100),
            memory: Kib::from_mib(mib),
            disk: BytesPerSecond(0),
            reason: ReservationReason::Start,
        }
    }

    proptest! {
        #[test]
        fn reservations_never_exceed_capacity(
            steps in proptest::collection::vec((0u8..6, 0u64..700, any::<bool>()), 0..60)
        ) {
            let capacity = HostCapacity { memory: Kib::from_mib(1024), ..HostCapacity::default() };
            let mut ledger = Ledger::new(capacity);
            for (who, mib, release) in steps {
                if release {
                    ledger.release(vm(who));
                } else {
                    let _ = ledger.reserve(vm(who), memory(mib));
                }
                prop_assert!(ledger.reserved().memory <= capacity.memory);
                let each = ledger.reservations().map(|(_, one)| one.memory.0);
                prop_assert_eq!(ledger.reserved().memory.0, each.sum::<u64>());
            }
        }
    }

    #[test]
    fn a_vm_may_shrink_on_a_host_that_has_become_too_small() {
        let mut ledger =
            Ledger::new(HostCapacity { memory: Kib::from_mib(512), ..HostCapacity::default() });
        ledger.reserve(vm(1), memory(512)).expect("fits");
        ledger.set_capacity(HostCapacity { memory: Kib::from_mib(128), ..HostCapacity::default() });
        assert!(ledger.reserve(vm(1), memory(256)).is_ok());
        assert!(ledger.reserve(vm(1), memory(300)).is_err());
    }
}
