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

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use vmm_core::id::VmId;
use xen_bindings::{DomId, StorePath};

use crate::core::Core;
use crate::dom0::ConsoleSource;
use crate::domain::StepError;
use crate::watch::wait_for_node;

/// Bytes that are kept of a VM's console.
pub(crate) const RING_BYTES: usize = 64 << 10;
/// From a guest's end until its last words have come through xenconsoled.
const LAST_WORDS: Duration = Duration::from_millis(100);
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

/// A console that is being drained; dropped, it is left as it is.
pub(crate) struct Console {
    finish: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Console {
    /// Begins to drain a domain's console into `ring`.
    pub(crate) fn open(core: Arc<Core>, vm: VmId, domid: DomId, ring: Arc<ConsoleRing>) -> Self {
        let finish = CancellationToken::new();
        let drain = drain(core, vm, domid, ring, finish.clone());
        Self { finish, task: AbortOnDropHandle::new(tokio::spawn(drain)) }
    }

    /// Takes the guest's last words, which xenconsoled may still have, and ends.
    pub(crate) async fn close(self) {
        tokio::time::sleep(LAST_WORDS).await;
        self.finish.cancel();
        let _ = self.task.await;
    }
}

/// Drains one domain's console into the ring until it ends. Failures cost the console, never the VM.
async fn drain(
    core: Arc<Core>,
    vm: VmId,
    domid: DomId,
    ring: Arc<ConsoleRing>,
    finish: CancellationToken,
) {
    let opened = tokio::select! {
        biased;
        () = finish.cancelled() => return,
        opened = open(&core, domid) => opened,
    };
    let mut source = match opened {
        Ok(source) => source,
        Err(error) => {
            tracing::warn!(vm_id = %vm, domid = domid.get(), %error, "no console");
            return;
        }
    };
    loop {
        let text = tokio::select! {
            biased;
            () = finish.cancelled() => {
                ring.push(&source.rest());
                return;
            }
            text = source.read() => text,
        };
        if text.is_empty() {
            return;
        }
        ring.push(&text);
    }
}

async fn open(core: &Core, domid: DomId) -> Result<Box<dyn ConsoleSource>, StepError> {
    let node = StorePath::domain(domid).join("console/tty")?;
    let named = |tty: Option<&str>| tty.filter(|tty| !tty.is_empty()).map(str::to_owned);
    match wait_for_node(core, &node, TTY_WAIT, named).await? {
        Some(tty) => Ok(core.backend.dom0.open_console(domid, &tty)?),
        None => {
            let what = "xenconsoled opening a terminal (does it run?)";
            Err(StepError::Waited { what: what.into(), limit: TTY_WAIT })
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
