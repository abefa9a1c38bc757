//! Disks opened and closed: the lease of the image, and the loop device over it.
//!
//! Before a loop device is put over a file, the journal says which file and which loop devices have it already: so an agent that
//! dies in between finds its own device and no other. Files are known by device and inode, never by name.

use std::path::Path;

use vmm_core::vm::DiskSpec;

use super::Site;
use crate::device::Device;
use crate::device::leases::ImageId;
use crate::device::vbd::BlockTarget;
use crate::dom0::{AttachedLoop, Backing, LoopIndex};
use crate::domain::error::StepError;
use crate::journal::HeldImage;

impl Site {
    pub(in crate::domain) async fn open_disk(&mut self, device: Device) -> Result<(), StepError> {
        let Device::Disk(disk) = device else { return Ok(()) };
        let path = disk.path.clone();
        let backing = self.core.run(move |host| host.dom0.backing(Path::new(&path))).await?;
        self.lease(&disk, (&backing).into())?;
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

    fn lease(&self, disk: &DiskSpec, image: ImageId) -> Result<(), StepError> {
        let vm = self.record.vm;
        self.core.leases.take(image, vm, &disk.device, disk.read_only).map_err(|other| {
            let known = self.core.registry.get(other);
            let name = known.map_or_else(|| other.to_string(), |vm| vm.spec().name.to_string());
            StepError::DiskInUse { disk: disk.path.clone(), by: name }
        })
    }

    async fn attach(&mut self, disk: &DiskSpec, image: HeldImage) -> Result<LoopIndex, StepError> {
        self.record.images.retain(|other| other.device != disk.device);
        self.record.images.push(image);
        self.write_record().await?;
        let (path, read_only) = (disk.path.clone(), disk.read_only);
        let attach =
            move |host: &crate::Backend| host.dom0.attach_loop(Path::new(&path), read_only);
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

    /// The loop device under a disk; `None` for a block device.
    pub(in crate::domain) fn loop_of(&self, device: &str) -> Option<LoopIndex> {
        let image = self.record.images.iter().find(|image| image.device == device)?;
        image.loop_index.map(LoopIndex)
    }

    pub(in crate::domain) async fn close_disk(&mut self, device: Device) -> Result<(), StepError> {
        let Device::Disk(disk) = device else { return Ok(()) };
        self.close(&disk.device).await
    }

    pub(in crate::domain) async fn close_all_disks(&mut self) -> Result<(), StepError> {
        let images = self.record.images.iter().map(|image| image.device.clone());
        for device in images.collect::<Vec<_>>() {
            self.close(&device).await?;
        }
        self.core.leases.give_back_all(self.record.vm);
        Ok(())
    }

    /// Takes the loop devices that are ours from a disk's file, and gives its lease back.
    pub(in crate::domain) async fn close(&mut self, device: &str) -> Result<(), StepError> {
        let image = self.record.images.iter().find(|image| image.device == device).cloned();
        if let Some(image) = image {
            let loops = self.core.run(|host| host.dom0.loops()).await?;
            for attached in loops.into_iter().filter(|attached| self.is_ours(&image, attached)) {
                self.core.run(move |host| host.dom0.detach_loop(attached.index)).await?;
            }
            self.record.images.retain(|image| image.device != device);
            self.write_record().await?;
        }
        self.targets.remove(device);
        self.core.leases.give_back(self.record.vm, device);
        Ok(())
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

    /// The leases of a VM that was adopted. An image that cannot be looked at cannot be opened by others either.
    pub(in crate::domain) async fn lease_again(&mut self) {
        for disk in self.record.spec.disks.clone() {
            let held = self.record.images.iter().find(|image| image.device == disk.device);
            let image = match held {
                Some(image) => {
                    Some(ImageId::File { device: image.file.device, inode: image.file.inode })
                }
                None => {
                    let path = disk.path.clone();
                    let backing = self.core.run(move |host| host.dom0.backing(Path::new(&path)));
                    backing.await.ok().map(|backing| ImageId::from(&backing))
                }
            };
            if let Some(Err(error)) = image.map(|image| self.lease(&disk, image)) {
                tracing::error!(vm_id = %self.record.vm, %error, "image of an adopted VM");
            }
        }
    }
}
