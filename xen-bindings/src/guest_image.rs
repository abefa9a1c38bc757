//! Kernel, initramfs and command line into a domain's memory.

use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use crate::domid::DomId;
use crate::error::{XenError, XenErrorKind};
use crate::evtchn::Port;
use crate::frame::Gfn;
use crate::vcpu::Shell;

/// A save that its pilot has ended: ECANCELED.
pub const GIVEN_UP: XenErrorKind = XenErrorKind::Other(125);

/// What to build into a shell.
#[derive(Clone, Debug)]
pub struct BuildSpec {
    /// A Linux kernel: bzImage or ELF with Xen notes.
    pub kernel: PathBuf,
    /// An initramfs.
    pub initramfs: Option<PathBuf>,
    /// The kernel's command line.
    pub cmdline: String,
    /// vCPUs that the guest brings up when it boots; the others, up to the shell's `vcpus_max`, wait to be hot-added.
    pub vcpus_online: u32,
    /// Memory at boot.
    pub memory_target_kib: u64,
    /// Memory that the guest's map ends at; above the target it is populated on demand (PVH) or ballooned in (PV).
    pub memory_max_kib: u64,
    /// Port for xenstore.
    pub store_port: Port,
    /// Port for the console.
    pub console_port: Port,
}

/// What the guest shares with dom0 after a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuiltGuest {
    /// The frame of its xenstore ring.
    pub store_gfn: Gfn,
    /// The frame of its console ring.
    pub console_gfn: Gfn,
}

/// What a saved guest is restored with. How much memory and which processors it has comes out of the stream.
#[derive(Clone, Copy, Debug)]
pub struct RestoreSpec {
    /// Port for xenstore.
    pub store_port: Port,
    /// Port for the console.
    pub console_port: Port,
}

/// Where a save of a guest that runs stands when it asks what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Precopy {
    /// Rounds that were sent; the first one is all of memory.
    pub rounds: u32,
    /// Pages in all of them.
    pub sent_pages: u64,
    /// Pages to be sent in the next round: all of them at first, later those written since the log was taken before. `None` between a round
    /// and the next taking of the log. A count that may be too high.
    pub dirty_pages: Option<u64>,
}

/// What comes next in a save of a guest that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another round.
    Round,
    /// What is to be sent now is sent; then the guest is suspended, and what it has written meanwhile follows.
    Stop,
    /// Nothing more: the save fails.
    GiveUp,
}

/// Who steers a save of a guest that runs. What it was asked about is in the stream already when it is asked.
pub trait SavePilot: Send {
    /// Asked twice a round: when it is known what to send, and when it is sent. It may take its time: the log is taken no sooner.
    fn next(&mut self, at: Precopy) -> Next;

    /// Suspends the guest, and waits until it is. False fails the save.
    fn suspend(&mut self) -> bool;

    /// Nobody waits for the save any more: where it runs in a process of its own, that may be ended.
    fn is_gone(&self) -> bool {
        false
    }
}

/// Builds, saves and restores guests.
pub trait GuestImage: Send + Sync {
    /// Loads the guest. The domain stays paused. Blocks for as long as it takes to read, unpack and copy the kernel.
    ///
    /// # Errors
    /// `NotFound` or `BadImage` for a kernel or initramfs that cannot be used (the detail has the library's words),
    /// `OutOfMemory` when the host cannot hold it, `Invalid` when `vcpus_online` is 0 or above the shell's maximum. The domain is still there and must be destroyed by the caller.
    fn build(&self, shell: &Shell, spec: &BuildSpec) -> Result<BuiltGuest, XenError>;

    /// Writes a suspended guest's memory and state to `stream`, in libxc's format. The domain stays as it is: resume it or
    /// destroy it. Blocks for as long as the stream takes.
    ///
    /// # Errors
    /// `NoSuchDomain`; `Invalid` when the guest is not suspended; `Other` with the stream's errno when it cannot be written.
    fn save(&self, domid: DomId, stream: BorrowedFd<'_>) -> Result<(), XenError>;

    /// As [`GuestImage::save`], of a guest that runs: in rounds, as `pilot` says, and the rest once it is suspended. However it ends,
    /// nobody logs its writes any more; a guest that was suspended still is. A process that is killed within leaves the log on:
    /// [`crate::GuestMemory::end_log`].
    ///
    /// # Errors
    /// `NoSuchDomain`; `Unsupported` for a PV guest where Xen has no [`crate::Physinfo::shadow`], before anything is written;
    /// [`GIVEN_UP`] when the pilot gives up or does not suspend it; `Other` with the stream's errno when it cannot be
    /// written.
    fn save_live(
        &self,
        domid: DomId,
        stream: BorrowedFd<'_>,
        pilot: &mut dyn SavePilot,
    ) -> Result<(), XenError>;

    /// Reads a saved guest into a shell that was created like the one it was saved from: same kind, at least as many vCPUs,
    /// limits set, no CPU policy. The domain stays paused.
    ///
    /// # Errors
    /// `BadImage` for a stream that is truncated or not one, or does not fit the shell; `OutOfMemory`. The domain is still there
    /// and must be destroyed by the caller.
    fn restore(
        &self,
        shell: &Shell,
        stream: BorrowedFd<'_>,
        spec: &RestoreSpec,
    ) -> Result<BuiltGuest, XenError>;
}
