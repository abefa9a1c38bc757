//! A VM's console: the last [`RING_BYTES`] of what the guest wrote, kept whether or not anybody reads.
//!
//! ```text
//!   guest ─► xenconsoled ─► pty named by console/tty ─► ConsoleSource ─► ring ─► ReadConsole
//! ```
//!
//! The pty is always drained, so that a guest never waits for a reader. An agent that was restarted begins with what the pty
//! still holds.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use vmm_core::id::VmId;
use xen_bindings::{DomId, StorePath};

use crate::core::Core;
use crate::watch::wait_for_node;

/// Bytes that are kept of a VM's console.
pub(crate) const RING_BYTES: usize = 64 << 10;
/// How long xenconsoled may take to open a terminal.
const TTY_WAIT: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Kept {
    bytes: VecDeque<u8>,
    dropped: u64,
}

/// What a guest wrote last.
#[derive(Default)]
pub(crate) struct ConsoleRing(Mutex<Kept>);

impl ConsoleRing {
    pub(crate) fn push(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes.extend(bytes);
        let over = kept.bytes.len().saturating_sub(RING_BYTES);
        kept.bytes.drain(..over);
        kept.dropped += u64::try_from(over).unwrap_or(u64::MAX);
    }

    /// The last `bytes_max` bytes, and how many were written before them.
    pub(crate) fn tail(&self, bytes_max: usize) -> (u64, Vec<u8>) {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left_out = kept.bytes.len().saturating_sub(bytes_max);
        let before = kept.dropped + u64::try_from(left_out).unwrap_or(u64::MAX);
        (before, kept.bytes.iter().skip(left_out).copied().collect())
    }
}

/// Drains one domain's console into the ring until it ends. Failures cost the console, never the VM.
pub(crate) async fn drain(core: Arc<Core>, vm: VmId, domid: DomId, ring: Arc<ConsoleRing>) {
    let Ok(node) = StorePath::domain(domid).join("console/tty") else { return };
    let named = |tty: &str| (!tty.is_empty()).then(|| tty.to_owned());
    let tty = match wait_for_node(&core, &node, TTY_WAIT, named).await {
        Ok(Some(tty)) => tty,
        Ok(None) => {
            tracing::warn!(vm_id = %vm, domid = domid.get(), "xenconsoled opened no terminal");
            return;
        }
        Err(error) => {
            tracing::warn!(vm_id = %vm, domid = domid.get(), %error, "console not found");
            return;
        }
    };
    match core.backend.dom0.open_console(domid, &tty) {
        Ok(mut source) => loop {
            let bytes = source.read().await;
            if bytes.is_empty() {
                return;
            }
            ring.push(&bytes);
        },
        Err(error) => {
            tracing::warn!(vm_id = %vm, domid = domid.get(), %error, "console not opened");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_keeps_the_end_and_counts_what_it_dropped() {
        let ring = ConsoleRing::default();
        ring.push(b"hello ");
        ring.push(b"world");
        assert_eq!(ring.tail(100), (0, b"hello world".to_vec()));
        assert_eq!(ring.tail(5), (6, b"world".to_vec()));
        ring.push(&vec![b'x'; RING_BYTES]);
        let (before, kept) = ring.tail(usize::MAX);
        assert_eq!((before, kept.len()), (11, RING_BYTES));
    }
}
