//! Xen and the kernel in the forms that the lab boots: Xen unpacked for QEMU's multiboot loader, and the kernel both as Debian's
//! bzImage and as the ELF file inside it, because unpacking xz under emulation costs 4 s for each guest that is built.
//!
//! Fails when the bzImage's header is not what Linux documents, or its payload is not xz.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use super::paths::Lab;
use super::stamp::Stamp;
use crate::run;

// Offsets of the x86 boot protocol, 2.08 and later.
const SETUP_SECTORS: usize = 0x1f1;
const MAGIC: std::ops::Range<usize> = 0x202..0x206;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;
const SECTOR: usize = 512;
const XZ: &[u8] = b"\xfd7zXZ\0";
const ELF: &[u8] = b"\x7fELF";

/// Returns with both Xens, `vmlinuz` and `vmlinux` in the lab's folder.
pub(crate) fn prepare(lab: &Lab<'_>) -> Result<()> {
    let boot = lab.sysroot().join("boot");
    let vmlinuz = find(&boot, |name| name.starts_with("vmlinuz-"))?;
    let newest = find(&boot, is_xen)?;
    let oldest = lab.sysroot_of_oldest().join("boot");
    let oldest = if oldest.exists() { find(&oldest, is_xen)? } else { newest.clone() };
    let mut stamp = Stamp::new(&lab.vmlinux(), "kernel")?;
    for input in [&vmlinuz, &newest, &oldest] {
        stamp.input(input)?;
    }
    if stamp.is_fresh() {
        return Ok(());
    }
    for (packed, xen) in [newest, oldest].into_iter().zip(lab.xens()) {
        let mut gzip = run::command("gzip");
        run::success(gzip.arg("-dc").stdin(File::open(packed)?).stdout(File::create(xen)?))?;
    }
    fs::copy(&vmlinuz, lab.vmlinuz())?;
    let compressed = lab.path("vmlinux.xz");
    fs::write(&compressed, payload(&fs::read(&vmlinuz)?)?)?;
    // The kernel's build appends the unpacked size to the stream: --single-stream does not mind.
    let mut xz = run::command("xz");
    xz.args(["-dc", "--single-stream"]).stdin(File::open(&compressed)?);
    run::success(xz.stdout(File::create(lab.vmlinux())?).stderr(Stdio::inherit()))?;
    fs::remove_file(compressed)?;
    if !fs::read(lab.vmlinux())?.starts_with(ELF) {
        bail!("{} holds no ELF file", vmlinuz.display());
    }
    stamp.write()
}

fn is_xen(name: &str) -> bool {
    name.starts_with("xen-") && name.ends_with(".gz")
}

fn find(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<PathBuf> {
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let entry = entry?;
        if wanted(&entry.file_name().to_string_lossy()) {
            return Ok(entry.path());
        }
    }
    bail!(
        "{} lacks a kernel or Xen; remove target/xenlab/sysroot.stamp and build again",
        folder.display()
    )
}

/// The compressed kernel inside a bzImage.
fn payload(image: &[u8]) -> Result<&[u8]> {
    if image.get(MAGIC) != Some(b"HdrS".as_slice()) {
        bail!("the kernel is no bzImage");
    }
    let setup = usize::from(image[SETUP_SECTORS]);
    let start = (setup + 1) * SECTOR + word(image, PAYLOAD_OFFSET)?;
    let end = start + word(image, PAYLOAD_LENGTH)?;
    let payload = image.get(start..end).context("the bzImage is cut short")?;
    if !payload.starts_with(XZ) {
        bail!("the kernel's payload is not xz; teach xtask's xenlab/kernel.rs the new compression");
    }
    Ok(payload)
}

fn word(image: &[u8], at: usize) -> Result<usize> {
    let bytes = image.get(at..at + 4).context("the bzImage is cut short")?;
    Ok(usize::try_from(u32::from_le_bytes(bytes.try_into()?))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_payload_behind_the_setup_sectors() {
        let mut image = vec![0; 4 * SECTOR];
        image[SETUP_SECTORS] = 1;
        image[MAGIC].copy_from_slice(b"HdrS");
        image[PAYLOAD_OFFSET] = 16;
        image[PAYLOAD_LENGTH] = 10;
        image[2 * SECTOR + 16..][..XZ.len()].copy_from_slice(XZ);
        assert_eq!(payload(&image).unwrap().len(), 10);
        image[PAYLOAD_OFFSET] = 17;
        assert!(payload(&image).is_err());
    }
}
