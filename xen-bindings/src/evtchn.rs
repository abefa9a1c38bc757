//! Event channels: one bit of news between two domains.

use crate::domid::DomId;
use crate::error::XenError;

/// The guest's end of an event channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Port(pub u32);

/// Event channels of other domains.
pub trait EventChannels: Send + Sync {
    /// A port in `domid` that `remote` may bind to.
    ///
    /// # Errors
    /// `NoSuchDomain`; `Exhausted` when the domain's ports are used up.
    fn alloc_unbound(&self, domid: DomId, remote: DomId) -> Result<Port, XenError>;
}
