//! VMs that start with their host: in their order, each with its delay, one after the other.
//!
//! An agent knows that its host has booted since the last one ran by a mark in xenstore, which no boot survives. VMs that wait for
//! their turn are reported as starting from the first moment on, so that nobody starts them elsewhere meanwhile (VM1).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use vmm_core::vm::VmState;
use xen_bindings::store::read_text;
use xen_bindings::{StoreError, StorePath};

use super::{VmView, registry};
use crate::core::Core;
use crate::journal::Record;

/// Written by the first agent after a boot, once it knows which VMs to start.
const MARK: &str = "/tool/smps-vmm/agent";

/// True for the first agent after a boot that comes to [`mark_boot`]. When xenstore does not say, no VM is started by itself.
pub(super) async fn host_has_booted(core: &Core) -> bool {
    let is_marked = |host: &crate::Backend| -> Result<bool, StoreError> {
        Ok(read_text(host.xen.store.as_ref(), &StorePath::new(MARK)?)?.is_some())
    };
    match core.run(is_marked).await {
        Ok(marked) => !marked,
        Err(error) => {
            tracing::error!(%error, "no VM is started with the host");
            false
        }
    }
}

/// The journal says of each VM that it is to be started: from here on that is enough.
pub(super) async fn mark_boot(core: &Core) {
    let mark = |host: &crate::Backend| -> Result<(), StoreError> {
        host.xen.store.write(&StorePath::new(MARK)?, env!("CARGO_PKG_VERSION").as_bytes())
    };
    if let Err(error) = core.run(mark).await {
        tracing::error!(%error, "the next agent will take this one's start for the host's");
    }
}

/// Starts VMs that ran when the host went down.
pub(super) fn start(core: &Arc<Core>, mut records: Vec<Record>) {
    let order = |record: &Record| record.spec.autostart.unwrap_or_default().order;
    records.sort_by(|a, b| (order(a), a.spec.name.as_str()).cmp(&(order(b), b.spec.name.as_str())));
    let queue: Vec<Turn> = records.into_iter().map(|record| Turn::new(core, record)).collect();
    if queue.is_empty() {
        return;
    }
    tracing::info!(vm_count = queue.len(), "the host has booted; its VMs are started");
    core.spawn(async move {
        for turn in queue {
            turn.take().await;
        }
    });
}

/// One VM that waits for its turn.
struct Turn {
    tell: oneshot::Sender<()>,
    view: watch::Receiver<VmView>,
    delay: Duration,
}

impl Turn {
    fn new(core: &Arc<Core>, record: Record) -> Self {
        let delay_s = record.spec.autostart.unwrap_or_default().delay_s;
        let (tell, told) = oneshot::channel();
        let view = registry::start_again(core, record, told).view;
        Self { tell, view, delay: Duration::from_secs(delay_s.into()) }
    }

    /// Starts it, and waits until it runs or has failed, and then its delay.
    async fn take(mut self) {
        let _ = self.tell.send(());
        let started = self.view.wait_for(|view| view.state != VmState::Starting).await;
        if started.is_ok_and(|view| view.state.has_domain()) {
            tokio::time::sleep(self.delay).await;
        }
    }
}
