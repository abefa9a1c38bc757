//! `vmmctl vm start|pause|unpause|shutdown|reboot|suspend|resume|destroy`: one file, because they differ in a word.

use clap::Args;
use vmm_proto::v1::{
    DestroyVm, PauseVm, RebootVm, Request, ResumeVm, ShutdownVm, StartVm, SuspendVm, Task,
    UnpauseVm,
};

use super::change::{Ask, change};
use super::create::runs_on;
use super::targets::{Deed, Targets};
use crate::failure::Failure;
use crate::session::Session;
use crate::wait::Waiting;

#[derive(Debug, Args)]
pub(crate) struct Power {
    #[command(flatten)]
    targets: Targets,
    #[command(flatten)]
    waiting: Waiting,
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
    let ask = async |vm: &str| {
        let request = request(verb, vm.to_owned(), session.timeout_ms());
        Ok(Ask::new(request, move |name, task| said(verb, name, task)))
    };
    change(session, power.targets, power.waiting, deed(verb), ask).await
}

fn deed(verb: Verb) -> Deed {
    match verb {
        Verb::Start => Deed::harmless("start"),
        Verb::Pause => Deed::harmless("pause"),
        Verb::Unpause => Deed::harmless("unpause"),
        Verb::Shutdown => Deed::harmless("shut down"),
        Verb::Reboot => Deed::harmless("reboot"),
        Verb::Suspend => Deed::harmless("suspend"),
        Verb::Resume => Deed::harmless("resume"),
        Verb::Destroy => Deed {
            verb: "destroy",
            loses: Some("Guests are not asked: what they have not written is lost."),
        },
    }
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

fn said(verb: Verb, name: &str, task: Option<&Task>) -> String {
    match verb {
        Verb::Start => runs_on(name, task),
        Verb::Pause => format!("{name} is paused"),
        Verb::Unpause => format!("{name} runs"),
        Verb::Shutdown => format!("{name} has powered off"),
        Verb::Reboot => format!("{name} runs again"),
        Verb::Suspend => format!("{name} is suspended; its memory stays on its host"),
        Verb::Resume => format!("{name} goes on"),
        Verb::Destroy => format!("{name} is destroyed; its definition stays"),
    }
}
