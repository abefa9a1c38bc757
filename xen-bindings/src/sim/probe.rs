//! What a test can see and do behind Xen's back: the inside of a guest, dom0's kernel counters.

use std::time::Duration;

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
}

/// Where all memory is, in pages. `xen + free + domains` is `total`, always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLedger {
    /// What Xen manages.
    pub total: u64,
    /// What Xen itself uses.
    pub xen: u64,
    /// Free.
    pub free: u64,
    /// Held by domains: their pages, paging pools and Xen's own structures for them.
    pub domains: u64,
}
