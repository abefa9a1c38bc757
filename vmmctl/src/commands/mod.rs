//! The commands: a folder a noun, a file a command.

pub(crate) mod decision;
pub(crate) mod doctor;
mod each;
pub(crate) mod group;
pub(crate) mod host;
pub(crate) mod join;
pub(crate) mod label;
mod live;
mod man;
pub(crate) mod plan;
pub(crate) mod pool;
pub(crate) mod site;
pub(crate) mod task;
mod tell;
pub(crate) mod vm;
pub(crate) mod watch;

use crate::args::{Args, Global, Noun};
use crate::complete;
use crate::failure::Failure;
use crate::session::{Session, credentials_directory};
use crate::top;

pub(crate) use each::AT_ONCE;

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let global = args.global;
    match args.noun {
        Noun::Join { token } => {
            let directory = credentials_directory(&global)?;
            join::run(global.manager, directory, &token).await
        }
        Noun::Doctor(command) => doctor::run(&global, command).await,
        Noun::Completion { shell } => complete::print_registration(shell),
        Noun::Man { directory } => man::run(&directory),
        Noun::Top(command) => top::run(&connect(&global).await?, command).await,
        Noun::Watch => watch::run(&connect(&global).await?).await,
        Noun::Host(command) => host::run(&connect(&global).await?, command).await,
        Noun::Vm(command) => vm::run(&connect(&global).await?, command).await,
        Noun::Pool(command) => pool::run(&connect(&global).await?, command).await,
        Noun::Site(command) => site::run(&connect(&global).await?, command).await,
        Noun::Group(command) => group::run(&connect(&global).await?, command).await,
        Noun::Plan(command) => plan::run(&connect(&global).await?, command).await,
        Noun::Decision(command) => decision::run(&global, command).await,
        Noun::Label(command) => label::run(&connect(&global).await?, command).await,
        Noun::Task(command) => task::run(&connect(&global).await?, command).await,
    }
}

async fn connect(global: &Global) -> Result<Session, Failure> {
    let session = Session::new(global)?;
    session.renew_when_due().await;
    Ok(session)
}
