//! Two simulated hosts on one paused clock, a guest on one of them, and what moves it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use vmm_core::cpu::Features;
use vmm_core::migration::{BalloonReading, Brake};
use vmm_core::units::Kib;
use xen_bindings::sim::{MemoryWriter, SimConfig, SimMachine};
use xen_bindings::store::{Access, Permissions};
use xen_bindings::{
    BuildSpec, BuiltGuest, Credit2, DomId, DomainConfig, DomainHandle, DomainInfo, Gfn, GuestKind,
    RestoreSpec, RunState, Shell, ShutdownReason, StorePath, Xen,
};

use crate::env::Backend;
use crate::migrate::{Bounds, Pilot, PilotError};

pub(super) const MIB: u64 = 1024;
pub(super) const MEMORY_KIB: u64 = 40 * MIB;
const VCPUS: u16 = 2;
/// How long a guest is waited for that was asked to suspend.
const PATIENCE: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(5);
const SUSPENDED: RunState = RunState::Shutdown(ShutdownReason::Suspend);

/// A machine whose time goes by, and a small toolstack.
pub(super) struct Host {
    pub(super) machine: SimMachine,
    pub(super) backend: Backend,
    pub(super) xen: Xen,
    stop: CancellationToken,
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Host {
    pub(super) fn new() -> Self {
        Self::with(SimConfig::default())
    }

    pub(super) fn with(config: SimConfig) -> Self {
        let began = Instant::now();
        let machine = SimMachine::new(config, Arc::new(move || began.elapsed()));
        let stop = CancellationToken::new();
        tokio::spawn(crate::sim::drive(machine.clone(), stop.clone()));
        let (backend, xen) = (crate::sim::backend(&machine), machine.xen());
        Self { machine, backend, xen, stop }
    }

    pub(super) fn set(&self, domid: DomId, node: &str, value: &str) {
        let path = StorePath::new(format!("/local/domain/{domid}/{node}")).unwrap();
        self.xen.store.write(&path, value.as_bytes()).unwrap();
    }

    fn permit(&self, domid: DomId, node: &str, permissions: &Permissions) {
        let path = StorePath::new(format!("/local/domain/{domid}{node}")).unwrap();
        self.xen.store.set_permissions(&path, permissions).unwrap();
    }

    pub(super) fn info(&self, domid: DomId) -> Option<DomainInfo> {
        self.xen.control.info(domid).unwrap()
    }

    /// A domain with vCPUs and limits, and nothing in it.
    pub(super) fn shell(&self, kind: GuestKind, memory_kib: u64) -> Shell {
        let config = DomainConfig::new(DomainHandle([7; 16]), kind, VCPUS.into());
        let domain = self.xen.control.create(&config).unwrap();
        let domid = domain.domid();
        self.xen.memory.set_max(domid, memory_kib + MIB).unwrap();
        if kind == GuestKind::Pvh {
            self.xen.memory.set_paging_pool(domid, 4 << 20).unwrap();
        }
        self.xen.vcpu.allocate(domain).unwrap()
    }

    pub(super) fn ports(&self, shell: &Shell) -> RestoreSpec {
        let port = || self.xen.evtchn.alloc_unbound(shell.domid(), DomId::DOM0).unwrap();
        RestoreSpec { store_port: port(), console_port: port() }
    }

    /// Its nodes, and the store's ring.
    pub(super) fn introduce(&self, domid: DomId, built: BuiltGuest, spec: &RestoreSpec) {
        self.set(domid, "domid", &domid.to_string());
        let read = Permissions::owned_by(DomId::DOM0).grant(domid, Access::Read);
        self.permit(domid, "", &read);
        self.set(domid, "memory/target", &self.info(domid).unwrap().pages.kib().to_string());
        self.set(domid, "console/ring-ref", "2");
        for node in ["control/shutdown", "control/feature-poweroff", "data"] {
            self.set(domid, node, "");
            self.permit(domid, &format!("/{node}"), &Permissions::owned_by(domid));
        }
        self.xen.store.introduce(domid, built.store_gfn, spec.store_port).unwrap();
    }

    /// A guest that runs.
    pub(super) async fn boot(&self, writers: &[MemoryWriter]) -> DomId {
        self.boot_of(GuestKind::Pvh, writers).await
    }

    /// As [`Self::boot`], of either kind.
    pub(super) async fn boot_of(&self, kind: GuestKind, writers: &[MemoryWriter]) -> DomId {
        let shell = self.shell(kind, MEMORY_KIB);
        let (domid, ports) = (shell.domid(), self.ports(&shell));
        let spec = BuildSpec {
            kernel: kernel(),
            initramfs: None,
            cmdline: "workload=idle".into(),
            vcpus_online: 1,
            memory_target_kib: MEMORY_KIB,
            memory_max_kib: MEMORY_KIB,
            store_port: ports.store_port,
            console_port: ports.console_port,
        };
        let built = self.xen.image.build(&shell, &spec).unwrap();
        self.introduce(domid, built, &ports);
        self.xen.control.unpause(domid).unwrap();
        sleep(Duration::from_secs(2)).await;
        self.machine.set_memory_writers(domid, writers);
        domid
    }

    /// What an arrival may hold: room for what the balloon gave back meanwhile.
    pub(super) fn bounds() -> Bounds {
        Bounds {
            frames_max: (MEMORY_KIB + MIB) / 4,
            copies_bytes_max: 64 << 20,
            features: Features(vec![u32::MAX; 2]),
        }
    }

    /// The guest goes on here, as after a migration that was given up. One that has heard that it shall suspend does it a moment later.
    pub(super) async fn resume(&self, domid: DomId) {
        self.set(domid, "control/shutdown", "");
        sleep(Duration::from_millis(500)).await;
        if self.info(domid).unwrap().state == SUSPENDED {
            self.xen.control.resume(domid).unwrap();
            self.xen.store.resume(domid).unwrap();
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// It runs, at full speed, and nobody logs its writes.
    pub(super) async fn assert_runs_free(&self, domid: DomId, what: &str) {
        let before = self.info(domid).unwrap();
        assert!(!matches!(before.state, RunState::Shutdown(_)), "{what}: {before:?}");
        let credit = self.xen.vcpu.credit2(domid).unwrap();
        assert_eq!(credit.cap_percent, 0, "{what}: it is braked");
        assert!(!self.machine.logs_writes(domid), "{what}: its log is on");
        let up = self.machine.guest(domid).unwrap().uptime;
        sleep(Duration::from_secs(1)).await;
        assert!(self.machine.guest(domid).unwrap().uptime > up, "{what}: it stands still");
    }

    /// A destroyed domain goes only when nobody maps it.
    pub(super) async fn assert_goes(&self, domid: DomId) {
        self.xen.control.destroy(domid).unwrap();
        sleep(Duration::from_secs(1)).await;
        assert_eq!(self.info(domid), None);
    }
}

/// A file that the simulator takes for a kernel.
fn kernel() -> PathBuf {
    static MADE: Once = Once::new();
    let path = std::env::temp_dir().join(format!("vmm-migrate-test-kernel-{}", std::process::id()));
    MADE.call_once(|| std::fs::write(&path, "SIMKERNEL\n").unwrap());
    path
}

/// The owner of a guest, as far as a sender needs one. Clones are the same.
#[derive(Clone)]
pub(super) struct Owner {
    xen: Xen,
    domid: DomId,
    state: Arc<Mutex<Pinned>>,
    /// A balloon that does not keep still: when it moves, and where to.
    pub(super) restless: Option<(Moves, u64)>,
    /// What it does, gives and takes, when it is asked to suspend.
    pub(super) swaps: Option<(SimMachine, Gfn, Gfn)>,
    /// Does not suspend so often.
    pub(super) refusals: Arc<Mutex<u32>>,
}

/// When a balloon moves that should have been held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moves {
    /// While pages are sent for the first time.
    Early,
    /// When all are sent, before the guest stands still.
    Late,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Pinned {
    pub(super) is_pinned: bool,
    pub(super) pins: u32,
    /// How often it was asked to suspend.
    pub(super) suspends: u32,
    /// The hardest.
    pub(super) brake: Brake,
    /// What is on, and since when.
    now: Option<(Brake, Instant)>,
    /// What the guest has lost by all of them, in seconds.
    pub(super) lost_s: f64,
}

impl Owner {
    pub(super) fn of(host: &Host, domid: DomId) -> Self {
        let (xen, state) = (host.xen.clone(), Arc::default());
        Self { xen, domid, state, restless: None, swaps: None, refusals: Arc::default() }
    }

    pub(super) fn state(&self) -> Pinned {
        *self.state.lock().unwrap()
    }

    fn write(&self, node: &str, value: &str) -> Result<(), PilotError> {
        let path = StorePath::new(format!("/local/domain/{}/{node}", self.domid)).unwrap();
        self.xen.store.write(&path, value.as_bytes()).map_err(PilotError::new)
    }

    fn info(&self) -> Result<DomainInfo, PilotError> {
        let info = self.xen.control.info(self.domid).map_err(PilotError::new)?;
        info.ok_or_else(|| PilotError::new("the guest has ended"))
    }
}

impl Pilot for Owner {
    async fn balloon(&self, target: Kib) -> Result<(), PilotError> {
        self.write("memory/target", &target.0.to_string())
    }

    async fn reading(&self) -> Result<BalloonReading, PilotError> {
        Ok(BalloonReading { held: Kib(self.info()?.pages.kib()), is_pressed: false })
    }

    async fn pin(&self) -> Result<(), PilotError> {
        let held = self.info()?.pages.kib();
        self.write("memory/target", &held.to_string())?;
        let mut state = self.state.lock().unwrap();
        (state.is_pinned, state.pins) = (true, state.pins + 1);
        if let Some((Moves::Early, target)) = self.restless {
            let owner = self.clone();
            tokio::spawn(async move {
                sleep(Duration::from_millis(5)).await;
                let _ = owner.write("memory/target", &target.to_string());
            });
        }
        Ok(())
    }

    async fn unpin(&self) {
        self.state.lock().unwrap().is_pinned = false;
    }

    async fn brake(&self, brake: Brake) -> Result<(), PilotError> {
        let is_denied = |cap: &u16| f64::from(*cap) <= 100.0 * (1.0 - brake.denied()) + 1e-6;
        // All vCPUs together; at the least, a hundredth of one.
        let left = (1..=100).take_while(|cap| brake > Brake::OFF && is_denied(cap)).last();
        let cap_percent = left.unwrap_or(0) * VCPUS;
        let credit = Credit2 { weight: 256, cap_percent };
        {
            let mut state = self.state.lock().unwrap();
            state.brake = state.brake.max(brake);
            if let Some((before, since)) = state.now.replace((brake, Instant::now())) {
                state.lost_s += before.denied() * since.elapsed().as_secs_f64();
            }
        }
        self.xen.vcpu.set_credit2(self.domid, credit).map_err(PilotError::new)
    }

    async fn suspend(&self) -> Result<bool, PilotError> {
        self.state.lock().unwrap().suspends += 1;
        let is_refused = {
            let mut refusals = self.refusals.lock().unwrap();
            let is_refused = *refusals > 0;
            *refusals = refusals.saturating_sub(1);
            is_refused
        };
        if let Some((Moves::Late, target)) = self.restless {
            self.write("memory/target", &target.to_string())?;
            sleep(Duration::from_secs(1)).await;
        }
        if let Some((machine, gives, takes)) = &self.swaps {
            assert!(machine.swap_guest_frames(self.domid, *gives, *takes));
            assert!(machine.write_guest_page(self.domid, *takes, &[7; 4096]));
        }
        if !is_refused {
            self.write("control/shutdown", "suspend")?;
        }
        let asked = Instant::now();
        while asked.elapsed() < PATIENCE {
            match self.info()?.state {
                SUSPENDED => return Ok(true),
                RunState::Shutdown(reason) => {
                    return Err(PilotError::new(format!("the guest has ended: {reason:?}")));
                }
                _ => sleep(POLL).await,
            }
        }
        self.write("control/shutdown", "")?;
        Ok(false)
    }
}
