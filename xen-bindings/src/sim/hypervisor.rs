//! Domains, their pages and their CPU time.
//!
//! ```text
//!   create ─► paused, no vCPUs ─► allocate ─► build ─► unpause ─► runs ─► shut down (keeps its pages)
//!      └────────────┴──────────────┴──────────┴──────────┴─────────┴─► dying (keeps its id and pages) ─► gone
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use super::config::SimConfig;
use super::cpu::{self, Demand, WHOLE};
use super::domain::{Domain, Vcpu};
use super::ledger::Pages;
use super::probe::MemoryLedger;
use crate::control::{DomainConfig, DomainInfo, GuestKind, ShutdownReason};
use crate::domid::{DomId, DomainHandle, FIRST_RESERVED};
use crate::error::XenErrorKind;
use crate::frame::PAGE_BYTES;

pub(crate) const PAGE_KIB: u64 = PAGE_BYTES / 1024;
/// Xen's own structures for each vCPU.
const VCPU_PAGES: u64 = 2;
/// Xen keeps one page in so many for itself.
const XEN_PAGES_DIVISOR: u64 = 64;
/// HVM_MAX_VCPUS.
const VCPUS_MAX: u32 = 128;

pub(crate) struct Hypervisor {
    pub(super) domains: BTreeMap<u16, Domain>,
    pub(crate) memory: Pages,
    pub(crate) pcpus: u32,
    hvm: bool,
    shadow: bool,
    /// The id given last.
    rover: u16,
    settled: Duration,
    idle_ns: u64,
}

impl Hypervisor {
    pub(crate) fn new(config: &SimConfig, now: Duration) -> Self {
        let total = config.memory_total_kib / PAGE_KIB;
        let mut memory = Pages::new(total, total / XEN_PAGES_DIVISOR);
        let mut dom0 =
            Domain::new(&DomainConfig::new(DomainHandle([0; 16]), GuestKind::Pv, config.pcpus));
        dom0.pauses = 0;
        dom0.has_run = true;
        dom0.built = true;
        dom0.vcpus = vec![Vcpu { online: true, ..Vcpu::default() }; config.pcpus as usize];
        dom0.overhead_pages = 0;
        dom0.pages = memory.take_up_to(config.dom0_memory_kib / PAGE_KIB, &mut 0);
        dom0.memory_max_kib = dom0.pages * PAGE_KIB;
        Self {
            domains: BTreeMap::from([(0, dom0)]),
            memory,
            pcpus: config.pcpus,
            hvm: config.hvm,
            shadow: config.shadow,
            rover: 0,
            settled: now,
            idle_ns: 0,
        }
    }

    pub(crate) fn hvm(&self) -> bool {
        self.hvm
    }

    pub(crate) fn shadow(&self) -> bool {
        self.shadow
    }

    /// Accounts CPU time up to `now`, as things stood since the last call.
    pub(crate) fn settle(&mut self, now: Duration) {
        let elapsed = now.saturating_sub(self.settled);
        if elapsed.is_zero() {
            return;
        }
        self.settled = now;
        let elapsed_ns = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        let pcpus = self.pcpus;
        let demand = |domain: &Domain| Demand {
            // Pinned vCPUs cannot use more than what they are pinned to.
            wanted: (domain.demands().iter().sum::<u64>())
                .min(u64::from(domain.pcpus_usable(pcpus)) * WHOLE),
            weight: domain.credit2.weight,
            cap_percent: domain.credit2.cap_percent,
        };
        let demands: Vec<Demand> = self.domains.values().map(demand).collect();
        let shares = cpu::share(&demands, pcpus);
        for (domain, share) in self.domains.values_mut().zip(&shares) {
            let each = domain.demands();
            let all = each.iter().sum::<u64>().max(1);
            if domain.runs() {
                domain.ram.run(slowed(elapsed, domain.credit2.cap_percent));
            }
            for (vcpu, wanted) in domain.vcpus.iter_mut().zip(each) {
                let ppm = share * wanted / all;
                vcpu.cpu_time_ns += scale(elapsed_ns, ppm);
            }
        }
        let idle = (u64::from(self.pcpus) * WHOLE).saturating_sub(shares.iter().sum());
        self.idle_ns += scale(elapsed_ns, idle);
    }

    /// Idle time of one physical CPU: all are alike.
    pub(crate) fn idle_ns_each(&self) -> u64 {
        self.idle_ns / u64::from(self.pcpus.max(1))
    }

    pub(crate) fn ledger(&self) -> MemoryLedger {
        self.memory.ledger(self.domains.values().map(Domain::all_pages).sum())
    }

    pub(crate) fn get(&self, domid: DomId) -> Result<&Domain, XenErrorKind> {
        self.domains.get(&domid.get()).ok_or(XenErrorKind::NoSuchDomain)
    }

    pub(crate) fn get_mut(&mut self, domid: DomId) -> Result<&mut Domain, XenErrorKind> {
        self.domains.get_mut(&domid.get()).ok_or(XenErrorKind::NoSuchDomain)
    }

    /// As [`Hypervisor::get_mut`], but dom0 cannot do it to itself.
    pub(crate) fn other_mut(&mut self, domid: DomId) -> Result<&mut Domain, XenErrorKind> {
        match domid {
            DomId::DOM0 => Err(XenErrorKind::PermissionDenied),
            _ => self.get_mut(domid),
        }
    }

    pub(crate) fn list(&self) -> Vec<DomainInfo> {
        self.domains.iter().filter_map(|(&id, domain)| Some(domain.info(domid(id)?))).collect()
    }

    pub(crate) fn info(&self, domid: DomId) -> Option<DomainInfo> {
        self.domains.get(&domid.get()).map(|domain| domain.info(domid))
    }

    pub(crate) fn create(&mut self, config: &DomainConfig) -> Result<DomId, XenErrorKind> {
        if config.kind == GuestKind::Pvh && !self.hvm {
            return Err(XenErrorKind::Unsupported);
        }
        if !(1..=VCPUS_MAX).contains(&config.vcpus_max) || config.grant_frames_max == 0 {
            return Err(XenErrorKind::Invalid);
        }
        let id = self.free_domid().ok_or(XenErrorKind::Exhausted)?;
        let domain = Domain::new(config);
        if !self.memory.take(domain.all_pages(), 0) {
            return Err(XenErrorKind::OutOfMemory);
        }
        self.rover = id.get();
        self.domains.insert(id.get(), domain);
        Ok(id)
    }

    /// The next id after the last one given, around the reserved range, past those in use.
    fn free_domid(&self) -> Option<DomId> {
        let after = self.rover + 1..FIRST_RESERVED;
        let around = 1..=self.rover;
        after.chain(around).find(|id| !self.domains.contains_key(id)).and_then(domid)
    }

    pub(crate) fn allocate_vcpus(&mut self, id: DomId) -> Result<(), XenErrorKind> {
        let count = self.get(id)?.vcpus_max;
        let pages = u64::from(count) * VCPU_PAGES;
        if !self.memory.take(pages, 0) {
            return Err(XenErrorKind::OutOfMemory);
        }
        let domain = self.get_mut(id)?;
        domain.overhead_pages += pages;
        domain.vcpus = vec![Vcpu::default(); count as usize];
        Ok(())
    }

    pub(crate) fn alloc_port(&mut self, id: DomId) -> Result<u32, XenErrorKind> {
        let domain = self.get_mut(id)?;
        if domain.dying {
            return Err(XenErrorKind::Invalid);
        }
        let port = (1..=domain.evtchn_port_max).find(|port| !domain.ports.contains(port));
        let port = port.ok_or(XenErrorKind::Exhausted)?;
        domain.ports.insert(port);
        Ok(port)
    }

    pub(crate) fn set_pool(&mut self, id: DomId, bytes: u64) -> Result<(), XenErrorKind> {
        let domain = self.domains.get_mut(&id.get()).ok_or(XenErrorKind::NoSuchDomain)?;
        if domain.kind == GuestKind::Pv {
            return Err(XenErrorKind::Unsupported);
        }
        if domain.dying || !bytes.is_multiple_of(PAGE_BYTES) {
            return Err(XenErrorKind::Invalid);
        }
        let wanted = bytes / PAGE_BYTES;
        let grown = wanted.saturating_sub(domain.pool_pages);
        if !self.memory.take(grown, domain.claimed_pages) {
            return Err(XenErrorKind::OutOfMemory);
        }
        self.memory.give(domain.pool_pages.saturating_sub(wanted));
        domain.pool_pages = wanted;
        Ok(())
    }

    /// Promises free memory to a domain, with Xen's own checks in its own order.
    pub(crate) fn claim(&mut self, id: DomId, pages: u64) -> Result<(), XenErrorKind> {
        let domain = self.domains.get_mut(&id.get()).ok_or(XenErrorKind::NoSuchDomain)?;
        if pages == 0 {
            self.memory.unclaim(&mut domain.claimed_pages);
            return Ok(());
        }
        let fits = pages > domain.pages && pages <= domain.memory_max_kib / PAGE_KIB;
        if domain.claimed_pages > 0 || domain.dying || !fits {
            return Err(XenErrorKind::Invalid);
        }
        let claim = pages - domain.pages;
        if !self.memory.claim(claim) {
            return Err(XenErrorKind::OutOfMemory);
        }
        domain.claimed_pages = claim;
        Ok(())
    }

    /// All guests' memory is where it is counted.
    #[cfg(test)]
    pub(crate) fn frames_are_counted(&self) -> bool {
        self.domains.iter().all(|(id, domain)| *id == 0 || domain.pages == domain.ram.count())
    }

    #[cfg(test)]
    pub(crate) fn claims(&self) -> u64 {
        self.domains.values().map(|domain| domain.claimed_pages).sum()
    }

    /// Its end begins. False when it has begun before.
    pub(crate) fn start_dying(&mut self, id: DomId) -> Result<bool, XenErrorKind> {
        self.other_mut(id)?;
        let Some(domain) = self.domains.get_mut(&id.get()) else { return Ok(false) };
        self.memory.unclaim(&mut domain.claimed_pages);
        Ok(!std::mem::replace(&mut domain.dying, true))
    }

    /// A suspended domain goes on.
    pub(crate) fn resume(&mut self, id: DomId) -> Result<(), XenErrorKind> {
        let domain = self.get_mut(id)?;
        if domain.dying || domain.shutdown != Some(ShutdownReason::Suspend) {
            return Err(XenErrorKind::Invalid);
        }
        domain.shutdown = None;
        Ok(())
    }

    /// True when it had not shut down before.
    pub(crate) fn shutdown(&mut self, id: DomId, reason: ShutdownReason) -> bool {
        match self.other_mut(id) {
            Ok(domain) if domain.shutdown.is_none() && !domain.dying => {
                domain.shutdown = Some(reason);
                true
            }
            _ => false,
        }
    }

    /// Gives all that a dying domain held back to the host. False when there is none.
    pub(crate) fn remove(&mut self, id: u16) -> bool {
        if !self.domains.get(&id).is_some_and(|domain| domain.dying) {
            return false;
        }
        let pages = self.domains.remove(&id).map_or(0, |domain| domain.all_pages());
        self.memory.give(pages);
        true
    }
}

pub(crate) fn domid(raw: u16) -> Option<DomId> {
    DomId::new(u32::from(raw)).ok()
}

/// What a vCPU that never waits has of a time, under credit2's cap.
fn slowed(elapsed: Duration, cap_percent: u16) -> Duration {
    match cap_percent {
        0 | 100.. => elapsed,
        cap => elapsed * u32::from(cap) / 100,
    }
}

fn scale(elapsed_ns: u64, ppm: u64) -> u64 {
    let scaled = u128::from(elapsed_ns) * u128::from(ppm) / u128::from(WHOLE);
    u64::try_from(scaled).unwrap_or(u64::MAX)
}
