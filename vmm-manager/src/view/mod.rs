//! The unified view: everything in the pool as callers see it, and which of it they asked for.
//!
//! ```text
//!   State (one lock) ─► rows: a VM with its host, pool and site, a host with its sums …   nothing is copied
//!                        │
//!        where ─► Query ─┤ wanted?  ─► totals
//!        sort  ─► Sort  ─┤ behind the page before?
//!        after ─► cursor ┘
//!                        ▼
//!                  the first so many ─► shown on the wire ─► next
//! ```
//!
//! A list reads each row once, and puts only so many in order as the page holds. Nothing is kept between two pages: the cursor holds the
//! keys of the last row, so that a page goes on where the one before ended, however many objects have come and gone meanwhile.
//!
//! It fails only by what the caller wrote: a query, an order or a cursor that cannot be read is `BadRequest` and says where and why.

mod cursor;
mod labels;
mod list;
mod measured;
mod page;
mod places;
mod rows;
mod show;

pub(crate) use labels::list_labels;
pub(crate) use list::{list_groups, list_hosts, list_pools, list_sites, list_vms};
pub(crate) use measured::Measured;
pub(crate) use page::{OF_GONE, Page, of_group, of_host, of_pool, of_site, of_task, of_vm};
pub(crate) use places::Places;
