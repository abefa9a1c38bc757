//! The commands: a folder a noun, a file a command.

pub(crate) mod doctor;
mod each;
pub(crate) mod host;
pub(crate) mod join;
mod live;
pub(crate) mod task;
mod tell;
pub(crate) mod vm;
pub(crate) mod watch;

use crate::args::{Args, Noun};
use crate::failure::Failure;
use crate::session::{Session, credentials_directory};

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    if let Noun::Join { token } = &args.noun {
        let directory = credentials_directory(&args.global)?;
        return join::run(args.global.manager.clone(), directory, token).await;
    }
    if let Noun::Doctor(command) = args.noun {
        return doctor::run(&args.global, command).await;
    }
    let session = Session::new(&args.global)?;
    session.renew_when_due().await;
    match args.noun {
        Noun::Watch => watch::run(&session).await,
        // They need no session.
        Noun::Join { .. } | Noun::Doctor(_) => Ok(()),
        Noun::Host(command) => host::run(&session, command).await,
        Noun::Vm(command) => vm::run(&session, command).await,
        Noun::Task(command) => task::run(&session, command).await,
    }
}
