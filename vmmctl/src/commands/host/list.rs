//! `vmmctl host list`

use vmm_proto::v1::{Host, ListHosts, Reply, Request};

use super::COLUMNS;
use crate::args::Listing;
use crate::changes::Kinds;
use crate::commands::live::{self, Source};
use crate::failure::Failure;
use crate::session::{Session, unexpected};

pub(super) async fn run(session: &Session, listing: Listing) -> Result<(), Failure> {
    live::list(session, listing, Source { kinds: Kinds::HOSTS, columns: COLUMNS }, hosts).await
}

/// All hosts, in order of name.
pub(crate) async fn hosts(session: &Session) -> Result<Vec<Host>, Failure> {
    match session.call(Request::ListHosts(ListHosts::default())).await? {
        Reply::Hosts(hosts) => Ok(hosts.hosts),
        other => Err(unexpected(&other)),
    }
}
