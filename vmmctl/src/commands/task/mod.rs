//! `vmmctl task …`

mod cancel;
mod columns;
pub(crate) mod list;
mod wait;

use clap::Subcommand;

use crate::args::Listing;
use crate::failure::Failure;
use crate::session::Session;

pub(crate) use columns::{COLUMNS, state};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The latest tasks, the newest first.
    #[command(visible_alias = "ls")]
    List(Listing),
    /// Wait until a task is over and say how it ended.
    Wait(wait::Wait),
    /// Take a task back, if that is still possible.
    Cancel(cancel::Cancel),
}

pub(crate) async fn run(session: &Session, command: Command) -> Result<(), Failure> {
    match command {
        Command::List(listing) => list::run(session, listing).await,
        Command::Wait(wait) => wait::run(session, wait).await,
        Command::Cancel(cancel) => cancel::run(session, cancel).await,
    }
}
