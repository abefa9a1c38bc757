//! Disks opened and closed: the lease of the image, and the loop device over it.
//!
//! Before a loop device is put over a file, the journal says which file and which loop devices have it already: so an agent that
//! dies in between finds its own device and no other. Files are known by device and inode, never by name.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;
use vmm_core::vm::{DiskSpec, device_number};
use xen_bindings::RunState;

use super::Site;
use super::devices::is_there;
use super::strangers::{self, Ours};
use crate::device::leases::ImageId;
use crate::device::vbd::{self, BlockTarget};
use crate::device::{Device, DeviceKey};
use crate::dom0::{AttachedLoop, Backing, DeviceNumber, FileId, LoopIndex};
use crate::domain::error::StepError;
use crate::journal::{HeldImage, Intent};

/// How long a loop device may keep a file that it was told to let go of: it does while anything on the host has it open.
const DETACHED_WAIT: Duration = Duration::from_secs(5);
/// How often it is looked at.
const DETACHED_POLL: Duration = Duration::from_millis(20);

impl Site {
    pub(in crate::domain) async fn open_disk(&mut self, device: Device) -> Result<(), StepError> {
        let Device::Disk(disk) = device else { return Ok(()) };
        self.clear_place(&disk.device).await?;
        let path = disk.path.clone();
        let backing = self.core.run(move |host| host.dom0.backing(Path::new(&path))).await?;
        self.lease((&disk.device, &disk.path), (&backing).into(), disk.read_only)?;
        self.refuse_strangers(&disk, backing).await?;
        let target = match backing {
            Backing::Device { number, .. } => {
                BlockTarget { path: disk.path, physical_device: number.physical_device() }
            }
            Backing::File { id, .. } => {
                let loops = self.core.run(|host| host.dom0.loops()).await?;
                let before = loops.iter().filter(|attached| attached.file == Some(id));
                let image = HeldImage {
                    device: disk.device.clone(),
                    file: id.into(),
                    loop_index: None,
                    loops_before: before.map(|attached| attached.index.0).collect(),
                };
                let index = self.attach(&disk, image).await?;
                BlockTarget { path: index.path(), physical_device: index.physical_device() }
            }
        };
        self.targets.insert(disk.device, target);
        Ok(())
    }

    fn lease(
        &self,
        (device, path): (&str, &str),
        image: ImageId,
        read_only: bool,
    ) -> Result<(), StepError> {
        let vm = self.record.vm;
        self.core.leases.take(image, vm, device, read_only).map_err(|other| {
            let known = self.core.registry.get(other);
            let name = known.map_or_else(|| other.to_string(), |vm| vm.spec().name.to_string());
            StepError::DiskInUse { disk: path.to_owned(), by: name }
        })
    }

    async fn refuse_strangers(&self, disk: &DiskSpec, backing: Backing) -> Result<(), StepError> {
        let vms = self.core.registry.all();
        let records = self.core.journal.records();
        let images = records.iter().flat_map(|record| &record.images);
        let ours = Ours {
            domains: vms.iter().map(|known| known.vm.bytes()).collect(),
            loops: images.filter_map(|image| image.loop_index).map(LoopIndex).collect(),
        };
        let read_only = disk.read_only;
        let find = move |host: &crate::Backend| strangers::find(host, &ours, backing, read_only);
        match self.core.run(find).await? {
            None => Ok(()),
            Some(by) => Err(StepError::DiskInUseElsewhere { disk: disk.path.clone(), by }),
        }
    }

    async fn attach(&mut self, disk: &DiskSpec, image: HeldImage) -> Result<LoopIndex, StepError> {
        let file = image.file.into();
        self.record.images.retain(|other| other.device != disk.device);
        self.record.images.push(image);
        self.write_record().await?;
        let (path, read_only) = (disk.path.clone(), disk.read_only);
        let attach =
            move |host: &crate::Backend| host.dom0.attach_loop(Path::new(&path), file, read_only);
        let index = self.core.run(attach).await?;
        if let Some(image) = self.image_mut(&disk.device) {
            image.loop_index = Some(index.0);
        }
        self.write_record().await?;
        Ok(index)
    }

    fn image_mut(&mut self, device: &str) -> Option<&mut HeldImage> {
        self.record.images.iter_mut().find(|image| image.device == device)
    }

    /// What an attach that could not be taken back has left of a disk goes, before another one has its place.
    pub(in crate::domain) async fn clear_place(&mut self, device: &str) -> Result<(), StepError> {
        let Some(devid) = device_number(device).filter(|_| self.holds(device)) else {
            return Ok(());
        };
        self.unplug(DeviceKey { kind: vbd::KIND, devid }).await?;
        self.close(device).await
    }

    /// The disk of this number that the VM holds, and perhaps does not have.
    pub(in crate::domain) fn held_disk(&self, key: DeviceKey) -> Option<String> {
        let mut held = self.record.images.iter().map(|image| &image.device);
        let is_it = |device: &&String| device_number(device) == Some(key.devid);
        held.find(is_it).filter(|_| key.kind == vbd::KIND).cloned()
    }

    /// The file under a disk, and its loop device; `None` for a block device.
    pub(in crate::domain) fn loop_of(&self, device: &str) -> Option<(FileId, LoopIndex)> {
        let image = self.record.images.iter().find(|image| image.device == device)?;
        Some((image.file.into(), LoopIndex(image.loop_index?)))
    }

    pub(in crate::domain) async fn close_disk(&mut self, device: Device) -> Result<(), StepError> {
        let Device::Disk(disk) = device else { return Ok(()) };
        self.close(&disk.device).await
    }

    /// Of a VM that ends. Its images stay its own until its last page is back: a backend writes until then.
    pub(in crate::domain) async fn close_all_disks(&mut self) -> Result<(), StepError> {
        if self.domain().await?.is_some() {
            return Err(StepError::ImageInUse("the VM's disks".into()));
        }
        let images = self.record.images.iter().map(|image| image.device.clone());
        for device in images.collect::<Vec<_>>() {
            self.release(&device).await?;
        }
        self.core.leases.give_back_all(self.record.vm);
        Ok(())
    }

    /// One disk's image becomes free, unless somebody may still write to it.
    pub(in crate::domain) async fn close(&mut self, device: &str) -> Result<(), StepError> {
        if self.is_in_use(device).await? {
            return Err(StepError::ImageInUse(format!("disk {device}")));
        }
        self.release(device).await
    }

    /// A VM that runs on has let go of a disk when dom0 has forgotten it. One that goes has when it is gone: what its backend has
    /// begun to write outlives its trees.
    async fn is_in_use(&self, device: &str) -> Result<bool, StepError> {
        let Some(domain) = self.domain().await? else { return Ok(false) };
        let runs_on = self.record.intent == Intent::Run && domain.state != RunState::Dying;
        match device_number(device) {
            Some(devid) if runs_on => {
                let key = DeviceKey { kind: vbd::KIND, devid };
                self.core.run(move |host| is_there(host, domain.domid, key)).await
            }
            _ => Ok(true),
        }
    }

    /// Takes the loop devices that are ours from a disk's file, and gives its lease back.
    async fn release(&mut self, device: &str) -> Result<(), StepError> {
        let image = self.record.images.iter().find(|image| image.device == device).cloned();
        if let Some(image) = image {
            for index in self.loops_of(&image).await? {
                self.core.run(move |host| host.dom0.detach_loop(index)).await?;
            }
            self.await_detached(&image).await?;
            self.record_released(device).await?;
        }
        self.targets.remove(device);
        self.core.leases.give_back(self.record.vm, device);
        Ok(())
    }

    /// An image that is not free on disk is not free: the next agent would take its loop device from whoever has it then.
    async fn record_released(&mut self, device: &str) -> Result<(), StepError> {
        let held = self.record.images.clone();
        self.record.images.retain(|image| image.device != device);
        let written = self.write_record().await;
        if written.is_err() {
            self.record.images = held;
        }
        written
    }

    /// Waits until the loop device has really no file: it keeps it while anything has the device open.
    async fn await_detached(&self, image: &HeldImage) -> Result<(), StepError> {
        let deadline = Instant::now() + DETACHED_WAIT;
        while !self.loops_of(image).await?.is_empty() {
            if Instant::now() >= deadline {
                let what = format!("the loop device of disk {} losing its file", image.device);
                return Err(StepError::Waited { what, limit: DETACHED_WAIT });
            }
            tokio::time::sleep(DETACHED_POLL).await;
        }
        Ok(())
    }

    async fn loops_of(&self, image: &HeldImage) -> Result<Vec<LoopIndex>, StepError> {
        let loops = self.core.run(|host| host.dom0.loops()).await?;
        let ours = loops.iter().filter(|attached| self.is_ours(image, attached));
        Ok(ours.map(|attached| attached.index).collect())
    }

    /// The one that the record names; when it names none, those that came since it was written and that no other VM names.
    fn is_ours(&self, image: &HeldImage, attached: &AttachedLoop) -> bool {
        if attached.file.map(Into::into) != Some(image.file) {
            return false;
        }
        let index = attached.index.0;
        let named = |other: &HeldImage| other.loop_index == Some(index);
        match image.loop_index {
            Some(ours) => index == ours,
            None => {
                let records = self.core.journal.records();
                let mut others = records.iter().filter(|record| record.vm != self.record.vm);
                !image.loops_before.contains(&index)
                    && !others.any(|record| record.images.iter().any(named))
            }
        }
    }

    /// The leases of a VM that an earlier agent has left: of each image file that it holds, and of its block devices. What cannot
    /// be leased is told: another VM may get it.
    pub(in crate::domain) async fn lease_again(&mut self) {
        for image in &self.record.images {
            let disk = self.record.spec.disks.iter().find(|disk| disk.device == image.device);
            // One that was half attached is not in the specification; then it may be written to.
            let read_only = disk.is_some_and(|disk| disk.read_only);
            let path = disk.map_or("of an interrupted attach", |disk| &disk.path);
            let file = ImageId::File { device: image.file.device, inode: image.file.inode };
            self.tell(&image.device, self.lease((&image.device, path), file, read_only));
        }
        for disk in self.record.spec.disks.iter().filter(|disk| !self.holds(&disk.device)) {
            self.tell(&disk.device, self.lease_device(disk).await);
        }
    }

    fn holds(&self, device: &str) -> bool {
        self.record.images.iter().any(|image| image.device == device)
    }

    fn tell(&self, disk: &str, leased: Result<(), StepError>) {
        if let Err(error) = leased {
            tracing::error!(vm_id = %self.record.vm, disk, %error, "image not leased again");
        }
    }

    /// A file that is not held is not open.
    async fn lease_device(&self, disk: &DiskSpec) -> Result<(), StepError> {
        let number = match self.served(disk).await? {
            Some(number) => number,
            None => {
                let path = disk.path.clone();
                match self.core.run(move |host| host.dom0.backing(Path::new(&path))).await? {
                    Backing::File { .. } => return Ok(()),
                    Backing::Device { number, .. } => number,
                }
            }
        };
        let image = ImageId::Device { major: number.major, minor: number.minor };
        self.lease((&disk.device, &disk.path), image, disk.read_only)
    }

    /// What the disk's backend has: its path may lead to another device by now.
    async fn served(&self, disk: &DiskSpec) -> Result<Option<DeviceNumber>, StepError> {
        let place = self.record.domid.zip(device_number(&disk.device));
        let Some((domid, devid)) = place else { return Ok(None) };
        let told = move |host: &crate::Backend| vbd::served(host.xen.store.as_ref(), domid, devid);
        Ok(self.core.run(told).await?)
    }
}
