//! The two headers of an image.

use std::io::{Read, Write};

use crate::control::GuestKind;
use crate::stream::error::{Part, StreamError};
use crate::stream::{Input, Output};

const MARKER: u64 = u64::MAX;
/// "XENF".
const ID: u32 = 0x5845_4e46;
const VERSION: u32 = 3;
const PV: u32 = 1;
const HVM: u32 = 2;
const PAGE_SHIFT: u16 = 12;

/// What kind of guest, and from which Xen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DomainHeader {
    /// PV, or PVH, which an image cannot tell from HVM with a device model.
    pub kind: GuestKind,
    /// Of the Xen that it was saved on; 0 for an image converted from an older format.
    pub xen_major: u32,
    /// Of the Xen that it was saved on.
    pub xen_minor: u32,
}

/// Both headers. The first has its integers the other way round than all the rest of an image.
pub(super) fn read<R: Read>(input: &mut Input<R>) -> Result<DomainHeader, StreamError> {
    let place = input.here(Part::ImageHeader);
    place.expect("marker", u64::from_be_bytes(input.array(place)?), MARKER)?;
    place.expect("id", u32::from_be_bytes(input.array(place)?), ID)?;
    place.expect("version", u32::from_be_bytes(input.array(place)?), VERSION)?;
    place.expect("options", u16::from_be_bytes(input.array(place)?), 0)?;
    place.expect("reserved", u16::from_be_bytes(input.array(place)?), 0)?;
    place.expect("reserved", u32::from_be_bytes(input.array(place)?), 0)?;
    let place = input.here(Part::DomainHeader);
    let kind = match u32::from_le_bytes(input.array(place)?) {
        PV => GuestKind::Pv,
        HVM => GuestKind::Pvh,
        other => return Err(place.field("type", other)),
    };
    place.expect("page_shift", u16::from_le_bytes(input.array(place)?), PAGE_SHIFT)?;
    place.expect("reserved", u16::from_le_bytes(input.array(place)?), 0)?;
    let xen_major = u32::from_le_bytes(input.array(place)?);
    let xen_minor = u32::from_le_bytes(input.array(place)?);
    Ok(DomainHeader { kind, xen_major, xen_minor })
}

pub(super) fn write<W: Write>(
    output: &mut Output<W>,
    header: DomainHeader,
) -> Result<(), StreamError> {
    let mut bytes = MARKER.to_be_bytes().to_vec();
    bytes.extend(ID.to_be_bytes());
    bytes.extend(VERSION.to_be_bytes());
    bytes.extend([0; 8]);
    output.all(output.here(Part::ImageHeader), &bytes)?;
    let kind = match header.kind {
        GuestKind::Pv => PV,
        GuestKind::Pvh => HVM,
    };
    let mut bytes = kind.to_le_bytes().to_vec();
    bytes.extend(PAGE_SHIFT.to_le_bytes());
    bytes.extend([0; 2]);
    bytes.extend(header.xen_major.to_le_bytes());
    bytes.extend(header.xen_minor.to_le_bytes());
    output.all(output.here(Part::DomainHeader), &bytes)
}
