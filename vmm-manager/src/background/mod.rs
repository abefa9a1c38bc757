//! What runs without being asked: a heartbeat loop a host, a look at who is still heard, renewal of certificates, and once after a restart
//! the changes that were under way.

mod heartbeat;
mod renew;
mod resume;

pub(crate) use renew::renew;
pub(crate) use resume::{give_up_unresumable, resume};

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use vmm_core::id::HostId;

use crate::app::App;

/// How often it is looked whether hosts are still heard.
const HEALTH_LOOK: Duration = Duration::from_secs(1);

/// Tells those who wait when a host begins to be heard or ceases to, until the manager stops.
pub(crate) async fn watch_health(app: &Arc<App>) {
    while !app.stop.is_cancelled() {
        if app.lock().note_health(Instant::now()) {
            app.tell_changed();
        }
        tokio::select! {
            () = app.stop.cancelled() => {}
            () = tokio::time::sleep(HEALTH_LOOK) => {}
        }
    }
}

/// Keeps one heartbeat loop for each host of the pool, until the manager stops.
pub(crate) async fn hear_hosts(app: &Arc<App>) {
    let mut changes = app.changes();
    let mut loops = JoinSet::new();
    let mut heard: BTreeMap<HostId, CancellationToken> = BTreeMap::new();
    while !app.stop.is_cancelled() {
        let hosts: Vec<HostId> = app.lock().hosts.keys().copied().collect();
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
