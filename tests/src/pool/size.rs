//! How large a day is.

/// Hosts, VMs, steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Hosts of the pool.
    pub hosts: u64,
    /// VMs at most at a time.
    pub vms: usize,
    /// Deeds of a day.
    pub steps: usize,
}

/// More VMs than one operator handles one by one.
const MANY_VMS: usize = 100;

impl Size {
    /// One operator, who does one thing after the other.
    pub const SMALL: Self = Self { hosts: 3, vms: 12, steps: 40 };
    /// A room full of servers: bulk operations, many at work at once, several faults at once.
    pub const LARGE: Self = Self { hosts: 50, vms: 1000, steps: 40 };

    /// Is it one of many changes and faults at a time?
    #[must_use]
    pub fn is_large(self) -> bool {
        self.vms >= MANY_VMS
    }

    /// Memory of each machine. A large pool's is four fifths full when all of its VMs are there.
    pub(super) fn memory_total_kib(self) -> u64 {
        if !self.is_large() {
            return 4 << 20;
        }
        let vms_per_host = (self.vms as u64).div_ceil(self.hosts.max(1));
        DOM0_KIB + vms_per_host * VM_MEAN_KIB * 5 / 4
    }
}

/// What dom0 of each machine holds.
pub(super) const DOM0_KIB: u64 = 1 << 20;
/// What a VM of a large day takes on average, with Xen's own part.
const VM_MEAN_KIB: u64 = 108 << 10;
