//! `vmmctl host list`

use vmm_proto::v1::{Host, ListHosts, Reply, Request};

use super::COLUMNS;
use crate::args::Listing;
use crate::failure::Failure;
use crate::output::Answer;
use crate::session::{Session, unexpected};

pub(super) async fn run(session: &Session, listing: Listing) -> Result<(), Failure> {
    let hosts = hosts(session).await?;
    listing.apply(&session.look).print(&Answer::list(&hosts, COLUMNS))
}

/// All hosts, in order of name.
pub(in crate::commands) async fn hosts(session: &Session) -> Result<Vec<Host>, Failure> {
    match session.call(Request::ListHosts(ListHosts {})).await? {
        Reply::Hosts(hosts) => Ok(hosts.hosts),
        other => Err(unexpected(&other)),
    }
}
