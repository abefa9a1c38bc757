//! The pipe to a restore: waits for its reader, and for nobody once it is given up.

use std::io::{self, ErrorKind, PipeReader, PipeWriter, Write};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pipe::fcntl_setpipe_size;
use tokio_util::sync::CancellationToken;

/// How often a wait looks whether it was given up.
const LOOK_NS: i64 = 50_000_000;
/// What is on its way at most.
const PIPE_BYTES: usize = 1 << 20;

/// The writing end.
pub(super) struct Pipe {
    to: PipeWriter,
    ends: CancellationToken,
}

/// Both ends. The writing one fails once `ends` is cancelled.
pub(super) fn pair(ends: CancellationToken) -> io::Result<(PipeReader, Pipe)> {
    let (from, to) = io::pipe()?;
    // The limit of unprivileged users may be lower; then it is only slower.
    let _ = fcntl_setpipe_size(&to, PIPE_BYTES);
    // Its reader may hang.
    fcntl_setfl(&to, fcntl_getfl(&to)? | OFlags::NONBLOCK)?;
    Ok((from, Pipe { to, ends }))
}

impl Pipe {
    fn wait(&self) -> io::Result<()> {
        loop {
            if self.ends.is_cancelled() {
                return Err(ErrorKind::BrokenPipe.into());
            }
            let mut fds = [PollFd::new(&self.to, PollFlags::OUT)];
            match poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: LOOK_NS })) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// As often as it takes.
    fn go_on(
        &mut self,
        mut write: impl FnMut(&mut PipeWriter) -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            self.wait()?;
            match write(&mut self.to) {
                Err(error)
                    if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
                outcome => return outcome,
            }
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.go_on(|to| to.write(bytes))
    }

    fn write_vectored(&mut self, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
        // More parts than the system takes at once are left for the next time.
        let parts = &parts[..parts.len().min(IOV_MAX)];
        self.go_on(|to| to.write_vectored(parts))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Linux's limit of parts in one write.
const IOV_MAX: usize = 1024;
