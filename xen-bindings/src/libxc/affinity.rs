//! Where vCPUs may run: Xen's bitmaps of physical CPUs, and lists of their numbers.

use xenctrl_sys as xc;

use super::Libxc;
use crate::domid::DomId;
use crate::error::{XenError, XenErrorKind};
use crate::vcpu::Affinity;

const OP_GET: &str = "vcpu_getaffinity";
const OP_SET: &str = "vcpu_setaffinity";
const BOTH: u32 = xc::XEN_VCPUAFFINITY_HARD | xc::XEN_VCPUAFFINITY_SOFT;

impl Libxc {
    pub(super) fn read_affinity(&self, domid: DomId, index: u32) -> Result<Affinity, XenError> {
        let (hard, soft) = self.affinity_maps(domid, index)?;
        let pcpus = self.pcpus_online()?;
        Ok(Affinity { hard: names(&hard, &pcpus), soft: names(&soft, &pcpus) })
    }

    pub(super) fn write_affinity(
        &self,
        domid: DomId,
        index: u32,
        affinity: &Affinity,
    ) -> Result<(), XenError> {
        // Xen answers EINVAL for a missing vCPU as for CPUs that it has not got: ask for the vCPU first.
        let (current, _) = self.affinity_maps(domid, index)?;
        let mut hard = map(&affinity.hard, current.len());
        let mut soft = map(&affinity.soft, current.len());
        let vcpu = index.cast_signed();
        self.call_domain(OP_SET, domid, |xch, domid| {
            let (hard, soft) = (hard.as_mut_ptr(), soft.as_mut_ptr());
            // SAFETY: both maps have the length of `xc_get_cpumap_size`, which is what libxc reads and writes.
            unsafe { xc::xc_vcpu_setaffinity(xch, domid, vcpu, hard, soft, BOTH) }
        })?;
        Ok(())
    }

    /// The hard and the soft map as Xen has them.
    fn affinity_maps(&self, domid: DomId, index: u32) -> Result<(Vec<u8>, Vec<u8>), XenError> {
        let length = self.call("get_cpumap_size", |xch| {
            // SAFETY: no arguments but the handle.
            unsafe { xc::xc_get_cpumap_size(xch) }
        })?;
        let length = usize::try_from(length).unwrap_or(0);
        let (mut hard, mut soft) = (vec![0; length], vec![0; length]);
        let vcpu = index.cast_signed();
        self.call_domain(OP_GET, domid, |xch, domid| {
            let (hard, soft) = (hard.as_mut_ptr(), soft.as_mut_ptr());
            // SAFETY: both maps have the length of `xc_get_cpumap_size`, which is what libxc writes.
            unsafe { xc::xc_vcpu_getaffinity(xch, domid, vcpu, hard, soft, BOTH) }
        })
        .map_err(|error| match error.kind() {
            // Xen's answer to an index above the maximum; a gap below it is ESRCH.
            XenErrorKind::Invalid => error.with_kind(XenErrorKind::NoSuchDomain),
            _ => error,
        })?;
        Ok((hard, soft))
    }

    /// Numbers of the CPUs that are online; without SMT every other one may be missing.
    fn pcpus_online(&self) -> Result<Vec<u32>, XenError> {
        const OPERATION: &str = "cputopoinfo";
        let mut count = 0;
        self.call(OPERATION, |xch| {
            // SAFETY: without a list Xen answers how many entries there are.
            unsafe { xc::xc_cputopoinfo(xch, &raw mut count, std::ptr::null_mut()) }
        })?;
        let length = usize::try_from(count).unwrap_or(0);
        let mut topology = vec![xc::xc_cputopo_t::default(); length];
        self.call(OPERATION, |xch| {
            // SAFETY: the vector has `count` entries.
            unsafe { xc::xc_cputopoinfo(xch, &raw mut count, topology.as_mut_ptr()) }
        })?;
        topology.truncate(usize::try_from(count).unwrap_or(0));
        let online =
            |entry: &xc::xc_cputopo_t| entry.core != xc::XEN_INVALID_CORE_ID.cast_unsigned();
        Ok((0..).zip(&topology).filter(|(_, entry)| online(entry)).map(|(cpu, _)| cpu).collect())
    }
}

/// The online CPUs of a map; none when it has all of them, since that is no choice.
fn names(map: &[u8], pcpus: &[u32]) -> Vec<u32> {
    let has = |cpu: &u32| {
        let byte = usize::try_from(*cpu / 8).ok().and_then(|index| map.get(index));
        byte.is_some_and(|byte| byte & (1 << (*cpu % 8)) != 0)
    };
    if pcpus.iter().all(has) { Vec::new() } else { pcpus.iter().copied().filter(has).collect() }
}

/// A map of so many bytes; no numbers are all CPUs, and a number that does not fit is a CPU that no host has.
fn map(cpus: &[u32], length: usize) -> Vec<u8> {
    if cpus.is_empty() {
        return vec![u8::MAX; length];
    }
    let mut map = vec![0; length];
    for cpu in cpus {
        if let Some(byte) = usize::try_from(*cpu / 8).ok().and_then(|index| map.get_mut(index)) {
            *byte |= 1 << (*cpu % 8);
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_survives_and_all_cpus_are_no_choice() {
        let host: Vec<u32> = (0..12).collect();
        for (chosen, told) in [
            (vec![], vec![]),
            (host.clone(), vec![]),
            (vec![3], vec![3]),
            (vec![0, 8, 11], vec![0, 8, 11]),
            (vec![1, 15, 16, 4_000_000_000], vec![1]),
        ] {
            assert_eq!(names(&map(&chosen, 2), &host), told, "{chosen:?}");
        }
    }

    #[test]
    fn a_host_without_smt_has_all_cpus_when_it_has_the_even_ones() {
        assert_eq!(names(&map(&[0, 2], 1), &[0, 2]), []);
        assert_eq!(names(&map(&[2, 3], 1), &[0, 2]), [2]);
    }
}
