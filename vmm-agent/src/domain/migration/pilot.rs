//! What the data path asks of the VM's own task: balloon, brake, suspend.

use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};
use vmm_core::migration::brake::credit2_cap;
use vmm_core::migration::{BalloonReading, Brake};
use vmm_core::units::Kib;
use xen_bindings::store::read_text;
use xen_bindings::{Credit2, DomId, DomainInfo, StoreError, StorePath};

use crate::domain::error::StepError;
use crate::domain::site::Site;
use crate::migrate::{Pilot, PilotError};
use crate::stats;

/// How long a guest may take to suspend.
const SUSPEND_WAIT: Duration = Duration::from_secs(10);
/// How long a guest is looked at, to know what it uses of its processors, before it is braked.
const WATCH: Duration = Duration::from_millis(250);
/// A guest that says that it has less than this free is pressed.
const PRESSED: Kib = Kib::from_mib(8);
/// A guest whose balloon is this near its target is at rest; what is between them are frames that are not its own.
const AT_REST: Kib = Kib::from_mib(2);

/// The guest of a site.
pub(super) struct SitePilot<'a> {
    site: &'a Site,
    domid: DomId,
    /// Processors that it used before it was braked first.
    used_cpus: OnceCell<f64>,
}

impl<'a> SitePilot<'a> {
    pub(super) fn new(site: &'a Site) -> Result<Self, StepError> {
        Ok(Self { site, domid: site.domid()?, used_cpus: OnceCell::new() })
    }

    async fn held(&self) -> Result<Kib, PilotError> {
        self.memory().await.map(|(held, _)| held)
    }

    async fn domain(&self) -> Result<DomainInfo, PilotError> {
        let domain = self.site.domain().await.map_err(PilotError::new)?;
        domain.ok_or_else(|| PilotError::new("the guest has ended meanwhile"))
    }

    /// A cap that is above what a guest uses slows nobody down.
    async fn watch_use(&self) -> Result<f64, PilotError> {
        let (before, began) = (self.domain().await?.cpu_time_ns, Instant::now());
        sleep(WATCH).await;
        let used = self.domain().await?.cpu_time_ns.saturating_sub(before);
        Ok(Duration::from_nanos(used).div_duration_f64(began.elapsed()))
    }

    /// What the guest holds, and what it says is free of that.
    async fn memory(&self) -> Result<(Kib, Option<Kib>), PilotError> {
        let domain = self.domain().await?;
        let held = Kib(domain.pages.kib());
        let ask = move |host: &crate::Backend| stats::guest_free(host, &domain);
        Ok((held, self.site.core.run(ask).await))
    }

    /// What the guest says that it uses: nothing, where no tools of its write that down.
    pub(super) async fn used(&self) -> Result<Option<Kib>, PilotError> {
        let (held, free) = self.memory().await?;
        Ok(free.map(|free| held.saturating_sub(free)))
    }

    async fn write_target(&self, target: Kib) -> Result<(), PilotError> {
        self.site.write_target(self.domid, target).await.map_err(PilotError::new)
    }

    /// Its share of a processor, with the brake on it: percent of one processor, and 0 for all that it can get.
    async fn cap_percent(&self, brake: Brake) -> Result<u16, PilotError> {
        let own = self.site.record.spec.scheduling.cap_percent;
        if brake == Brake::OFF {
            return Ok(own);
        }
        let used_cpus = *self.used_cpus.get_or_try_init(|| self.watch_use()).await?;
        let cap = credit2_cap(used_cpus, brake);
        Ok(if own == 0 { cap } else { cap.min(own) })
    }
}

impl Pilot for SitePilot<'_> {
    async fn balloon(&self, target: Kib) -> Result<(), PilotError> {
        self.write_target(target).await
    }

    async fn reading(&self) -> Result<BalloonReading, PilotError> {
        let (held, free) = self.memory().await?;
        Ok(BalloonReading { held, is_pressed: free.is_some_and(|free| free < PRESSED) })
    }

    /// Changes of memory and devices are refused while the VM is migrating, and the balloon policy leaves it alone. What is left is a guest
    /// that is still on its way to its target.
    async fn pin(&self) -> Result<(), PilotError> {
        let (held, target) =
            (self.held().await?, self.site.target().await.map_err(PilotError::new)?);
        let distance =
            target.map(|target| held.saturating_sub(target) + target.saturating_sub(held));
        if distance.is_some_and(|distance| distance <= AT_REST) {
            return Ok(());
        }
        self.write_target(held).await
    }

    async fn unpin(&self) {
        if let Err(error) = self.site.restore_target().await {
            tracing::warn!(vm_id = %self.site.record.vm, %error, "balloon target not restored");
        }
    }

    async fn brake(&self, brake: Brake) -> Result<(), PilotError> {
        let (domid, weight) = (self.domid, self.site.record.spec.scheduling.weight);
        let cap_percent = self.cap_percent(brake).await?;
        let vm_id = self.site.record.vm;
        tracing::info!(%vm_id, slowed_percent = brake.in_percent(), cap_percent, "guest's share is set");
        let credit2 = Credit2 { weight, cap_percent };
        let set = move |host: &crate::Backend| host.xen.vcpu.set_credit2(domid, credit2);
        self.site.core.run(set).await.map_err(PilotError::new)
    }

    async fn suspend(&self) -> Result<bool, PilotError> {
        self.site.ask_suspend().await.map_err(PilotError::new)?;
        match self.site.await_suspended(SUSPEND_WAIT).await {
            Ok(()) => Ok(true),
            Err(StepError::GuestDidNot { .. }) => {
                self.site.go_on().await.map_err(PilotError::new)?;
                Ok(false)
            }
            Err(error) => Err(PilotError::new(error)),
        }
    }
}

impl Site {
    fn target_path(domid: DomId) -> Result<StorePath, StoreError> {
        StorePath::domain(domid).join("memory/target")
    }

    async fn write_target(&self, domid: DomId, target: Kib) -> Result<(), StepError> {
        let path = Self::target_path(domid)?;
        let text = target.0.to_string();
        Ok(self.core.run(move |host| host.xen.store.write(&path, text.as_bytes())).await?)
    }

    /// What its balloon is to hold, if anybody has said.
    pub(super) async fn target(&self) -> Result<Option<Kib>, StepError> {
        let path = Self::target_path(self.domid()?)?;
        let text = self.core.run(move |host| read_text(host.xen.store.as_ref(), &path)).await?;
        Ok(text.and_then(|text| text.trim().parse().ok()).map(Kib))
    }

    /// Its balloon is to hold again what it was to before it was sent.
    pub(super) async fn restore_target(&self) -> Result<(), StepError> {
        let before = self.record.moving.as_ref().and_then(|moving| moving.target_kib).map(Kib);
        match (before, self.domain().await?) {
            (Some(target), Some(domain)) => self.write_target(domain.domid, target).await,
            _ => Ok(()),
        }
    }
}
