//! Disks and NICs of a running guest: attached, detached, resized.
//!
//! Attaching and detaching are plans ([`crate::domain::plan`]): a guest that does nothing, ends or is destroyed meanwhile leaves
//! what was there before. A disk grows and never shrinks, so growing it again is how one that was interrupted is finished.

use std::path::Path;
use std::time::Duration;

use vmm_core::vm::DiskSpec;

use crate::device::{Device, DeviceKey, bus};
use crate::dom0::Backing;
use crate::domain::error::StepError;
use crate::domain::lifecycle::bounded;
use crate::domain::plan::{self, Patience};
use crate::domain::runner::{Reply, Runner};
use crate::domain::{Answer, ChangeError, Outcome};
use crate::watch::wait_for_node;

/// What a disk is counted in.
const SECTOR_BYTES: u64 = 512;

impl Runner {
    pub(in crate::domain) async fn attach(&mut self, device: Device, wait: Duration, reply: Reply) {
        let outcome = match self.check_new(&device) {
            // It is so already.
            Ok(()) if self.device(device.key()).is_some() => Ok(()),
            Ok(()) => self.carry_out(plan::attach(&device, bounded(wait))).await,
            Err(error) => Err(error),
        };
        self.device_answered(outcome, reply).await;
    }

    pub(in crate::domain) async fn detach(
        &mut self,
        key: DeviceKey,
        patience: Patience,
        reply: Reply,
    ) {
        let patience = Patience { limit: bounded(patience.limit), ..patience };
        let outcome = match self.device(key) {
            Some(device) => self.carry_out(plan::detach(&device, patience)).await,
            None => self.detach_rest(key).await,
        };
        self.device_answered(outcome, reply).await;
    }

    /// The VM does not have the device; it may hold what an attach that could not be taken back has left of it.
    async fn detach_rest(&mut self, key: DeviceKey) -> Result<(), ChangeError> {
        let Some(disk) = self.site.held_disk(key) else { return Ok(()) };
        let cleared = self.site.clear_place(&disk).await;
        cleared.map_err(|error| ChangeError::step("close-disk", error))
    }

    async fn device_answered(&mut self, outcome: Result<(), ChangeError>, reply: Reply) {
        self.publish_spec();
        let _ = reply.send(outcome.map(|()| Answer::Done));
        self.look().await;
    }

    fn device(&self, key: DeviceKey) -> Option<Device> {
        Device::of(&self.site.record.spec).into_iter().find(|device| device.key() == key)
    }

    /// The VM as it would be must be one that can be.
    fn check_new(&self, device: &Device) -> Result<(), ChangeError> {
        let present = self.device(device.key());
        if present.as_ref().is_some_and(|present| present != device) {
            let text = format!("the VM has another {} already; detach it first", device.name());
            return Err(ChangeError::Conflict(text));
        }
        let mut spec = self.site.record.spec.clone();
        device.add_to(&mut spec);
        spec.validated().map_err(|error| ChangeError::BadRequest(error.to_string()))?;
        Ok(())
    }

    pub(in crate::domain) async fn resize_disk(
        &mut self,
        device: &str,
        bytes: u64,
        wait: Duration,
    ) -> Outcome {
        let disks = &self.site.record.spec.disks;
        let Some(disk) = disks.iter().find(|disk| disk.device == device).cloned() else {
            let text = format!("the VM has no disk {device}; attach it first");
            return Err(ChangeError::BadRequest(text));
        };
        if bytes == 0 || !bytes.is_multiple_of(SECTOR_BYTES) {
            let text = format!("{bytes} bytes are refused: a disk has sectors of {SECTOR_BYTES}");
            return Err(ChangeError::BadRequest(text));
        }
        let failed = |error: StepError| ChangeError::step("resize-disk", error);
        self.grow(&disk, bytes).await?;
        self.await_sectors(&disk, bytes, bounded(wait)).await.map_err(failed)?;
        Ok(Answer::Done)
    }

    /// What dom0 has behind the disk becomes that large.
    async fn grow(&self, disk: &DiskSpec, bytes: u64) -> Result<(), ChangeError> {
        let failed = |error| ChangeError::step("grow-image", StepError::Dom0(error));
        let path = disk.path.clone();
        let backing = self.core().run(move |host| host.dom0.backing(Path::new(&path))).await;
        let is = match backing.map_err(failed)? {
            Backing::Device { bytes, .. } | Backing::File { bytes, .. } => bytes,
        };
        if bytes < is {
            return Err(ChangeError::BadRequest(format!(
                "{bytes} bytes are refused: the disk has {is}, and a disk is never made smaller"
            )));
        }
        let Some((file, index)) = self.site.loop_of(&disk.device) else {
            return match bytes == is {
                true => Ok(()),
                false => Err(ChangeError::BadRequest(format!(
                    "{bytes} bytes are refused: the block device {} has {is}; make it larger first",
                    disk.path
                ))),
            };
        };
        let path = disk.path.clone();
        let grow = move |host: &crate::Backend| {
            host.dom0.grow_file(Path::new(&path), file, bytes)?;
            host.dom0.resize_loop(index)
        };
        self.core().run(grow).await.map_err(failed)?;
        Ok(())
    }

    /// dom0's backend has told the guest.
    async fn await_sectors(
        &self,
        disk: &DiskSpec,
        bytes: u64,
        limit: Duration,
    ) -> Result<(), StepError> {
        let key = Device::Disk(disk.clone()).key();
        let node = key.backend_path(self.site.domid()?)?.join("sectors")?;
        let wanted = (bytes / SECTOR_BYTES).to_string();
        let told = |text: Option<&str>| (text == Some(wanted.as_str())).then_some(());
        match wait_for_node(self.core(), &node, limit, told).await? {
            Some(()) => Ok(()),
            None => Err(StepError::Waited {
                what: format!(
                    "dom0's backend telling the guest the new size of disk {} (the image has it)",
                    disk.device
                ),
                limit,
            }),
        }
    }

    /// What an agent that died in the middle of a plug or unplug has left: devices that the VM has and shall not have, and the
    /// other way round.
    pub(in crate::domain) async fn settle_devices(&mut self) -> Result<(), StepError> {
        let domid = self.site.domid()?;
        let there =
            self.core().run(move |host| bus::backends(host.xen.store.as_ref(), domid)).await?;
        for key in &there {
            match self.device(*key) {
                None => self.site.unplug(*key).await?,
                Some(device) => self.settle_closing(&device).await?,
            }
        }
        for device in Device::of(&self.site.record.spec) {
            if !there.contains(&device.key()) {
                self.site.record_without(&device).await?;
            }
        }
        let wanted =
            |device: &str| self.site.record.spec.disks.iter().any(|disk| disk.device == device);
        let images = self.site.record.images.iter().map(|image| image.device.clone());
        let left_over: Vec<String> = images.filter(|device| !wanted(device)).collect();
        for device in left_over {
            self.site.close(&device).await?;
        }
        Ok(())
    }

    /// A detach was under way: it is taken back, or finished when the guest has let go.
    async fn settle_closing(&mut self, device: &Device) -> Result<(), StepError> {
        let (domid, key) = (self.site.domid()?, device.key());
        let closing = self.core().run(move |host| {
            let store = host.xen.store.as_ref();
            Ok::<_, StepError>(
                bus::is_closing(store, domid, key)? && !bus::withdraw_close(store, domid, key)?,
            )
        });
        if closing.await? {
            self.site.unplug(key).await?;
            self.site.record_without(device).await?;
        }
        Ok(())
    }
}
