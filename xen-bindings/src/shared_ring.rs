//! Rings that a guest's drivers share with dom0's: how much of what was asked has been answered.
//!
//! A guest that stands still asks for nothing more, but what it has asked for is still under way: a write that reaches the disk after the guest
//! has gone on elsewhere may undo a later one. Once all is answered, nothing is under way.

use crate::domid::DomId;
use crate::error::XenError;

/// A page that a guest lets dom0 map, by the number that it gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GrantRef(pub u32);

/// How many requests a ring has had since it was made, and how many answers. Both wrap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingCounters {
    /// Put there by the frontend.
    pub requests: u32,
    /// Put there by the backend.
    pub responses: u32,
}

impl RingCounters {
    /// Requests without an answer. The guest writes one of the two: of a hostile one this may be any number.
    #[must_use]
    pub fn in_flight(self) -> u32 {
        self.requests.wrapping_sub(self.responses)
    }
}

/// Rings of guests' devices.
pub trait SharedRings: Send + Sync {
    /// The counters of a ring whose first page is granted to dom0 under this number.
    ///
    /// # Errors
    /// `NoSuchDomain`, or of any kind: nothing is granted under it.
    fn ring_counters(&self, domid: DomId, grant: GrantRef) -> Result<RingCounters, XenError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_wrap() {
        for (requests, responses, in_flight) in
            [(0, 0, 0), (7, 5, 2), (1, u32::MAX, 2), (u32::MAX, u32::MAX, 0)]
        {
            assert_eq!(RingCounters { requests, responses }.in_flight(), in_flight);
        }
    }
}
