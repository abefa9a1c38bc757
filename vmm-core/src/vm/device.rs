//! Disks and NICs, as they are wished for.

use std::fmt;
use std::str::FromStr;

use super::spec::{SpecError, is_absolute_path};

/// Disks of one VM: `xvda` to `xvdp`.
pub const DISKS_MAX: usize = 16;
/// NICs of one VM.
pub const NICS_MAX: usize = 8;
/// An interface's name in Linux has 16 bytes with its NUL.
const BRIDGE_BYTES_MAX: usize = 15;

/// A disk: an image file or a block device on the host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DiskSpec {
    /// Absolute path on the host.
    pub path: String,
    /// The name in the guest: `xvda` to `xvdp`.
    pub device: String,
    /// Refuse writes.
    pub read_only: bool,
}

impl DiskSpec {
    /// Xen's number of the device: major 202, 16 minors a disk.
    #[must_use]
    pub fn device_number(&self) -> Option<u32> {
        device_number(&self.device)
    }

    /// Can it be attached?
    ///
    /// # Errors
    /// [`SpecError::Disk`].
    pub fn check(&self) -> Result<(), SpecError> {
        if is_absolute_path(&self.path) && self.device_number().is_some() {
            Ok(())
        } else {
            Err(SpecError::Disk(self.to_string()))
        }
    }
}

impl fmt::Display for DiskSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.device, self.path)
    }
}

/// Xen's number of `xvda` to `xvdp`.
#[must_use]
pub fn device_number(device: &str) -> Option<u32> {
    match device.strip_prefix("xvd")?.as_bytes() {
        [letter @ b'a'..=b'p'] => Some((202 << 8) + u32::from(letter - b'a') * 16),
        _ => None,
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// An address in Xen's own range, from three random bytes.
    #[must_use]
    pub fn xen(random: [u8; 3]) -> Self {
        let [a, b, c] = random;
        Self([0x00, 0x16, 0x3e, a & 0x7f, b, c])
    }

    /// Can an interface have it? Not the address of a group, and not all zeros.
    #[must_use]
    pub fn is_unicast(self) -> bool {
        let Self([first, ..]) = self;
        first & 1 == 0 && self.0 != [0; 6]
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([a, b, c, d, e, g]) = self;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let refused = || SpecError::Nic(text.to_owned());
        let octet = |part: &str| match part.len() {
            2 if part.bytes().all(|b| b.is_ascii_hexdigit()) => u8::from_str_radix(part, 16).ok(),
            _ => None,
        };
        let octets: Option<Vec<u8>> = text.split(':').map(octet).collect();
        let octets: [u8; 6] = octets.ok_or_else(refused)?.try_into().map_err(|_| refused())?;
        Ok(Self(octets))
    }
}

/// A NIC on a bridge of the host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NicSpec {
    /// Its number, from 0: the guest's `eth0` usually is number 0.
    pub index: u32,
    /// The guest's address.
    pub mac: Mac,
    /// The bridge on the host.
    pub bridge: String,
}

impl NicSpec {
    /// Can it be attached?
    ///
    /// # Errors
    /// [`SpecError::Nic`].
    pub fn check(&self) -> Result<(), SpecError> {
        let bridge_fits = (1..=BRIDGE_BYTES_MAX).contains(&self.bridge.len())
            && !matches!(self.bridge.as_str(), "." | "..")
            && self.bridge.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        let index_fits = usize::try_from(self.index).is_ok_and(|index| index < NICS_MAX);
        if index_fits && self.mac.is_unicast() && bridge_fits {
            Ok(())
        } else {
            Err(SpecError::Nic(self.to_string()))
        }
    }
}

impl fmt::Display for NicSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={},{}", self.index, self.mac, self.bridge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_are_xens() {
        assert_eq!(device_number("xvda"), Some(51712));
        assert_eq!(device_number("xvdb"), Some(51728));
        assert_eq!(device_number("xvdaa"), None);
    }

    #[test]
    fn an_address_survives_the_way_to_text_and_back() {
        let mac = Mac::xen([0xff, 2, 3]);
        assert_eq!(mac.to_string(), "00:16:3e:7f:02:03");
        assert_eq!(mac.to_string().parse(), Ok(mac));
        for bad in
            ["", "00:16:3e:7f:02", "00:16:3e:7f:02:03:04", "0:16:3e:7f:02:03", "+0:16:3e:7f:02:03"]
        {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
        assert!(!Mac([1, 0, 0, 0, 0, 0]).is_unicast());
        assert!(!Mac([0; 6]).is_unicast());
    }
}
