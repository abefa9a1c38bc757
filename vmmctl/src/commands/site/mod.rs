//! `vmmctl site …`: a network and a domain of trust, in which sites lie.

mod columns;

use clap::{Args, Subcommand};
use vmm_core::query::SiteField;
use vmm_proto::v1::{DefineSite, Fault, FaultCode, ListSites, RemoveSite, Reply, Request, Site};

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
  vmmctl site list
  vmmctl site add berlin --notes 'second room'
  vmmctl pool add fast --site berlin

One site is there from the beginning: pools that were put nowhere else are in it.";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// All sites: what the hosts in them have, what is reserved and used.
    #[command(visible_alias = "ls")]
    List(Listing),
    /// Make a site.
    Add(Define),
    /// Change a site: its name, what people should know about it.
    Set(Set),
    /// Forget a site that has no pools.
    Remove(Remove),
}

#[derive(Debug, Args)]
pub(crate) struct Define {
    /// Its name.
    name: String,
    /// What people should know about it.
    #[arg(long, value_name = "TEXT")]
    notes: Option<String>,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
pub(crate) struct Set {
    /// Name or id.
    #[arg(add = complete::sites())]
    site: String,
    /// Another name.
    #[arg(long, value_name = "NAME", group = "what")]
    rename: Option<String>,
    /// What people should know about it.
    #[arg(long, value_name = "TEXT", group = "what")]
    notes: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Name or id.
    #[arg(add = complete::sites())]
    site: String,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

pub(crate) async fn run(session: &Session, command: Command) -> Result<(), Failure> {
    match command {
        Command::List(listing) => {
            listing.wanted.check::<SiteField>()?;
            let source = Source { kinds: Kinds::SITES, columns: COLUMNS };
            live::list(session, listing, source, sites).await
        }
        Command::Add(Define { name, notes }) => {
            if sites(session, &Wanted::default()).await?.iter().any(|site| site.name == name) {
                let message = format!("there is a site {name}; change it with `vmmctl site set`");
                return Err(Failure::Fault(Fault::new(FaultCode::Conflict, message)));
            }
            let define = DefineSite { site: name.clone(), new_name: None, notes };
            done(session, Request::DefineSite(define), &name, "is there").await
        }
        Command::Set(Set { site, rename, notes }) => {
            let define = DefineSite { site: site.clone(), new_name: rename, notes };
            done(session, Request::DefineSite(define), &site, "is set").await
        }
        Command::Remove(Remove { site, yes }) => {
            confirm(&format!("remove site {site}?"), Reason::Loses, yes).await?;
            let remove = RemoveSite { site: site.clone() };
            done(session, Request::RemoveSite(remove), &site, "is forgotten").await
        }
    }
}

async fn done(session: &Session, request: Request, site: &str, how: &str) -> Result<(), Failure> {
    match session.call(request).await? {
        Reply::Done(done) => tell::named(&session.look, site, done, &format!("site {site} {how}")),
        other => Err(unexpected(&other)),
    }
}

/// The sites that are wanted.
pub(crate) async fn sites(session: &Session, wanted: &Wanted) -> Result<Vec<Site>, Failure> {
    pages(async |after| {
        let (filter, sort) = (wanted.query.clone(), wanted.sort());
        let list = ListSites { filter, sort, after, ..ListSites::default() };
        match session.call(Request::ListSites(list)).await? {
            Reply::Sites(page) => Ok((page.sites, page.next)),
            other => Err(unexpected(&other)),
        }
    })
    .await
}
