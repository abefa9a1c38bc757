//! What a test can see and do behind Xen's back: the inside of a guest, dom0's kernel counters.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::domid::DomId;

/// How a guest treats its toolstack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// As Linux does.
    #[default]
    Cooperative,
    /// Runs, and never acknowledges anything.
    Deaf,
    /// Writes nonsense to its own nodes, all the time: huge, not UTF-8, of the wrong type. Does nothing that it is asked.
    Hostile,
    /// Crashes when a vCPU, memory or a device is plugged in.
    CrashOnPlug,
    /// Reboots when a vCPU, memory or a device is plugged in.
    RebootOnPlug,
    /// Says that it suspends, and crashes instead.
    CrashOnSuspend,
    /// Does as it is told, ten seconds later.
    Slow,
    /// Shuts down when asked, and ignores vCPUs, memory and devices that come or go.
    IgnoresPlugs,
    /// Closes its devices and opens them again, all the time.
    ReopensDevices,
    /// Writes states that are none to its devices, and now and then right ones.
    NonsenseStates,
    /// Removes its side of each device as soon as it is described.
    RemovesDevices,
    /// Writes thousands of values within a moment, again and again, up to its quota.
    Floods,
    /// Makes new nodes until xenstored refuses.
    FillsQuota,
    /// Says without end that its devices are connected, whatever it was asked.
    Clings,
}

/// As the kernel command line's `behaviour=` says it.
const NAMES: &[(&str, Behaviour)] = &[
    ("cooperative", Behaviour::Cooperative),
    ("deaf", Behaviour::Deaf),
    ("hostile", Behaviour::Hostile),
    ("crash-on-plug", Behaviour::CrashOnPlug),
    ("reboot-on-plug", Behaviour::RebootOnPlug),
    ("crash-on-suspend", Behaviour::CrashOnSuspend),
    ("slow", Behaviour::Slow),
    ("ignores-plugs", Behaviour::IgnoresPlugs),
    ("reopens-devices", Behaviour::ReopensDevices),
    ("nonsense-states", Behaviour::NonsenseStates),
    ("removes-devices", Behaviour::RemovesDevices),
    ("floods", Behaviour::Floods),
    ("fills-quota", Behaviour::FillsQuota),
    ("clings", Behaviour::Clings),
];

impl Behaviour {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.iter().map(|(_, behaviour)| *behaviour)
    }

    /// By its name: `deaf`, `crash-on-plug` and so on, the variant's words with hyphens.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, behaviour)| *behaviour)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, known)| *known == self).map_or("cooperative", |(name, _)| name)
    }
}

/// What the guest sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestProbe {
    /// Its kernel is up.
    pub booted: bool,
    /// CPUs that it uses.
    pub cpus_online: u32,
    /// As /proc/meminfo tells it.
    pub memory_total_kib: u64,
    /// Since its kernel was up.
    pub uptime: Duration,
    /// What it wrote to its console, the present state last.
    pub console: Vec<String>,
    /// Read from all its disks.
    pub disk_read_bytes: u64,
    /// Written to all its disks.
    pub disk_written_bytes: u64,
    /// Received by all its NICs.
    pub net_received_bytes: u64,
    /// Sent by all its NICs.
    pub net_sent_bytes: u64,
    /// The size of each disk that it can use now, by device number.
    pub disk_bytes: BTreeMap<u32, u64>,
    /// Disks that it can use now.
    pub vbds_connected: u32,
    /// NICs that it can use now.
    pub vifs_connected: u32,
}

/// What dom0's block backend counted for one disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VbdCounters {
    /// Read requests.
    pub read_requests: u64,
    /// Write requests.
    pub write_requests: u64,
    /// Sectors of 512 bytes.
    pub read_sectors: u64,
    /// Sectors of 512 bytes.
    pub write_sectors: u64,
    /// Requests that failed: the device under the disk does, or the disk is read-only.
    pub errors: u64,
}

/// What dom0's kernel counted for a guest's network interface: `rx` came from the guest, `tx` went to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VifCounters {
    /// Bytes that the guest sent.
    pub rx_bytes: u64,
    /// Packets that the guest sent.
    pub rx_packets: u64,
    /// Bytes that the guest received.
    pub tx_bytes: u64,
    /// Packets that the guest received.
    pub tx_packets: u64,
    /// Packets for the guest that it did not take, for instance while it was paused.
    pub tx_dropped: u64,
}

/// A network interface that netback has made in dom0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VifInterface {
    /// Whose it is.
    pub domid: DomId,
    /// Which of that domain's, by its handle.
    pub index: u32,
    /// `vifD.N`.
    pub name: String,
    /// The guest's side is up.
    pub carrier: bool,
}

/// Where all memory is, in pages. `xen + free + domains` is `total`, always; `claimed` is a part of `free`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLedger {
    /// What Xen manages.
    pub total: u64,
    /// What Xen itself uses.
    pub xen: u64,
    /// Free.
    pub free: u64,
    /// Free, and promised to domains that are being built.
    pub claimed: u64,
    /// Held by domains: their pages, paging pools and Xen's own structures for them.
    pub domains: u64,
}
