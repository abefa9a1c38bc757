//! One worker process as the agent sees it: started, given one request, listened to for a bounded time and a bounded number of
//! bytes, and ended.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use xen_bindings::SavePilot;

use super::error::WorkerError;
use super::files;
use super::wire::{ANSWER_BYTES_MAX, Answer, Request, Word};

/// What is kept of a worker's standard error, for the error's text: the first words are nearest to the cause.
const SAID_BYTES_MAX: usize = 2048;
/// What a worker may write there before it is ended.
const NOISE_BYTES_MAX: usize = 1 << 20;
/// How long a worker that has answered may take to end.
const LEAVE_MAX: Duration = Duration::from_secs(5);
/// How long one may go on that nobody waits for: a save that was given up tidies up behind itself.
const GONE_MAX: Duration = Duration::from_secs(10);
/// How often it is looked whether somebody does.
const LOOK: Duration = Duration::from_secs(1);
/// What is read at once.
const READ_BYTES: usize = 4096;

/// How a worker is started.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    args: Vec<OsString>,
}

impl Program {
    /// This program again, as a worker. It is found by what runs, so an upgrade of the file does not matter.
    #[must_use]
    pub fn this() -> Self {
        Self { path: "/proc/self/exe".into(), args: vec![super::SUBCOMMAND.into()] }
    }

    #[cfg(test)]
    pub(super) fn of(path: &str) -> Self {
        Self { path: path.into(), args: Vec::new() }
    }
}

/// A worker that waits for its request.
pub(super) struct Process {
    child: Child,
    socket: OwnedFd,
    stdout: ChildStdout,
    stderr: ChildStderr,
}

impl Process {
    /// Starts one. It gets nothing of the agent's: no environment, no open file, no directory.
    ///
    /// It dies with the thread that calls this.
    pub(super) fn start(program: &Program) -> io::Result<Self> {
        let (socket, theirs) = files::pair()?;
        #[expect(
            clippy::disallowed_methods,
            reason = "the agent itself, confined: no other program"
        )]
        let mut command = Command::new(&program.path);
        command.arg0("vmm-agent").args(&program.args).env_clear().current_dir("/");
        command.stdin(theirs).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        match (child.stdout.take(), child.stderr.take()) {
            (Some(stdout), Some(stderr)) => Ok(Self { child, socket, stdout, stderr }),
            _ => Err(io::Error::other("a worker without pipes")),
        }
    }

    /// Whether it still waits.
    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Gives it its request and waits for the answer. Whatever comes, it is on its way out afterwards.
    pub(super) fn serve(
        mut self,
        request: &Request,
        files: &[BorrowedFd<'_>],
        limit: Duration,
        pilot: &mut dyn SavePilot,
    ) -> (Result<Answer, WorkerError>, Leaving) {
        let deadline = Instant::now() + limit;
        let message = serde_json::to_vec(request).map_err(io::Error::other);
        let sent = message.and_then(|message| files::send(&self.socket, &message, files));
        let mut heard = Heard::default();
        let outcome = match sent {
            Err(error) => Err(Silence::Refused(error.to_string())),
            Ok(()) => self.answer(&mut heard, deadline, pilot),
        };
        let outcome = match outcome {
            Ok(answer) => Ok(answer),
            Err(silence) => Err(self.give_up(silence, heard, limit)),
        };
        (outcome, Leaving { child: self.child, deadline: Instant::now() + LEAVE_MAX })
    }

    /// Its answer, once its questions are answered.
    fn answer(
        &mut self,
        heard: &mut Heard,
        deadline: Instant,
        pilot: &mut dyn SavePilot,
    ) -> Result<Answer, Silence> {
        let mut gone_since = None;
        loop {
            if pilot.is_gone() && gone_since.get_or_insert_with(Instant::now).elapsed() > GONE_MAX {
                return Err(Silence::Unwanted);
            }
            let next_look = deadline.min(Instant::now() + LOOK);
            match heard.listen(&mut self.stdout, &mut self.stderr, next_look) {
                Err(Silence::Overdue) if Instant::now() < deadline => {}
                Err(silence) => return Err(silence),
                Ok(Word::Answer(answer)) => return Ok(answer),
                Ok(Word::Ask(question)) => {
                    let told =
                        serde_json::to_vec(&question.put_to(pilot)).map_err(io::Error::other);
                    // One that has ended meanwhile says so by its silence.
                    let _ = told.and_then(|told| files::send(&self.socket, &told, &[]));
                }
            }
        }
    }

    /// Ends it by its process id, which is its own until it was waited for.
    fn give_up(&mut self, silence: Silence, mut heard: Heard, limit: Duration) -> WorkerError {
        let died = matches!(silence, Silence::Ended);
        if !died {
            let _ = self.child.kill();
        }
        let status = match wait_for(&mut self.child, LEAVE_MAX) {
            Some(status) => status.to_string(),
            None => {
                let _ = self.child.kill();
                "it closed its output and was killed".to_owned()
            }
        };
        heard.rest_of(&mut self.stderr);
        let said = heard.words();
        match silence {
            Silence::Ended => WorkerError::Died { status, said },
            Silence::Overdue => WorkerError::Overdue { limit, said },
            Silence::Unwanted => WorkerError::Overdue { limit: GONE_MAX, said },
            Silence::Refused(what) => WorkerError::Send(what),
            Silence::Garbage(what) => WorkerError::Garbage { what, said },
        }
    }
}

/// Why there is no answer.
enum Silence {
    Ended,
    Overdue,
    /// It goes on although nobody waits for it.
    Unwanted,
    Refused(String),
    Garbage(String),
}

/// What a worker has written so far.
#[derive(Default)]
struct Heard {
    answer: Vec<u8>,
    said: Vec<u8>,
    noise_bytes: usize,
}

impl Heard {
    fn listen(
        &mut self,
        stdout: &mut ChildStdout,
        stderr: &mut ChildStderr,
        deadline: Instant,
    ) -> Result<Word, Silence> {
        let mut stderr_open = true;
        loop {
            let left = deadline.checked_duration_since(Instant::now()).ok_or(Silence::Overdue)?;
            let (answers, says) = readable(stdout, stderr_open.then_some(&*stderr), left)
                .map_err(|error| Silence::Garbage(error.to_string()))?;
            if says {
                stderr_open = self.hear_noise(stderr)?;
            }
            if answers && let Some(word) = self.hear_word(stdout)? {
                return Ok(word);
            }
        }
    }

    /// A worker says nothing more before it was told, so nothing stands behind the end of a line.
    fn hear_word(&mut self, stdout: &mut ChildStdout) -> Result<Option<Word>, Silence> {
        let mut piece = [0; READ_BYTES];
        match stdout.read(&mut piece) {
            Ok(0) | Err(_) => return Err(Silence::Ended),
            Ok(read) => self.answer.extend_from_slice(&piece[..read]),
        }
        if let Some(end) = self.answer.iter().position(|byte| *byte == b'\n') {
            let line = std::mem::take(&mut self.answer);
            let word = serde_json::from_slice(&line[..end]);
            return word.map(Some).map_err(|error| Silence::Garbage(error.to_string()));
        }
        if self.answer.len() > ANSWER_BYTES_MAX {
            return Err(Silence::Garbage(format!("more than {ANSWER_BYTES_MAX} bytes")));
        }
        Ok(None)
    }

    /// False when there is no more.
    fn hear_noise(&mut self, stderr: &mut ChildStderr) -> Result<bool, Silence> {
        let mut piece = [0; READ_BYTES];
        let read = stderr.read(&mut piece).unwrap_or(0);
        let room = SAID_BYTES_MAX.saturating_sub(self.said.len()).min(read);
        self.said.extend_from_slice(&piece[..room]);
        self.noise_bytes += read;
        if self.noise_bytes > NOISE_BYTES_MAX {
            return Err(Silence::Garbage("a flood on its standard error".into()));
        }
        Ok(read > 0)
    }

    /// What an ended worker has left in its pipe.
    fn rest_of(&mut self, stderr: &mut ChildStderr) {
        while matches!(readable_now(stderr), Ok(true))
            && matches!(self.hear_noise(stderr), Ok(true))
        {}
    }

    /// On one line.
    fn words(&self) -> String {
        let text = String::from_utf8_lossy(&self.said);
        text.split(['\n', '\r'])
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect::<Vec<_>>()
            .join("; ")
    }
}

/// Waits until there is something to read: on standard output, on standard error.
fn readable(
    stdout: &ChildStdout,
    stderr: Option<&ChildStderr>,
    left: Duration,
) -> io::Result<(bool, bool)> {
    let mut fds = vec![PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::IN)];
    fds.extend(stderr.map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)));
    let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
    match poll(&mut fds, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    let ready = |at: usize| fds.get(at).is_some_and(|fd| !fd.revents().is_empty());
    Ok((ready(0), ready(1)))
}

fn readable_now(stderr: &ChildStderr) -> io::Result<bool> {
    let mut fds = [PollFd::from_borrowed_fd(stderr.as_fd(), PollFlags::IN)];
    Ok(poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? > 0)
}

fn wait_for(child: &mut Child, limit: Duration) -> Option<std::process::ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
            _ => return None,
        }
    }
}

/// A worker that has done its job, or was ended: somebody must wait for it.
pub(super) struct Leaving {
    child: Child,
    deadline: Instant,
}

impl Leaving {
    /// Whether it is gone; one that stays too long is killed.
    pub(super) fn is_gone(&mut self) -> bool {
        match self.child.try_wait() {
            Ok(None) => {
                if Instant::now() >= self.deadline {
                    let _ = self.child.kill();
                }
                false
            }
            _ => true,
        }
    }
}

impl From<Process> for Leaving {
    /// A worker that is not needed: it ends when it sees its socket closed.
    fn from(process: Process) -> Self {
        Self { child: process.child, deadline: Instant::now() + LEAVE_MAX }
    }
}
