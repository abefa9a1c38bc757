//! ACPI tables of a PVH guest: how it learns of its vCPUs. Pure bytes, no Xen.
//!
//! ```text
//!   RSDP ─► XSDT ─► FADT ─► FACS
//!                    │└───► DSDT: one Processor object per vCPU
//!                   MADT: one local APIC per vCPU
//! ```
//!
//! Without tables Linux allows one CPU. A spare vCPU is *disabled* in the MADT, so that it is not brought up at boot, and is
//! an enabled, present Processor in the DSDT (`_MAT`, `_STA`): only with both can Linux add it later. libxl builds the same
//! from libacpi, which no shared library exports.

/// Local APIC ids are bytes, twice the vCPU's index; 255 is the broadcast. It is Xen's own limit too.
pub(crate) const VCPUS_MAX: u32 = 128;

/// Bytes of the RSDP module; the structure itself has 36.
pub(crate) const RSDP_BYTES: usize = 64;
const RSDP_STRUCTURE_BYTES: u32 = 36;
const RSDP_V1_BYTES: usize = 20;

const HEADER_BYTES: usize = 36;
const PAGE_BYTES: usize = 4096;
const TABLE_ALIGN: usize = 64;
const LAPIC_ADDRESS: u32 = 0xfee0_0000;

const OEM_ID: &[u8; 6] = b"SMPS  ";
const OEM_TABLE_ID: &[u8; 8] = b"SMPS-VMM";
const CREATOR_ID: &[u8; 4] = b"SMPS";

/// Where a checksum stands.
const HEADER_CHECKSUM: usize = 9;
const RSDP_CHECKSUM: usize = 8;
const RSDP_EXTENDED_CHECKSUM: usize = 32;

/// The tables, ready to be copied to the address that they were built for.
#[derive(Debug)]
pub(crate) struct AcpiTables {
    /// Whole pages.
    pub(crate) tables: Vec<u8>,
    /// The root pointer; may lie anywhere that the guest looks for it.
    pub(crate) rsdp: Vec<u8>,
}

/// Builds the tables for `base`. `None` when the vCPU counts are impossible or the addresses do not fit 32 bits.
pub(crate) fn build(vcpus_max: u32, vcpus_online: u32, base: u64) -> Option<AcpiTables> {
    let max = u8::try_from(vcpus_max).ok().filter(|max| u32::from(*max) <= VCPUS_MAX)?;
    let online = u8::try_from(vcpus_online).ok().filter(|online| (1..=max).contains(online))?;
    let mut area = Area { base, bytes: Vec::new() };
    let facs = u32::try_from(area.place(&facs())).ok()?;
    let dsdt = u32::try_from(area.place(&table(b"DSDT", 2, &scope_with_processors(max)))).ok()?;
    let fadt = area.place(&fadt(facs, dsdt));
    let madt = area.place(&madt(max, online));
    let xsdt = area.place(&table(b"XSDT", 1, &[fadt.to_le_bytes(), madt.to_le_bytes()].concat()));
    Some(AcpiTables { tables: area.into_pages(), rsdp: rsdp(xsdt) })
}

struct Area {
    base: u64,
    bytes: Vec<u8>,
}

impl Area {
    /// Appends a table and tells its address.
    fn place(&mut self, table: &[u8]) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(TABLE_ALIGN), 0);
        let address = self.base + self.bytes.len() as u64;
        self.bytes.extend_from_slice(table);
        address
    }

    fn into_pages(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len().next_multiple_of(PAGE_BYTES), 0);
        self.bytes
    }
}

/// A table with the standard header.
fn table(signature: &[u8; 4], revision: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER_BYTES + body.len()).expect("128 vCPUs need a few KiB");
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
    bytes.extend_from_slice(signature);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&[revision, 0]);
    bytes.extend_from_slice(OEM_ID);
    bytes.extend_from_slice(OEM_TABLE_ID);
    bytes.extend_from_slice(&1_u32.to_le_bytes());
    bytes.extend_from_slice(CREATOR_ID);
    bytes.extend_from_slice(&1_u32.to_le_bytes());
    bytes.extend_from_slice(body);
    seal(&mut bytes, HEADER_CHECKSUM);
    bytes
}

/// Sets the byte at `checksum` so that all bytes add up to 0.
fn seal(bytes: &mut [u8], checksum: usize) {
    bytes[checksum] = 0;
    bytes[checksum] = sum(bytes).wrapping_neg();
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// The firmware control structure: no header, no checksum.
fn facs() -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[..4].copy_from_slice(b"FACS");
    bytes[4] = 64;
    bytes[32] = 1; // version
    bytes
}

/// The fixed table, revision 5, of a machine with nothing but CPUs: no VGA, no CMOS clock.
fn fadt(facs: u32, dsdt: u32) -> Vec<u8> {
    const BYTES: usize = 268;
    const FLAG_WBINVD: u32 = 1 << 0;
    const FLAG_PROC_C1: u32 = 1 << 2;
    const FLAG_POWER_BUTTON: u32 = 1 << 4;
    const FLAG_SLEEP_BUTTON: u32 = 1 << 5;
    const BOOT_NO_VGA: u16 = 1 << 2;
    const BOOT_NO_CMOS_CLOCK: u16 = 1 << 5;
    let mut body = vec![0; BYTES - HEADER_BYTES];
    let mut set = |offset: usize, value: &[u8]| {
        body[offset - HEADER_BYTES..][..value.len()].copy_from_slice(value);
    };
    set(36, &facs.to_le_bytes());
    set(40, &dsdt.to_le_bytes());
    set(46, &9_u16.to_le_bytes()); // SCI interrupt
    set(56, &0xb000_u32.to_le_bytes()); // PM1a event block,
    set(64, &0xb004_u32.to_le_bytes()); // PM1a control block,
    set(88, &[4, 2]); // and their lengths
    set(96, &0xfff_u16.to_le_bytes()); // C2 and C3 latencies: above the limit, so not supported
    set(98, &0xfff_u16.to_le_bytes());
    set(109, &(BOOT_NO_VGA | BOOT_NO_CMOS_CLOCK).to_le_bytes());
    let flags = FLAG_WBINVD | FLAG_PROC_C1 | FLAG_POWER_BUTTON | FLAG_SLEEP_BUTTON;
    set(112, &flags.to_le_bytes());
    set(132, &u64::from(facs).to_le_bytes());
    set(140, &u64::from(dsdt).to_le_bytes());
    table(b"FACP", 5, &body)
}

/// The interrupt table: which vCPUs are there at boot.
fn madt(vcpus_max: u8, vcpus_online: u8) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend_from_slice(&LAPIC_ADDRESS.to_le_bytes());
    body.extend_from_slice(&0_u32.to_le_bytes());
    for vcpu in 0..vcpus_max {
        body.extend_from_slice(&local_apic(vcpu, vcpu < vcpus_online));
    }
    table(b"APIC", 2, &body)
}

/// The entry of one vCPU, in the MADT and in its `_MAT`.
fn local_apic(vcpu: u8, enabled: bool) -> [u8; 8] {
    [0, 8, vcpu, vcpu * 2, u8::from(enabled), 0, 0, 0]
}

/// `Scope (\_SB) { Processor (C000, 0, 0, 0) { … } … }` in AML.
fn scope_with_processors(vcpus: u8) -> Vec<u8> {
    const SCOPE: u8 = 0x10;
    let mut content = b"\\_SB_".to_vec();
    for vcpu in 0..vcpus {
        content.extend_from_slice(&processor(vcpu));
    }
    package(&[SCOPE], &content)
}

/// A processor that says of itself: enabled, with this APIC id; present.
fn processor(vcpu: u8) -> Vec<u8> {
    const PROCESSOR: [u8; 2] = [0x5b, 0x83];
    const NAME: u8 = 0x08;
    const BUFFER: u8 = 0x11;
    const BYTE: u8 = 0x0a;
    let mut content = format!("C{vcpu:03X}").into_bytes();
    content.push(vcpu);
    content.extend_from_slice(&[0; 5]); // no P_BLK: address and length
    content.push(NAME);
    content.extend_from_slice(b"_MAT");
    content.extend_from_slice(&[BUFFER, 11, BYTE, 8]);
    content.extend_from_slice(&local_apic(vcpu, true));
    content.push(NAME);
    content.extend_from_slice(b"_STA");
    content.extend_from_slice(&[BYTE, 0x0f]);
    package(&PROCESSOR, &content)
}

/// Opcode, AML package length (which counts itself), content.
fn package(opcode: &[u8], content: &[u8]) -> Vec<u8> {
    let [low, middle, high, ..] =
        if content.len() + 1 < 64 { content.len() + 1 } else { content.len() + 3 }.to_le_bytes();
    let mut bytes = opcode.to_vec();
    if content.len() + 1 < 64 {
        bytes.push(low);
    } else {
        // Two more bytes follow; the first has the lowest four bits.
        let rest = (u32::from(high) << 16 | u32::from(middle) << 8 | u32::from(low)) >> 4;
        let [second, third, ..] = rest.to_le_bytes();
        bytes.extend_from_slice(&[0x80 | (low & 0x0f), second, third]);
    }
    bytes.extend_from_slice(content);
    bytes
}

fn rsdp(xsdt: u64) -> Vec<u8> {
    let mut bytes = vec![0; RSDP_BYTES];
    bytes[..8].copy_from_slice(b"RSD PTR ");
    bytes[9..15].copy_from_slice(OEM_ID);
    bytes[15] = 2; // revision
    bytes[20..24].copy_from_slice(&RSDP_STRUCTURE_BYTES.to_le_bytes());
    bytes[24..32].copy_from_slice(&xsdt.to_le_bytes());
    seal(&mut bytes[..RSDP_V1_BYTES], RSDP_CHECKSUM);
    seal(&mut bytes, RSDP_EXTENDED_CHECKSUM);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: u64 = 0xfc00_1000;

    fn word(bytes: &[u8], offset: usize) -> u64 {
        u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap())
    }

    /// The table at a guest address, by its own length.
    fn at(tables: &AcpiTables, address: u64) -> &[u8] {
        let start = usize::try_from(address - BASE).unwrap();
        let bytes = &tables.tables[start..];
        let length = u32::from_le_bytes(bytes[4..8].try_into().unwrap());
        &bytes[..length as usize]
    }

    #[test]
    fn every_table_is_reached_from_the_root_and_adds_up_to_zero() {
        let tables = build(4, 1, BASE).unwrap();
        assert_eq!(tables.tables.len() % PAGE_BYTES, 0);
        assert_eq!(sum(&tables.rsdp[..RSDP_V1_BYTES]), 0);
        assert_eq!(sum(&tables.rsdp), 0);
        let xsdt = at(&tables, word(&tables.rsdp, 24));
        let (fadt, madt) = (at(&tables, word(xsdt, 36)), at(&tables, word(xsdt, 44)));
        let dsdt = at(&tables, word(fadt, 140));
        for (table, signature) in
            [(xsdt, b"XSDT"), (fadt, b"FACP"), (madt, b"APIC"), (dsdt, b"DSDT")]
        {
            assert_eq!(&table[..4], signature);
            assert_eq!(sum(table), 0, "{signature:?}");
        }
        assert_eq!(&at(&tables, word(fadt, 132))[..4], b"FACS");
    }

    #[test]
    fn spare_vcpus_are_disabled_in_the_madt_and_enabled_in_the_dsdt() {
        let tables = build(3, 2, BASE).unwrap();
        let xsdt = at(&tables, word(&tables.rsdp, 24));
        let madt = at(&tables, word(xsdt, 44));
        let flags: Vec<u8> = madt[44..].chunks(8).map(|entry| entry[4]).collect();
        assert_eq!(flags, [1, 1, 0]);
        let dsdt = at(&tables, word(at(&tables, word(xsdt, 36)), 140));
        let enabled = [0, 8, 2, 4, 1, 0, 0, 0];
        assert!(dsdt.windows(8).any(|bytes| bytes == enabled));
    }

    #[test]
    fn package_lengths_count_themselves() {
        for (content, length) in [(10, 11), (62, 63), (63, 66), (4000, 4003), (9000, 9003)] {
            let bytes = package(&[0x10], &vec![0; content]);
            let decoded = match bytes[1] >> 6 {
                0 => usize::from(bytes[1]),
                _ => {
                    usize::from(bytes[1] & 15)
                        | usize::from(bytes[2]) << 4
                        | usize::from(bytes[3]) << 12
                }
            };
            assert_eq!((decoded, bytes.len()), (length, length + 1), "{content}");
        }
    }

    #[test]
    fn impossible_counts_are_refused() {
        for (max, online, possible) in
            [(1, 1, true), (128, 64, true), (129, 1, false), (2, 3, false), (2, 0, false)]
        {
            assert_eq!(build(max, online, BASE).is_some(), possible, "{max} {online}");
        }
    }
}
