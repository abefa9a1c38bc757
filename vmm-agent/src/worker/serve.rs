//! The worker's side: wait for one request, give up every right that it does not need, do it, answer, end.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::ExitCode;

use xen_bindings::{
    BuildSpec, DomId, Loader, Next, Precopy, SavePilot, Shell, XenError, XenErrorKind,
};

use super::confine::{self, Filter};
use super::files;
use super::wire::{
    Answer, Job, Question, Refusal, Request, ShellName, TOLD_BYTES_MAX, Told, Word, restore_spec,
};
use crate::kernels::{InProcess, Packed, Unpack as _, UnpackError};

/// Runs this process as a worker. `open` reaches the hypervisor; what it fails with is the answer to whatever is asked.
///
/// Call it first thing in `main`, while the process has one thread.
pub fn serve(open: impl FnOnce() -> Result<Loader, XenError>) -> ExitCode {
    match serve_once(open) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("worker: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve_once(open: impl FnOnce() -> Result<Loader, XenError>) -> io::Result<()> {
    confine::drop_rights()?;
    let filter = Filter::new()?;
    let loader = open();
    let Some((message, files)) = files::receive(io::stdin().as_fd())? else {
        return Ok(());
    };
    let Request { job, bounds } = serde_json::from_slice(&message)?;
    confine::confine(&job.reads(), bounds, &filter)?;
    let answer = carry_out(job, files, loader);
    say(&Word::Answer(answer))
}

fn say(word: &Word) -> io::Result<()> {
    let mut line = serde_json::to_vec(word)?;
    line.push(b'\n');
    io::stdout().write_all(&line)?;
    io::stdout().flush()
}

/// The agent, asked. One that is gone gives up.
struct Asked;

impl Asked {
    fn told(question: Question) -> io::Result<Told> {
        say(&Word::Ask(question))?;
        let mut message = [0; TOLD_BYTES_MAX];
        // Not as a request is received: a confined worker may only read.
        let bytes = rustix::io::read(io::stdin(), &mut message)?;
        Ok(serde_json::from_slice(&message[..bytes])?)
    }

    fn ask(question: Question) -> Told {
        Self::told(question).unwrap_or_else(|error| {
            eprintln!("worker: the agent does not answer: {error}");
            Told::GiveUp
        })
    }
}

impl SavePilot for Asked {
    fn next(&mut self, at: Precopy) -> Next {
        match Self::ask(at.into()) {
            Told::Round => Next::Round,
            Told::Stop => Next::Stop,
            Told::GiveUp | Told::Suspended => Next::GiveUp,
        }
    }

    fn suspend(&mut self) -> bool {
        Self::ask(Question::Suspend) == Told::Suspended
    }
}

/// The files are closed when this returns: whoever reads a stream sees its end before the answer.
fn carry_out(job: Job, files: Vec<OwnedFd>, loader: Result<Loader, XenError>) -> Answer {
    let name = job.name();
    let mut files = files.into_iter();
    if let Job::Unpack(packed) = job {
        return unpack(&packed, files.next(), files.next());
    }
    let missing = || XenError::new(name, XenErrorKind::Invalid).detail("no stream came with it");
    let outcome = loader.and_then(|loader| match job {
        Job::Build { shell, spec } => {
            let shell = reclaim(&loader, shell)?;
            Ok(Answer::from(loader.image.build(&shell, &BuildSpec::from(spec))))
        }
        Job::Save { domid } => {
            let (domid, stream) = (DomId::new(domid.into())?, files.next().ok_or_else(missing)?);
            Ok(Answer::from(loader.image.save(domid, stream.as_fd())))
        }
        Job::SaveLive { domid } => {
            let (domid, stream) = (DomId::new(domid.into())?, files.next().ok_or_else(missing)?);
            Ok(Answer::from(loader.image.save_live(domid, stream.as_fd(), &mut Asked)))
        }
        Job::Restore { shell, store_port, console_port } => {
            let (shell, stream) = (reclaim(&loader, shell)?, files.next().ok_or_else(missing)?);
            let spec = restore_spec(store_port, console_port);
            Ok(Answer::from(loader.image.restore(&shell, stream.as_fd(), &spec)))
        }
        Job::Unpack(_) => Err(missing()),
    });
    outcome.unwrap_or_else(|error| Answer::Refused(Refusal::from(&error)))
}

fn reclaim(loader: &Loader, shell: ShellName) -> Result<Shell, XenError> {
    let domid = DomId::new(shell.domid.into())?;
    loader.vcpu.reclaim(domid, shell.kind(), shell.vcpus_max)
}

fn unpack(packed: &Packed, from: Option<OwnedFd>, to: Option<OwnedFd>) -> Answer {
    let (Some(from), Some(to)) = (from, to) else {
        return Answer::Failed("no files came with it".into());
    };
    match InProcess.unpack(packed, &File::from(from), &File::from(to)) {
        Ok(()) => Answer::Done,
        Err(UnpackError::Damaged(why)) => Answer::Damaged(why),
        Err(UnpackError::Failed(why)) => Answer::Failed(why),
    }
}
