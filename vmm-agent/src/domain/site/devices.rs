//! Frontends and backends of a VM's devices: described, met, parted.

use std::time::Duration;

use tokio::time::Instant;
use vmm_core::vm::NicSpec;
use xen_bindings::DomId;

use super::Site;
use crate::device::bus::{self, BusState, CONNECTED};
use crate::device::{Device, DeviceKey, vbd, vif};
use crate::dom0::{Dom0Error, Dom0ErrorKind};
use crate::domain::error::StepError;
use crate::domain::plan::Patience;
use crate::domain::tree;

/// How long dom0's backend may take to find a new device.
const BACKEND_WAIT: Duration = Duration::from_secs(20);
/// How long a guest may take to let go of a device that was only half attached.
const UNPLUG_WAIT: Duration = Duration::from_secs(2);

/// How long netback may take to make an interface after it said that it waits for the guest.
const INTERFACE_WAIT: Duration = Duration::from_secs(5);
/// How often it is looked for.
const INTERFACE_POLL: Duration = Duration::from_millis(5);
/// How long dom0's driver may take to forget a device whose trees are gone.
const FORGOTTEN_WAIT: Duration = Duration::from_secs(5);
/// How often it is looked at.
const FORGOTTEN_POLL: Duration = Duration::from_millis(5);

/// How often a guest that has not taken a device up is told again that it is there.
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(2);

const FOUND: &[BusState] = &[BusState::InitWait, BusState::Initialised, BusState::Connected];
const CLOSED: &[BusState] = &[BusState::Closed];

impl Site {
    /// The guest's frontend must find a backend that waits for it.
    pub(in crate::domain) async fn await_backend(&self, device: &Device) -> Result<(), StepError> {
        let (domid, key) = (self.domid()?, device.key());
        match bus::wait_for_backend(&self.core, (domid, key), FOUND, BACKEND_WAIT).await? {
            true => Ok(()),
            false => Err(StepError::Waited {
                what: format!(
                    "dom0's backend taking up {} (is {} loaded?)",
                    device.name(),
                    device.backend_module()
                ),
                limit: BACKEND_WAIT,
            }),
        }
    }

    /// Puts a NIC's interface on its bridge, and lets the guest in. netback says that it waits for the guest a moment before it
    /// has made the interface.
    pub(in crate::domain) async fn plug_port(&self, nic: NicSpec) -> Result<(), StepError> {
        let domid = self.domid()?;
        let deadline = Instant::now() + INTERFACE_WAIT;
        loop {
            let wanted = nic.clone();
            let plugged = self.core.run(move |host| try_plug(host, domid, &wanted)).await?;
            match plugged {
                Ok(()) => return Ok(()),
                Err(missing) if Instant::now() >= deadline => return Err(missing.into()),
                Err(_) => tokio::time::sleep(INTERFACE_POLL).await,
            }
        }
    }

    /// Describes one more device.
    pub(in crate::domain) async fn write_device(&self, device: &Device) -> Result<(), StepError> {
        let nodes = self.device_nodes(device)?;
        Ok(self.core.run(move |host| tree::write(host.xen.store.as_ref(), nodes)).await?)
    }

    /// The guest uses the device: dom0's end says so, since the guest's end can say anything.
    pub(in crate::domain) async fn await_connected(
        &self,
        device: &Device,
        limit: Duration,
    ) -> Result<(), StepError> {
        let (domid, key) = (self.domid()?, device.key());
        let deadline = Instant::now() + limit;
        loop {
            let wait = deadline.saturating_duration_since(Instant::now()).min(ANNOUNCE_AGAIN);
            if bus::wait_for_backend(&self.core, (domid, key), CONNECTED, wait).await? {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(StepError::GuestDidNot {
                    what: format!("connect to {}", device.name()),
                    limit,
                    note: "the device is taken back",
                });
            }
            let announce = move |host: &crate::Backend| {
                bus::announce_again(host.xen.store.as_ref(), domid, key)
            };
            self.core.run(announce).await?;
        }
    }

    /// Takes a device away that the guest may have half taken up.
    pub(in crate::domain) async fn unplug(&mut self, key: DeviceKey) -> Result<(), StepError> {
        let domid = self.domid()?;
        let there = self.core.run(move |host| {
            let there = bus::backends(host.xen.store.as_ref(), domid)?.contains(&key);
            if there {
                bus::ask_close(host.xen.store.as_ref(), domid, key)?;
            }
            Ok::<_, StepError>(there)
        });
        if there.await? {
            bus::wait_for_backend(&self.core, (domid, key), CLOSED, UNPLUG_WAIT).await?;
        }
        self.remove_device(key).await
    }

    pub(in crate::domain) async fn ask_close(&self, key: DeviceKey) -> Result<(), StepError> {
        let domid = self.domid()?;
        Ok(self.core.run(move |host| bus::ask_close(host.xen.store.as_ref(), domid, key)).await?)
    }

    /// A guest that has begun to let go cannot be stopped; then the next detach finishes what this one began.
    pub(in crate::domain) async fn withdraw_close(&self, key: DeviceKey) -> Result<(), StepError> {
        let domid = self.domid()?;
        let withdraw =
            move |host: &crate::Backend| bus::withdraw_close(host.xen.store.as_ref(), domid, key);
        if !self.core.run(withdraw).await? {
            tracing::warn!(vm_id = %self.record.vm, ?key, "the guest lets go of a device that shall stay; detach it again");
        }
        Ok(())
    }

    pub(in crate::domain) async fn await_closed(
        &self,
        device: &Device,
        patience: Patience,
    ) -> Result<(), StepError> {
        let (target, limit) = ((self.domid()?, device.key()), patience.limit);
        let closed = bus::wait_for_backend(&self.core, target, CLOSED, limit).await?;
        if closed || patience.force {
            return Ok(());
        }
        Err(StepError::GuestDidNot {
            what: format!("let go of {}", device.name()),
            limit,
            note: "the device stays, unless the guest lets go late; detach it again, or by force",
        })
    }

    /// Removes both trees, and waits until dom0 has forgotten the device: it would take a new one of the same number for it.
    pub(in crate::domain) async fn remove_device(&self, key: DeviceKey) -> Result<(), StepError> {
        let domid = self.domid()?;
        self.core.run(move |host| bus::remove(host.xen.store.as_ref(), domid, key)).await?;
        let deadline = Instant::now() + FORGOTTEN_WAIT;
        while self.core.run(move |host| is_known(host, domid, key)).await? {
            if Instant::now() >= deadline {
                let what = "dom0's backend letting go of a device that was removed".into();
                return Err(StepError::Waited { what, limit: FORGOTTEN_WAIT });
            }
            tokio::time::sleep(FORGOTTEN_POLL).await;
        }
        Ok(())
    }

    /// The VM has the device from now on, over its next starts too.
    pub(in crate::domain) async fn record_with(
        &mut self,
        device: &Device,
    ) -> Result<(), StepError> {
        device.add_to(&mut self.record.spec);
        self.write_record().await
    }

    pub(in crate::domain) async fn record_without(
        &mut self,
        device: &Device,
    ) -> Result<(), StepError> {
        device.remove_from(&mut self.record.spec);
        self.write_record().await
    }
}

/// The inner failure is an interface that is not there yet.
fn try_plug(
    host: &crate::Backend,
    domid: DomId,
    nic: &NicSpec,
) -> Result<Result<(), Dom0Error>, StepError> {
    match host.dom0.plug_port(&vif::interface(domid, nic), &nic.bridge) {
        Err(missing)
            if missing.kind == Dom0ErrorKind::NotFound
                && host.dom0.bridge_exists(&nic.bridge)? =>
        {
            Ok(Err(missing))
        }
        Err(error) => Err(error.into()),
        Ok(()) => {
            host.xen.store.write(&vif::connected_path(domid, nic)?, b"connected")?;
            Ok(Ok(()))
        }
    }
}

/// dom0 has the device, or xenstore describes it, so that dom0 may take it up at any moment.
pub(super) fn is_there(
    host: &crate::Backend,
    domid: DomId,
    key: DeviceKey,
) -> Result<bool, StepError> {
    let described = bus::backends(host.xen.store.as_ref(), domid)?.contains(&key);
    Ok(described || is_known(host, domid, key)?)
}

/// dom0's driver has the device still.
fn is_known(host: &crate::Backend, domid: DomId, key: DeviceKey) -> Result<bool, Dom0Error> {
    match key.kind {
        vbd::KIND => Ok(host.dom0.vbd_counters(domid, key.devid)?.is_some()),
        _ => Ok(host.dom0.vif_counters(domid, key.devid)?.is_some()),
    }
}
