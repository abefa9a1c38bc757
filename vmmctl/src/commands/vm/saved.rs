//! `vmmctl vm save|restore|discard`

use clap::Args;
use vmm_proto::v1::{DiscardSaved, Reply, Request, RestoreVm, SaveVm};

use super::create::runs_on;
use super::done_by_guest;
use crate::commands::tell;
use crate::failure::Failure;
use crate::session::{Session, unexpected};
use crate::wait::done;

#[derive(Debug, Args)]
#[command(after_help = "\
Example: vmmctl vm save web /var/lib/smps-vmm/web.save

The guest suspends, its memory is written to the file on its host, and nothing of it stays in
the host's memory. `vmmctl vm restore` continues it there. A guest that does not suspend in time
(--timeout) runs on, and the exit code is 3.")]
pub(crate) struct Save {
    /// Name or id.
    vm: String,
    /// Absolute path on its host; nothing may be there yet.
    #[arg(value_name = "PATH")]
    path: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vmmctl vm restore web
  vmmctl vm restore web --path /srv/copy-of-web.save

It continues on the host that has the file, and only there. Once the guest goes on, the file is
removed: its disks go on too, so that it must not be restored from the same file again.")]
pub(crate) struct Restore {
    /// Name or id.
    vm: String,
    /// The file on the host that had the VM last [default: where it was saved to].
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example: vmmctl vm discard web && vmmctl vm start web

As if it had been destroyed when it was saved: its next start boots anew. The file stays on its
host (`vmmctl vm show` says where).")]
pub(crate) struct Discard {
    /// Name or id.
    vm: String,
}

pub(super) async fn save(session: &Session, save: Save) -> Result<(), Failure> {
    let Save { vm, path } = save;
    let said = format!("is saved in {path}");
    let request = SaveVm { vm, path, wait_ms_max: session.timeout_ms() };
    done_by_guest(session, Request::SaveVm(request), &said).await
}

pub(super) async fn restore(session: &Session, restore: Restore) -> Result<(), Failure> {
    let Restore { vm, path } = restore;
    let task = done(session, Request::RestoreVm(RestoreVm { vm, path })).await?;
    tell::task(&session.look, &task, &runs_on(&task))
}

pub(super) async fn discard(session: &Session, discard: Discard) -> Result<(), Failure> {
    let vm = discard.vm;
    match session.call(Request::DiscardSaved(DiscardSaved { vm: vm.clone() })).await? {
        Reply::Done(done) => {
            let said = format!(
                "{vm} boots anew at its next start; the file of its memory is left on its host"
            );
            tell::named(&session.look, &vm, done, &said)
        }
        other => Err(unexpected(&other)),
    }
}
