//! The part of a guest's standstill that is its own: it runs here, and does not use its devices yet.
//!
//! Measured and told, and nothing else: what a guest does with its devices changes nothing of whose it is. One that never uses a device again is
//! given up after [`WATCH_MAX`], which is no failure of the move.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};
use xen_bindings::DomId;

use super::Migration;
use crate::core::Core;
use crate::device::Device;
use crate::device::bus::{self, CONNECTED};
use crate::domain::site::Site;

/// How long a guest is watched.
const WATCH_MAX: Duration = Duration::from_secs(60);
/// And from when it uses a NIC again until it is heard on it: one that has nothing to say says nothing.
const HEARD_MAX: Duration = Duration::from_secs(3);
/// Between two looks at what a NIC has sent.
const LOOK: Duration = Duration::from_millis(50);

/// What is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reattached {
    /// From when all of it was here until it ran; none before it runs.
    pub(crate) started: Option<Duration>,
    /// In the order of its configuration.
    pub(crate) devices: Vec<Returned>,
    /// Nobody watches any more.
    pub(crate) is_over: bool,
}

/// A device; times from when the guest ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Returned {
    /// As people know it.
    pub(crate) name: String,
    /// Until the guest used it again.
    pub(crate) used: Option<Duration>,
    /// NIC: until the guest was heard on it. Linux says at once, by ARP, where it is now.
    pub(crate) heard: Option<Duration>,
}

impl Site {
    /// Watches until the guest uses its devices again.
    pub(super) fn watch_reattach(&self, migration: Arc<Migration>, since: Instant) {
        let Some(domid) = self.record.domid else { return };
        let core = Arc::clone(&self.core);
        let devices = Device::of(&self.record.spec);
        let unused = |device: &Device| Returned { name: device.name(), used: None, heard: None };
        migration.reattached.send_modify(|all| {
            all.started = migration.ready_for(since);
            all.devices = devices.iter().map(unused).collect();
        });
        self.core.spawn(async move {
            let watch = Watch { core: &core, migration: &migration, domid, since };
            let devices = devices.iter().enumerate().map(|(at, device)| watch.device(at, device));
            tokio::select! {
                _ = join_all(devices) => {}
                () = core.stop.cancelled() => return,
            }
            migration.reattached.send_modify(|all| all.is_over = true);
        });
    }
}

/// Whoever watches.
struct Watch<'a> {
    core: &'a Core,
    migration: &'a Migration,
    domid: DomId,
    since: Instant,
}

impl Watch<'_> {
    async fn device(&self, at: usize, device: &Device) {
        let target = (self.domid, device.key());
        let connected = bus::wait_for_backend(self.core, target, CONNECTED, WATCH_MAX).await;
        let (vm, name, after) = (self.migration.vm, device.name(), self.since.elapsed());
        let after_ms = after.as_millis();
        match connected {
            Ok(true) => tracing::info!(vm_id = %vm, name, after_ms, "used again"),
            Ok(false) => return tracing::warn!(vm_id = %vm, name, after_ms, "not used again yet"),
            Err(error) => return tracing::warn!(vm_id = %vm, name, %error, "not looked at"),
        }
        self.tell(at, |device| device.used = Some(after));
        if let Device::Nic(nic) = device {
            self.heard(at, nic.index).await;
        }
    }

    async fn heard(&self, at: usize, index: u32) {
        let (domid, begun) = (self.domid, Instant::now());
        while begun.elapsed() < HEARD_MAX {
            let counted = self.core.run(move |host| host.dom0.vif_counters(domid, index)).await;
            match counted {
                Ok(Some(counters)) if counters.sent_packets > 0 => {
                    let after = self.since.elapsed();
                    return self.tell(at, |device| device.heard = Some(after));
                }
                Ok(_) => sleep(LOOK).await,
                // It went meanwhile, with its guest.
                Err(_) => return,
            }
        }
    }

    fn tell(&self, at: usize, change: impl FnOnce(&mut Returned)) {
        self.migration.reattached.send_modify(|all| {
            if let Some(device) = all.devices.get_mut(at) {
                change(device);
            }
        });
    }
}
