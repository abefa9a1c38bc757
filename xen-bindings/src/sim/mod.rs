//! A model of one Xen machine, with Xen's own rules, seeded, on a clock that it is given.
//!
//! ```text
//!   trait calls ──► handle ──► faults, recorder ──► State (one lock)
//!                                                    ├── hypervisor   domains, memory in bytes, claims, CPU time and affinity
//!                                                    ├── store        the tree, transactions, watches
//!                                                    ├── guests       scripted Linux, one state machine a domain, saved and restored
//!                                                    ├── backend      dom0's blkback and netback, and what they count
//!                                                    └── timeline     what happens when
//!   clock ──► advance ──────────────────────────────►┘      └──► watch sinks, called after the lock is released
//! ```
//!
//! Time moves only when somebody looks: every trait call and [`SimMachine::advance`] first let happen what is due by the
//! clock. A driver task calls `advance`, sleeps for what it answers, and is told by [`SimMachine::on_wake`] when something
//! earlier comes up. Guests are level-triggered: any change in their xenstore nodes makes them look at everything again, as a
//! wake-up a moment later; so an idle machine has no events at all.
//!
//! A call on a handle from before [`SimMachine::power_loss`] answers `Disconnected` or `Other`, as a dead host would.

mod backend;
mod backend_step;
mod clock;
mod config;
mod cpu;
mod domain;
mod faults;
mod guest;
mod handle;
mod hypervisor;
mod image;
mod ledger;
mod live_save;
mod machine;
mod memory;
mod ops;
mod probe;
mod recorder;
mod rng;
mod saved;
mod saved_stream;
mod store;
#[cfg(test)]
mod tests;
mod timeline;
mod traffic;
mod vcpu_traits;
mod xen_traits;

use std::sync::Arc;
use std::time::Duration;

use crate::Xen;
pub use crate::contract::StoreFlavour;
use crate::control::ShutdownReason;
use crate::domid::DomId;
use crate::frame::Gfn;
use crate::stream::image::PageBytes;
pub use clock::ManualClock;
pub use config::SimConfig;
pub use faults::{Fault, Faults};
pub use memory::{MemoryDifference, MemoryImage, MemoryWriter};
pub use ops::Op;
pub use probe::{Behaviour, GuestProbe, MemoryLedger, VbdCounters, VifCounters, VifInterface};
pub use recorder::{CALLS_MAX, Call, Recorder};

use machine::Inner;

/// The time since the simulation began.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// One simulated machine; clones are the same machine.
#[derive(Clone)]
pub struct SimMachine {
    inner: Arc<Inner>,
}

impl SimMachine {
    /// A machine that has just booted: dom0 and xenstore run, nothing else.
    #[must_use]
    pub fn new(config: SimConfig, clock: Clock) -> Self {
        Self { inner: Arc::new(Inner::new(config, clock)) }
    }

    /// The capabilities, valid until the next [`SimMachine::power_loss`].
    #[must_use]
    pub fn xen(&self) -> Xen {
        handle::bundle(&self.inner)
    }

    /// Lets happen all that is due by the clock; how long until the next event.
    pub fn advance(&self) -> Option<Duration> {
        self.inner.advance()
    }

    /// `wake` is called when an event was scheduled that is earlier than what the last [`SimMachine::advance`] answered. It may
    /// be called from within a trait call and must not call the machine.
    pub fn on_wake(&self, wake: Arc<dyn Fn() + Send + Sync>) {
        self.inner.set_wake(wake);
    }

    /// The inside of a guest; `None` when no guest was built there.
    #[must_use]
    pub fn guest(&self, domid: DomId) -> Option<GuestProbe> {
        self.inner.with(|state| state.probe(domid))
    }

    /// All memory of a domain as it is now; `None` when there is no such domain.
    #[must_use]
    pub fn guest_memory(&self, domid: DomId) -> Option<MemoryImage> {
        self.inner.with(|state| Some(state.hypervisor.get_mut(domid).ok()?.ram.image()))
    }

    /// Changes what a guest writes to its memory from now on. A boot begins with [`MemoryWriter::idle`] and what the kernel's command line
    /// says (`workload=dirty:MIB_PER_S:SET_MIB`).
    pub fn set_memory_writers(&self, domid: DomId, writers: &[MemoryWriter]) {
        self.inner.with(|state| {
            if let Ok(domain) = state.hypervisor.get_mut(domid) {
                domain.ram.set_writers(writers);
            }
        });
    }

    /// Somebody has its writes noted: of a guest of either kind.
    pub fn logs_writes(&self, domid: DomId) -> bool {
        self.inner.with(|state| {
            state.hypervisor.get_mut(domid).is_ok_and(|domain| domain.ram.log_is_on())
        })
    }

    /// A guest writes a page now, whether it runs or not. False when it has no such frame.
    pub fn write_guest_page(&self, domid: DomId, gfn: Gfn, page: &PageBytes) -> bool {
        self.inner.with(|state| {
            let domain = state.hypervisor.get_mut(domid);
            domain.is_ok_and(|domain| domain.ram.write_page(gfn.0, page))
        })
    }

    /// A guest gives a frame back and takes another, which no log tells of: Xen counts what it counted. False when it has not got the first,
    /// or has the second already.
    pub fn swap_guest_frames(&self, domid: DomId, gives: Gfn, takes: Gfn) -> bool {
        self.inner.with(|state| {
            let hypervisor = &mut state.hypervisor;
            let has = hypervisor.get_mut(domid).is_ok_and(|domain| domain.ram.has(takes.0));
            !has && hypervisor.release(domid, gives.0) == Ok(true)
                && hypervisor.populate(domid, takes.0..takes.0 + 1).is_ok()
        })
    }

    /// The guest's kernel panics now.
    pub fn crash_guest(&self, domid: DomId) {
        self.inner.with(|state| state.guest_shutdown(domid, ShutdownReason::Crash));
    }

    /// Changes how a guest behaves from now on. The kernel command line can say it too: `behaviour=NAME`, with the
    /// names of [`Behaviour::named`].
    pub fn set_guest_behaviour(&self, domid: DomId, behaviour: Behaviour) {
        self.inner.with(|state| state.set_behaviour(domid, behaviour));
    }

    /// What dom0's block backend counted for a disk, as its sysfs shows it; `None` when it has no such disk.
    #[must_use]
    pub fn vbd_counters(&self, domid: DomId, devid: u32) -> Option<VbdCounters> {
        self.inner.with(|state| state.vbd_counters(domid, devid))
    }

    /// What dom0's interface of a NIC counted; `None` when it has no such interface.
    #[must_use]
    pub fn vif_counters(&self, domid: DomId, index: u32) -> Option<VifCounters> {
        self.inner.with(|state| state.vif_counters(domid, index))
    }

    /// The interfaces that netback has made in dom0, in order of domain and index. One is there from the time that the backend
    /// waits for its frontend until it is closed for good.
    #[must_use]
    pub fn vif_interfaces(&self) -> Vec<VifInterface> {
        self.inner.with(|state| state.vif_interfaces())
    }

    /// Size of a block device of dom0, by the `physical-device` (hex `major:minor`) that a vbd's backend names. Others have
    /// 1 GiB. A backend that has opened the device notices a change within 100 ms and tells its frontend.
    pub fn set_block_device(&self, physical_device: &str, bytes: u64) {
        self.inner.with(|state| state.set_block_device(physical_device, bytes));
    }

    /// A block device of dom0 fails every request from now on, or works again.
    pub fn set_block_device_failing(&self, physical_device: &str, fails: bool) {
        self.inner.with(|state| state.set_block_device_failing(physical_device, fails));
    }

    /// dom0 has so many requests of a guest's disk under way, until it is told otherwise.
    pub fn set_in_flight(&self, domid: DomId, devid: u32, requests: u32) {
        self.inner.with(|state| state.set_in_flight(domid, devid, requests));
    }

    /// Orders failures.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.inner.faults
    }

    /// What was asked of the machine.
    #[must_use]
    pub fn recorder(&self) -> &Recorder {
        &self.inner.recorder
    }

    /// Where all memory is.
    #[must_use]
    pub fn memory(&self) -> MemoryLedger {
        self.inner.with(|state| state.hypervisor.ledger())
    }

    /// The machine loses power and boots again at once: every guest, the store, dom0's devices and all handles are gone.
    /// Take new ones with [`SimMachine::xen`]. Faults, recorder and the wake-up stay.
    pub fn power_loss(&self) {
        self.inner.power_loss();
    }
}
