//! Xenstore watches, reduced to "look again".
//!
//! A watch's sink runs on the store's own thread: it only rings a [`Notify`]. Whoever is woken reads what is there now; what
//! the event said is forgotten. A bell rung twice before anybody looks wakes once. Looking again also happens without any bell,
//! from time to time, so that a lost event costs seconds and not the VM.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use xen_bindings::store::{WatchHandle, read_text};
use xen_bindings::{StoreError, StorePath};

use crate::core::Core;

/// How long a bell may be silent before somebody looks all the same.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A bell that rings when something below a path changes; dropped, it is taken down.
pub(crate) struct Bell {
    rung: Arc<Notify>,
    _watch: WatchHandle,
}

impl Bell {
    /// Hangs a bell at a path or a special name.
    pub(crate) async fn hang(core: &Core, path: &str) -> Result<Self, StoreError> {
        let rung = Arc::new(Notify::new());
        let (ring, path) = (rung.clone(), path.to_owned());
        let watch = core
            .run(move |host| host.xen.store.watch(&path, Arc::new(move |_| ring.notify_one())))
            .await?;
        Ok(Self { rung, _watch: watch })
    }

    /// Waits until it was rung since it was last waited for.
    pub(crate) async fn rung(&self) {
        self.rung.notified().await;
    }
}

/// Waits until `accept` likes a node's text, `None` of a missing one; `None` when it did not within `limit`.
pub(crate) async fn wait_for_node<T>(
    core: &Core,
    path: &StorePath,
    limit: Duration,
    accept: impl Fn(Option<&str>) -> Option<T>,
) -> Result<Option<T>, StoreError> {
    let deadline = Instant::now() + limit;
    let bell = Bell::hang(core, path.as_str()).await?;
    loop {
        let node = path.clone();
        let text = core.run(move |host| read_text(host.xen.store.as_ref(), &node)).await?;
        if let Some(found) = accept(text.as_deref()) {
            return Ok(Some(found));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        let again = deadline.min(Instant::now() + LOOK_AGAIN);
        tokio::select! {
            biased;
            () = bell.rung() => {}
            () = tokio::time::sleep_until(again) => {}
        }
    }
}
