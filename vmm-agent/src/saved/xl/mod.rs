//! VMs in files as `xl save` writes them and `xl restore` reads them: neither encrypted nor authenticated.
//!
//! ```text
//!   save:     Xen ── worker ── pipe ──► behind xl's header and libxl's, as it comes                       (writer.rs)
//!   restore:  file ── record by record, each checked ──► pipe ── worker ── Xen                           (reader.rs)
//! ```
//!
//! Whose memory it is, with which disks, says the configuration in xl's header ([`config`]): that of another VM, or of a guest that
//! differs from what the VM is defined as, is refused before a domain is made.
//!
//! # How it fails
//!
//! As the sealed files do, except that a file which was changed with care is not found out: nothing seals it. What libxc would not
//! write is refused, at the record where it stands; the domain is half restored then.

mod config;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub(super) use reader::XlReader;
pub(super) use writer::XlWriter;

/// How such a file begins.
pub(super) const MAGIC: &[u8; 8] = b"Xen save";
