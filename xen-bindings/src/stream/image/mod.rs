//! libxc's domain image, version 3: what `xc_domain_save` writes and `xc_domain_restore` reads.
//!
//! ```text
//!   image header 24 │ domain header 16 │ PV_INFO (PV) · CPUID_POLICY · MSR_POLICY │ STATIC_DATA_END
//!   P2M_FRAMES (PV) │ PAGE_DATA … in any order, as often as one likes │ the machine's state │ END
//! ```
//!
//! Three rules of the receiver's that a sender must know: a frame that no PAGE_DATA ever mentions does not exist in the restored guest,
//! and nothing says so; a frame is populated when it is mentioned first, and what comes later overwrites it; a page that is only allocated
//! ([`PageType::AllocOnly`](crate::PageType)) holds whatever was there before, which may be another domain's.
//!
//! [`Record`] is one record, typed. Reader and writer share one set of rules for which may follow which. Nothing here
//! knows what a policy, a context or a parameter means to Xen.
//!
//! Refused as well, although libxc reads them: images before version 3 (Xen 4.13 and older: they lack the CPU policies), checkpoints of
//! Remus and COLO, and more than [`PAGES_MAX`] pages in a record, which libxc never writes.

mod decode;
mod encode;
mod header;
mod kind;
mod order;
mod pages;
mod reader;
mod record;
#[cfg(test)]
mod tests;
mod writer;

pub use header::DomainHeader;
pub use kind::name;
pub use pages::{PAGES_MAX, Page, PageBytes, Pages, ZERO_PAGE};
pub use reader::{ImageReader, Limits};
pub use record::{HvmParam, P2mFrames, PvVcpuPart, PvWidth, Record, TscInfo};
pub use writer::ImageWriter;
