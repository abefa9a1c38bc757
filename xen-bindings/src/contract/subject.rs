//! What the suite runs on, and the guards that clean up behind every case.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::flavour::StoreFlavour;
use crate::control::{DomainConfig, GuestKind};
use crate::domid::{DomId, DomainHandle};
use crate::error::{XenError, XenErrorKind};
use crate::store::{StoreError, StorePath, WatchHandle, WatchSink};
use crate::vcpu::{Shell, VcpulessDomain};
use crate::{DomainInfo, Xen};

/// A case's outcome: what was expected and was not so.
pub(super) type Outcome = Result<(), String>;

/// Below this node and nowhere else the suite writes, but for the trees of its own domains.
const SCRATCH: &str = "/vmm-contract";
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// A destroyed domain is gone by then, even on a slow machine.
const GONE: Duration = Duration::from_secs(10);
/// Marks the suite's domains.
const HANDLE: DomainHandle = DomainHandle(*b"vmm-contract-dom");

/// Waits for so long: sleeps, or advances a simulated clock.
pub type Wait = Arc<dyn Fn(Duration) + Send + Sync>;

/// A machine to put to the test.
#[derive(Clone)]
pub struct Subject {
    /// Its capabilities.
    pub xen: Xen,
    /// A PVH kernel.
    pub kernel: PathBuf,
    /// An initramfs that brings added vCPUs and memory online.
    pub initramfs: Option<PathBuf>,
    /// The kernel's command line.
    pub cmdline: String,
    /// A block device of dom0 that guests may have, as `major:minor` in hexadecimal. Its contents do not matter.
    pub disk: String,
    /// Lets time pass.
    pub wait: Wait,
    /// The xenstore daemon.
    pub flavour: StoreFlavour,
}

/// A sentence that must hold.
#[derive(Clone, Copy)]
pub struct Case {
    /// The sentence.
    pub name: &'static str,
    /// Tries it.
    pub run: fn(&Subject) -> Result<(), String>,
}

impl Subject {
    /// An id that no domain has.
    pub(super) fn nobody() -> DomId {
        DomId::new(0x7fe0).unwrap_or(DomId::DOM0)
    }

    /// Waits until `holds`, at most `limit`.
    pub(super) fn until(
        &self,
        what: &str,
        limit: Duration,
        mut holds: impl FnMut() -> Result<bool, String>,
    ) -> Outcome {
        let mut waited = Duration::ZERO;
        while !holds()? {
            if waited >= limit {
                return Err(format!("{what}: not within {limit:?}"));
            }
            (self.wait)(LOOK);
            waited += LOOK;
        }
        Ok(())
    }

    pub(super) fn info(&self, domid: DomId) -> Result<Option<DomainInfo>, String> {
        self.xen.control.info(domid).map_err(text)
    }

    pub(super) fn present(&self, domid: DomId) -> Result<DomainInfo, String> {
        self.info(domid)?.ok_or_else(|| format!("domain {domid} is not listed"))
    }

    pub(super) fn free_kib(&self) -> Result<u64, String> {
        self.xen.host.physinfo().map(|info| info.memory_free_kib).map_err(text)
    }

    /// A new PVH domain, destroyed when the guard goes.
    pub(super) fn create(
        &self,
        vcpus_max: u32,
    ) -> Result<(DomainGuard<'_>, VcpulessDomain), String> {
        self.create_with(&Self::config(vcpus_max))
    }

    pub(super) fn config(vcpus_max: u32) -> DomainConfig {
        Self::config_of(GuestKind::Pvh, vcpus_max)
    }

    pub(super) fn config_of(kind: GuestKind, vcpus_max: u32) -> DomainConfig {
        DomainConfig::new(HANDLE, kind, vcpus_max)
    }

    pub(super) fn create_with(
        &self,
        config: &DomainConfig,
    ) -> Result<(DomainGuard<'_>, VcpulessDomain), String> {
        let domain = self.xen.control.create(config).map_err(text)?;
        Ok((DomainGuard { subject: self, domid: domain.domid() }, domain))
    }

    pub(super) fn shell(&self, vcpus_max: u32) -> Result<(DomainGuard<'_>, Shell), String> {
        self.shell_of(GuestKind::Pvh, vcpus_max)
    }

    pub(super) fn shell_of(
        &self,
        kind: GuestKind,
        vcpus_max: u32,
    ) -> Result<(DomainGuard<'_>, Shell), String> {
        let (guard, domain) = self.create_with(&Self::config_of(kind, vcpus_max))?;
        Ok((guard, self.xen.vcpu.allocate(domain).map_err(text)?))
    }

    /// An empty place in the store, removed when the guard goes.
    pub(super) fn scratch(&self) -> Result<Scratch<'_>, String> {
        let top = path(SCRATCH)?;
        self.xen.store.remove(&top).map_err(text)?;
        self.xen.store.make_dir(&top).map_err(text)?;
        Ok(Scratch { subject: self, top })
    }

    /// A watch that writes down what it is told.
    pub(super) fn listen(&self, path: &str) -> Result<Listener, String> {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&heard);
        let sink: WatchSink = Arc::new(move |path: &str| {
            notes.lock().unwrap_or_else(PoisonError::into_inner).push(path.to_owned());
        });
        let handle = self.xen.store.watch(path, sink).map_err(text)?;
        Ok(Listener { heard, handle: Some(handle) })
    }
}

/// Takes its devices away, destroys its domain, waits until it is gone and removes its nodes.
pub(super) struct DomainGuard<'a> {
    subject: &'a Subject,
    pub(super) domid: DomId,
}

impl Drop for DomainGuard<'_> {
    fn drop(&mut self) {
        // Whatever fails here fails for a domain that is gone already, or shows in the next case. A backend that still maps a
        // ring would keep the domain.
        for kind in ["vbd", "vif"] {
            for folder in ["backend", "error/backend"] {
                let backends = format!("/local/domain/0/{folder}/{kind}/{}", self.domid);
                let _ = path(&backends).map(|path| self.subject.xen.store.remove(&path));
            }
        }
        let _ = self.subject.xen.control.destroy(self.domid);
        let gone = || Ok(self.subject.info(self.domid)?.is_none());
        let _ = self.subject.until("the domain is gone", GONE, gone);
        let _ = self.subject.xen.store.remove(&StorePath::domain(self.domid));
    }
}

pub(super) struct Scratch<'a> {
    subject: &'a Subject,
    pub(super) top: StorePath,
}

impl Scratch<'_> {
    pub(super) fn at(&self, relative: &str) -> Result<StorePath, String> {
        self.top.join(relative).map_err(text)
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        // The next case starts by removing it again.
        let _ = self.subject.xen.store.remove(&self.top);
    }
}

pub(super) struct Listener {
    heard: Arc<Mutex<Vec<String>>>,
    handle: Option<WatchHandle>,
}

impl Listener {
    pub(super) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn forget(&self) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(super) fn stop(&mut self) {
        self.handle = None;
    }

    pub(super) fn hears(&self, subject: &Subject, what: &str) -> Outcome {
        let told = || Ok(self.heard().iter().any(|path| path == what));
        subject
            .until(&format!("the watch fires for {what}"), Duration::from_secs(5), told)
            .map_err(|error| format!("{error}; heard {:?}", self.heard()))
    }
}

pub(super) fn path(text: &str) -> Result<StorePath, String> {
    StorePath::new(text).map_err(self::text)
}

pub(super) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

pub(super) fn ensure(holds: bool, what: impl Into<String>) -> Outcome {
    if holds { Ok(()) } else { Err(what.into()) }
}

pub(super) fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: T, expect: T) -> Outcome {
    ensure(got == expect, format!("{what}: {got:?} instead of {expect:?}"))
}

/// The call failed with just this kind.
pub(super) fn refused<T>(what: &str, got: Result<T, XenError>, expect: XenErrorKind) -> Outcome {
    match got {
        Ok(_) => Err(format!("{what}: succeeded instead of {expect:?}")),
        Err(error) if error.kind() == expect => Ok(()),
        Err(error) => Err(format!("{what}: {error} instead of {expect:?}")),
    }
}

/// The store refused, with an error that `expect` takes.
pub(super) fn denied<T>(
    what: &str,
    got: Result<T, StoreError>,
    expect: fn(&StoreError) -> bool,
) -> Outcome {
    match got {
        Ok(_) => Err(format!("{what}: succeeded")),
        Err(error) if expect(&error) => Ok(()),
        Err(error) => Err(format!("{what}: {error:?}")),
    }
}
