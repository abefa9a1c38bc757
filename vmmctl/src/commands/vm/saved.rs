//! `vmmctl vm save|restore|discard`

use clap::{Args, ValueEnum};
use vmm_proto::v1::{DiscardSaved, Request, RestoreVm, SaveVm, SavedFormat};

use super::change::{Ask, change};
use super::create::runs_on;
use super::targets::{Deed, Targets};
use crate::complete;
use crate::failure::Failure;
use crate::session::Session;
use crate::wait::Waiting;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vmmctl vm save web /var/lib/smps-vmm/web.save
  vmmctl vm save web /srv/web.xl --format xl      then, on any Xen host: xl restore /srv/web.xl

The guest suspends, its memory is written to the file on its host, and nothing of it stays in
the host's memory. `vmmctl vm restore` continues it there. A guest that does not suspend in time
(--timeout) runs on, and the exit code is 3.

A sealed file is packed, encrypted and checked under a key of the host, which alone can restore
it. One in xl's format is none of that: whoever can read it has the guest's secrets.")]
pub(crate) struct Save {
    /// Name or id.
    #[arg(add = complete::vms())]
    vm: String,
    /// Absolute path on its host; nothing may be there yet.
    #[arg(value_name = "PATH")]
    path: String,
    /// How it is written.
    #[arg(long, value_enum, default_value = "sealed")]
    format: Format,
    #[command(flatten)]
    waiting: Waiting,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For this host alone.
    Sealed,
    /// As `xl save` does.
    Xl,
}

impl From<Format> for SavedFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Sealed => Self::Sealed,
            Format::Xl => Self::Xl,
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vmmctl vm restore web
  vmmctl vm restore web --path /srv/copy-of-web.save
  vmmctl vm restore web --path /srv/web.xl        which may be of `xl save`, of this very VM

It continues on the host that has the file, and only there. Once the guest goes on, the file is
removed: its disks go on too, so that it must not be restored from the same file again.")]
pub(crate) struct Restore {
    #[command(flatten)]
    targets: Targets,
    /// The file on the host that had the VM last, of one VM [default: where it was saved to].
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    #[command(flatten)]
    waiting: Waiting,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example: vmmctl vm discard web && vmmctl vm start web

As if it had been destroyed when it was saved: its next start boots anew. The file stays on its
host (`vmmctl vm show` says where).")]
pub(crate) struct Discard {
    #[command(flatten)]
    targets: Targets,
}

pub(super) async fn save(session: &Session, save: Save) -> Result<(), Failure> {
    let Save { vm, path, format, waiting } = save;
    let ask = async |vm: &str| {
        let (vm, wait_ms_max) = (vm.to_owned(), session.timeout_ms());
        let request =
            Request::SaveVm(SaveVm { vm, path: path.clone(), format: format.into(), wait_ms_max });
        let said = format!("is saved in {path}");
        Ok(Ask::new(request, move |name, _| format!("{name} {said}")))
    };
    let one = Targets::named(vec![vm], false);
    change(session, one, waiting, Deed::harmless("save"), ask).await
}

pub(super) async fn restore(session: &Session, restore: Restore) -> Result<(), Failure> {
    let Restore { targets, path, waiting } = restore;
    if path.is_some() && !targets.is_one() {
        return Err(Failure::Usage("--path is of one VM; name that alone".into()));
    }
    let ask = async |vm: &str| {
        let request = RestoreVm { vm: vm.to_owned(), path: path.clone() };
        Ok(Ask::new(Request::RestoreVm(request), runs_on))
    };
    change(session, targets, waiting, Deed::harmless("restore"), ask).await
}

pub(super) async fn discard(session: &Session, discard: Discard) -> Result<(), Failure> {
    let deed =
        Deed { verb: "discard the saved memory of", loses: Some("The next start boots anew.") };
    let ask = async |vm: &str| {
        let request = Request::DiscardSaved(DiscardSaved { vm: vm.to_owned() });
        Ok(Ask::new(request, |name, _| {
            format!(
                "{name} boots anew at its next start; the file of its memory is left on its host"
            )
        }))
    };
    change(session, discard.targets, Waiting::default(), deed, ask).await
}
