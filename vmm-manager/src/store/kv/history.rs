//! The latest changes of a store in this process, for whoever watches: one bounded queue for all of them.
//!
//! ```text
//!   forgotten ◄─ 41 │ 42 │ 43 ◄─ push          a watch holds only the revision that it has seen
//! ```
//!
//! A watch that is behind what is remembered is told to read again; nobody can slow a commit down by being slow.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::{Change, Key, KvError, Revision, Watch};
use crate::agents::BoxFuture;

/// Rows in remembered changes.
const ROWS_MAX: usize = 4096;

/// The latest changes.
#[derive(Debug)]
pub(in crate::store) struct History {
    changes: Arc<Mutex<Changes>>,
    news: watch::Sender<Revision>,
}

#[derive(Debug)]
struct Changes {
    latest: VecDeque<Arc<Change>>,
    rows: usize,
    /// The last change that is not remembered.
    forgotten: Revision,
}

impl History {
    /// Nothing up to this revision is remembered.
    pub(in crate::store) fn from(forgotten: Revision) -> Self {
        let changes = Changes { latest: VecDeque::new(), rows: 0, forgotten };
        Self { changes: Arc::new(Mutex::new(changes)), news: watch::Sender::new(forgotten) }
    }

    /// Changes come in the order of their revisions.
    pub(in crate::store) fn push(&self, change: Change) {
        let revision = change.revision;
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        changes.rows += change.rows.len();
        changes.latest.push_back(Arc::new(change));
        while changes.rows > ROWS_MAX {
            let Some(oldest) = changes.latest.pop_front() else { break };
            changes.rows -= oldest.rows.len();
            changes.forgotten = oldest.revision;
        }
        drop(changes);
        self.news.send_replace(revision);
    }

    /// Follows the rows of a prefix.
    pub(in crate::store) fn watch(
        &self,
        prefix: Key,
        after: Revision,
    ) -> Result<Box<dyn Watch>, KvError> {
        let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        changes.remembers(after)?;
        let (changes, news) = (Arc::clone(&self.changes), self.news.subscribe());
        Ok(Box::new(Follower { changes, news, prefix, seen: after }))
    }
}

impl Changes {
    fn remembers(&self, after: Revision) -> Result<(), KvError> {
        if after >= self.forgotten {
            return Ok(());
        }
        Err(KvError::Compacted { forgotten: self.forgotten })
    }

    /// The first change of the prefix behind `seen`, which moves on to it, or to the end.
    fn next(&self, prefix: &[u8], seen: &mut Revision) -> Result<Option<Change>, KvError> {
        self.remembers(*seen)?;
        let behind = self.latest.partition_point(|change| change.revision <= *seen);
        for change in self.latest.range(behind..) {
            *seen = change.revision;
            let rows: Vec<_> =
                change.rows.iter().filter(|(key, _)| key.starts_with(prefix)).cloned().collect();
            if !rows.is_empty() {
                return Ok(Some(Change { revision: change.revision, rows }));
            }
        }
        Ok(None)
    }
}

struct Follower {
    changes: Arc<Mutex<Changes>>,
    news: watch::Receiver<Revision>,
    prefix: Key,
    seen: Revision,
}

impl Watch for Follower {
    fn next(&mut self) -> BoxFuture<'_, Result<Change, KvError>> {
        Box::pin(async move {
            loop {
                self.news.borrow_and_update();
                let next = {
                    let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
                    changes.next(&self.prefix, &mut self.seen)?
                };
                if let Some(change) = next {
                    return Ok(change);
                }
                self.news.changed().await.map_err(|_| KvError::Closed)?;
            }
        })
    }
}
