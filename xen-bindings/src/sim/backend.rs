//! dom0's kernel backends: xen-blkback and xen-netback, as far as xenstore and the counters show them.
//!
//! ```text
//!   toolstack writes backend/vbd/N/M, state 1 ─► InitWait 2 ─► frontend 3 and physical-device there ─► Connected 4
//!   online=0, state=5 by the toolstack ─► the frontend closes ─► Closed 6, and the device is forgotten
//! ```
//!
//! A backend never acts on what the toolstack does to its `state`; it follows the frontend, as Linux's does. While it is
//! connected it maps a ring of the guest: a destroyed domain stays *dying* until then.

use std::time::Duration;

use super::machine::State;
use super::probe::VbdCounters;
use crate::domid::DomId;

/// What a toolstack and the two drivers tell each other (`XenbusState`).
pub(crate) mod xenbus {
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
/// One request of the guest's, for the counters.
const REQUEST_BYTES: u64 = 64 << 10;

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
    /// Bytes moved, and since when they are not yet counted.
    pub(crate) read_bytes: u64,
    pub(crate) write_bytes: u64,
    pub(crate) counted_until: Duration,
}

impl Backend {
    pub(crate) fn new(now: Duration) -> Self {
        Self { state: xenbus::INIT_WAIT, read_bytes: 0, write_bytes: 0, counted_until: now }
    }

    pub(crate) fn maps_ring(&self) -> bool {
        matches!(self.state, xenbus::CONNECTED | xenbus::CLOSING)
    }

    /// Counts what `rate` bytes a second in each direction have moved.
    pub(crate) fn settle(&mut self, now: Duration, rate: u64) {
        let elapsed = now.saturating_sub(self.counted_until);
        self.counted_until = now;
        if self.state == xenbus::CONNECTED {
            let moved = u128::from(rate) * elapsed.as_nanos() / 1_000_000_000;
            let moved = u64::try_from(moved).unwrap_or(u64::MAX);
            self.read_bytes = self.read_bytes.saturating_add(moved);
            self.write_bytes = self.write_bytes.saturating_add(moved);
        }
    }

    fn counters(&self) -> VbdCounters {
        VbdCounters {
            read_requests: self.read_bytes.div_ceil(REQUEST_BYTES),
            write_requests: self.write_bytes.div_ceil(REQUEST_BYTES),
            read_sectors: self.read_bytes / SECTOR_BYTES,
            write_sectors: self.write_bytes / SECTOR_BYTES,
        }
    }
}

impl State {
    pub(crate) fn vbd_counters(&mut self, domid: DomId, devid: u32) -> Option<VbdCounters> {
        self.settle_guest(domid.get());
        let key = DeviceKey { kind: DeviceKind::Vbd, frontend: domid.get(), devid };
        self.backends.get(&key).map(Backend::counters)
    }
}
