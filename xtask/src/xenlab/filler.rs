//! The smallest kernel there is: an ELF file that a PVH domain boots and that halts at once. It fills a host with domains that use
//! no CPU time and ask nothing of xenstore, so that what is measured beside them is the toolstack.
//!
//! Layout: ELF header, two program headers (the code; the note that Xen looks for), the note, the code. Cannot fail.

const HEADER_BYTES: u64 = 64;
const PROGRAM_BYTES: u64 = 56;
const NOTE_AT: u64 = HEADER_BYTES + 2 * PROGRAM_BYTES;
const NOTE_BYTES: u64 = 20;
const CODE_AT: u64 = NOTE_AT + NOTE_BYTES;
/// Where Linux would be.
const LOAD_ADDRESS: u64 = 0x10_0000;
/// `XEN_ELFNOTE_PHYS32_ENTRY`.
const NOTE_ENTRY: u32 = 18;
/// sti; hlt; jmp back to hlt. Nothing interrupts it. Without sti Xen would take the halt for a power-off.
const CODE: &[u8] = &[0xfb, 0xf4, 0xeb, 0xfd];

const TYPE_LOAD: u32 = 1;
const TYPE_NOTE: u32 = 4;
const READ_EXECUTE: u32 = 5;

/// The file.
pub(crate) fn kernel() -> Vec<u8> {
    let size = CODE_AT + CODE.len() as u64;
    let mut file = header();
    file.extend(program(TYPE_LOAD, 0, size));
    file.extend(program(TYPE_NOTE, NOTE_AT, NOTE_BYTES));
    // Name length, value length, type, "Xen\0", value.
    let entry = u32::try_from(LOAD_ADDRESS + CODE_AT).unwrap_or_default();
    file.extend(
        [4, 4, NOTE_ENTRY, u32::from_le_bytes(*b"Xen\0"), entry].map(u32::to_le_bytes).concat(),
    );
    file.extend(CODE);
    file
}

fn header() -> Vec<u8> {
    // Magic, 64 bit, little endian, version 1.
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    // Executable, for x86-64.
    file.extend([2_u16, 62].map(u16::to_le_bytes).concat());
    file.extend(1_u32.to_le_bytes());
    // Entry, program headers, section headers (none).
    file.extend([LOAD_ADDRESS + CODE_AT, HEADER_BYTES, 0].map(u64::to_le_bytes).concat());
    file.extend(0_u32.to_le_bytes());
    // This header's size, size and count of program headers, size, count and names of section headers.
    file.extend([64_u16, 56, 2, 0, 0, 0].map(u16::to_le_bytes).concat());
    file
}

fn program(kind: u32, at: u64, size: u64) -> Vec<u8> {
    let mut header = [kind, READ_EXECUTE].map(u32::to_le_bytes).concat();
    let address = LOAD_ADDRESS + at;
    header.extend([at, address, address, size, size, 4].map(u64::to_le_bytes).concat());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_note_and_code_lie_where_the_headers_say() {
        let file = kernel();
        assert_eq!(file.len() as u64, CODE_AT + CODE.len() as u64);
        let at = |place: u64| usize::try_from(place).unwrap();
        assert_eq!(&file[at(NOTE_AT) + 12..][..4], b"Xen\0");
        assert_eq!(&file[at(CODE_AT)..], CODE);
        assert_eq!(&file[at(HEADER_BYTES)..][..4], TYPE_LOAD.to_le_bytes());
        assert_eq!(&file[at(HEADER_BYTES + PROGRAM_BYTES)..][..4], TYPE_NOTE.to_le_bytes());
    }
}
