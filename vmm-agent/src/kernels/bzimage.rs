//! What a kernel's file is, by its first bytes: x86's boot protocol as `Documentation/arch/x86/boot.rst` has it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use serde::{Deserialize, Serialize};

/// Bytes that tell what a file is.
const HEAD_BYTES: usize = 0x250;
const ELF: &[u8] = b"\x7fELF";
const SETUP_SECTORS: usize = 0x1f1;
const SETUP_SECTORS_DEFAULT: u64 = 4;
const SECTOR_BYTES: u64 = 512;
const MAGIC_AT: usize = 0x202;
const MAGIC: &[u8] = b"HdrS";
const VERSION_AT: usize = 0x206;
/// The protocol that says where the payload is.
const VERSION_MIN: u16 = 0x0208;
const PAYLOAD_OFFSET_AT: usize = 0x248;
const PAYLOAD_LENGTH_AT: usize = 0x24c;
/// The kernel's build appends the unpacked size to the payload.
const SIZE_BYTES: u64 = 4;

/// How a payload is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// xz (Debian).
    Xz,
    /// LZMA as it was before xz.
    Lzma,
    /// gzip.
    Gzip,
    /// Zstandard (Ubuntu, Fedora).
    Zstd,
    /// LZ4's legacy frames, which the kernel's build writes.
    Lz4,
}

const FORMATS: [(&[u8], Format); 5] = [
    (b"\xfd7zXZ\0", Format::Xz),
    (b"\x5d\0\0", Format::Lzma),
    (b"\x1f\x8b\x08", Format::Gzip),
    (b"\x28\xb5\x2f\xfd", Format::Zstd),
    (b"\x02\x21\x4c\x18", Format::Lz4),
];
/// Packed in ways that libxenguest knows and we leave to it: bzip2, LZO.
const FOREIGN: [&[u8]; 2] = [b"BZh", b"\x89LZO"];

/// A payload inside a kernel's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packed {
    /// How it is packed.
    pub format: Format,
    /// Where it starts in the file.
    pub offset: u64,
    /// Its length there.
    pub length: u64,
    /// Its length when unpacked, as its build has noted.
    pub unpacked_bytes: u64,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Something that libxenguest takes as it is, or unpacks by itself.
    AsItIs,
    /// A bzImage whose payload we unpack.
    Packed(Packed),
}

/// Looks at a file of `bytes`; an inner error says why it is no kernel.
pub(super) fn look(
    file: &File,
    bytes: u64,
    known: impl Fn(&[u8]) -> bool,
) -> io::Result<Result<Kind, String>> {
    let head = read_up_to(file, 0, HEAD_BYTES)?;
    if head.starts_with(ELF) || known(&head) || format_of(&head).is_some() {
        return Ok(Ok(Kind::AsItIs));
    }
    if head.get(MAGIC_AT..MAGIC_AT + MAGIC.len()) != Some(MAGIC) {
        return Ok(Err("it is neither a bzImage nor an ELF file".into()));
    }
    let (Some(version), Some((offset, length))) = (u16_at(&head, VERSION_AT), payload(&head))
    else {
        return Ok(Err("its header is cut off".into()));
    };
    if version < VERSION_MIN {
        return Ok(Ok(Kind::AsItIs));
    }
    if length <= SIZE_BYTES || offset.checked_add(length).is_none_or(|end| end > bytes) {
        return Ok(Err(format!(
            "its header names a payload of {length} bytes at {offset}, and it has {bytes}"
        )));
    }
    packed(file, offset, length)
}

fn packed(file: &File, offset: u64, length: u64) -> io::Result<Result<Kind, String>> {
    let magic = read_up_to(file, offset, 8)?;
    if magic.starts_with(ELF) || FOREIGN.iter().any(|foreign| magic.starts_with(foreign)) {
        return Ok(Ok(Kind::AsItIs));
    }
    let Some(format) = format_of(&magic) else {
        return Ok(Err(format!("its payload starts with {magic:02x?}, which no packer writes")));
    };
    let length = length - SIZE_BYTES;
    let size = read_up_to(file, offset + length, 4)?;
    let Some(unpacked_bytes) = u32_at(&size, 0) else {
        return Ok(Err("it is cut off".into()));
    };
    // gzip's own trailer is the size, and belongs to the stream.
    let length = if format == Format::Gzip { length + SIZE_BYTES } else { length };
    Ok(Ok(Kind::Packed(Packed { format, offset, length, unpacked_bytes: unpacked_bytes.into() })))
}

fn format_of(head: &[u8]) -> Option<Format> {
    FORMATS.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, format)| *format)
}

/// The payload's place in the file.
fn payload(head: &[u8]) -> Option<(u64, u64)> {
    let sectors = match *head.get(SETUP_SECTORS)? {
        0 => SETUP_SECTORS_DEFAULT,
        sectors => sectors.into(),
    };
    let offset = u32_at(head, PAYLOAD_OFFSET_AT)?;
    let length = u32_at(head, PAYLOAD_LENGTH_AT)?;
    Some(((sectors + 1) * SECTOR_BYTES + u64::from(offset), length.into()))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|raw| u16::from_le_bytes(*raw))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|raw| u32::from_le_bytes(*raw))
}

fn read_up_to(file: &File, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; bytes];
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    buffer.truncate(filled);
    Ok(buffer)
}
