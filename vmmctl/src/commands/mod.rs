//! The commands: a folder a noun, a file a command.

pub(crate) mod host;
pub(crate) mod task;
pub(crate) mod vm;

use crate::args::{Args, Noun};
use crate::failure::Failure;
use crate::session::Session;

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let session = Session::new(&args.global)?;
    match args.noun {
        Noun::Host(command) => host::run(&session, command).await,
        Noun::Vm(command) => vm::run(&session, command).await,
        Noun::Task(command) => task::run(&session, command).await,
    }
}
