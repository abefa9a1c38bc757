//! Why a guest does not arrive.

use vmm_core::cpu;
use vmm_core::migration::Pfn;
use vmm_core::migration::codec::DecodeError;
use xen_bindings::XenError;
use xen_bindings::stream::StreamError;

use crate::migrate::frames::FrameError;

/// Why a guest does not arrive. Whatever it is: destroy the domain, and let the source's guest run on.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ArrivalError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("page {page} cannot be read: {error}")]
    Page { page: Pfn, error: DecodeError },
    #[error(
        "the guest's pages end at {pfn_end:#x}, and what was agreed ends at {limit:#x}: it has more memory than it was said to have"
    )]
    End { pfn_end: u32, limit: u32 },
    #[error("page {page} lies beyond the guest's end")]
    Beyond { page: Pfn },
    #[error("page {page} comes twice in a batch")]
    Twice { page: Pfn },
    #[error("page {page} is told by what changed, and nothing was kept of it")]
    NoCopy { page: Pfn },
    #[error("copies of {pages} pages are to be kept where {pages_max} may be")]
    Copies { pages: u64, pages_max: u64 },
    #[error(
        "the guest has more than the {frames_max} pages that were agreed: look at its memory on the source"
    )]
    Frames { frames_max: u64 },
    #[error("page {page} is of a type that only PV guests have")]
    Type { page: Pfn },
    #[error("page {page} was given back, and never came")]
    NotThere { page: Pfn },
    #[error("{told} frames were said to have come, and {came} have")]
    Count { told: u64, came: u64 },
    #[error("the guest's static data cannot be used: {0}")]
    Prologue(StreamError),
    #[error("the guest's state cannot be used: {0}")]
    Epilogue(StreamError),
    #[error("the guest's image has {0}")]
    Image(&'static str),
    #[error(
        "the processors here lack what the guest may use: {}; move it to a host that has it, or restart it here", cpu::in_words(.missing)
    )]
    Features { missing: Vec<usize> },
    #[error("the restore takes no more: {0}")]
    Write(StreamError),
    #[error("no memory or no file is left for an arrival: {0}")]
    NoRoom(String),
    #[error("the guest cannot be restored: {0}")]
    Restore(XenError),
    #[error("frames that the guest gave back cannot be released: {0}")]
    Release(XenError),
    #[error("the stream ended before the guest had come: migrate it again")]
    Truncated,
    #[error("the arrival has failed before")]
    Over,
}
