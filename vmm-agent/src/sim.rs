//! The simulated backend, and what makes its time go by.

use std::fs::File;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use xen_bindings::sim::SimMachine;

pub use crate::dom0::sim::SimDom0;
use crate::env::Backend;
use crate::kernels::{InProcess, Packed, Unpack, UnpackError};

/// The name of the simulated backend in reports.
pub const NAME: &str = "simulator";

/// A simulated machine as a host, with a new dom0. To restart an agent on the same host, keep the backend and clone it.
#[must_use]
pub fn backend(machine: &SimMachine) -> Backend {
    let dom0 = Arc::new(SimDom0::new(machine));
    Backend { xen: machine.xen(), dom0, unpack: Arc::new(SimUnpack), name: NAME }
}

/// Unpacks in this process, and knows the simulator's own kernels.
struct SimUnpack;

impl Unpack for SimUnpack {
    fn unpack(&self, packed: &Packed, from: &File, to: &File) -> Result<(), UnpackError> {
        InProcess.unpack(packed, from, to)
    }

    fn knows(&self, head: &[u8]) -> bool {
        head.starts_with(b"SIMKERNEL")
    }
}

/// Lets the machine's time go by on tokio's clock, until `stop`. Run it as a task beside the agent.
pub async fn drive(machine: SimMachine, stop: CancellationToken) {
    let earlier = Arc::new(Notify::new());
    let wake = earlier.clone();
    machine.on_wake(Arc::new(move || wake.notify_one()));
    loop {
        let wait = machine.advance();
        let idle = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = earlier.notified() => {}
            () = idle => {}
        }
    }
}
