//! Domain ids and handles.

use std::fmt;

use crate::error::{XenError, XenErrorKind};

/// A domain's number on one host. New at each start and migration, so it never leaves the agent as an identity.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DomId(u16);

/// The first of the reserved numbers (DOMID_SELF, DOMID_IO, …); no domain ever has one of these.
pub const FIRST_RESERVED: u16 = 0x7ff0;

impl DomId {
    /// The control domain.
    pub const DOM0: DomId = DomId(0);

    /// Refuses the reserved range.
    ///
    /// # Errors
    /// `Invalid` when `raw` is reserved.
    pub fn new(raw: u32) -> Result<Self, XenError> {
        match u16::try_from(raw) {
            Ok(id) if id < FIRST_RESERVED => Ok(Self(id)),
            _ => Err(XenError::new("domid", XenErrorKind::Invalid)
                .detail(format!("{raw:#x} is not a domain id"))),
        }
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for DomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for DomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "d{}", self.0)
    }
}

/// The 16 bytes that Xen keeps with a domain and never reads: the VM's uuid.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DomainHandle(pub [u8; 16]);

impl fmt::Display for DomainHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for DomainHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserved_range_is_refused() {
        for (raw, accepted) in [(0, true), (0x7fef, true), (0x7ff0, false), (0x1_0000, false)] {
            assert_eq!(DomId::new(raw).is_ok(), accepted, "{raw:#x}");
        }
    }

    #[test]
    fn a_handle_reads_as_a_uuid() {
        assert_eq!(DomainHandle([0xab; 16]).to_string(), "abababab-abab-abab-abab-abababababab");
    }
}
