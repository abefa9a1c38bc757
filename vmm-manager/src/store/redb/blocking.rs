//! Runs what may wait for a disk where waiting is allowed.

use std::panic::resume_unwind;
use std::sync::Arc;

use super::{Inner, RedbStore};
use crate::agents::BoxFuture;

/// A future that gives what `work` answers.
impl RedbStore {
    pub(super) fn on<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> T + Send + 'static,
    ) -> BoxFuture<'_, T> {
        let inner = Arc::clone(&self.inner);
        if !self.waits {
            return Box::pin(async move { work(&inner) });
        }
        Box::pin(async move {
            match tokio::task::spawn_blocking(move || work(&inner)).await {
                Ok(answer) => answer,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => resume_unwind(panic),
                    // The runtime ends, and whoever waits with it: nobody is left to be told.
                    Err(_) => std::future::pending().await,
                },
            }
        })
    }
}
