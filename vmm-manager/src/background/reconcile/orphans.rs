//! VMs that agents run and the manager does not know: of a store that was restored from an old backup, or of a host of another pool.
//!
//! They are somebody's, so nothing touches them. They are logged when they appear and when they go, and shown by `ListOrphans`; an administrator may destroy
//! one. To adopt one its definition would be needed, and a report does not carry it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use vmm_core::id::{HostId, VmId};

use super::{Reconciler, Turn};
use crate::app::App;

#[derive(Default)]
pub(super) struct Orphans {
    known: BTreeSet<(HostId, VmId)>,
}

impl Reconciler for Orphans {
    fn name(&self) -> &'static str {
        "orphans"
    }

    fn every(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn turn(&mut self, app: &Arc<App>) -> Turn {
        let state = app.lock();
        let now: BTreeSet<_> = state.orphans().map(|(host, vm, _)| (host.record.id, vm)).collect();
        for (host, vm) in now.difference(&self.known) {
            let host = state.host_name(*host);
            tracing::warn!(host, vm_id = %vm, "the host runs a VM that the pool does not know; it is left alone");
        }
        for (host, vm) in self.known.difference(&now) {
            let host = state.host_name(*host);
            tracing::info!(host, vm_id = %vm, "a VM that the pool does not know is gone");
        }
        let changed = now.symmetric_difference(&self.known).count();
        self.known = now;
        Turn { looked: state.hosts.len(), changed }
    }
}
