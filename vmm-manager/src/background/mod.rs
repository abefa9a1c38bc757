//! What runs without being asked: a heartbeat loop a host, the reconcilers, renewal of certificates, and once after a restart the changes that
//! were under way.

mod heartbeat;
mod reconcile;
mod renew;
mod resume;

pub(crate) use reconcile::{Turn, reconcile};
pub(crate) use renew::renew;
pub(crate) use resume::{give_up_unresumable, resume};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use vmm_core::id::HostId;

use crate::app::App;

/// Keeps one heartbeat loop for each host of the pool, until the manager stops.
pub(crate) async fn hear_hosts(app: &Arc<App>) {
    let mut changes = app.changes();
    let mut loops = JoinSet::new();
    let mut heard: BTreeMap<HostId, CancellationToken> = BTreeMap::new();
    while !app.stop.is_cancelled() {
        let hosts: BTreeSet<HostId> = app.lock().hosts.keys().copied().collect();
        heard.retain(|host, end| {
            let keep = hosts.contains(host);
            if !keep {
                end.cancel();
            }
            keep
        });
        for host in hosts {
            heard.entry(host).or_insert_with(|| {
                let end = app.stop.child_token();
                loops.spawn(heartbeat::hear(Arc::clone(app), host, end.clone()));
                end
            });
        }
        tokio::select! {
            () = app.stop.cancelled() => {}
            _ = changes.changed() => {}
            Some(_) = loops.join_next() => {}
        }
    }
    while loops.join_next().await.is_some() {}
}
