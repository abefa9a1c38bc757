//! What a simulated machine is made of.

use std::time::Duration;

use crate::contract::StoreFlavour;

/// A machine.
#[derive(Clone, Debug)]
pub struct SimConfig {
    /// Decides every delay and every random fault.
    pub seed: u64,
    /// Physical CPUs.
    pub pcpus: u32,
    /// All memory that Xen manages.
    pub memory_total_kib: u64,
    /// What dom0 holds.
    pub dom0_memory_kib: u64,
    /// Which xenstore daemon it runs.
    pub store: StoreFlavour,
    /// The processor can run PVH guests.
    pub hvm: bool,
    /// Xen can shadow page tables, and log what PV guests write.
    pub shadow: bool,
    /// What its processor can do, a bit each. A guest that was promised more elsewhere is restored without it.
    pub cpu_features: u32,
    /// From the first unpause until the guest's kernel is on xenstore.
    pub guest_boot: Duration,
}

impl Default for SimConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            pcpus: 4,
            memory_total_kib: 8 << 20,
            dom0_memory_kib: 1 << 20,
            store: StoreFlavour::C,
            hvm: true,
            shadow: true,
            cpu_features: 0x7fff,
            guest_boot: Duration::from_secs(1),
        }
    }
}
