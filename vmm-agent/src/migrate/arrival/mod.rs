//! A guest that comes: its frames are checked, turned into libxc's image, and restored while they come.
//!
//! ```text
//!   take ──► Intake: frames ─► pages ─► ImageWriter ──► pipe ──► a thread: GuestImage::restore(shell)
//!                                                                     │
//!   finish ◄── joined, frames released that the source's guest had given back ◄──┘
//! ```
//!
//! Frames are a stranger's: whatever they are, they become a well-formed image or an error, within [`Bounds`]. Prologue and epilogue
//! are read as an image of no pages before a byte of them is handed on, and written anew. A page of zeros is a page with contents:
//! libxc's "allocate" would leave in it what another domain had there. Of a frame that never came nobody hears: so the tail says how many
//! there must be, before the image's end.
//!
//! An arrival ends by [`Arrival::finish`] or [`Arrival::abandon`], and either gives the shell back. Dropped, it closes its pipe, and its
//! thread ends by itself, within 50 ms of the last write. Futures may be dropped anywhere; after that, only [`Arrival::abandon`] is left.
//!
//! It fails with an [`ArrivalError`]: the domain is then half restored and must be destroyed.

mod error;
mod intake;
mod pages;
mod pipe;
#[cfg(test)]
mod tests;

use std::io::PipeReader;
use std::os::fd::AsFd as _;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio_util::sync::CancellationToken;
use vmm_core::cpu::Features;
use xen_bindings::{BuiltGuest, GfnBatch, GfnSet, RestoreSpec, Shell, XenError};

use crate::env::{Backend, Blocking};

pub(crate) use error::ArrivalError;

pub(in crate::migrate) use intake::Intake;
use intake::{Counts, Whole};
use pipe::Pipe;

/// RAM of a PVH guest lies below this, or above 4 GiB without a gap.
const LOW_END: u64 = 0x10_0000;

/// The most that is taken.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    /// Pages that the guest may have: what the shell may hold.
    pub(crate) frames_max: u64,
    /// Memory for copies of pages, from which later ones are made; at least what the sender asks for, or it is refused.
    pub(crate) copies_bytes_max: u64,
    /// What it may have been promised of its processor: what this host's can do.
    pub(crate) features: Features,
}

impl Bounds {
    /// Numbers of pages are below this: each GiB of memory may leave another free.
    fn pfn_end(&self) -> u32 {
        u32::try_from(self.frames_max.saturating_mul(2).saturating_add(LOW_END)).unwrap_or(u32::MAX)
    }
}

/// What has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// Different pages.
    pub(crate) frames: u64,
    /// Of these, released again: the others are what the guest holds, and what its `memory/target` may say at most, or it inflates.
    pub(crate) released: u64,
    /// Bytes of the stream.
    pub(crate) stream_bytes: u64,
    /// Pages by encoding, in the order of [`vmm_core::migration::Encoding::ALL`].
    pub(crate) encodings: Counts,
}

/// Why it did not come, and the shell, to be destroyed.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) error: ArrivalError,
    pub(crate) shell: Shell,
}

/// What a restore gives back.
struct Restored {
    built: Result<BuiltGuest, XenError>,
    shell: Shell,
}

/// A restore under way. Who waits for it may be dropped while it does: what it says stays here.
struct Restoring {
    thread: Option<JoinHandle<Restored>>,
    restored: Option<Restored>,
}

impl Restoring {
    /// Blocks until it is over. A panic goes on here.
    fn wait(&mut self) {
        if let Some(thread) = self.thread.take() {
            let restored = thread.join();
            self.restored = Some(restored.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
    }
}

/// A guest that comes.
pub(crate) struct Arrival {
    host: Backend,
    blocking: Blocking,
    /// `None` while a step has it, and after a failure.
    intake: Option<Box<Intake<Pipe>>>,
    restoring: Arc<Mutex<Restoring>>,
    ends: CancellationToken,
    is_asked: bool,
}

impl Arrival {
    /// Begins to restore into a shell that has its limits and ports. Call it in a runtime, whose clock the restore goes by.
    ///
    /// # Errors
    /// No pipe or no thread is to be had.
    pub(crate) fn begin(
        host: &Backend,
        blocking: Blocking,
        shell: Shell,
        spec: RestoreSpec,
        bounds: Bounds,
    ) -> Result<Self, Failed> {
        let ends = CancellationToken::new();
        match pipe::pair(ends.clone()).and_then(|(from, to)| Ok((to, restore(host, from, spec)?))) {
            Ok((to, (thread, give))) => {
                // The thread waits for it and does nothing else.
                let _ = give.send(shell);
                let intake = Some(Box::new(Intake::new(to, bounds)));
                let restoring = Restoring { thread: Some(thread), restored: None };
                let (host, restoring) = (host.clone(), Arc::new(Mutex::new(restoring)));
                Ok(Self { host, blocking, intake, restoring, ends, is_asked: false })
            }
            Err(error) => Err(Failed { error: ArrivalError::NoRoom(error.to_string()), shell }),
        }
    }

    /// The next bytes of the stream, cut anywhere. When it answers they are in the restore's hands.
    ///
    /// # Errors
    /// [`ArrivalError`]; nothing more is taken then.
    pub(crate) async fn take(&mut self, bytes: Vec<u8>) -> Result<(), ArrivalError> {
        let mut intake = self.intake.take().ok_or(ArrivalError::Over)?;
        let step = move || (intake.take(&bytes), intake);
        let (outcome, mut intake) = self.blocking.run(step).await;
        match outcome {
            Ok(()) => {
                self.is_asked |= intake.is_asked();
                self.intake = Some(intake);
                Ok(())
            }
            Err(error @ ArrivalError::Write(_)) => {
                drop(intake);
                Err(self.why_it_takes_no_more(error).await)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the sender has asked to be told that all so far is here: acknowledge the stream then. Answers once for each time.
    pub(crate) fn is_acknowledgement_due(&mut self) -> bool {
        std::mem::take(&mut self.is_asked)
    }

    /// After the stream's end: the guest, whole and paused, and the shell.
    ///
    /// # Errors
    /// [`Failed`]: [`ArrivalError::Truncated`] when its end has not come, what the restore says, or what releasing frames says.
    pub(crate) async fn finish(mut self) -> Result<(BuiltGuest, Shell, Arrived), Failed> {
        let whole = self.intake.take().and_then(|intake| intake.into_whole());
        let Some(Whole { arrived, gone }) = whole else {
            let shell = self.abandon().await;
            return Err(Failed { error: ArrivalError::Truncated, shell });
        };
        let (this, Restored { built, shell }) = self.join().await;
        let released = match built {
            Ok(built) => this.release(&shell, gone).await.map(|()| built),
            Err(error) => Err(ArrivalError::Restore(error)),
        };
        match released {
            Ok(built) => Ok((built, shell, arrived)),
            Err(error) => Err(Failed { error, shell }),
        }
    }

    /// Gives up. The shell's domain is half restored: destroy it.
    pub(crate) async fn abandon(self) -> Shell {
        let (_, restored) = self.join().await;
        restored.shell
    }

    /// Ends the pipe, and waits for the restore.
    async fn end(&mut self) {
        self.intake = None;
        self.ends.cancel();
        let restoring = self.restoring.clone();
        self.blocking.run(move || lock(&restoring).wait()).await;
    }

    /// As [`Self::end`]: what the restore gives back.
    async fn join(mut self) -> (Self, Restored) {
        self.end().await;
        let restored = lock(&self.restoring).restored.take();
        (self, restored.expect("it was waited for, and nobody else takes it"))
    }

    /// A restore that reads no more has said why.
    async fn why_it_takes_no_more(&mut self, error: ArrivalError) -> ArrivalError {
        self.end().await;
        match &lock(&self.restoring).restored {
            Some(Restored { built: Err(why), .. }) => ArrivalError::Restore(why.clone()),
            _ => error,
        }
    }

    /// Takes from the guest what the source's had given back while it was copied.
    async fn release(&self, shell: &Shell, gone: GfnSet) -> Result<(), ArrivalError> {
        let batches: Vec<GfnBatch> = GfnBatch::all(gone.iter()).collect();
        for batch in batches {
            let (memory, domid) = (self.host.xen.guest_memory.clone(), shell.domid());
            let released = self.blocking.run(move || memory.release(domid, &batch)).await;
            released.map_err(ArrivalError::Release)?;
        }
        Ok(())
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.ends.cancel();
    }
}

fn lock(restoring: &Mutex<Restoring>) -> MutexGuard<'_, Restoring> {
    restoring.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the thread; it begins when it is given the shell, so that a thread that cannot be had takes no shell with it.
fn restore(
    host: &Backend,
    from: PipeReader,
    spec: RestoreSpec,
) -> std::io::Result<(JoinHandle<Restored>, SyncSender<Shell>)> {
    let (give, given): (_, Receiver<Shell>) = sync_channel(1);
    let (image, runtime) = (host.xen.image.clone(), tokio::runtime::Handle::current());
    let work = move || {
        let _time = runtime.enter();
        let shell = given.recv().expect("who starts it gives it the shell");
        let built = image.restore(&shell, from.as_fd(), &spec);
        // What is left of the stream has no reader now.
        drop(from);
        Restored { built, shell }
    };
    let thread = std::thread::Builder::new().name("arrival".into()).spawn(work)?;
    Ok((thread, give))
}
