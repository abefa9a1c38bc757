//! A simulated guest into libxc's stream and out of one, whoever wrote it.
//!
//! It holds what a real one does, in libxc's order. What Xen would keep as its own context is the guest's text ([`super::saved`]): as the
//! context of a PVH guest, as the registers of a PV guest's first vCPU. One thing is not as libxc does it: this machine's own save only
//! allocates pages of zeros, and its text says so, which keeps the streams of a thousand tests short. In anybody else's stream a page that
//! is only allocated holds what another domain left there.

use std::fs::File;
use std::io::BufWriter;
use std::os::fd::BorrowedFd;

use super::handle::{Handle, POWER_LOST};
use super::image::RINGS;
use super::machine::State;
use super::ops::Op;
use super::saved::Snapshot;
use crate::control::GuestKind;
use crate::cpu_policy::CpuPolicy;
use crate::error::{XenError, XenErrorKind};
use crate::frame::Pfn;
use crate::guest_image::BuiltGuest;
use crate::page_type::PageType;
use crate::stream::image::{
    DomainHeader, HvmParam, ImageReader, ImageWriter, Limits, P2mFrames, PAGES_MAX, Page,
    PageBytes, Pages, PvVcpuPart, PvWidth, Record, TscInfo, ZERO_PAGE,
};
use crate::stream::{Fault, Input, Output, StreamError};
use crate::vcpu::Shell;

const OP: Op = Op::GuestRestore;
/// Of the Xen that is simulated.
const XEN: (u32, u32) = (4, 17);
/// Where a PV guest's table of frames lies. Nobody looks there.
const P2M_GFN: u64 = 0x100;

pub(super) fn file(stream: BorrowedFd<'_>) -> Result<File, XenErrorKind> {
    let owned = stream.try_clone_to_owned();
    owned.map(File::from).map_err(|error| XenErrorKind::Other(error.raw_os_error().unwrap_or(5)))
}

/// What is to blame for a stream that failed.
pub(super) fn kind_of(error: &StreamError) -> XenErrorKind {
    match error.fault {
        Fault::Unreadable { errno } | Fault::Unwritable { errno } => XenErrorKind::Other(errno),
        _ => XenErrorKind::BadImage,
    }
}

/// Writes a whole guest.
pub(super) fn write(snapshot: &Snapshot, stream: BorrowedFd<'_>) -> Result<(), XenErrorKind> {
    let file = file(stream)?;
    // A batch of pages is larger than any buffer, and passes it by.
    write_to(snapshot, BufWriter::new(file)).map_err(|error| kind_of(&error))
}

fn write_to(snapshot: &Snapshot, to: impl std::io::Write) -> Result<(), StreamError> {
    let Snapshot { kind, policy, tsc, context, memory } = snapshot;
    let last = memory.gfns().last().map_or(0, |gfn| gfn.0);
    let mut writer = begin(to, *kind, policy, last)?;
    write_memory(snapshot, &mut writer)?;
    end(writer, *kind, *tsc, context)
}

/// Up to where the pages begin, of a guest with this last frame.
pub(super) fn begin<W: std::io::Write>(
    to: W,
    kind: GuestKind,
    policy: &CpuPolicy,
    last: u64,
) -> Result<ImageWriter<W>, StreamError> {
    let (xen_major, xen_minor) = XEN;
    let header = DomainHeader { kind, xen_major, xen_minor };
    let mut writer = ImageWriter::begin(Output::new(to), header)?;
    if kind == GuestKind::Pv {
        writer.write(&Record::PvInfo(PvWidth::Bits64))?;
    }
    writer.write(&Record::CpuidPolicy(policy.leaves.clone()))?;
    writer.write(&Record::MsrPolicy(policy.msrs.clone()))?;
    writer.write(&Record::StaticDataEnd)?;
    if kind == GuestKind::Pv {
        writer.write(&Record::P2mFrames(frames(last)))?;
    }
    Ok(writer)
}

/// Behind the pages: the machine's state.
pub(super) fn end<W: std::io::Write>(
    mut writer: ImageWriter<W>,
    kind: GuestKind,
    tsc: TscInfo,
    context: &[u8],
) -> Result<(), StreamError> {
    writer.write(&Record::Tsc(tsc))?;
    match kind {
        GuestKind::Pvh => {
            let param = |index, value| HvmParam { index, value };
            writer.write(&Record::HvmContext(context))?;
            writer.write(&Record::HvmParams(vec![
                param(HvmParam::STORE_PFN, RINGS.store_gfn.0),
                param(HvmParam::CONSOLE_PFN, RINGS.console_gfn.0),
            ]))?;
        }
        GuestKind::Pv => {
            writer.write(&Record::SharedInfo(&ZERO_PAGE))?;
            let part = PvVcpuPart::Basic;
            writer.write(&Record::PvVcpu { part, vcpu: 0, state: context })?;
        }
    }
    writer.write(&Record::End)?;
    let place = writer.offset();
    let mut inner = writer.into_output()?.into_inner();
    inner.flush().map_err(|error| StreamError {
        part: crate::stream::Part::ImageRecord(0),
        offset: place,
        fault: Fault::Unwritable { errno: error.raw_os_error().unwrap_or(0) },
    })
}

fn frames(last: u64) -> P2mFrames {
    let end = u32::try_from(last).unwrap_or(u32::MAX);
    let pages = u64::from(end) / PvWidth::Bits64.frames_per_page() + 1;
    P2mFrames { start: 0, end, frames: (P2M_GFN..P2M_GFN + pages).collect() }
}

fn write_memory<W: std::io::Write>(
    snapshot: &Snapshot,
    writer: &mut ImageWriter<W>,
) -> Result<(), StreamError> {
    let mut gfns = snapshot.memory.gfns();
    loop {
        let batch: Vec<u64> = gfns.by_ref().take(PAGES_MAX).map(|gfn| gfn.0).collect();
        if batch.is_empty() {
            return Ok(());
        }
        let copies: Vec<Option<Box<PageBytes>>> =
            batch.iter().map(|gfn| copy(snapshot, *gfn)).collect();
        let mut pages = Pages::new();
        for (gfn, copy) in batch.iter().zip(&copies) {
            let page = match copy {
                Some(bytes) => Page::normal(Pfn(*gfn), bytes),
                None => Page::bare(Pfn(*gfn), PageType::AllocOnly),
            };
            let added = page.is_some_and(|page| pages.push(page));
            debug_assert!(added, "a batch fits a record, and a simulated frame fits a stream");
        }
        writer.write(&Record::Pages(pages))?;
    }
}

/// `None` for a page of zeros.
fn copy(snapshot: &Snapshot, gfn: u64) -> Option<Box<PageBytes>> {
    let contents = snapshot.memory.contents(gfn)?;
    let mut page = Box::new(ZERO_PAGE);
    contents.copy_to(&mut page);
    Some(page)
}

/// What a stream has said so far.
#[derive(Default)]
struct Heard {
    policy: CpuPolicy,
    tsc: TscInfo,
    context: Vec<u8>,
}

impl Handle {
    /// Reads a guest into a shell, a record at a time.
    pub(super) fn restore_stream(
        &self,
        shell: &Shell,
        stream: BorrowedFd<'_>,
    ) -> Result<BuiltGuest, XenError> {
        let named = |kind| XenError::new(OP.name(), kind).domain(shell.domid());
        let told = |error: StreamError| named(kind_of(&error)).detail(error.to_string());
        let input = Input::new(file(stream).map_err(named)?);
        let mut reader = ImageReader::open(input, Limits::default()).map_err(told)?;
        let kind = reader.header().kind;
        self.on(|state| state.check_target(shell, kind)).map_err(named)?;
        let mut heard = Heard::default();
        while let Some(record) = reader.next().map_err(told)? {
            self.hear(shell, &record, &mut heard).map_err(named)?;
        }
        let Heard { context, tsc, .. } = heard;
        self.on(|state| state.revive(shell.domid(), &context, tsc)).map_err(named)
    }

    fn hear(
        &self,
        shell: &Shell,
        record: &Record<'_>,
        heard: &mut Heard,
    ) -> Result<(), XenErrorKind> {
        match record {
            Record::CpuidPolicy(leaves) => heard.policy.leaves.clone_from(leaves),
            Record::MsrPolicy(msrs) => heard.policy.msrs.clone_from(msrs),
            Record::StaticDataEnd => {
                let policy = std::mem::take(&mut heard.policy);
                self.on(|state| state.promise(shell.domid(), policy))?;
            }
            Record::Pages(pages) => self.on(|state| state.fill_memory(shell.domid(), pages))?,
            Record::Tsc(tsc) => heard.tsc = *tsc,
            Record::HvmContext(context) => heard.context = context.to_vec(),
            Record::PvVcpu { part: PvVcpuPart::Basic, vcpu: 0, state } => {
                heard.context = state.to_vec();
            }
            _ => {}
        }
        Ok(())
    }

    fn on<T>(
        &self,
        work: impl FnOnce(&mut State) -> Result<T, XenErrorKind>,
    ) -> Result<T, XenErrorKind> {
        self.inner
            .with(|state| if state.epoch == self.epoch { work(state) } else { Err(POWER_LOST) })
    }
}
