//! Disks of a guest that changes hosts: all that it wrote here is where the other host reads it, before the other host opens them.
//!
//! ```text
//!   source        guest stands still ─ every request answered ─ written out ─ end of the stream
//!   destination                                                                    └─► disks opened ─ ready
//! ```
//!
//! A guest that stands still asks its disks for nothing more, but dom0's backend may still be busy with what it has asked for. The guest sends that again
//! where it goes on, and what it writes there must not be overtaken by the same request's first go. So the end of the stream waits for the
//! last answer. The backend stays connected all the while: a guest that goes on here after all finds its disks as they were.
//!
//! Fails when a request is not answered in time, when a connected disk does not say where its rings are, or when the disk cannot be written out; then the
//! guest goes on here.

use std::time::Duration;

use tokio::time::Instant;
use vmm_core::vm::DiskSpec;
use xen_bindings::{DomId, GrantRef, XenError};

use crate::Backend;
use crate::device::{Device, vbd};
use crate::domain::error::StepError;
use crate::domain::site::Site;

/// How long disks may take to answer what they were asked. The guest stands still for so long.
const ANSWER_WAIT: Duration = Duration::from_secs(20);
/// The first pause between two looks; doubled each time.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(50);

impl Site {
    /// Before the other host opens them. The guest stands still.
    pub(super) async fn settle_disks(&self) -> Result<(), StepError> {
        let domid = self.domid()?;
        let writable = self.record.spec.disks.iter().filter(|disk| !disk.read_only);
        for disk in writable {
            self.await_answers(domid, disk).await?;
            self.write_out(disk).await?;
        }
        Ok(())
    }

    async fn await_answers(&self, domid: DomId, disk: &DiskSpec) -> Result<(), StepError> {
        let devid = Device::Disk(disk.clone()).key().devid;
        let rings = self.core.run(move |host| vbd::rings(host.xen.store.as_ref(), domid, devid));
        let rings = rings.await?.ok_or_else(|| {
            StepError::Transfer(format!("disk {} does not say where its rings are", disk.device))
        })?;
        let deadline = Instant::now() + ANSWER_WAIT;
        let mut pause = PAUSE_MIN;
        loop {
            let rings = rings.clone();
            let asked = self.core.run(move |host| in_flight(host, domid, &rings)).await?;
            if asked == 0 {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let what = format!("an answer of disk {} to {asked} requests", disk.device);
                return Err(StepError::Waited { what, limit: ANSWER_WAIT });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// What dom0 holds of it in its memory goes to the file.
    async fn write_out(&self, disk: &DiskSpec) -> Result<(), StepError> {
        match self.loop_of(&disk.device) {
            Some((_, index)) => Ok(self.core.run(move |host| host.dom0.flush_loop(index)).await?),
            None => Ok(()),
        }
    }

    /// A disk that is not here is told before anything is sent. It is not opened: what is read of it now may be written on the other host afterwards.
    pub(in crate::domain) async fn look_at_disk(&self, device: Device) -> Result<(), StepError> {
        let Device::Disk(disk) = device else { return Ok(()) };
        self.core.run(move |host| host.dom0.backing(disk.path.as_ref())).await?;
        Ok(())
    }
}

fn in_flight(host: &Backend, domid: DomId, rings: &[GrantRef]) -> Result<u64, XenError> {
    let of_ring = |ring: &GrantRef| {
        let counters = host.xen.rings.ring_counters(domid, *ring)?;
        Ok(u64::from(counters.in_flight()))
    };
    rings.iter().map(of_ring).sum()
}
