//! A domain without memory: created, given vCPUs, limits, scheduling and ports.

use vmm_core::vm::{GuestKind, MAXMEM_SLACK, Scheduling, VmSpec, paging_pool};
use xen_bindings::{Affinity, Credit2, DomId, DomainConfig, DomainHandle, XenError};

use super::Site;
use crate::domain::error::StepError;
use crate::domain::shells::{self, Parts, Ready};
use crate::journal::Record;

impl Site {
    pub(in crate::domain) async fn create(&mut self) -> Result<(), StepError> {
        let handle = DomainHandle(self.record.vm.bytes());
        let spec = &self.record.spec;
        let config = DomainConfig::new(handle, xen_kind(spec.kind), spec.vcpus_max);
        let domain = self.core.run(move |host| host.xen.control.create(&config)).await?;
        self.record.domid = Some(domain.domid());
        self.progress.vcpuless = Some(domain);
        self.write_record().await
    }

    /// A shell for [`Site::take_shell`].
    pub(in crate::domain) fn hand_over(&mut self, ready: Ready) {
        self.spare = Some(ready);
    }

    /// The shell that was handed over and not taken.
    pub(in crate::domain) fn spare(&mut self) -> Option<Ready> {
        self.spare.take()
    }

    /// What [`super::super::plan::shell`] has made.
    pub(in crate::domain) fn into_shell(self) -> Option<(Record, Parts)> {
        let domid = self.record.domid?;
        let (shell, ports) = (self.progress.shell?, self.progress.ports?);
        let parts = Parts { domid, shell, ports, built: self.progress.built? };
        Some((self.record, parts))
    }

    /// Makes the shell the VM's domain. Until its handle is the VM's, the shell's own record answers for it.
    pub(in crate::domain) async fn take_shell(&mut self) -> Result<(), StepError> {
        let ready = self.spare.take().ok_or(StepError::OutOfOrder("a shell"))?;
        let (domid, handle) = (ready.parts.domid, DomainHandle(self.record.vm.bytes()));
        self.record.domid = Some(domid);
        if let Err(error) = self.name_domain(domid, handle).await {
            self.record.domid = None;
            self.spare = Some(ready);
            return Err(error);
        }
        shells::forget(&self.core, ready.record.vm).await;
        let Parts { shell, ports, built, .. } = ready.parts;
        self.progress.shell = Some(shell);
        self.progress.ports = Some(ports);
        self.progress.built = Some(built);
        Ok(())
    }

    /// Its number on disk, then the VM's uuid on it.
    async fn name_domain(&self, domid: DomId, handle: DomainHandle) -> Result<(), StepError> {
        self.write_record().await?;
        Ok(self.core.run(move |host| host.xen.control.set_handle(domid, handle)).await?)
    }

    pub(in crate::domain) async fn allocate_vcpus(&mut self) -> Result<(), StepError> {
        let domain = self.progress.vcpuless.take().ok_or(StepError::OutOfOrder("the domain"))?;
        let shell = self.core.run(move |host| host.xen.vcpu.allocate(domain)).await?;
        self.progress.shell = Some(shell);
        Ok(())
    }

    /// Xen lets the domain hold what it boots with; growing raises this first.
    pub(in crate::domain) async fn set_limits(&mut self) -> Result<(), StepError> {
        let VmSpec { kind, vcpus_max, memory_max, .. } = self.record.spec;
        // A guest that was saved may have grown above what it boots with.
        let (memory, _) = self.size();
        let memory_max = memory_max.max(memory);
        self.with_shell(move |host, shell| {
            host.xen.memory.set_max(shell.domid(), (memory + MAXMEM_SLACK).0)?;
            host.xen.memory.set_memory_map_limit(shell, memory_max.0)?;
            match kind {
                GuestKind::Pvh => {
                    let pool_bytes = paging_pool(vcpus_max, memory_max).0.saturating_mul(1024);
                    host.xen.memory.set_paging_pool(shell.domid(), pool_bytes)
                }
                GuestKind::Pv => Ok(()),
            }
        })
        .await
    }

    pub(in crate::domain) async fn set_scheduling(&mut self) -> Result<(), StepError> {
        if self.record.spec.scheduling == Scheduling::default() {
            return Ok(());
        }
        let (domid, vcpus_max) = (self.domid()?, self.record.spec.vcpus_max);
        let scheduling = self.record.spec.scheduling.clone();
        let set =
            move |host: &crate::Backend| apply_scheduling(host, domid, vcpus_max, &scheduling);
        Ok(self.core.run(set).await?)
    }

    pub(in crate::domain) async fn allocate_ports(&mut self) -> Result<(), StepError> {
        let ports = self
            .with_shell(|host, shell| {
                let allocate = || host.xen.evtchn.alloc_unbound(shell.domid(), DomId::DOM0);
                Ok((allocate()?, allocate()?))
            })
            .await?;
        self.progress.ports = Some(ports);
        Ok(())
    }

    pub(in crate::domain) async fn apply_cpu_policy(&mut self) -> Result<(), StepError> {
        self.with_shell(|host, shell| host.xen.control.apply_cpu_policy(shell)).await
    }
}

/// Gives a domain its share and its CPUs.
pub(in crate::domain) fn apply_scheduling(
    host: &crate::Backend,
    domid: DomId,
    vcpus_max: u32,
    scheduling: &Scheduling,
) -> Result<(), XenError> {
    let Scheduling { weight, cap_percent, affinity, affinity_soft } = scheduling;
    let credit2 = Credit2 { weight: *weight, cap_percent: *cap_percent };
    host.xen.vcpu.set_credit2(domid, credit2)?;
    let affinity =
        Affinity { hard: affinity.iter().collect(), soft: affinity_soft.iter().collect() };
    (0..vcpus_max).try_for_each(|vcpu| host.xen.vcpu.set_affinity(domid, vcpu, &affinity))
}

pub(in crate::domain) fn xen_kind(kind: GuestKind) -> xen_bindings::GuestKind {
    match kind {
        GuestKind::Pvh => xen_bindings::GuestKind::Pvh,
        GuestKind::Pv => xen_bindings::GuestKind::Pv,
    }
}
