//! `vmmctl task …`

mod cancel;
mod columns;
mod follow;
pub(crate) mod list;
mod retry;
mod show;
mod wait;
mod when;

use clap::Subcommand;

use crate::args::Listing;
use crate::failure::Failure;
use crate::session::Session;

pub(crate) use columns::{COLUMNS, state};
pub(in crate::commands) use when::utc;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The latest tasks, the newest first.
    #[command(visible_alias = "ls")]
    List(Listing),
    /// Wait until a task is over and say how it ended.
    Wait(wait::Wait),
    /// One task: who asked for it, its steps, what it noted.
    Show(show::Show),
    /// What a task noted.
    Log(show::Show),
    /// Ask again for what tasks that failed or were cancelled were to do.
    Retry(retry::Retry),
    /// Take a task back, if that is still possible.
    Cancel(cancel::Cancel),
}

pub(crate) async fn run(session: &Session, command: Command) -> Result<(), Failure> {
    match command {
        Command::List(listing) => list::run(session, listing).await,
        Command::Wait(wait) => wait::run(session, wait).await,
        Command::Show(show) => show::show(session, show).await,
        Command::Log(show) => show::log(session, show).await,
        Command::Retry(retry) => retry::run(session, retry).await,
        Command::Cancel(cancel) => cancel::run(session, cancel).await,
    }
}
