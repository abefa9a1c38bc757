//! A guest in its domain: built or restored, described in xenstore, introduced, running.

use std::path::PathBuf;

use xen_bindings::{BuildSpec, BuiltGuest, XenError};

use super::Site;
use crate::device::{Device, vbd, vif};
use crate::domain::error::StepError;
use crate::domain::tree::{self, Node, Tree};

impl Site {
    pub(in crate::domain) async fn build_image(&mut self) -> Result<(), StepError> {
        let (store_port, console_port) =
            self.progress.ports.ok_or(StepError::OutOfOrder("a port"))?;
        let (kernels, path) = (self.core.kernels.clone(), PathBuf::from(&self.record.spec.kernel));
        // Kept until the build has read it.
        let kernel = self.core.run(move |_| kernels.prepare(&path)).await;
        let kernel = kernel.map_err(XenError::from)?;
        let spec = &self.record.spec;
        let build = BuildSpec {
            kernel: kernel.to_path_buf(),
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

    pub(in crate::domain) async fn write_tree(&mut self) -> Result<(), StepError> {
        let built = self.progress.built.ok_or(StepError::OutOfOrder("the guest"))?;
        self.write_nodes(Some(built), |_| true).await
    }

    /// What can be told of a guest that is still to come. Its disks are another host's until then.
    pub(in crate::domain) async fn prepare_tree(&mut self) -> Result<(), StepError> {
        self.write_nodes(None, |device| !device.is_disk()).await
    }

    /// What was left out.
    pub(in crate::domain) async fn complete_tree(&mut self) -> Result<(), StepError> {
        let built = self.progress.built.ok_or(StepError::OutOfOrder("the guest"))?;
        let mut nodes = tree::rings(self.domid()?, built)?.to_vec();
        for device in Device::of(&self.record.spec).iter().filter(|device| device.is_disk()) {
            nodes.extend(self.device_nodes(device)?);
        }
        Ok(self.core.run(move |host| tree::write(host.xen.store.as_ref(), nodes)).await?)
    }

    async fn write_nodes(
        &self,
        built: Option<BuiltGuest>,
        wanted: impl Fn(&Device) -> bool,
    ) -> Result<(), StepError> {
        let (store_port, console_port) =
            self.progress.ports.ok_or(StepError::OutOfOrder("a port"))?;
        let mut devices = Vec::new();
        for device in Device::of(&self.record.spec).iter().filter(|device| wanted(device)) {
            devices.extend(self.device_nodes(device)?);
        }
        let nodes = Tree {
            vm: self.record.vm,
            domid: self.domid()?,
            spec: &self.record.spec,
            size: self.size(),
            store_port,
            console_port,
            built,
            devices,
        }
        .nodes()?;
        Ok(self.core.run(move |host| tree::write(host.xen.store.as_ref(), nodes)).await?)
    }

    /// Both trees of a device.
    pub(super) fn device_nodes(&self, device: &Device) -> Result<Vec<Node>, StepError> {
        let domid = self.domid()?;
        Ok(match device {
            Device::Disk(disk) => {
                let target = self.targets.get(&disk.device);
                let target = target.ok_or(StepError::OutOfOrder("an open disk"))?;
                vbd::nodes(domid, disk, target)?
            }
            Device::Nic(nic) => vif::nodes(domid, nic)?,
        })
    }

    pub(in crate::domain) async fn introduce(&mut self) -> Result<(), StepError> {
        let domid = self.domid()?;
        let (port, _) = self.progress.ports.ok_or(StepError::OutOfOrder("a port"))?;
        let ring = self.progress.built.ok_or(StepError::OutOfOrder("the guest"))?.store_gfn;
        Ok(self.core.run(move |host| host.xen.store.introduce(domid, ring, port)).await?)
    }

    pub(in crate::domain) async fn unpause(&mut self) -> Result<(), StepError> {
        let domid = self.domid()?;
        Ok(self.core.run(move |host| host.xen.control.unpause(domid)).await?)
    }
}
