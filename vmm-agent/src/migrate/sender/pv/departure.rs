//! libxenguest's save, on a thread of its own: its stream, and the questions of one of a guest that runs, seen from the sender.
//!
//! The thread ends when the save does. Who drops the stream and the questions ends the save: it gets no answer, and can write no more.

use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, Write as _};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::fcntl_setpipe_size;
use tokio_util::sync::CancellationToken;
use xen_bindings::{DomId, GuestImage, Next, Precopy, SavePilot, XenError};

/// How often a wait looks whether it was given up.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
/// What is on its way at most.
const PIPE_BYTES: usize = 1 << 20;

/// What a save asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    Next(Precopy),
    Suspend,
}

/// What it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Next(Next),
    Suspended(bool),
}

/// What there is to be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// The stream goes on, or has ended.
    Stream,
    /// All before it was read.
    Asked(Question),
    GivenUp,
}

/// The stream; reading it ends when it is given up.
pub(super) struct Stream {
    from: PipeReader,
    ends: CancellationToken,
}

/// Its questions.
pub(super) struct Questions {
    bell: PipeReader,
    asked: Receiver<Question>,
    told: Sender<Told>,
}

/// A save under way.
pub(super) type Saving = JoinHandle<Result<(), XenError>>;

/// The save's end of the questions.
struct Asking {
    bell: PipeWriter,
    ask: Sender<Question>,
    told: Receiver<Told>,
    ends: CancellationToken,
}

/// What the guest does meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guest {
    /// It runs until the save has it suspended.
    Runs,
    /// It is suspended: nothing is asked.
    Stands,
}

/// Begins to save a guest. Call it in a runtime, whose clock the save goes by.
pub(super) fn begin(
    image: Arc<dyn GuestImage>,
    (domid, guest): (DomId, Guest),
    ends: CancellationToken,
) -> io::Result<(Stream, Questions, Saving)> {
    let (from, to) = io::pipe()?;
    // The limit of unprivileged users may be lower; then it is only slower.
    let _ = fcntl_setpipe_size(&to, PIPE_BYTES);
    let (bell, rings) = io::pipe()?;
    let ((ask, asked), (tell, told)) = (channel(), channel());
    let mut asking = Asking { bell: rings, ask, told, ends: ends.clone() };
    let runtime = tokio::runtime::Handle::current();
    let work = move || {
        let _time = runtime.enter();
        // The stream's end closes with it, and the bell: whoever waits hears that there is no more.
        let to = to;
        match guest {
            Guest::Runs => image.save_live(domid, to.as_fd(), &mut asking),
            Guest::Stands => image.save(domid, to.as_fd()),
        }
    };
    let saving = std::thread::Builder::new().name("departure".into()).spawn(work)?;
    Ok((Stream { from, ends }, Questions { bell, asked, told: tell }, saving))
}

impl Asking {
    /// `None` when nobody listens any more.
    fn put(&mut self, question: Question) -> Option<Told> {
        self.ask.send(question).ok()?;
        self.bell.write_all(&[0]).ok()?;
        self.told.recv().ok()
    }
}

impl SavePilot for Asking {
    fn next(&mut self, at: Precopy) -> Next {
        match self.put(Question::Next(at)) {
            Some(Told::Next(next)) => next,
            _ => Next::GiveUp,
        }
    }

    fn suspend(&mut self) -> bool {
        self.put(Question::Suspend) == Some(Told::Suspended(true))
    }

    fn is_gone(&self) -> bool {
        self.ends.is_cancelled()
    }
}

impl Questions {
    /// A save that has ended meanwhile hears nothing.
    pub(super) fn tell(&self, told: Told) {
        let _ = self.told.send(told);
    }

    fn take(&mut self) -> io::Result<Option<Question>> {
        let rung = self.bell.read(&mut [0])?;
        // Without a ring the save has ended, and the stream says how.
        Ok(if rung == 0 { None } else { self.asked.recv().ok() })
    }
}

/// Waits for what comes next: the stream before a question, for what was written before a question is in it.
pub(super) fn news(stream: &Stream, questions: &mut Questions) -> io::Result<News> {
    loop {
        if stream.ends.is_cancelled() {
            return Ok(News::GivenUp);
        }
        let (is_asked, streams) = is_readable([&questions.bell, &stream.from], &LOOK)?;
        // A question that came between the two looks at the pipes came behind its part of the stream.
        if streams || (is_asked && is_readable([&stream.from, &stream.from], &AT_ONCE)?.0) {
            return Ok(News::Stream);
        }
        if is_asked {
            return Ok(questions.take()?.map_or(News::Stream, News::Asked));
        }
    }
}

fn is_readable(pipes: [&PipeReader; 2], wait: &Timespec) -> io::Result<(bool, bool)> {
    let mut fds = pipes.map(|pipe| PollFd::new(pipe, PollFlags::IN));
    match poll(&mut fds, Some(wait)) {
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => return Ok((false, false)),
        Err(errno) => return Err(errno.into()),
    }
    let [first, second] = fds.map(|fd| !fd.revents().is_empty());
    Ok((first, second))
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.ends.is_cancelled() {
                return Err(ErrorKind::ConnectionAborted.into());
            }
            if is_readable([&self.from, &self.from], &LOOK)?.0 {
                return self.from.read(into);
            }
        }
    }
}
