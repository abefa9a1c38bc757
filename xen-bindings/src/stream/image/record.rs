//! One record of an image, typed.

use super::kind;
use super::pages::{PageBytes, Pages};
use crate::cpu_policy::{CpuidLeaf, MsrEntry};

/// A record. What it borrows is the reader's, until the next one is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// The last one.
    End,
    /// Memory.
    Pages(Pages<'a>),
    /// How wide a PV guest is; before everything else.
    PvInfo(PvWidth),
    /// Where a PV guest keeps its table of frames.
    P2mFrames(P2mFrames),
    /// A part of a PV vCPU's state.
    PvVcpu {
        /// Which part.
        part: PvVcpuPart,
        /// Whose.
        vcpu: u32,
        /// As Xen gave it, with frames as the guest numbers them.
        state: &'a [u8],
    },
    /// A PV guest's shared info page.
    SharedInfo(&'a PageBytes),
    /// The time stamp counter.
    Tsc(TscInfo),
    /// Everything that a PVH guest's virtual machine consists of, as Xen gave it. Never empty.
    HvmContext(&'a [u8]),
    /// Xen's parameters of a PVH guest that are not zero.
    HvmParams(Vec<HvmParam>),
    /// From here on pages are compared instead of copied.
    Verify,
    /// Which processor was promised is said; memory may follow.
    StaticDataEnd,
    /// CPUID, at least one leaf.
    CpuidPolicy(Vec<CpuidLeaf>),
    /// Model-specific registers, at least one.
    MsrPolicy(Vec<MsrEntry>),
}

/// Width of a PV guest's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PvWidth {
    /// With page tables of three levels.
    Bits32,
    /// With page tables of four levels.
    Bits64,
}

/// Frames `start` to `end`, both included, of a PV guest's table of frames, and the frames that this part of the table lies in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct P2mFrames {
    /// The first pfn.
    pub start: u32,
    /// The last pfn.
    pub end: u32,
    /// Pfns of the table itself: exactly as many as the range takes.
    pub frames: Vec<u64>,
}

/// Parts of a PV vCPU's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PvVcpuPart {
    /// Registers.
    Basic,
    /// Callbacks and more.
    Extended,
    /// Extended registers.
    Xsave,
    /// Model-specific registers.
    Msrs,
}

/// A guest's time stamp counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TscInfo {
    /// Xen's mode: 0 decides by itself, 1 emulates, 2 never does.
    pub mode: u32,
    /// Rate that the guest was told.
    pub khz: u32,
    /// What it has counted.
    pub nsec: u64,
    /// How often the guest has moved.
    pub incarnation: u32,
}

/// One of Xen's parameters of a PVH guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HvmParam {
    /// Its number (`HVM_PARAM_*`).
    pub index: u64,
    /// Its value.
    pub value: u64,
}

impl HvmParam {
    /// Number of the parameter that names the frame of xenstore's ring.
    pub const STORE_PFN: u64 = 1;
    /// Number of the parameter that names the frame of the console's ring.
    pub const CONSOLE_PFN: u64 = 17;
}

impl PvWidth {
    /// Entries of the table of frames that fit a page.
    #[must_use]
    pub fn frames_per_page(self) -> u64 {
        match self {
            Self::Bits32 => 1024,
            Self::Bits64 => 512,
        }
    }
}

impl PvVcpuPart {
    pub(super) fn number(self) -> u32 {
        match self {
            Self::Basic => kind::X86_PV_VCPU_BASIC,
            Self::Extended => kind::X86_PV_VCPU_EXTENDED,
            Self::Xsave => kind::X86_PV_VCPU_XSAVE,
            Self::Msrs => kind::X86_PV_VCPU_MSRS,
        }
    }
}

impl P2mFrames {
    /// How many frames the range takes; `None` for a range that ends before it begins.
    pub(super) fn count(start: u32, end: u32, width: PvWidth) -> Option<u64> {
        let per_page = width.frames_per_page();
        (start <= end).then(|| u64::from(end) / per_page - u64::from(start) / per_page + 1)
    }
}

impl Record<'_> {
    /// Its number in the stream.
    #[must_use]
    pub fn number(&self) -> u32 {
        match self {
            Self::End => kind::END,
            Self::Pages(_) => kind::PAGE_DATA,
            Self::PvInfo(_) => kind::X86_PV_INFO,
            Self::P2mFrames(_) => kind::X86_PV_P2M_FRAMES,
            Self::PvVcpu { part, .. } => part.number(),
            Self::SharedInfo(_) => kind::SHARED_INFO,
            Self::Tsc(_) => kind::X86_TSC_INFO,
            Self::HvmContext(_) => kind::HVM_CONTEXT,
            Self::HvmParams(_) => kind::HVM_PARAMS,
            Self::Verify => kind::VERIFY,
            Self::StaticDataEnd => kind::STATIC_DATA_END,
            Self::CpuidPolicy(_) => kind::X86_CPUID_POLICY,
            Self::MsrPolicy(_) => kind::X86_MSR_POLICY,
        }
    }
}
