//! `vmmctl host …`

mod add;
mod columns;
mod evacuate;
pub(crate) mod list;
mod maintenance;
mod place;
mod remove;
mod stats;

use clap::Subcommand;

use crate::args::Listing;
use crate::failure::Failure;
use crate::session::Session;

pub(crate) use columns::{COLUMNS, health, shown_health, tone};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// All hosts: health, what they have, what is reserved and used.
    #[command(visible_alias = "ls")]
    List(Listing),
    /// Take a host into the pool. It takes VMs as soon as its agent was heard.
    Add(add::Add),
    /// Forget a host that has no VMs.
    Remove(remove::Remove),
    /// Switch new placements on a host off (`on`: in maintenance) or on again (`off`). VMs on it stay.
    Maintenance(maintenance::Maintenance),
    /// Move all VMs off a host while they run, and let no new one come.
    Evacuate(evacuate::Evacuate),
    /// Put a host on which there is nothing into another pool.
    Move(place::Move),
    /// Change a host's tags and notes.
    #[command(visible_alias = "tag")]
    Label(place::Label),
    /// What a host uses now.
    Stats(stats::Stats),
}

pub(crate) async fn run(session: &Session, command: Command) -> Result<(), Failure> {
    match command {
        Command::List(listing) => list::run(session, listing).await,
        Command::Add(add) => add::run(session, add).await,
        Command::Remove(remove) => remove::run(session, remove).await,
        Command::Maintenance(maintenance) => maintenance::run(session, maintenance).await,
        Command::Evacuate(evacuate) => evacuate::run(session, evacuate).await,
        Command::Move(to) => place::to_pool(session, to).await,
        Command::Label(label) => place::label(session, label).await,
        Command::Stats(stats) => stats::run(session, stats).await,
    }
}
