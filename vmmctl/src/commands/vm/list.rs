//! `vmmctl vm list`

use vmm_core::query::VmField;
use vmm_proto::v1::{ListVms, Reply, Request, Vm};

use super::COLUMNS;
use crate::args::Listing;
use crate::changes::Kinds;
use crate::commands::live::{self, Source};
use crate::failure::Failure;
use crate::session::{Session, unexpected};
use crate::wanted::{Wanted, pages};

pub(super) async fn run(session: &Session, listing: Listing) -> Result<(), Failure> {
    listing.wanted.check::<VmField>()?;
    live::list(session, listing, Source { kinds: Kinds::VMS, columns: COLUMNS }, vms).await
}

/// The VMs that are wanted.
pub(crate) async fn vms(session: &Session, wanted: &Wanted) -> Result<Vec<Vm>, Failure> {
    pages(async |after| {
        let (filter, sort) = (wanted.query.clone(), wanted.sort());
        let list = ListVms { filter, sort, after, ..ListVms::default() };
        match session.call(Request::ListVms(list)).await? {
            Reply::Vms(page) => Ok((page.vms, page.next)),
            other => Err(unexpected(&other)),
        }
    })
    .await
}
