//! `vmmctl vm start|pause|unpause|shutdown|reboot|destroy`: one file, because they differ in a word.

use clap::Args;
use vmm_proto::v1::{DestroyVm, PauseVm, RebootVm, Request, ShutdownVm, StartVm, Task, UnpauseVm};

use super::create::runs_on;
use crate::failure::Failure;
use crate::output::print;
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
    Destroy,
}

pub(super) async fn run(session: &Session, verb: Verb, power: Power) -> Result<(), Failure> {
    let request = request(verb, power.vm, session.timeout_ms());
    if power.no_wait {
        let task = begin(session, request).await?;
        return print(session.format, &task, |task| format!("{}\n", task.task));
    }
    let task = done(session, request).await?;
    print(session.format, &task, |task| said(verb, task))
}

fn request(verb: Verb, vm: String, wait_ms_max: u64) -> Request {
    match verb {
        Verb::Start => Request::StartVm(StartVm { vm }),
        Verb::Pause => Request::PauseVm(PauseVm { vm }),
        Verb::Unpause => Request::UnpauseVm(UnpauseVm { vm }),
        Verb::Shutdown => Request::ShutdownVm(ShutdownVm { vm, wait_ms_max }),
        Verb::Reboot => Request::RebootVm(RebootVm { vm, wait_ms_max }),
        Verb::Destroy => Request::DestroyVm(DestroyVm { vm }),
    }
}

fn said(verb: Verb, task: &Task) -> String {
    let name = &task.vm_name;
    match verb {
        Verb::Start => runs_on(task),
        Verb::Pause => format!("{name} is paused\n"),
        Verb::Unpause => format!("{name} runs\n"),
        Verb::Shutdown => format!("{name} has powered off\n"),
        Verb::Reboot => format!("{name} runs again\n"),
        Verb::Destroy => format!("{name} is destroyed; its definition stays\n"),
    }
}
