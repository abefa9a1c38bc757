//! What is known of kernels, who waits for which, and how much room there is: all under one lock, which nobody holds while a file
//! is read or written.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::KernelLimits;
use super::identity::{ContentHash, FileState};
use super::shelf::Entry;

/// How long a caller waits for another that unpacks.
const WAIT_MAX: Duration = Duration::from_mins(10);
/// Files that are remembered at once.
const KNOWN_MAX: usize = 1024;

/// What was found out about a file.
#[derive(Clone, Debug)]
pub(super) enum Known {
    /// The builder gets the file itself.
    AsItIs,
    /// It unpacks to this entry.
    Unpacked(ContentHash),
}

/// What only one caller at a time works on.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Claim {
    Source(FileState),
    Content(ContentHash),
}

pub(super) struct State {
    limits: KernelLimits,
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    /// The least recently used first.
    entries: Vec<Arc<Entry>>,
    known: HashMap<FileState, Known>,
    claimed: HashSet<Claim>,
    unpackings: u32,
    /// Bytes promised to unpackings under way.
    reserved: u64,
}

impl Inner {
    fn position(&self, hash: &ContentHash) -> Option<usize> {
        self.entries.iter().position(|entry| entry.hash == *hash)
    }

    fn remember(&mut self, source: FileState, known: Known) {
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(source, known);
    }

    fn kept_bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.elf.bytes).sum::<u64>() + self.reserved
    }

    fn drop_entry(&mut self, at: usize) -> ContentHash {
        let hash = self.entries.remove(at).hash.clone();
        self.known.retain(|_, known| !matches!(known, Known::Unpacked(of) if *of == hash));
        hash
    }
}

impl State {
    /// `entries` come with the least recently used first.
    pub(super) fn new(limits: KernelLimits, entries: Vec<Entry>) -> Self {
        let mut inner = Inner::default();
        for entry in entries {
            for source in &entry.sources {
                inner.remember(*source, Known::Unpacked(entry.hash.clone()));
            }
            inner.entries.push(Arc::new(entry));
        }
        Self { limits, inner: Mutex::new(inner), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn known(&self, source: FileState) -> Option<Known> {
        self.lock().known.get(&source).cloned()
    }

    pub(super) fn remember(&self, source: FileState, known: Known) {
        self.lock().remember(source, known);
    }

    /// Holds an entry and makes it the most recently used.
    pub(super) fn pin(&self, hash: &ContentHash) -> Option<Arc<Entry>> {
        let mut inner = self.lock();
        let at = inner.position(hash)?;
        let entry = inner.entries.remove(at);
        inner.entries.push(entry.clone());
        Some(entry)
    }

    /// Forgets an entry that is not what it was; who builds with it has it open.
    pub(super) fn forget(&self, hash: &ContentHash) {
        let mut inner = self.lock();
        if let Some(at) = inner.position(hash) {
            inner.drop_entry(at);
        }
    }

    /// Takes a new entry in, held.
    pub(super) fn insert(&self, entry: Entry) -> Arc<Entry> {
        let mut inner = self.lock();
        for source in &entry.sources {
            inner.remember(*source, Known::Unpacked(entry.hash.clone()));
        }
        let entry = Arc::new(entry);
        inner.entries.push(entry.clone());
        entry
    }

    /// One more file with the content of an entry; answers the entry as it shall be noted.
    pub(super) fn add_source(&self, hash: &ContentHash, source: FileState) -> Option<Entry> {
        let mut inner = self.lock();
        inner.remember(source, Known::Unpacked(hash.clone()));
        let at = inner.position(hash)?;
        let mut entry = (**inner.entries.get(at)?).clone();
        entry.add_source(source);
        Some(entry)
    }

    /// Waits until nobody else works on it.
    pub(super) fn claim(&self, claim: Claim) -> Result<Claimed<'_>, Duration> {
        let mut inner = self.wait(|inner| !inner.claimed.contains(&claim))?;
        inner.claimed.insert(claim.clone());
        Ok(Claimed { state: self, claim })
    }

    /// Waits until one more may unpack.
    pub(super) fn turn(&self) -> Result<Turn<'_>, Duration> {
        let most = self.limits.unpackings_max.max(1);
        self.wait(|inner| inner.unpackings < most)?.unpackings += 1;
        Ok(Turn { state: self })
    }

    fn wait(&self, ready: impl Fn(&Inner) -> bool) -> Result<MutexGuard<'_, Inner>, Duration> {
        let begun = Instant::now();
        let mut inner = self.lock();
        while !ready(&inner) {
            let left = WAIT_MAX.checked_sub(begun.elapsed()).ok_or(WAIT_MAX)?;
            let waited = self.changed.wait_timeout(inner, left);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(inner)
    }

    fn change(&self, work: impl FnOnce(&mut Inner)) {
        work(&mut self.lock());
        self.changed.notify_all();
    }

    /// Drops entries that nobody holds until so many bytes more fit, and reserves them. Nothing is dropped in vain.
    pub(super) fn make_room(&self, bytes: u64) -> (Option<Room<'_>>, Vec<ContentHash>) {
        let mut inner = self.lock();
        let free = |entry: &Arc<Entry>| Arc::strong_count(entry) == 1;
        let held: u64 = inner.entries.iter().filter(|e| !free(e)).map(|e| e.elf.bytes).sum();
        if held + inner.reserved + bytes > self.limits.bytes_max {
            return (None, Vec::new());
        }
        let mut evicted = Vec::new();
        while inner.kept_bytes() + bytes > self.limits.bytes_max {
            let Some(at) = inner.entries.iter().position(free) else { break };
            evicted.push(inner.drop_entry(at));
        }
        inner.reserved += bytes;
        (Some(Room { state: self, bytes }), evicted)
    }
}

/// A piece of work that is ours until this is dropped.
pub(super) struct Claimed<'a> {
    state: &'a State,
    claim: Claim,
}

impl Drop for Claimed<'_> {
    fn drop(&mut self) {
        self.state.change(|inner| {
            inner.claimed.remove(&self.claim);
        });
    }
}

/// The right to unpack, until this is dropped.
pub(super) struct Turn<'a> {
    state: &'a State,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.state.change(|inner| inner.unpackings = inner.unpackings.saturating_sub(1));
    }
}

/// Bytes on the shelf that are promised, until this is dropped.
pub(super) struct Room<'a> {
    state: &'a State,
    bytes: u64,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.state.change(|inner| inner.reserved = inner.reserved.saturating_sub(self.bytes));
    }
}
