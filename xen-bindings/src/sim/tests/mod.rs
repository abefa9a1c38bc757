//! The model's own rules: guests, devices, faults, time. What real Xen must answer as well is in [`crate::contract`].

mod devices;
mod guests;
mod hostile;
mod invariants;
mod limits;
mod live_save;
mod machine;
mod memory;
mod nics;
mod plug;
mod pv;
mod suspend;

use std::path::PathBuf;
use std::sync::Once;
use std::time::Duration;

use super::{GuestProbe, ManualClock, SimConfig, SimMachine};
use crate::store::{Access, Permissions};
use crate::{
    BuildSpec, DomId, DomainConfig, DomainHandle, DomainInfo, GuestKind, Shell, StorePath, Xen,
    XenError,
};

const MIB: u64 = 1024;

/// A machine, its clock and a small toolstack.
struct Lab {
    machine: SimMachine,
    clock: ManualClock,
    xen: Xen,
}

/// What a test's guest has.
struct Order {
    kind: GuestKind,
    cmdline: &'static str,
    vcpus: u32,
    memory_kib: u64,
    /// Above the rest: populated on demand.
    spare_kib: u64,
}

impl Default for Order {
    fn default() -> Self {
        Self {
            kind: GuestKind::Pvh,
            cmdline: "workload=idle",
            vcpus: 2,
            memory_kib: 256 * MIB,
            spare_kib: 0,
        }
    }
}

impl Lab {
    fn new() -> Self {
        Self::with(SimConfig::default())
    }

    fn with(config: SimConfig) -> Self {
        let clock = ManualClock::default();
        let machine = SimMachine::new(config, clock.clock());
        let xen = machine.xen();
        Self { machine, clock, xen }
    }

    fn run(&self, milliseconds: u64) {
        self.clock.run(&self.machine, Duration::from_millis(milliseconds));
    }

    fn write(&self, path: &str, value: &str) {
        self.xen.store.write(&StorePath::new(path).unwrap(), value.as_bytes()).unwrap();
    }

    fn read(&self, path: &str) -> Option<String> {
        let value = self.xen.store.read(&StorePath::new(path).unwrap()).ok()?;
        Some(String::from_utf8_lossy(&value).into_owned())
    }

    /// Owned by dom0, for the guest to read; or the guest's own.
    fn permit(&self, path: &str, domid: DomId, own: bool) {
        let permissions = if own {
            Permissions::owned_by(domid)
        } else {
            Permissions::owned_by(DomId::DOM0).grant(domid, Access::Read)
        };
        self.xen.store.set_permissions(&StorePath::new(path).unwrap(), &permissions).unwrap();
    }

    /// A guest that is built and described, and still paused.
    fn build(&self, order: &Order) -> DomId {
        let shell = self.shell(order);
        self.fill(&shell, order).unwrap();
        shell.domid()
    }

    /// As [`Lab::build`], on a host that may not have the memory; what was begun is destroyed then.
    fn try_build(&self, order: &Order) -> Option<DomId> {
        let shell = self.try_shell(order)?;
        let filled = self.fill(&shell, order).is_ok();
        if !filled {
            self.xen.control.destroy(shell.domid()).unwrap();
        }
        filled.then(|| shell.domid())
    }

    /// Builds a guest into a shell, describes and introduces it.
    fn fill(&self, shell: &Shell, order: &Order) -> Result<(), XenError> {
        let (xen, domid) = (&self.xen, shell.domid());
        let port = || xen.evtchn.alloc_unbound(domid, DomId::DOM0).unwrap();
        let spec = BuildSpec {
            kernel: kernel(),
            initramfs: None,
            cmdline: order.cmdline.into(),
            vcpus_online: 1,
            memory_target_kib: order.memory_kib,
            memory_max_kib: order.memory_kib + order.spare_kib,
            store_port: port(),
            console_port: port(),
        };
        let built = xen.image.build(shell, &spec)?;
        self.describe(domid, order);
        xen.store.introduce(domid, built.store_gfn, spec.store_port).unwrap();
        Ok(())
    }

    /// A domain with vCPUs and limits, and nothing in it.
    fn shell(&self, order: &Order) -> Shell {
        self.try_shell(order).unwrap()
    }

    fn try_shell(&self, order: &Order) -> Option<Shell> {
        let (control, memory) = (&self.xen.control, &self.xen.memory);
        let config = DomainConfig::new(DomainHandle([7; 16]), order.kind, order.vcpus);
        let domain = control.create(&config).ok()?;
        let domid = domain.domid();
        memory.set_max(domid, order.memory_kib + MIB).unwrap();
        let pooled = order.kind == GuestKind::Pv || memory.set_paging_pool(domid, 4 << 20).is_ok();
        let shell = self.xen.vcpu.allocate(domain).ok().filter(|_| pooled);
        if shell.is_none() {
            control.destroy(domid).unwrap();
        }
        shell
    }

    /// Its nodes in the store.
    fn describe(&self, domid: DomId, order: &Order) {
        let home = format!("/local/domain/{domid}");
        self.write(&format!("{home}/domid"), &domid.to_string());
        self.permit(&home, domid, false);
        self.write(&format!("{home}/memory/target"), &order.memory_kib.to_string());
        self.write(&format!("{home}/console/ring-ref"), "2");
        for node in ["control/shutdown", "control/feature-poweroff", "data"] {
            self.write(&format!("{home}/{node}"), "");
            self.permit(&format!("{home}/{node}"), domid, true);
        }
    }

    /// A guest that runs.
    fn boot(&self, order: &Order) -> DomId {
        let domid = self.build(order);
        self.xen.control.unpause(domid).unwrap();
        self.run(2000);
        domid
    }

    fn info(&self, domid: DomId) -> Option<DomainInfo> {
        self.xen.control.info(domid).unwrap()
    }

    fn probe(&self, domid: DomId) -> GuestProbe {
        self.machine.guest(domid).unwrap()
    }

    fn set(&self, domid: DomId, node: &str, value: &str) {
        self.write(&format!("/local/domain/{domid}/{node}"), value);
    }

    fn get(&self, domid: DomId, node: &str) -> Option<String> {
        self.read(&format!("/local/domain/{domid}/{node}"))
    }
}

/// A file that the simulator takes for a kernel, the same for all tests of this process.
fn kernel() -> PathBuf {
    static MADE: Once = Once::new();
    let path = std::env::temp_dir().join("vmm-sim-test-kernel");
    MADE.call_once(|| std::fs::write(&path, "SIMKERNEL\n").unwrap());
    path
}
