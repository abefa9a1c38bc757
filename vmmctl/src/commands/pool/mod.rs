//! `vmmctl pool …`: hosts of one site between which VMs may move.

mod columns;

use clap::{Args, Subcommand, ValueEnum};
use vmm_core::query::PoolField;
use vmm_proto::v1::{
    DefinePool, Fault, FaultCode, ListPools, Pool, Rebalance, RemovePool, Reply, Request,
};

use crate::args::Listing;
use crate::changes::Kinds;
use crate::commands::live::{self, Source};
use crate::commands::tell;
use crate::complete;
use crate::confirm::{Reason, confirm};
use crate::failure::Failure;
use crate::session::{Session, unexpected};
use crate::wanted::{Wanted, pages};

pub(crate) use columns::COLUMNS;

const EXAMPLES: &str = "\
Examples:
  vmmctl pool list --where 'memory-free>64GiB' --sort -memory-free
  vmmctl pool add fast --site berlin --notes 'hosts with NVMe'
  vmmctl pool set fast --rebalance carry-out
  vmmctl host move host-3 fast

One pool is there from the beginning: hosts that were put nowhere else are in it.";

/// What becomes of moves that would pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Rebalancing {
    /// Nobody looks for them.
    Off,
    /// They are looked for, counted and kept: `vmmctl decision list`.
    Advise,
    /// The manager makes them, too, a few at a time.
    CarryOut,
}

impl From<Rebalancing> for Rebalance {
    fn from(what: Rebalancing) -> Self {
        match what {
            Rebalancing::Off => Self::Off,
            Rebalancing::Advise => Self::Advise,
            Rebalancing::CarryOut => Self::CarryOut,
        }
    }
}

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// All pools: what their hosts have, what is reserved and used.
    #[command(visible_alias = "ls")]
    List(Listing),
    /// Make a pool.
    Add(Define),
    /// Change a pool: its name, its site, what people should know about it, whether its VMs are moved when that pays.
    Set(Set),
    /// Forget a pool that has no hosts.
    Remove(Remove),
}

#[derive(Debug, Args)]
pub(crate) struct Define {
    /// Its name.
    name: String,
    /// The site that it lies in [default: the first].
    #[arg(long, add = complete::sites())]
    site: Option<String>,
    /// What people should know about it.
    #[arg(long, value_name = "TEXT")]
    notes: Option<String>,
    /// What becomes of moves that would pay [default: advise].
    #[arg(long, value_enum)]
    rebalance: Option<Rebalancing>,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
pub(crate) struct Set {
    /// Name or id.
    #[arg(add = complete::pools())]
    pool: String,
    /// Another name.
    #[arg(long, value_name = "NAME", group = "what")]
    rename: Option<String>,
    /// The site that it lies in.
    #[arg(long, group = "what", add = complete::sites())]
    site: Option<String>,
    /// What people should know about it.
    #[arg(long, value_name = "TEXT", group = "what")]
    notes: Option<String>,
    /// What becomes of moves that would pay.
    #[arg(long, value_enum, group = "what")]
    rebalance: Option<Rebalancing>,
}

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Name or id.
    #[arg(add = complete::pools())]
    pool: String,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

pub(crate) async fn run(session: &Session, command: Command) -> Result<(), Failure> {
    match command {
        Command::List(listing) => {
            listing.wanted.check::<PoolField>()?;
            let source = Source { kinds: Kinds::POOLS, columns: COLUMNS };
            live::list(session, listing, source, pools).await
        }
        Command::Add(Define { name, site, notes, rebalance }) => {
            let rebalance = rebalance.map(Rebalance::from);
            if pools(session, &Wanted::default()).await?.iter().any(|pool| pool.name == name) {
                let message = format!("there is a pool {name}; change it with `vmmctl pool set`");
                return Err(Failure::Fault(Fault::new(FaultCode::Conflict, message)));
            }
            let define = DefinePool { pool: name.clone(), new_name: None, site, notes, rebalance };
            done(session, Request::DefinePool(define), &name, "is there").await
        }
        Command::Set(Set { pool, rename, site, notes, rebalance }) => {
            let (new_name, rebalance) = (rename, rebalance.map(Rebalance::from));
            let define = DefinePool { pool: pool.clone(), new_name, site, notes, rebalance };
            done(session, Request::DefinePool(define), &pool, "is set").await
        }
        Command::Remove(Remove { pool, yes }) => {
            confirm(&format!("remove pool {pool}?"), Reason::Loses, yes).await?;
            let remove = RemovePool { pool: pool.clone() };
            done(session, Request::RemovePool(remove), &pool, "is forgotten").await
        }
    }
}

async fn done(session: &Session, request: Request, pool: &str, how: &str) -> Result<(), Failure> {
    match session.call(request).await? {
        Reply::Done(done) => tell::named(&session.look, pool, done, &format!("pool {pool} {how}")),
        other => Err(unexpected(&other)),
    }
}

/// The pools that are wanted.
pub(crate) async fn pools(session: &Session, wanted: &Wanted) -> Result<Vec<Pool>, Failure> {
    pages(async |after| {
        let (filter, sort) = (wanted.query.clone(), wanted.sort());
        let list = ListPools { filter, sort, after, ..ListPools::default() };
        match session.call(Request::ListPools(list)).await? {
            Reply::Pools(page) => Ok((page.pools, page.next)),
            other => Err(unexpected(&other)),
        }
    })
    .await
}
