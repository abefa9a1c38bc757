//! Everything that a host boots from, in order, each step only when something under it changed.
//!
//! Fails with the step that failed; what was complete before stays and is not made again.

use std::fs::{self, File};
use std::io;

use anyhow::Result;

use super::paths::Lab;
use super::stamp::Stamp;
use super::{debs, dom0, extra, guest, kernel};
use crate::packages::{self, Install};

/// Returns with the image of dom0, Xen and the kernels in place.
pub(crate) fn build(lab: &Lab<'_>, bare: bool) -> Result<()> {
    packages::ensure(packages::LAB, Install::IfRoot)?;
    if !bare {
        packages::ensure(packages::LIBXC, Install::IfRoot)?;
    }
    let _lock = lab.lock()?;
    debs::unpack(lab)?;
    kernel::prepare(lab)?;
    dom0::build(lab)?;
    guest::build(lab)?;
    extra::build(lab, bare)?;
    join(lab)
}

/// Linux unpacks archives that follow each other in one initramfs. They are not compressed: unpacking is what is slow
/// under emulation, and reading is not.
fn join(lab: &Lab<'_>) -> Result<()> {
    let parts = [lab.path("base.cpio"), lab.path("extra.cpio")];
    let mut stamp = Stamp::new(&lab.dom0(), "base, extra")?;
    for part in &parts {
        stamp.input(part)?;
    }
    if stamp.is_fresh() {
        return Ok(());
    }
    // A new file and not the old one changed: a running host may still be reading that.
    let partial = lab.path("dom0.cpio.partial");
    let mut whole = File::create(&partial)?;
    for part in &parts {
        io::copy(&mut File::open(part)?, &mut whole)?;
    }
    fs::rename(&partial, lab.dom0())?;
    stamp.write()
}
