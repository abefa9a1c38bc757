//! Statistics: a sample of everything every [`SAMPLE_EVERY`], a few of each kept, and rates from two of them.
//!
//! ```text
//!   sampler ─► one blocking step: one domain list, then every VM (vCPUs, memory, disks, NICs) and the host
//!          ├─► VmHistory, a VM each; HostHistory
//!          └─► every VM whose domain is gone or has shut down: attention (the net under the @releaseDomain watch)
//!   Get*Stats ─► a fresh sample, with the rates since a kept one
//! ```
//!
//! A sample that cannot be taken is left out; the next one comes. What a round cost is logged at debug level: `sampled`, with
//! `domains` and `elapsed_ns`.

mod sample;

pub(crate) use sample::guest_free;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use vmm_core::stats::{HostSample, VmSample};
use vmm_core::units::{BytesPerSecond, Kib};
use xen_bindings::{DomainInfo, RunState, XenError, XenVersion};

use crate::core::Core;
use crate::domain::registry::VmHandle;
use crate::env::Backend;
use crate::watch::Bell;

/// How often samples are taken.
pub(crate) const SAMPLE_EVERY: Duration = Duration::from_secs(2);
/// Samples that are kept.
const KEPT_MAX: usize = 4;
/// Two samples nearer than this give no rate worth telling.
const RATE_SPAN_MIN: Duration = Duration::from_millis(500);

/// The last few samples of one thing, oldest first.
pub(crate) struct History<T>(Mutex<VecDeque<T>>);

impl<T> Default for History<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// A VM's samples. Each domain starts anew; a counter that went down gives no rate.
pub(crate) type VmHistory = History<VmSample>;

/// The host's samples, each with the disk throughput of all VMs at that time.
pub(crate) type HostHistory = History<HostMoment>;

/// The host at one instant.
#[derive(Clone, Debug)]
pub(crate) struct HostMoment {
    pub(crate) sample: HostSample,
    pub(crate) disk: BytesPerSecond,
}

/// Something that was sampled at some time.
pub(crate) trait Sampled: Clone {
    fn at(&self) -> Duration;
}

impl Sampled for VmSample {
    fn at(&self) -> Duration {
        self.at
    }
}

impl Sampled for HostMoment {
    fn at(&self) -> Duration {
        self.sample.at
    }
}

impl<T: Sampled> History<T> {
    pub(crate) fn push(&self, sample: T) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back(sample);
    }

    pub(crate) fn latest(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).back().cloned()
    }

    /// The newest sample that is old enough to tell a rate at `now`.
    pub(crate) fn before(&self, now: Duration) -> Option<T> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().rev().find(|sample| sample.at() + RATE_SPAN_MIN <= now).cloned()
    }
}

/// Samples everything until the agent stops. Woken early by a domain that was released.
pub(crate) async fn sample_forever(core: Arc<Core>, released: Option<Bell>) {
    let mut ticks = tokio::time::interval(SAMPLE_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let rung = async {
            match &released {
                Some(bell) => bell.rung().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = core.stop.cancelled() => return,
            () = rung => look_for_stopped(&core).await,
            _ = ticks.tick() => {
                if let Err(error) = sample_all(&core).await {
                    tracing::warn!(%error, "sample not taken");
                }
            }
        }
    }
}

async fn look_for_stopped(core: &Core) {
    match core.run(|host| host.xen.control.list()).await {
        Ok(domains) => attend(&core.registry.all(), &domains),
        Err(error) => tracing::warn!(%error, "domains not listed"),
    }
}

/// Wakes the task of every VM whose domain does not run any more.
fn attend(vms: &[VmHandle], domains: &[DomainInfo]) {
    for vm in vms {
        let Some(domid) = vm.now().domid else { continue };
        let domain = domains.iter().find(|domain| domain.domid == domid);
        let ended = |domain: &DomainInfo| {
            domain.handle.0 != vm.vm.bytes()
                || matches!(domain.state, RunState::Dying | RunState::Shutdown(_))
        };
        if domain.is_none_or(ended) {
            vm.attend();
        }
    }
}

/// What one round has found.
struct Round {
    domains: Vec<DomainInfo>,
    samples: Vec<(VmHandle, VmSample)>,
    host: HostSample,
    elapsed: Duration,
}

async fn sample_all(core: &Core) -> Result<(), XenError> {
    let vms = core.registry.all();
    let attended = vms.clone();
    let round = core.run(move |host| sample_round(host, vms)).await?;
    let (domains, elapsed) = (round.samples.len(), round.elapsed);
    let elapsed_ns = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
    tracing::debug!(domains, elapsed_ns, "sampled");
    attend(&attended, &round.domains);
    let mut disk = BytesPerSecond::ZERO;
    for (vm, sample) in round.samples {
        let earlier = vm.history.before(sample.at);
        disk = disk + earlier.and_then(|e| sample.disk_since(&e)).unwrap_or_default();
        vm.history.push(sample);
    }
    core.history.push(HostMoment { sample: round.host, disk });
    Ok(())
}

fn sample_round(host: &Backend, vms: Vec<VmHandle>) -> Result<Round, XenError> {
    let began = host.dom0.now();
    let domains = host.xen.control.list()?;
    let of = |vm: &VmHandle| {
        let domid = vm.now().domid?;
        let is_its =
            |domain: &&DomainInfo| domain.domid == domid && domain.handle.0 == vm.vm.bytes();
        domains.iter().find(is_its)
    };
    let mut samples = Vec::new();
    for vm in vms {
        let Some(info) = of(&vm) else { continue };
        match sample::sample_vm(host, info, &vm.spec()) {
            Ok(sample) => samples.push((vm, sample)),
            // It may have ended since it was listed.
            Err(error) => tracing::debug!(vm_id = %vm.vm, %error, "VM not sampled"),
        }
    }
    let own = sample::sample_host(host)?;
    Ok(Round { samples, host: own, elapsed: host.dom0.now().saturating_sub(began), domains })
}

/// A VM now; `None` when its domain is gone.
pub(crate) async fn sample_vm(core: &Core, vm: &VmHandle) -> Result<Option<VmSample>, XenError> {
    let (domid, handle, spec) = (vm.now().domid, vm.vm.bytes(), vm.spec());
    let Some(domid) = domid else { return Ok(None) };
    core.run(move |host| {
        let info = host.xen.control.info(domid)?.filter(|info| info.handle.0 == handle);
        info.map(|info| sample::sample_vm(host, &info, &spec)).transpose()
    })
    .await
}

/// The host now, with what does not change in it from sample to sample.
pub(crate) struct HostNow {
    pub(crate) sample: HostSample,
    pub(crate) memory_total: Kib,
    pub(crate) version: XenVersion,
}

/// The host now.
pub(crate) async fn sample_host(core: &Core) -> Result<HostNow, XenError> {
    core.run(|host| {
        let memory_total = Kib(host.xen.host.physinfo()?.memory_total_kib);
        let version = host.xen.host.version()?;
        Ok(HostNow { sample: sample::sample_host(host)?, memory_total, version })
    })
    .await
}
