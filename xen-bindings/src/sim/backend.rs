//! dom0's kernel backends: xen-blkback and xen-netback, as far as xenstore and the counters show them.
//!
//! ```text
//!   toolstack writes backend/vbd/N/M, state 1 ─► InitWait 2 ─► frontend 3 and physical-device there ─► Connected 4
//!   online=0, state=5 by the toolstack ─► the frontend closes ─► Closed 6, and the device is forgotten
//! ```
//!
//! A backend never acts on what the toolstack does to its `state`; it follows the frontend, as Linux's does. From the time that
//! the frontend names its ring until it closes or its nodes are gone, the backend maps it: a destroyed domain stays *dying* until
//! then. Its nodes go with it, but the backend learns of that from watches only, and only C xenstored tells them. What a driver
//! cannot take (a frontend's nonsense state, a missing node) it writes to its `error` node, and its state becomes Closing.

use std::time::Duration;

use super::hypervisor::domid;
use super::machine::State;
use super::probe::{VbdCounters, VifCounters, VifInterface};
use super::traffic::{Flow, Traffic};
use crate::domid::DomId;
use crate::shared_ring::RingCounters;

/// What a toolstack and the two drivers tell each other (`XenbusState`).
pub(crate) mod xenbus {
    pub(crate) const UNKNOWN: u32 = 0;
    pub(crate) const INITIALISING: u32 = 1;
    pub(crate) const INIT_WAIT: u32 = 2;
    pub(crate) const INITIALISED: u32 = 3;
    pub(crate) const CONNECTED: u32 = 4;
    pub(crate) const CLOSING: u32 = 5;
    pub(crate) const CLOSED: u32 = 6;
}

/// A vbd that nobody sized.
pub(super) const DISK_BYTES: u64 = 1 << 30;
pub(super) const SECTOR_BYTES: u64 = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DeviceKind {
    Vbd,
    Vif,
}

impl DeviceKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Vbd => "vbd",
            Self::Vif => "vif",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Vbd, Self::Vif].into_iter().find(|kind| kind.name() == name)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DeviceKey {
    pub(crate) kind: DeviceKind,
    pub(crate) frontend: u16,
    pub(crate) devid: u32,
}

impl DeviceKey {
    /// From `vbd/N/M/…` below dom0's `backend`.
    pub(crate) fn parse(parts: &[&str]) -> Option<Self> {
        let [kind, frontend, devid, ..] = parts else { return None };
        Some(Self {
            kind: DeviceKind::parse(kind)?,
            frontend: frontend.parse().ok()?,
            devid: devid.parse().ok()?,
        })
    }

    /// From `vbd/M/…` below a guest's `device`.
    pub(crate) fn of_frontend(frontend: u16, parts: &[&str]) -> Option<Self> {
        let [kind, devid, ..] = parts else { return None };
        Some(Self { kind: DeviceKind::parse(kind)?, frontend, devid: devid.parse().ok()? })
    }

    pub(crate) fn backend_path(self) -> String {
        let Self { kind, frontend, devid } = self;
        format!("/local/domain/0/backend/{}/{frontend}/{devid}", kind.name())
    }

    pub(crate) fn frontend_path(self) -> String {
        let Self { kind, frontend, devid } = self;
        format!("/local/domain/{frontend}/device/{}/{devid}", kind.name())
    }
}

#[derive(Debug)]
pub(crate) struct Backend {
    /// What the driver believes; the node may say otherwise.
    pub(crate) state: u32,
    /// The guest's ring is mapped.
    pub(crate) mapped: bool,
    /// A vbd's block device, once it was opened.
    pub(crate) device: Option<Device>,
    pub(crate) traffic: Traffic,
    /// Requests that it has not answered yet.
    pub(crate) in_flight: u32,
}

/// What a vbd's backend has opened.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    /// `major:minor` in hexadecimal.
    pub(crate) name: String,
    pub(crate) read_only: bool,
    /// As the frontend was told last.
    pub(crate) sectors: u64,
}

impl Backend {
    pub(crate) fn new(now: Duration) -> Self {
        let traffic = Traffic::new(now);
        Self { state: xenbus::INIT_WAIT, mapped: false, device: None, traffic, in_flight: 0 }
    }

    /// Counts what has moved until now.
    pub(crate) fn settle(&mut self, now: Duration, flow: Flow) {
        let flow = if self.state == xenbus::CONNECTED { flow } else { Flow::default() };
        self.traffic.settle(now, flow);
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.device.as_ref().is_some_and(|device| device.read_only)
    }
}

impl State {
    fn backend(&mut self, kind: DeviceKind, id: DomId, devid: u32) -> Option<&Backend> {
        self.settle_guest(id.get());
        self.backends.get(&DeviceKey { kind, frontend: id.get(), devid })
    }

    pub(crate) fn vbd_counters(&mut self, id: DomId, devid: u32) -> Option<VbdCounters> {
        self.backend(DeviceKind::Vbd, id, devid).map(|backend| backend.traffic.as_disk())
    }

    /// Of the disk that is mapped under this number.
    pub(crate) fn ring_counters(&mut self, id: DomId, grant: u32) -> Option<RingCounters> {
        let of_guest = |key: &&DeviceKey| key.kind == DeviceKind::Vbd && key.frontend == id.get();
        let keys: Vec<DeviceKey> = self.backends.keys().filter(of_guest).copied().collect();
        let key = keys.into_iter().find(|key| {
            let node = format!("{}/ring-ref", key.frontend_path());
            let named = self.store.read_str(DomId::DOM0, &node);
            named.and_then(|text| text.parse().ok()) == Some(grant)
        })?;
        let counters = self.vbd_counters(id, key.devid)?;
        let backend = self.backends.get(&key).filter(|backend| backend.mapped)?;
        let answered = counters.read_requests + counters.write_requests;
        #[expect(clippy::cast_possible_truncation, reason = "the counters of a ring wrap")]
        let responses = answered as u32;
        Some(RingCounters { requests: responses.wrapping_add(backend.in_flight), responses })
    }

    pub(crate) fn set_in_flight(&mut self, id: DomId, devid: u32, requests: u32) {
        let key = DeviceKey { kind: DeviceKind::Vbd, frontend: id.get(), devid };
        if let Some(backend) = self.backends.get_mut(&key) {
            backend.in_flight = requests;
        }
    }

    pub(crate) fn vif_counters(&mut self, id: DomId, index: u32) -> Option<VifCounters> {
        self.backend(DeviceKind::Vif, id, index).map(|backend| backend.traffic.as_interface())
    }

    pub(crate) fn vif_interfaces(&self) -> Vec<VifInterface> {
        let vifs = self.backends.iter().filter(|(key, _)| key.kind == DeviceKind::Vif);
        vifs.filter_map(|(key, backend)| {
            Some(VifInterface {
                domid: domid(key.frontend)?,
                index: key.devid,
                name: format!("vif{}.{}", key.frontend, key.devid),
                carrier: backend.mapped,
            })
        })
        .collect()
    }
}
