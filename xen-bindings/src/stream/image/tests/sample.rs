//! Images to try things on: made by hand, and by chance.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::control::GuestKind;
use crate::cpu_policy::{CpuidLeaf, MsrEntry};
use crate::frame::Pfn;
use crate::page_type::{PageTable, PageType};
use crate::stream::image::{
    DomainHeader, HvmParam, P2mFrames, PAGES_MAX, Page, PageBytes, Pages, PvVcpuPart, PvWidth,
    Record, TscInfo, ZERO_PAGE,
};

pub(super) static TEXT: PageBytes = [b'x'; 4096];

pub(super) const fn header(kind: GuestKind) -> DomainHeader {
    DomainHeader { kind, xen_major: 4, xen_minor: 17 }
}

pub(super) fn pages(list: &[(u64, PageType)]) -> Pages<'static> {
    let mut pages = Pages::new();
    for (pfn, kind) in list {
        let bytes = kind.has_contents().then_some(&TEXT);
        assert!(pages.push(Page::new(Pfn(*pfn), *kind, bytes).unwrap()));
    }
    pages
}

/// One of each record that may be in a PVH guest's image, in libxc's order.
pub(super) fn pvh() -> Vec<Record<'static>> {
    let leaf = CpuidLeaf { leaf: 1, subleaf: !0, eax: 2, ebx: 3, ecx: 4, edx: 5 };
    let memory = [(0, PageType::Normal), (1, PageType::AllocOnly), (0xfffff, PageType::Absent)];
    vec![
        Record::CpuidPolicy(vec![leaf; 2]),
        Record::MsrPolicy(vec![MsrEntry { index: 0xce, value: 1 << 31 }]),
        Record::StaticDataEnd,
        Record::Pages(pages(&memory)),
        Record::Verify,
        Record::Tsc(TscInfo { mode: 0, khz: 2_400_000, nsec: 1 << 40, incarnation: 2 }),
        Record::HvmContext(b"machine"),
        Record::HvmParams(vec![HvmParam { index: HvmParam::STORE_PFN, value: 0xfefff }]),
        Record::End,
    ]
}

/// One of each record that may be in a PV guest's image, in libxc's order.
pub(super) fn pv() -> Vec<Record<'static>> {
    let table = PageType::Table(PageTable::new(4, true).unwrap());
    let state = |part| Record::PvVcpu { part, vcpu: 0, state: b"registers" };
    vec![
        Record::PvInfo(PvWidth::Bits64),
        Record::CpuidPolicy(vec![CpuidLeaf::default()]),
        Record::MsrPolicy(vec![MsrEntry::default()]),
        Record::StaticDataEnd,
        Record::P2mFrames(P2mFrames { start: 511, end: 1024, frames: vec![7, 8, 9] }),
        Record::Pages(pages(&[(5, table), (6, PageType::Broken)])),
        Record::Tsc(TscInfo::default()),
        Record::SharedInfo(&ZERO_PAGE),
        state(PvVcpuPart::Basic),
        state(PvVcpuPart::Extended),
        state(PvVcpuPart::Xsave),
        state(PvVcpuPart::Msrs),
        Record::End,
    ]
}

pub(super) fn of(kind: GuestKind) -> Vec<Record<'static>> {
    match kind {
        GuestKind::Pvh => pvh(),
        GuestKind::Pv => pv(),
    }
}

/// Types of a batch of any size, with their frames.
pub(super) fn any_batch() -> impl Strategy<Value = Vec<(u64, PageType)>> {
    let kind = (0_u8..16).prop_filter_map("a type", PageType::from_bits);
    let small = vec((0..1_u64 << 32, kind.clone()), 1..20);
    let whole = (0..1_u64 << 31, kind).prop_map(|(first, kind)| {
        (first..).take(PAGES_MAX).map(|pfn| (pfn, kind)).collect::<Vec<_>>()
    });
    prop_oneof![9 => small, 1 => whole]
}
