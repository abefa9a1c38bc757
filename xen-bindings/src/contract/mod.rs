//! One suite over the traits: real Xen and the simulator must answer alike.
//!
//! ```text
//!   cases() ──► on the simulator, with each xenstore flavour        in every test run
//!          └──► on real Xen, with C xenstored and with oxenstored   in the lab
//! ```
//!
//! A [`Case`] is a sentence. It makes what it needs, and guards destroy its domains and remove its nodes however it ends.
//! Where the two daemons differ, the expectation comes from [`flavour`]. A sentence that holds on one side only is a defect of
//! the simulator, until real Xen proves the sentence wrong.

mod device;
mod domain;
pub mod flavour;
mod guest;
mod host;
mod hostile;
mod image;
mod limits;
mod live;
mod live_saved;
mod memory;
mod missing;
mod moved;
mod saved;
mod store;
mod store_nodes;
mod store_transaction;
mod store_watch;
mod subject;
mod suspend;
#[cfg(test)]
mod tests;

pub use flavour::{FlavourRules, StoreFlavour};
pub use subject::{Case, Subject, Wait};

/// All of them, cheap ones first.
#[must_use]
pub fn cases() -> Vec<Case> {
    [host::CASES, store::CASES, store_transaction::CASES, store_nodes::CASES, store_watch::CASES]
        .into_iter()
        .chain([domain::CASES, missing::CASES, limits::CASES, image::CASES, memory::CASES])
        .chain([guest::CASES, suspend::CASES, saved::CASES, moved::CASES, live::CASES])
        .chain([live_saved::CASES, device::CASES, hostile::CASES])
        .flatten()
        .copied()
        .collect()
}
