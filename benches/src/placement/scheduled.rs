//! Hosts of a bench as the scheduler sees them: all alike, up, and bound by no rule.

use std::collections::BTreeSet;

use vmm_core::cpu::Features;
use vmm_core::host::Health;
use vmm_core::id::HostId;
use vmm_core::scheduler::{Amounts, Host};

/// A gigabit.
const LINK_BYTES_PER_S: u64 = 125_000_000;

/// An id that counts.
pub(super) fn id(number: usize) -> [u8; 16] {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&(number as u64).to_be_bytes());
    id
}

pub(super) fn host(number: usize, capacity: Amounts, used: Amounts) -> Host {
    Host {
        id: HostId::from_bytes(id(number)),
        name: format!("host{number:05}"),
        health: Health::Up,
        maintenance: false,
        zone: String::new(),
        pcpus: 32,
        features: Features::default(),
        storages: BTreeSet::new(),
        images: BTreeSet::new(),
        capacity,
        used,
        link_bytes_per_s: LINK_BYTES_PER_S,
    }
}
