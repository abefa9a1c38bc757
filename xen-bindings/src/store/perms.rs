//! Who may read and write a node. An impossible permission cannot be written down.

use crate::domid::DomId;

/// What a domain may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    None,
    /// Read.
    Read,
    /// Write.
    Write,
    /// Both.
    Both,
}

/// A node's permissions: an owner, who may always do everything, what all others may do, and exceptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// The owner; the node counts against its quota.
    pub owner: DomId,
    /// What domains that are not named may do.
    pub others: Access,
    /// Domains that are named, with what they may do.
    pub grants: Vec<(DomId, Access)>,
}

impl Permissions {
    /// Owned by `owner`, closed to all others.
    #[must_use]
    pub fn owned_by(owner: DomId) -> Self {
        Self { owner, others: Access::None, grants: Vec::new() }
    }

    /// Adds an exception.
    #[must_use]
    pub fn grant(mut self, domid: DomId, access: Access) -> Self {
        self.grants.push((domid, access));
        self
    }
}
