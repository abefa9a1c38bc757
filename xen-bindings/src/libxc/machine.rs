//! The machine that a PVH guest finds: how its memory lies, and its firmware.

use xenctrl_sys::{E820_ACPI, E820_RAM, E820_RESERVED, e820entry};

use crate::acpi::{self, AcpiTables};
use crate::error::{XenError, XenErrorKind};
use crate::guest_image::BuildSpec;
use crate::vcpu::Shell;

const GIB: u64 = 1 << 30;
const PAGE_MASK: u64 = 0xfff;
/// libxl's place for the ACPI info page; guest memory has a hole from here to 4 GiB.
pub(super) const ACPI_INFO_ADDRESS: u64 = 0xfc00_0000;
pub(super) const ACPI_INFO_BYTES: usize = 4096;
const ACPI_TABLES_ADDRESS: u64 = ACPI_INFO_ADDRESS + 0x1000;
/// Where an old kernel looks for the root pointer: the end of the first MiB.
const RSDP_LOW_ADDRESS: u64 = 0x10_0000 - acpi::RSDP_BYTES as u64;
/// The frames that Xen shares with the guest (rings, IOREQ, …): 8 pages below 0xff000.
const SPECIAL_ADDRESS: u64 = (0xff000 - 8) << 12;
const SPECIAL_BYTES: u64 = 8 << 12;

/// How much memory, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Of the guest's memory map.
    pub(super) max_mib: u32,
    /// At boot.
    pub(super) target_mib: u32,
}

impl Layout {
    /// libxenguest counts memory in MiB; what is left over is not given.
    pub(super) fn new(spec: &BuildSpec) -> Result<Self, XenError> {
        let mib = |kib: u64| u32::try_from(kib / 1024).ok().filter(|mib| *mib > 0);
        match (mib(spec.memory_max_kib), mib(spec.memory_target_kib)) {
            (Some(max_mib), Some(target_mib)) if target_mib <= max_mib => {
                Ok(Self { max_mib, target_mib })
            }
            _ => Err(invalid("memory target and maximum")),
        }
    }

    pub(super) fn target_pages(self) -> u64 {
        u64::from(self.target_mib) << 8
    }

    fn max_bytes(self) -> u64 {
        u64::from(self.max_mib) << 20
    }

    /// End of the memory below the hole.
    pub(super) fn lowmem_end(self) -> u64 {
        self.max_bytes().min(ACPI_INFO_ADDRESS)
    }

    /// End of the memory above 4 GiB; 0 when there is none.
    pub(super) fn highmem_end(self) -> u64 {
        match self.max_bytes().saturating_sub(ACPI_INFO_ADDRESS) {
            0 => 0,
            above => 4 * GIB + above,
        }
    }
}

/// The buffers that libxenguest copies into the guest while it boots the image.
pub(super) struct Firmware {
    pub(super) info: Vec<u8>,
    pub(super) acpi: AcpiTables,
    pub(super) rsdp_address: u64,
    pub(super) e820: Vec<e820entry>,
}

impl Firmware {
    /// `rsdp_anywhere`: the kernel takes the root pointer's address from its start info.
    pub(super) fn new(
        shell: &Shell,
        vcpus_online: u32,
        layout: Layout,
        rsdp_anywhere: bool,
    ) -> Result<Self, XenError> {
        let acpi = acpi::build(shell.vcpus_max(), vcpus_online, ACPI_TABLES_ADDRESS)
            .ok_or_else(|| invalid("vCPUs online and maximum"))?;
        let after_tables = ACPI_TABLES_ADDRESS + acpi.tables.len() as u64;
        let rsdp_address = if rsdp_anywhere { after_tables } else { RSDP_LOW_ADDRESS };
        let info = vec![0; ACPI_INFO_BYTES];
        let mut firmware = Self { info, acpi, rsdp_address, e820: Vec::new() };
        firmware.e820 = firmware.memory_map(layout);
        Ok(firmware)
    }

    /// What is copied where; libxenguest takes the first for the root pointer.
    pub(super) fn modules(&mut self) -> [(u64, &mut [u8]); 3] {
        [
            (self.rsdp_address, &mut self.acpi.rsdp),
            (ACPI_INFO_ADDRESS, &mut self.info),
            (ACPI_TABLES_ADDRESS, &mut self.acpi.tables),
        ]
    }

    fn memory_map(&mut self, layout: Layout) -> Vec<e820entry> {
        let mut map = vec![
            entry(0, layout.lowmem_end(), E820_RAM),
            entry(SPECIAL_ADDRESS, SPECIAL_BYTES, E820_RESERVED),
        ];
        map.extend(self.modules().map(|(address, bytes)| {
            let offset = address & PAGE_MASK;
            entry(address - offset, bytes.len() as u64 + offset, E820_ACPI)
        }));
        if layout.highmem_end() != 0 {
            map.push(entry(4 * GIB, layout.highmem_end() - 4 * GIB, E820_RAM));
        }
        map
    }
}

fn entry(addr: u64, size: u64, type_: u32) -> e820entry {
    e820entry { addr, size, type_ }
}

fn invalid(what: &str) -> XenError {
    XenError::new("dom_build", XenErrorKind::Invalid)
        .detail(format!("{what} do not fit each other or the machine"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_goes_around_the_hole_below_4_gib() {
        for (max_mib, low, high) in [
            (256, 256 << 20, 0),
            (4032, ACPI_INFO_ADDRESS, 0),
            (6144, ACPI_INFO_ADDRESS, 4 * GIB + (6144 << 20) - ACPI_INFO_ADDRESS),
        ] {
            let layout = Layout { max_mib, target_mib: 128 };
            assert_eq!((layout.lowmem_end(), layout.highmem_end()), (low, high), "{max_mib}");
        }
    }
}
