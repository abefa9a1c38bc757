//! Watches: what to tell whom, in the order of the changes. Telling is the caller's, without any lock held.

use std::collections::{BTreeMap, VecDeque};

use super::request::Change;
use crate::store::WatchSink;

struct Watch {
    path: String,
    sink: WatchSink,
}

#[derive(Default)]
pub(super) struct Watches {
    by_id: BTreeMap<u64, Watch>,
    id_next: u64,
    queue: VecDeque<(u64, String)>,
}

impl Watches {
    /// A new watch fires at once.
    pub(super) fn add(&mut self, path: &str, sink: WatchSink) -> u64 {
        let id = self.id_next;
        self.id_next += 1;
        self.by_id.insert(id, Watch { path: path.to_owned(), sink });
        self.queue.push_back((id, path.to_owned()));
        id
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<WatchSink> {
        self.by_id.remove(&id).map(|watch| watch.sink)
    }

    pub(super) fn fire(&mut self, change: &Change) {
        for (id, watch) in &self.by_id {
            if is_within(&change.path, &watch.path) {
                self.queue.push_back((*id, change.path.clone()));
            } else if change.below.contains(&watch.path) {
                self.queue.push_back((*id, watch.path.clone()));
            }
        }
    }

    /// Events of a watch that was removed meanwhile are dropped.
    pub(super) fn next_notification(&mut self) -> Option<(WatchSink, String)> {
        while let Some((id, path)) = self.queue.pop_front() {
            if let Some(watch) = self.by_id.get(&id) {
                return Some((watch.sink.clone(), path));
            }
        }
        None
    }
}

fn is_within(path: &str, top: &str) -> bool {
    path == top
        || (top == "/" && path.starts_with('/'))
        || path.strip_prefix(top).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::is_within;

    #[test]
    fn a_watch_covers_its_node_and_all_below() {
        for (path, top, expect) in [
            ("/a", "/a", true),
            ("/a/b", "/a", true),
            ("/ab", "/a", false),
            ("/a", "/a/b", false),
            ("/a", "/", true),
            ("@releaseDomain", "/", false),
            ("@releaseDomain", "@releaseDomain", true),
        ] {
            assert_eq!(is_within(path, top), expect, "{path} in {top}");
        }
    }
}
