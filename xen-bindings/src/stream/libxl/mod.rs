//! libxl's stream, version 2: a header, and records around libxc's image.
//!
//! ```text
//!   "LibxlFmt" 8 │ version 4 │ options 4 │ LIBXC_CONTEXT, the image │ what a device model keeps │ END
//! ```
//!
//! PVH and PV guests have no device model, and so nothing between image and end. The image is read by what [`Reader::into_image`] answers;
//! [`Reader::resume`] goes on behind it.

mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use reader::Reader;
pub use writer::Writer;

/// "LibxlFmt".
const IDENT: u64 = 0x4c69_6278_6c46_6d74;
const VERSION: u32 = 2;

const END: u32 = 0;
const LIBXC_CONTEXT: u32 = 1;
const EMULATOR_XENSTORE_DATA: u32 = 2;
const EMULATOR_CONTEXT: u32 = 3;
const CHECKPOINT_END: u32 = 4;
const CHECKPOINT_STATE: u32 = 5;

/// A record's name, as Xen's documents have it; `None` for a number without one.
#[must_use]
pub fn name(number: u32) -> Option<&'static str> {
    Some(match number {
        END => "END",
        LIBXC_CONTEXT => "LIBXC_CONTEXT",
        EMULATOR_XENSTORE_DATA => "EMULATOR_XENSTORE_DATA",
        EMULATOR_CONTEXT => "EMULATOR_CONTEXT",
        CHECKPOINT_END => "CHECKPOINT_END",
        CHECKPOINT_STATE => "CHECKPOINT_STATE",
        _ => return None,
    })
}

/// Which device model, and which of a domain's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Emulator {
    /// 1 is QEMU's old fork for Xen, 2 is QEMU.
    pub id: u32,
    /// 0 but for domains with several.
    pub index: u32,
}

/// A record behind the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// The last one.
    End,
    /// Nodes of a device model in xenstore, below its own, with their values.
    EmulatorXenstore(Emulator, Vec<(&'a str, &'a str)>),
    /// A device model's state, in its own format.
    EmulatorContext(Emulator, &'a [u8]),
}
