//! `vmmctl vm list`

use vmm_proto::v1::{ListVms, Reply, Request, Vm};

use super::COLUMNS;
use crate::args::Listing;
use crate::failure::Failure;
use crate::output::Answer;
use crate::session::{Session, unexpected};

pub(super) async fn run(session: &Session, listing: Listing) -> Result<(), Failure> {
    let vms = vms(session).await?;
    listing.apply(&session.look).print(&Answer::list(&vms, COLUMNS))
}

/// All VMs, in order of name.
pub(in crate::commands) async fn vms(session: &Session) -> Result<Vec<Vm>, Failure> {
    let (mut vms, mut after) = (Vec::new(), None);
    loop {
        let page = match session.call(Request::ListVms(ListVms { after, count_max: None })).await? {
            Reply::Vms(page) => page,
            other => return Err(unexpected(&other)),
        };
        vms.extend(page.vms);
        after = page.next;
        if after.is_none() {
            return Ok(vms);
        }
    }
}
