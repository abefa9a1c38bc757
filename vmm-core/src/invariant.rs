//! What must always hold, by id, and the checks of what can be told from a snapshot of the whole pool.
//!
//! Asserted in the simulator and in end-to-end tests. A check takes facts from the hosts themselves, not what the manager
//! believes, so that it cannot agree with a mistake.

use std::collections::BTreeMap;
use std::fmt;

use crate::id::{HostId, VmId};
use crate::units::Kib;

/// The catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum InvariantId {
    /// At most one host runs a VM.
    Vm1,
    /// Reservations fit capacity.
    Cap1,
    /// At every instant at most one side of a migration runs the VM; once either side reaches the manager, exactly one owns it.
    Mig1,
    /// Every page of the destination equals the source's last write.
    Mig2,
    /// Frontend and backend trees stand or fall together.
    Xs1,
    /// No restart without proof of fencing.
    Ha1,
    /// Nothing that came by XVMP is acted on before both layers verified.
    Sec1,
    /// A cancelled task leaves a listed state.
    Task1,
}

impl fmt::Display for InvariantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vm1 => "VM1",
            Self::Cap1 => "CAP1",
            Self::Mig1 => "MIG1",
            Self::Mig2 => "MIG2",
            Self::Xs1 => "XS1",
            Self::Ha1 => "HA1",
            Self::Sec1 => "SEC1",
            Self::Task1 => "TASK1",
        })
    }
}

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{id} is broken: {detail}")]
pub struct Violation {
    /// Which.
    pub id: InvariantId,
    /// By whom, with what.
    pub detail: String,
}

/// One host, as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// VMs with a domain that can run.
    pub running: Vec<VmId>,
    /// Memory for VMs.
    pub memory_capacity: Kib,
    /// Memory reserved on it, as the manager has it.
    pub memory_reserved: Kib,
    /// Memory that its VMs' domains hold, as Xen has it; zero while something is under way that moves it.
    pub memory_held: Kib,
    /// Domains' xenstore device trees: number of frontends without a backend, and the other way round.
    pub half_devices: usize,
    /// Domains, xenstore trees or loop devices that belong to no VM.
    pub leftovers: Vec<String>,
}

/// Checks VM1, CAP1, XS1 and TASK1 over the whole pool.
///
/// # Errors
/// The first violation, in the order of the catalogue.
pub fn check_pool(hosts: &BTreeMap<HostId, HostFacts>) -> Result<(), Violation> {
    check_vm1(hosts)?;
    for (host, facts) in hosts {
        let broken = |id, detail| Err(Violation { id, detail: format!("host {host}: {detail}") });
        if facts.memory_reserved > facts.memory_capacity {
            let (reserved, capacity) = (facts.memory_reserved, facts.memory_capacity);
            return broken(InvariantId::Cap1, format!("{reserved} reserved of {capacity}"));
        }
        if facts.memory_held > facts.memory_reserved {
            let (held, reserved) = (facts.memory_held, facts.memory_reserved);
            return broken(
                InvariantId::Cap1,
                format!("domains hold {held}, reserved is {reserved}"),
            );
        }
        if facts.half_devices > 0 {
            return broken(
                InvariantId::Xs1,
                format!("{} devices have one end", facts.half_devices),
            );
        }
        if !facts.leftovers.is_empty() {
            return broken(
                InvariantId::Task1,
                format!("left over: {}", facts.leftovers.join(", ")),
            );
        }
    }
    Ok(())
}

fn check_vm1(hosts: &BTreeMap<HostId, HostFacts>) -> Result<(), Violation> {
    let mut runs_on: BTreeMap<VmId, HostId> = BTreeMap::new();
    for (host, facts) in hosts {
        for vm in &facts.running {
            if let Some(other) = runs_on.insert(*vm, *host) {
                let detail = format!("VM {vm} runs on hosts {other} and {host}");
                return Err(Violation { id: InvariantId::Vm1, detail });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(change: impl FnOnce(&mut HostFacts)) -> Result<(), InvariantId> {
        let mut second = HostFacts {
            running: vec![VmId::from_bytes([2; 16])],
            memory_capacity: Kib(100),
            ..HostFacts::default()
        };
        change(&mut second);
        let first = HostFacts { running: vec![VmId::from_bytes([1; 16])], ..HostFacts::default() };
        let hosts =
            [(HostId::from_bytes([1; 16]), first), (HostId::from_bytes([2; 16]), second)].into();
        check_pool(&hosts).map_err(|violation| violation.id)
    }

    #[test]
    fn each_broken_invariant_is_found() {
        assert_eq!(pool(|_| ()), Ok(()));
        assert_eq!(pool(|h| h.running.push(VmId::from_bytes([1; 16]))), Err(InvariantId::Vm1));
        assert_eq!(pool(|h| h.memory_reserved = Kib(101)), Err(InvariantId::Cap1));
        assert_eq!(pool(|h| h.memory_held = Kib(1)), Err(InvariantId::Cap1));
        assert_eq!(pool(|h| h.half_devices = 1), Err(InvariantId::Xs1));
        assert_eq!(pool(|h| h.leftovers.push("/dev/loop3".into())), Err(InvariantId::Task1));
    }
}
