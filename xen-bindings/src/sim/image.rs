//! Building a guest: the checks and the memory of libxenguest's builder.
//!
//! A kernel is a bzImage, an ELF file, or for tests a small file that starts with `SIMKERNEL`. Nothing of it is executed.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::domain::Domain;
use super::guest::Guest;
use super::hypervisor::PAGE_KIB;
use super::machine::State;
use super::memory::SPECIAL_GFNS;
use crate::control::GuestKind;
use crate::error::{XenError, XenErrorKind};
use crate::frame::Gfn;
use crate::guest_image::{BuildSpec, BuiltGuest};
use crate::vcpu::Shell;

const OPERATION: &str = "guest_build";
/// Where a bzImage says what it is.
const BZIMAGE_MAGIC_AT: usize = 0x202;
/// Rings, firmware tables and their like.
const SPECIAL_PAGES: u64 = SPECIAL_GFNS.end - SPECIAL_GFNS.start;
/// A paging pool below this cannot map a guest at all.
pub(crate) const POOL_PAGES_MIN: u64 = 32;
/// One page of page tables maps 512 pages; a guest needs some slack over that.
const PAGES_PER_POOL_PAGE: u64 = 1024;

/// What the builder reads from files before it touches the domain.
pub(crate) struct Files {
    bytes: u64,
}

/// Reads what is needed of kernel and initramfs. Takes no lock: files are slow.
pub(crate) fn read(spec: &BuildSpec) -> Result<Files, XenError> {
    let (mut bytes, head) = open(&spec.kernel)?;
    if !is_kernel(&head) {
        return Err(error(XenErrorKind::BadImage, "no known kernel format"));
    }
    if let Some(initramfs) = &spec.initramfs {
        bytes = bytes.saturating_add(open(initramfs)?.0);
    }
    Ok(Files { bytes })
}

fn open(path: &Path) -> Result<(u64, Vec<u8>), XenError> {
    let failed = |cause: std::io::Error| {
        let kind = match cause.kind() {
            std::io::ErrorKind::NotFound => XenErrorKind::NotFound,
            std::io::ErrorKind::PermissionDenied => XenErrorKind::PermissionDenied,
            _ => XenErrorKind::BadImage,
        };
        error(kind, format!("{}: {cause}", path.display()))
    };
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let mut head = Vec::new();
    file.take(1024).read_to_end(&mut head).map_err(failed)?;
    Ok((length, head))
}

fn is_kernel(head: &[u8]) -> bool {
    head.starts_with(b"\x7fELF")
        || head.starts_with(b"SIMKERNEL")
        || head.get(BZIMAGE_MAGIC_AT..).is_some_and(|rest| rest.starts_with(b"HdrS"))
}

fn error(kind: XenErrorKind, detail: impl Into<String>) -> XenError {
    XenError::new(OPERATION, kind).detail(detail)
}

/// Populates the domain and puts a guest into it.
pub(crate) fn build(
    state: &mut State,
    shell: &Shell,
    spec: &BuildSpec,
    files: &Files,
) -> Result<BuiltGuest, XenError> {
    let id = shell.domid();
    let named = |kind| XenError::new(OPERATION, kind).domain(id);
    let domain = state.hypervisor.get(id).map_err(named)?;
    check(domain, spec).map_err(named)?;
    if files.bytes > spec.memory_target_kib.saturating_mul(1024) {
        return Err(named(XenErrorKind::BadImage).detail("the kernel is larger than the memory"));
    }
    populate(state, shell, spec).map_err(named)?;
    let domain = state.hypervisor.get_mut(id).map_err(named)?;
    domain.built = true;
    domain.ram.load_kernel();
    domain.pod = shell.kind() == GuestKind::Pvh && spec.memory_max_kib > spec.memory_target_kib;
    if let Some(first) = domain.vcpus.first_mut() {
        first.online = true;
    }
    state.guests.insert(id.get(), Guest::new(spec, shell.kind()));
    Ok(RINGS)
}

/// Where a guest's rings are, high above its memory.
pub(crate) const RINGS: BuiltGuest =
    BuiltGuest { store_gfn: Gfn(SPECIAL_GFNS.start), console_gfn: Gfn(SPECIAL_GFNS.start + 1) };

fn check(domain: &Domain, spec: &BuildSpec) -> Result<(), XenErrorKind> {
    let needed = spec.memory_target_kib / PAGE_KIB + SPECIAL_PAGES;
    let pool = POOL_PAGES_MIN + spec.memory_max_kib / PAGE_KIB / PAGES_PER_POOL_PAGE;
    let sound = !domain.built
        && !domain.dying
        && !domain.has_run
        && !domain.vcpus.is_empty()
        && (1..=domain.vcpus_max).contains(&spec.vcpus_online)
        && spec.memory_target_kib > 0
        && spec.memory_target_kib <= spec.memory_max_kib
        && needed <= domain.memory_max_kib / PAGE_KIB
        && (domain.kind == GuestKind::Pv || domain.pool_pages >= pool);
    if sound { Ok(()) } else { Err(XenErrorKind::Invalid) }
}

/// A build that runs out keeps what it got until the domain is destroyed, as on Xen.
/// The guest's memory out of its claim, which libxenguest then ends (for PV only when that went well); then special pages.
fn populate(state: &mut State, shell: &Shell, spec: &BuildSpec) -> Result<(), XenErrorKind> {
    let memory = spec.memory_target_kib / PAGE_KIB;
    let (id, hypervisor) = (shell.domid(), &mut state.hypervisor);
    let populated = hypervisor.resize(id, memory)? >= memory;
    if populated || shell.kind() == GuestKind::Pvh {
        hypervisor.claim(id, 0)?;
    }
    if populated && hypervisor.add_special(id)? { Ok(()) } else { Err(XenErrorKind::OutOfMemory) }
}
