//! One domain, as the hypervisor knows it.

use std::collections::BTreeSet;

use super::cpu::WHOLE;
use super::memory::Ram;
use crate::control::{DomainConfig, DomainInfo, GuestKind, RunState, ShutdownReason};
use crate::cpu_policy::CpuPolicy;
use crate::domid::{DomId, DomainHandle};
use crate::frame::PageCount;
use crate::stream::image::TscInfo;
use crate::vcpu::{Affinity, Credit2};

/// Xen's own structures for a domain.
const DOMAIN_PAGES: u64 = 4;
/// What a PVH domain's paging pool has before anybody sets it.
const POOL_PAGES_AT_BIRTH: u64 = 256;
/// What an online vCPU uses that does nothing.
const IDLE_PPM: u64 = 2_000;

#[derive(Clone, Debug, Default)]
pub(crate) struct Vcpu {
    pub(crate) online: bool,
    pub(crate) cpu_time_ns: u64,
    /// Where it may run; empty: everywhere.
    pub(crate) affinity: Affinity,
}

#[derive(Debug)]
pub(crate) struct Domain {
    pub(crate) handle: DomainHandle,
    pub(crate) kind: GuestKind,
    pub(crate) vcpus_max: u32,
    /// Empty until they are allocated.
    pub(crate) vcpus: Vec<Vcpu>,
    pub(crate) evtchn_port_max: u32,
    pub(crate) ports: BTreeSet<u32>,
    pub(crate) pauses: u32,
    pub(crate) has_run: bool,
    pub(crate) shutdown: Option<ShutdownReason>,
    pub(crate) dying: bool,
    pub(crate) pages: u64,
    /// All of `pages`, but for dom0's.
    pub(crate) ram: Ram,
    /// How often dom0 has mapped some of it.
    pub(crate) mappings: u32,
    /// Pages that are no RAM of the guest's: rings, firmware tables.
    pub(crate) special_pages: u64,
    pub(crate) pool_pages: u64,
    pub(crate) overhead_pages: u64,
    pub(crate) memory_max_kib: u64,
    /// Free pages that are promised to it.
    pub(crate) claimed_pages: u64,
    pub(crate) built: bool,
    /// Some of its memory is still populated on demand.
    pub(crate) pod: bool,
    pub(crate) credit2: Credit2,
    /// Unless it is the host's own.
    pub(crate) cpu_policy: Option<CpuPolicy>,
    pub(crate) tsc: TscInfo,
    /// vCPUs that compute without end, at most those online.
    pub(crate) busy_vcpus: u32,
}

impl Domain {
    pub(super) fn new(config: &DomainConfig) -> Self {
        Self {
            handle: config.handle,
            kind: config.kind,
            vcpus_max: config.vcpus_max,
            vcpus: Vec::new(),
            evtchn_port_max: config.evtchn_port_max,
            ports: BTreeSet::new(),
            pauses: 1,
            has_run: false,
            shutdown: None,
            dying: false,
            pages: 0,
            ram: Ram::default(),
            mappings: 0,
            special_pages: 0,
            pool_pages: if config.kind == GuestKind::Pvh { POOL_PAGES_AT_BIRTH } else { 0 },
            overhead_pages: DOMAIN_PAGES,
            memory_max_kib: 0,
            claimed_pages: 0,
            built: false,
            pod: false,
            credit2: Credit2 { weight: 256, cap_percent: 0 },
            cpu_policy: None,
            tsc: TscInfo::default(),
            busy_vcpus: 0,
        }
    }

    /// Its guest executes instructions.
    pub(crate) fn runs(&self) -> bool {
        self.built && self.pauses == 0 && self.shutdown.is_none() && !self.dying
    }

    pub(crate) fn vcpus_online(&self) -> u32 {
        u32::try_from(self.vcpus.iter().filter(|vcpu| vcpu.online).count()).unwrap_or(u32::MAX)
    }

    pub(super) fn demands(&self) -> Vec<u64> {
        let mut busy = if self.runs() { self.busy_vcpus } else { 0 };
        let demand = |vcpu: &Vcpu| match (vcpu.online && self.runs(), busy) {
            (false, _) => 0,
            (true, 0) => IDLE_PPM,
            (true, _) => {
                busy -= 1;
                WHOLE
            }
        };
        self.vcpus.iter().map(demand).collect()
    }

    /// Physical CPUs that its online vCPUs may use together.
    pub(super) fn pcpus_usable(&self, pcpus: u32) -> u32 {
        let online = || self.vcpus.iter().filter(|vcpu| vcpu.online);
        if online().any(|vcpu| vcpu.affinity.hard.is_empty()) {
            return pcpus;
        }
        let usable: BTreeSet<u32> = online().flat_map(|v| v.affinity.hard.clone()).collect();
        u32::try_from(usable.len()).unwrap_or(pcpus)
    }

    pub(super) fn all_pages(&self) -> u64 {
        self.pages + self.pool_pages + self.overhead_pages
    }

    fn state(&self) -> RunState {
        match (self.dying, self.shutdown) {
            (true, _) => RunState::Dying,
            (false, Some(reason)) => RunState::Shutdown(reason),
            (false, None) if self.pauses > 0 => RunState::Paused,
            (false, None) if self.busy_vcpus > 0 && self.runs() => RunState::Running,
            (false, None) => RunState::Blocked,
        }
    }

    pub(super) fn info(&self, domid: DomId) -> DomainInfo {
        DomainInfo {
            domid,
            handle: self.handle,
            kind: self.kind,
            state: self.state(),
            paused: self.pauses > 0,
            pages: PageCount(self.pages),
            memory_max_kib: self.memory_max_kib,
            vcpus_online: self.vcpus_online(),
            // Xen says ~0 until there are vCPUs.
            vcpu_index_max: u32::try_from(self.vcpus.len()).unwrap_or(u32::MAX).wrapping_sub(1),
            cpu_time_ns: self.vcpus.iter().map(|vcpu| vcpu.cpu_time_ns).sum(),
        }
    }
}
