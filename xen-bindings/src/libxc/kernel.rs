//! An uncompressed kernel, copied from its file straight into the guest.
//!
//! libxenguest maps the whole file and copies from the mapping. In a PV dom0 each page of a mapping costs two hypercalls, which
//! for a kernel of 60 MB is more than all the rest of a build. So libxenguest gets a stand-in, an ELF file with the same extent
//! and the same notes and nothing to load; it allocates, maps and clears the kernel's place, and [`Kernel::copy`] reads the
//! segments into it. What is no such ELF file (a bzImage, 32 bit, notes in sections only) goes the usual way.
//!
//! What fails: a header that promises more than the file or the extent has is `BadImage`, before anything is allocated or
//! while it is copied; nothing is ever written outside the kernel's place.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const ELF_64_LITTLE: [u8; 6] = [0x7f, b'E', b'L', b'F', 2, 1];
const EXECUTABLE: u16 = 2;
const X86_64: u16 = 62;
const HEADER_BYTES: usize = 64;
const SEGMENT_BYTES: usize = 56;
const LOAD: u32 = 1;
const NOTE: u32 = 4;
/// Readable: libelf loads nothing else.
const READABLE: u32 = 4;
/// Linux has five.
const SEGMENTS_MAX: u16 = 64;
/// Linux has 504 bytes.
const NOTES_BYTES_MAX: u64 = 64 * 1024;
/// The owner of the notes that make a kernel bootable.
const OWNER: &[u8] = b"Xen\0";

/// Bytes of the file and where they go, counted from the lowest address of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    file_offset: u64,
    place: usize,
    bytes: usize,
}

/// A kernel file that was understood.
#[derive(Debug)]
pub(super) struct Kernel {
    file: File,
    stand_in: Vec<u8>,
    parts: Vec<Part>,
}

impl Kernel {
    /// `None` for what libxenguest must load by itself.
    pub(super) fn open(file: File) -> io::Result<Option<Self>> {
        let length = file.metadata()?.len();
        let mut header = [0; HEADER_BYTES];
        if length < HEADER_BYTES as u64 {
            return Ok(None);
        }
        file.read_exact_at(&mut header, 0)?;
        let Some(header) = Header::parse(header) else { return Ok(None) };
        let mut table = vec![0; SEGMENT_BYTES * usize::from(header.segment_count)];
        file.read_exact_at(&mut table, header.segments_offset)?;
        let (segments, []) = table.as_chunks::<SEGMENT_BYTES>() else { return Ok(None) };
        let segments: Vec<Segment> = segments.iter().map(Segment::parse).collect();
        let Some(layout) = Layout::of(&segments, length) else { return Ok(None) };
        let mut notes = vec![0; layout.notes_bytes];
        file.read_exact_at(&mut notes, layout.notes_offset)?;
        if !notes.windows(OWNER.len()).any(|window| window == OWNER) {
            return Ok(None);
        }
        let stand_in = header.stand_in(layout.start, layout.end, &notes);
        Ok(Some(Self { file, stand_in, parts: layout.parts }))
    }

    /// What libxenguest parses. Stays where it is for as long as `self` lives.
    pub(super) fn stand_in(&self) -> &[u8] {
        &self.stand_in
    }

    /// Reads the segments into the kernel's place.
    pub(super) fn copy(&self, place: &mut [u8]) -> io::Result<()> {
        for part in &self.parts {
            let end = part.place.saturating_add(part.bytes);
            let target = place.get_mut(part.place..end).ok_or(io::ErrorKind::InvalidData)?;
            self.file.read_exact_at(target, part.file_offset)?;
        }
        Ok(())
    }
}

struct Header {
    bytes: [u8; HEADER_BYTES],
    segments_offset: u64,
    segment_count: u16,
}

impl Header {
    fn parse(bytes: [u8; HEADER_BYTES]) -> Option<Self> {
        let (kind, machine) = (half(&bytes, 16), half(&bytes, 18));
        let (segment_bytes, segment_count) = (half(&bytes, 54), half(&bytes, 56));
        let usual = bytes.starts_with(&ELF_64_LITTLE)
            && (kind, machine) == (EXECUTABLE, X86_64)
            && usize::from(segment_bytes) == SEGMENT_BYTES
            && (1..=SEGMENTS_MAX).contains(&segment_count);
        usual.then(|| Self { bytes, segments_offset: long(&bytes, 32), segment_count })
    }

    /// The same entry, no sections, and three segments: an empty one at each end of the kernel, and its notes.
    fn stand_in(&self, start: u64, end: u64, notes: &[u8]) -> Vec<u8> {
        let notes_offset = (HEADER_BYTES + 3 * SEGMENT_BYTES) as u64;
        let mut bytes = self.bytes.to_vec();
        bytes[32..40].copy_from_slice(&(HEADER_BYTES as u64).to_le_bytes());
        bytes[40..48].fill(0);
        bytes[56..58].copy_from_slice(&3_u16.to_le_bytes());
        bytes[58..64].fill(0);
        let length = notes.len() as u64;
        for (kind, offset, address, length) in
            [(LOAD, 0, start, 0), (LOAD, 0, end, 0), (NOTE, notes_offset, 0, length)]
        {
            bytes.extend(kind.to_le_bytes());
            bytes.extend(READABLE.to_le_bytes());
            for word in [offset, address, address, length, length, 4] {
                bytes.extend(word.to_le_bytes());
            }
        }
        bytes.extend(notes);
        bytes
    }
}

struct Segment {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    file_bytes: u64,
    memory_bytes: u64,
}

impl Segment {
    fn parse(bytes: &[u8; SEGMENT_BYTES]) -> Self {
        Self {
            kind: word(bytes, 0),
            flags: word(bytes, 4),
            offset: long(bytes, 8),
            address: long(bytes, 24),
            file_bytes: long(bytes, 32),
            memory_bytes: long(bytes, 40),
        }
    }

    /// libelf takes a segment for loadable only when it has a permission.
    fn is_loaded(&self) -> bool {
        self.kind == LOAD && self.flags & 7 != 0
    }
}

/// Where the kernel begins and ends, and what of it is in the file.
#[derive(Debug, PartialEq, Eq)]
struct Layout {
    start: u64,
    end: u64,
    parts: Vec<Part>,
    notes_offset: u64,
    notes_bytes: usize,
}

impl Layout {
    /// `None` when something does not fit the file, the address space or this module's limits.
    fn of(segments: &[Segment], file_length: u64) -> Option<Self> {
        let in_file = |segment: &Segment| {
            segment.offset.checked_add(segment.file_bytes).is_some_and(|end| end <= file_length)
        };
        let notes = segments.iter().find(|segment| segment.kind == NOTE && segment.offset != 0)?;
        if !in_file(notes) || notes.file_bytes > NOTES_BYTES_MAX {
            return None;
        }
        let loaded = || segments.iter().filter(|segment| segment.is_loaded());
        let start = loaded().map(|segment| segment.address).min()?;
        let (mut end, mut parts) = (start, Vec::new());
        for segment in loaded() {
            if !in_file(segment) || segment.file_bytes > segment.memory_bytes {
                return None;
            }
            end = end.max(segment.address.checked_add(segment.memory_bytes)?);
            parts.push(Part {
                file_offset: segment.offset,
                place: usize::try_from(segment.address - start).ok()?,
                bytes: usize::try_from(segment.file_bytes).ok()?,
            });
        }
        let notes_bytes = usize::try_from(notes.file_bytes).ok()?;
        Some(Self { start, end, parts, notes_offset: notes.offset, notes_bytes })
    }
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(field(bytes, at))
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(field(bytes, at))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(field(bytes, at))
}

/// Offsets are constants of this module, below the fixed lengths of header and segment.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    std::array::from_fn(|index| bytes[at + index])
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const START: u64 = 0x100_0000;

    fn segment(
        kind: u32,
        offset: u64,
        address: u64,
        file_bytes: u64,
        memory_bytes: u64,
    ) -> [u64; 6] {
        [u64::from(kind) | 5 << 32, offset, address, file_bytes, memory_bytes, 4096]
    }

    /// Notes at 0x200, two segments whose bytes are at 0x300 and 0x304.
    fn kernel() -> Vec<u8> {
        let segments = [
            segment(LOAD, 0x300, START, 4, 0x2000),
            segment(LOAD, 0x304, START + 0x2ffe, 2, 2),
            segment(NOTE, 0x200, 0, 16, 16),
        ];
        let mut bytes = ELF_64_LITTLE.to_vec();
        bytes.resize(HEADER_BYTES, 0);
        bytes[16..20].copy_from_slice(&[2, 0, 62, 0]);
        bytes[24..32].copy_from_slice(&START.to_le_bytes());
        bytes[32..40].copy_from_slice(&64_u64.to_le_bytes());
        bytes[54..58].copy_from_slice(&[56, 0, 3, 0]);
        for [head, offset, address, file_bytes, memory_bytes, align] in segments {
            for word in [head, offset, 0, address, file_bytes, memory_bytes, align] {
                bytes.extend(word.to_le_bytes());
            }
        }
        bytes.resize(0x200, 0);
        bytes.extend(b"\x04\0\0\0\0\0\0\0\x06\0\0\0Xen\0");
        bytes.resize(0x300, 0xee);
        bytes.extend(b"textda");
        bytes
    }

    fn open(bytes: &[u8]) -> io::Result<Option<Kernel>> {
        let mut file = tempfile();
        file.write_all(bytes)?;
        Kernel::open(file)
    }

    /// A file without a name.
    fn tempfile() -> File {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("vmm-kernel-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let mut options = File::options();
        let file = options.read(true).write(true).create_new(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        file
    }

    #[test]
    fn segments_land_at_their_places_and_nothing_else_is_touched() {
        let kernel = open(&kernel()).unwrap().expect("a kernel");
        let mut place = vec![0xaa; 0x3000];
        kernel.copy(&mut place).unwrap();
        assert_eq!(&place[..6], b"text\xaa\xaa");
        assert_eq!(&place[0x2ffd..], b"\xaada");
    }

    #[test]
    fn the_stand_in_has_the_extent_the_entry_and_the_notes() {
        let original = kernel();
        let kernel = open(&original).unwrap().expect("a kernel");
        let bytes = kernel.stand_in();
        let header = Header::parse(bytes[..HEADER_BYTES].try_into().unwrap()).expect("an ELF file");
        assert_eq!(long(bytes, 24), START);
        let (table, _) = bytes[HEADER_BYTES..].as_chunks::<SEGMENT_BYTES>();
        let table = &table[..usize::from(header.segment_count)];
        let segments: Vec<_> = table.iter().map(Segment::parse).collect();
        let layout = Layout::of(&segments, bytes.len() as u64).expect("sound");
        assert_eq!((layout.start, layout.end), (START, START + 0x3000));
        assert!(layout.parts.iter().all(|part| part.bytes == 0));
        assert!(bytes.ends_with(&original[0x200..0x210]));
    }

    #[test]
    fn what_is_no_such_file_is_left_to_libxenguest() {
        let changes: [(&str, usize, u8); 7] = [
            ("no ELF", 0, b'M'),
            ("32 bit", 4, 1),
            ("ARM", 18, 183),
            ("no segments", 56, 0),
            ("more in the file than in memory", 64 + 32 + 2, 1),
            ("notes beyond the file", 64 + 2 * 56 + 8 + 4, 1),
            ("no notes of Xen's", 0x20c, b'Y'),
        ];
        for (what, at, byte) in changes {
            let mut bytes = kernel();
            bytes[at] = byte;
            assert!(open(&bytes).is_ok_and(|kernel| kernel.is_none()), "{what}");
        }
        assert!(open(b"").is_ok_and(|kernel| kernel.is_none()));
    }

    #[test]
    fn a_file_that_is_cut_off_or_a_place_too_small_is_an_error() {
        let bytes = kernel();
        assert!(open(&bytes[..100]).is_err(), "within the segments' table");
        let kernel = open(&bytes).unwrap().expect("a kernel");
        assert!(kernel.copy(&mut [0; 0x1000]).is_err());
        kernel.file.set_len(0x305).unwrap();
        assert!(kernel.copy(&mut vec![0; 0x3000]).is_err());
    }
}
