//! `vmmctl vm list`

use vmm_proto::v1::{ListVms, Reply, Request, Vm};

use super::COLUMNS;
use crate::args::Listing;
use crate::changes::Kinds;
use crate::commands::live::{self, Source};
use crate::failure::Failure;
use crate::session::{Session, unexpected};

pub(super) async fn run(session: &Session, listing: Listing) -> Result<(), Failure> {
    live::list(session, listing, Source { kinds: Kinds::VMS, columns: COLUMNS }, vms).await
}

/// All VMs, in order of name.
pub(crate) async fn vms(session: &Session) -> Result<Vec<Vm>, Failure> {
    let (mut vms, mut after) = (Vec::new(), None);
    loop {
        let page =
            match session.call(Request::ListVms(ListVms { after, ..ListVms::default() })).await? {
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
