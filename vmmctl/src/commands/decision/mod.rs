//! `vmmctl decision …`: what the scheduler decided, why, and what it would decide otherwise.

mod list;
mod replay;
mod show;

use clap::Subcommand;

use crate::args::Global;
use crate::commands::connect;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  vmmctl decision list --vm web
  vmmctl decision show 42
  vmmctl decision record 42 > 42.txt
  vmmctl decision replay 42.txt --density 1

The manager keeps the latest decisions with all that they were made of. A record is text; replaying it asks no
manager, so it can be done anywhere and later.";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// What was decided of late, the latest first.
    #[command(visible_alias = "ls")]
    List(list::List),
    /// One decision, made again of what it was made of: every host's cost by terms.
    Show {
        /// As `list` prints it.
        #[arg(value_name = "NUMBER")]
        decision: u64,
    },
    /// Print all that a decision was made of.
    Record {
        /// As `list` prints it.
        #[arg(value_name = "NUMBER")]
        decision: u64,
    },
    /// Decide a record again, here; as it was, or with another preference.
    Replay(replay::Replay),
}

pub(crate) async fn run(global: &Global, command: Command) -> Result<(), Failure> {
    match command {
        Command::List(list) => list::run(&connect(global).await?, list).await,
        Command::Show { decision } => show::run(&connect(global).await?, decision).await,
        Command::Record { decision } => show::record(&connect(global).await?, decision).await,
        Command::Replay(replay) => replay::run(&global.look(), &replay),
    }
}
