//! A pipe to or from a worker, on this side: waits for the other end, and for nobody who has cancelled.

use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pipe::fcntl_setpipe_size;
use tokio_util::sync::CancellationToken;

use super::error::SavedError;

/// How often a wait looks whether it was cancelled.
const LOOK_NS: i64 = 50_000_000;
/// What is on its way at most: fewer changes of process for the same bytes.
const PIPE_BYTES: usize = 1 << 20;

/// What a transfer is told, and what it tells.
#[derive(Debug, Default)]
pub(crate) struct Control {
    /// Ends it.
    pub(crate) cancel: CancellationToken,
    bytes: AtomicU64,
}

impl Control {
    /// Ends with `cancel`.
    pub(crate) fn new(cancel: CancellationToken) -> Self {
        Self { cancel, bytes: AtomicU64::new(0) }
    }

    /// Bytes of the stream that went through so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Waits until the other end has done something.
    fn wait(&self, pipe: impl AsFd, what: PollFlags) -> Result<(), SavedError> {
        loop {
            if self.cancel.is_cancelled() {
                return Err(SavedError::Cancelled);
            }
            let mut fds = [PollFd::from_borrowed_fd(pipe.as_fd(), what)];
            match poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: LOOK_NS })) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(errno) => return Err(failed(&errno.into())),
            }
        }
    }
}

pub(super) fn failed(error: &io::Error) -> SavedError {
    SavedError::Io {
        operation: "use the pipe to",
        path: "worker".into(),
        detail: error.to_string(),
    }
}

/// A pipe with room.
pub(super) fn pair() -> Result<(PipeReader, PipeWriter), SavedError> {
    let (reader, writer) = io::pipe().map_err(|error| failed(&error))?;
    // The limit of unprivileged users may be lower; then it is only slower.
    let _ = fcntl_setpipe_size(&writer, PIPE_BYTES);
    Ok((reader, writer))
}

/// Reads until the buffer is full or the stream ends; answers how much there is.
pub(super) fn fill(
    from: &mut PipeReader,
    buffer: &mut [u8],
    control: &Control,
) -> Result<usize, SavedError> {
    let mut filled = 0;
    while filled < buffer.len() {
        control.wait(&*from, PollFlags::IN)?;
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => {
                filled += read;
                control.add(read);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(&error)),
        }
    }
    Ok(filled)
}

/// This end of a pipe shall never wait in a write: its other end may hang.
pub(super) fn never_wait(pipe: &PipeWriter) -> Result<(), SavedError> {
    let set = fcntl_getfl(pipe).and_then(|flags| fcntl_setfl(pipe, flags | OFlags::NONBLOCK));
    set.map_err(|errno| failed(&errno.into()))
}

/// Writes everything; false when the other end wants no more.
pub(super) fn drain(
    to: &mut PipeWriter,
    mut bytes: &[u8],
    control: &Control,
) -> Result<bool, SavedError> {
    while !bytes.is_empty() {
        control.wait(&*to, PollFlags::OUT)?;
        match to.write(bytes) {
            Ok(written) => {
                control.add(written);
                bytes = &bytes[written..];
            }
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(false),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
                ) => {}
            Err(error) => return Err(failed(&error)),
        }
    }
    Ok(true)
}
