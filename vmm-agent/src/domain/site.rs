//! One VM's place on the host: what it has there so far, and the steps that change that.
//!
//! Each step is one blocking piece of work, or one wait. Steps that take something back are harmless when there is nothing, so
//! that they serve the undo of a build, the end of a VM and the search after a crash alike.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use vmm_core::vm::{DiskSpec, MAXMEM_SLACK, paging_pool};
use xen_bindings::{
    BuildSpec, BuiltGuest, DomId, DomainConfig, DomainHandle, GuestKind, Port, Shell,
    VcpulessDomain, XenError, XenErrorKind,
};

use super::error::StepError;
use super::tree::{self, Tree};
use crate::core::Core;
use crate::device::vbd;
use crate::dom0::{AttachedLoop, LoopIndex};
use crate::journal::{Intent, Record};
use crate::watch::wait_for_node;

/// How long a block backend may take to find a new disk.
const BACKEND_WAIT: Duration = Duration::from_secs(20);
/// How long a destroyed domain may stay listed: until its last page is back.
const GONE_WAIT: Duration = Duration::from_secs(30);
/// How often a dying domain is looked at.
const GONE_POLL: Duration = Duration::from_millis(20);

/// What an event channel pair, a shell and a built guest become on the way.
#[derive(Default)]
struct Progress {
    vcpuless: Option<VcpulessDomain>,
    shell: Option<Shell>,
    ports: Option<(Port, Port)>,
    built: Option<BuiltGuest>,
}

/// One VM's place on the host.
pub(crate) struct Site {
    pub(crate) core: Arc<Core>,
    /// As it is on disk, or will be with the next write.
    pub(crate) record: Record,
    progress: Progress,
}

impl Site {
    pub(crate) fn new(core: Arc<Core>, record: Record) -> Self {
        Self { core, record, progress: Progress::default() }
    }

    pub(crate) async fn write_record(&self) -> Result<(), StepError> {
        Ok(self.core.record(&self.record).await?)
    }

    /// Says on disk what comes, before it comes. Loop devices that have the disk's file already are remembered as not ours.
    pub(crate) async fn record_intent(&mut self, intent: Intent) -> Result<(), StepError> {
        let loops = self.core.run(|host| host.dom0.loops()).await?;
        let file = self.disk_file();
        let taken = loops.into_iter().filter(|l| Some(&l.backing_file) == file.as_ref());
        self.record.loops_before = taken.map(|l| l.index).collect();
        self.refuse_shared_disk()?;
        (self.record.domid, self.record.loop_index) = (None, None);
        self.record.intent = intent;
        self.progress = Progress::default();
        self.write_record().await
    }

    /// Two paths may lead to one file; the loop driver tells.
    fn refuse_shared_disk(&self) -> Result<(), StepError> {
        let reads_only = |record: &Record| record.spec.disks.first().is_some_and(|d| d.read_only);
        let shares = |record: &Record| {
            record.vm != self.record.vm
                && record.loop_index.is_some_and(|l| self.record.loops_before.contains(&l))
                && !(reads_only(record) && reads_only(&self.record))
        };
        match self.core.journal.records().into_iter().find(shares) {
            Some(other) => Err(StepError::DiskInUse(other.spec.name)),
            None => Ok(()),
        }
    }

    pub(crate) async fn attach_disk(&mut self) -> Result<(), StepError> {
        let Some(DiskSpec { path, read_only, .. }) = self.record.spec.disks.first().cloned() else {
            return Ok(());
        };
        let attach =
            move |host: &crate::Backend| host.dom0.attach_loop(Path::new(&path), read_only);
        self.record.loop_index = Some(self.core.run(attach).await?);
        self.write_record().await
    }

    pub(crate) async fn create(&mut self) -> Result<(), StepError> {
        let handle = DomainHandle(self.record.vm.bytes());
        let config = DomainConfig::new(handle, GuestKind::Pvh, self.record.spec.vcpus_max);
        let domain = self.core.run(move |host| host.xen.control.create(&config)).await?;
        self.record.domid = Some(domain.domid());
        self.progress.vcpuless = Some(domain);
        self.write_record().await
    }

    pub(crate) async fn allocate_vcpus(&mut self) -> Result<(), StepError> {
        let domain = self.progress.vcpuless.take().ok_or(StepError::OutOfOrder("the domain"))?;
        let shell = self.core.run(move |host| host.xen.vcpu.allocate(domain)).await?;
        self.progress.shell = Some(shell);
        Ok(())
    }

    /// Runs one step on the shell.
    async fn with_shell<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&crate::Backend, &Shell) -> Result<T, XenError> + Send + 'static,
    ) -> Result<T, StepError> {
        let shell = self.progress.shell.take().ok_or(StepError::OutOfOrder("the shell"))?;
        let step = move |host: &crate::Backend| (work(host, &shell), shell);
        let (outcome, shell) = self.core.run(step).await;
        self.progress.shell = Some(shell);
        Ok(outcome?)
    }

    /// Xen lets the domain hold what it boots with; growing raises this first.
    pub(crate) async fn set_limits(&mut self) -> Result<(), StepError> {
        let spec = &self.record.spec;
        let most = (spec.memory + MAXMEM_SLACK).0;
        let pool_bytes = paging_pool(spec.vcpus_max, spec.memory_max).0.saturating_mul(1024);
        self.with_shell(move |host, shell| {
            host.xen.memory.set_max(shell.domid(), most)?;
            host.xen.memory.set_paging_pool(shell.domid(), pool_bytes)
        })
        .await
    }

    pub(crate) async fn allocate_ports(&mut self) -> Result<(), StepError> {
        let ports = self
            .with_shell(|host, shell| {
                let allocate = || host.xen.evtchn.alloc_unbound(shell.domid(), DomId::DOM0);
                Ok((allocate()?, allocate()?))
            })
            .await?;
        self.progress.ports = Some(ports);
        Ok(())
    }

    pub(crate) async fn apply_cpu_policy(&mut self) -> Result<(), StepError> {
        self.with_shell(|host, shell| host.xen.control.apply_cpu_policy(shell)).await
    }

    pub(crate) async fn build_image(&mut self) -> Result<(), StepError> {
        let (store_port, console_port) =
            self.progress.ports.ok_or(StepError::OutOfOrder("a port"))?;
        let spec = &self.record.spec;
        let build = BuildSpec {
            kernel: PathBuf::from(&spec.kernel),
            initramfs: spec.initramfs.as_ref().map(PathBuf::from),
            cmdline: spec.cmdline.clone(),
            vcpus_online: spec.vcpus,
            memory_target_kib: spec.memory.0,
            memory_max_kib: spec.memory_max.0,
            store_port,
            console_port,
        };
        let built = self.with_shell(move |host, shell| host.xen.image.build(shell, &build)).await?;
        self.progress.built = Some(built);
        Ok(())
    }

    /// The domain, once it is created.
    pub(crate) fn domid(&self) -> Result<DomId, StepError> {
        self.record.domid.ok_or(StepError::OutOfOrder("the domain"))
    }

    pub(crate) async fn write_tree(&mut self) -> Result<(), StepError> {
        let (store_port, console_port) =
            self.progress.ports.ok_or(StepError::OutOfOrder("a port"))?;
        let built = self.progress.built.ok_or(StepError::OutOfOrder("the guest"))?;
        let nodes = Tree {
            vm: self.record.vm,
            domid: self.domid()?,
            spec: &self.record.spec,
            store_port,
            console_port,
            built,
            disk: self.record.loop_index,
        }
        .nodes()?;
        Ok(self.core.run(move |host| tree::write(host.xen.store.as_ref(), &nodes)).await?)
    }

    pub(crate) async fn introduce(&mut self) -> Result<(), StepError> {
        let domid = self.domid()?;
        let (port, _) = self.progress.ports.ok_or(StepError::OutOfOrder("a port"))?;
        let ring = self.progress.built.ok_or(StepError::OutOfOrder("the guest"))?.store_gfn;
        Ok(self.core.run(move |host| host.xen.store.introduce(domid, ring, port)).await?)
    }

    /// The guest's frontend must find a backend that waits for it.
    pub(crate) async fn await_backend(&mut self) -> Result<(), StepError> {
        let disk = self.record.spec.disks.first();
        let Some(devid) = disk.and_then(DiskSpec::device_number) else { return Ok(()) };
        let state = vbd::backend_path(self.domid()?, devid)?.join("state")?;
        let ready = |text: &str| vbd::is_ready(text).then_some(());
        match wait_for_node(&self.core, &state, BACKEND_WAIT, ready).await? {
            Some(()) => Ok(()),
            None => Err(StepError::Waited {
                what: format!("dom0's block backend (is xen-blkback loaded?) taking up {state}"),
                limit: BACKEND_WAIT,
            }),
        }
    }

    pub(crate) async fn unpause(&mut self) -> Result<(), StepError> {
        let domid = self.domid()?;
        Ok(self.core.run(move |host| host.xen.control.unpause(domid)).await?)
    }

    pub(crate) async fn record_running(&mut self) -> Result<(), StepError> {
        self.record.intent = Intent::Run;
        self.write_record().await
    }

    /// Tells Xen to end the domain, if it is there and ours.
    pub(crate) async fn kill(&mut self) -> Result<(), StepError> {
        let Some(domid) = self.record.domid else { return Ok(()) };
        if !self.domain_is_there().await? {
            return Ok(());
        }
        match self.core.run(move |host| host.xen.control.destroy(domid)).await {
            Err(error) if error.kind() != XenErrorKind::NoSuchDomain => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Our domain: the number and the VM's handle.
    async fn domain_is_there(&self) -> Result<bool, StepError> {
        let Some(domid) = self.record.domid else { return Ok(false) };
        let handle = DomainHandle(self.record.vm.bytes());
        let info = self.core.run(move |host| host.xen.control.info(domid)).await?;
        Ok(info.is_some_and(|info| info.handle == handle))
    }

    /// Waits until a destroyed domain has given back its last page.
    pub(crate) async fn await_gone(&mut self) -> Result<(), StepError> {
        let deadline = Instant::now() + GONE_WAIT;
        while self.domain_is_there().await? {
            if Instant::now() >= deadline {
                let what = "the end of the destroyed domain (does a backend hold its pages?)";
                return Err(StepError::Waited { what: what.into(), limit: GONE_WAIT });
            }
            tokio::time::sleep(GONE_POLL).await;
        }
        Ok(())
    }

    pub(crate) async fn remove_tree(&mut self) -> Result<(), StepError> {
        let (vm, domid) = (self.record.vm, self.record.domid);
        Ok(self.core.run(move |host| tree::remove(host.xen.store.as_ref(), vm, domid)).await?)
    }

    /// Detaches the loop device that the record names; when it names none, those that came since the record was written and
    /// that no other VM's record names.
    pub(crate) async fn detach_disk(&mut self) -> Result<(), StepError> {
        let Some(file) = self.disk_file() else { return Ok(()) };
        let loops = self.core.run(|host| host.dom0.loops()).await?;
        let mut others = self.core.journal.records();
        others.retain(|record| record.vm != self.record.vm);
        let is_ours = |index: LoopIndex| match self.record.loop_index {
            Some(ours) => index == ours,
            None => {
                !self.record.loops_before.contains(&index)
                    && !others.iter().any(|record| record.loop_index == Some(index))
            }
        };
        let ours: Vec<AttachedLoop> =
            loops.into_iter().filter(|l| l.backing_file == file && is_ours(l.index)).collect();
        for attached in ours {
            self.core.run(move |host| host.dom0.detach_loop(attached.index)).await?;
        }
        Ok(())
    }

    /// The disk's file, as the loop driver tells it.
    fn disk_file(&self) -> Option<PathBuf> {
        let path = PathBuf::from(&self.record.spec.disks.first()?.path);
        Some(std::fs::canonicalize(&path).unwrap_or(path))
    }
}
