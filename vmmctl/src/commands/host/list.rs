//! `vmmctl host list`

use vmm_core::query::HostField;
use vmm_proto::v1::{Host, ListHosts, Reply, Request};

use super::COLUMNS;
use crate::args::Listing;
use crate::changes::Kinds;
use crate::commands::live::{self, Source};
use crate::failure::Failure;
use crate::session::{Session, unexpected};
use crate::wanted::{Wanted, pages};

pub(super) async fn run(session: &Session, listing: Listing) -> Result<(), Failure> {
    listing.wanted.check::<HostField>()?;
    live::list(session, listing, Source { kinds: Kinds::HOSTS, columns: COLUMNS }, hosts).await
}

/// The hosts that are wanted.
pub(crate) async fn hosts(session: &Session, wanted: &Wanted) -> Result<Vec<Host>, Failure> {
    pages(async |after| {
        let (filter, sort) = (wanted.query.clone(), wanted.sort());
        let list = ListHosts { filter, sort, after, ..ListHosts::default() };
        match session.call(Request::ListHosts(list)).await? {
            Reply::Hosts(page) => Ok((page.hosts, page.next)),
            other => Err(unexpected(&other)),
        }
    })
    .await
}
