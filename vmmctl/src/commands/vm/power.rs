//! `vmmctl vm start|pause|unpause|shutdown|reboot|suspend|resume|destroy`: one file, because they differ in a word.

use clap::Args;
use vmm_proto::v1::{
    DestroyVm, PauseVm, RebootVm, Request, ResumeVm, ShutdownVm, StartVm, SuspendVm, Task,
    UnpauseVm,
};

use super::create::runs_on;
use super::falls_short;
use crate::commands::tell;
use crate::failure::Failure;
use crate::session::Session;
use crate::wait::{begin, done};

#[derive(Debug, Args)]
pub(crate) struct Power {
    /// Name or id.
    vm: String,
    /// Print the task and return at once.
    #[arg(long)]
    no_wait: bool,
}

/// What is to happen.
#[derive(Clone, Copy, Debug)]
pub(super) enum Verb {
    Start,
    Pause,
    Unpause,
    Shutdown,
    Reboot,
    Suspend,
    Resume,
    Destroy,
}

pub(super) async fn run(session: &Session, verb: Verb, power: Power) -> Result<(), Failure> {
    let request = request(verb, power.vm, session.timeout_ms());
    if power.no_wait {
        let task = begin(session, request).await?;
        return tell::task(&session.look, &task, &task.task);
    }
    let outcome = done(session, request).await;
    let task = match verb {
        Verb::Suspend => outcome.map_err(falls_short)?,
        _ => outcome?,
    };
    tell::task(&session.look, &task, &said(verb, &task))
}

fn request(verb: Verb, vm: String, wait_ms_max: u64) -> Request {
    match verb {
        Verb::Start => Request::StartVm(StartVm { vm }),
        Verb::Pause => Request::PauseVm(PauseVm { vm }),
        Verb::Unpause => Request::UnpauseVm(UnpauseVm { vm }),
        Verb::Shutdown => Request::ShutdownVm(ShutdownVm { vm, wait_ms_max }),
        Verb::Reboot => Request::RebootVm(RebootVm { vm, wait_ms_max }),
        Verb::Suspend => Request::SuspendVm(SuspendVm { vm, wait_ms_max }),
        Verb::Resume => Request::ResumeVm(ResumeVm { vm }),
        Verb::Destroy => Request::DestroyVm(DestroyVm { vm }),
    }
}

fn said(verb: Verb, task: &Task) -> String {
    let name = &task.vm_name;
    match verb {
        Verb::Start => runs_on(task),
        Verb::Pause => format!("{name} is paused"),
        Verb::Unpause => format!("{name} runs"),
        Verb::Shutdown => format!("{name} has powered off"),
        Verb::Reboot => format!("{name} runs again"),
        Verb::Suspend => format!("{name} is suspended; its memory stays on its host"),
        Verb::Resume => format!("{name} goes on"),
        Verb::Destroy => format!("{name} is destroyed; its definition stays"),
    }
}
