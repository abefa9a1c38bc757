//! A PVH guest's memory and state from outside: frames, mappings, the log of writes.

use std::time::Duration;

use super::guest::{build, limits};
use super::subject::{Case, DomainGuard, Outcome, Subject, ensure, refused, same, text};
use crate::control::{GuestKind, RunState};
use crate::domid::DomId;
use crate::error::XenErrorKind;
use crate::frame::Gfn;
use crate::gfn_set::{GfnBatch, GfnSet};
use crate::guest_memory::populated;
use crate::log_dirty::Leftover;
use crate::page_type::PageType;
use crate::stream::image::{HvmParam, ZERO_PAGE};

/// In the suite's guests, below their memory's end and above what their kernels fill.
const INSIDE: u64 = 0x5000;
/// Between a guest's memory and what lies high.
const HOLE: Gfn = Gfn(0xe0000);
/// Pages of Xen's own count that are no frame to look at.
const HIDDEN_PAGES: u64 = 64;
/// Longer than a domain takes to end that nobody holds.
const QUIET: Duration = Duration::from_secs(1);
const GONE: Duration = Duration::from_secs(10);

pub(super) const CASES: &[Case] = &[
    Case { name: "a guest's frames are found, read, and given back once", run: frames },
    Case { name: "a guest's processor, clock, machine and rings are told", run: state },
    Case { name: "a log of writes is begun by one, and lost by nobody unnoticed", run: logs },
    Case { name: "a domain that is mapped ends when it is mapped no more", run: mapped },
    Case { name: "only a PVH guest's memory and machine are looked at", run: pv },
];

/// A guest that was built and never ran.
fn built(subject: &Subject) -> Result<DomainGuard<'_>, String> {
    let (guard, shell) = subject.shell(2)?;
    build(subject, &guard, shell)?;
    Ok(guard)
}

pub(super) fn batch(gfns: impl IntoIterator<Item = u64>) -> GfnBatch {
    GfnBatch::take_from(&mut gfns.into_iter().map(Gfn))
}

pub(super) fn all_frames(subject: &Subject, id: DomId) -> Result<GfnSet, String> {
    let pages = subject.present(id)?.pages;
    populated(subject.xen.guest_memory.as_ref(), id, pages, &GfnSet::default()).map_err(text)
}

fn frames(subject: &Subject) -> Outcome {
    let guard = built(subject)?;
    let (memory, id) = (&subject.xen.guest_memory, guard.domid);
    let found = all_frames(subject, id)?;
    let pages = subject.present(id)?.pages.0;
    ensure(
        found.len() <= pages && found.len() + HIDDEN_PAGES >= pages,
        format!("{} frames of {pages} pages", found.len()),
    )?;
    ensure(found.contains(Gfn(INSIDE)) && !found.contains(HOLE), "frames are where none are")?;
    same("its end", memory.gfn_end(id).map_err(text)?, found.end())?;
    read(subject, id)?;
    give_back(subject, id)
}

/// A hole in the middle is no page, and no reason for the others to be none.
fn read(subject: &Subject, id: DomId) -> Outcome {
    let (memory, around) = (&subject.xen.guest_memory, batch([INSIDE, HOLE.0, INSIDE + 1]));
    let expect = [PageType::Normal, PageType::Absent, PageType::Normal];
    same("types", memory.page_types(id, &around).map_err(text)?, expect.to_vec())?;
    let mapped = memory.map(id, &around).map_err(text)?;
    same("mapped", mapped.count(), 3)?;
    let (mut page, mut again) = (ZERO_PAGE, ZERO_PAGE);
    for (index, expect) in [(0, true), (1, false), (2, true), (3, false)] {
        same(&format!("copy {index}"), mapped.copy(index, &mut page), expect)?;
    }
    ensure(mapped.copy(2, &mut again) && page == again, "a guest that rests changes")?;
    let none = memory.map(id, &batch([])).map(|_| ());
    refused("no frame", none, XenErrorKind::Invalid)
}

fn give_back(subject: &Subject, id: DomId) -> Outcome {
    const COUNT: u64 = 16;
    let (memory, some) = (&subject.xen.guest_memory, batch(INSIDE..INSIDE + COUNT));
    let before = subject.present(id)?.pages.0;
    memory.release(id, &some).map_err(text)?;
    same("pages afterwards", subject.present(id)?.pages.0, before - COUNT)?;
    let gone = vec![PageType::Absent; some.len()];
    same("their types", memory.page_types(id, &some).map_err(text)?, gone)?;
    refused("a second time", memory.release(id, &some), XenErrorKind::Invalid)?;
    same("pages after that", subject.present(id)?.pages.0, before - COUNT)
}

fn state(subject: &Subject) -> Outcome {
    let guard = built(subject)?;
    let (state, id) = (&subject.xen.guest_state, guard.domid);
    let policy = state.cpu_policy(id).map_err(text)?;
    let has_leaf = |number| policy.leaves.iter().any(|leaf| leaf.leaf == number);
    ensure(has_leaf(0) && has_leaf(1) && !policy.msrs.is_empty(), format!("{policy:?}"))?;
    let (promised, most) = (policy.features(), state.cpu_policy_max().map_err(text)?.features());
    let beyond = |(word, bits): (usize, &u32)| bits & !most.get(word).copied().unwrap_or(0) != 0;
    let is_kept = !promised.is_empty() && !promised.iter().enumerate().any(beyond);
    ensure(is_kept, format!("it was promised {promised:x?}, and the host has {most:x?}"))?;
    ensure(state.tsc(id).map_err(text)?.khz > 0, "its clock stands")?;
    ensure(!state.hvm_context(id).map_err(text)?.is_empty(), "it has no machine")?;
    let params = state.hvm_params(id).map_err(text)?;
    for index in [HvmParam::STORE_PFN, HvmParam::CONSOLE_PFN] {
        let ring = params.iter().find(|param| param.index == index);
        let ring = ring.ok_or_else(|| format!("no parameter {index} among {params:?}"))?;
        let types = subject.xen.guest_memory.page_types(id, &batch([ring.value])).map_err(text)?;
        same("a ring's type", types, vec![PageType::Normal])?;
    }
    Ok(())
}

fn logs(subject: &Subject) -> Outcome {
    let guard = built(subject)?;
    let (memory, id) = (&subject.xen.guest_memory, guard.domid);
    let begin = |leftover| memory.log_dirty(id, leftover);
    let mut frames = GfnSet::default();
    let mut first = begin(Leftover::Refuse).map_err(text)?;
    refused("a second one", begin(Leftover::Refuse).map(|_| ()), XenErrorKind::Invalid)?;
    first.clean(&mut frames).map_err(text)?;
    same("what a guest that never ran has written", frames.len(), 0)?;
    same("room", frames.end(), memory.gfn_end(id).map_err(text)?)?;
    same("counted", first.counts().map_err(text)?.dirty, 0)?;
    first.clean_final(&mut frames).map_err(text)?;
    let second = begin(Leftover::Replace).map_err(text)?;
    second.end().map_err(text)?;
    // Nothing tells that it is off: it reads as clean. Only who asks for the end is told.
    first.clean(&mut frames).map_err(text)?;
    same("what a log that is off tells", frames.len(), 0)?;
    let lost = first.clean_final(&mut frames);
    refused("the end of a log that was lost", lost, XenErrorKind::Invalid)?;
    drop(first);
    drop(begin(Leftover::Refuse).map_err(|error| format!("once it is off: {error}"))?);
    drop(begin(Leftover::Refuse).map_err(|error| format!("once it was dropped: {error}"))?);
    let mut orphan = begin(Leftover::Refuse).map_err(text)?;
    drop(guard);
    let gone = orphan.clean(&mut frames);
    refused("of a domain that is gone", gone, XenErrorKind::NoSuchDomain)?;
    refused("the counts of it", orphan.counts(), XenErrorKind::NoSuchDomain)
}

fn mapped(subject: &Subject) -> Outcome {
    let guard = built(subject)?;
    let (memory, id) = (&subject.xen.guest_memory, guard.domid);
    let mapped = memory.map(id, &batch([INSIDE])).map_err(text)?;
    subject.xen.control.destroy(id).map_err(text)?;
    (subject.wait)(QUIET);
    same("mapped", subject.present(id)?.state, RunState::Dying)?;
    ensure(mapped.copy(0, &mut ZERO_PAGE.clone()), "what is mapped is gone")?;
    let again = memory.map(id, &batch([INSIDE])).map(|_| ());
    refused("to be mapped again", again, XenErrorKind::NoSuchDomain)?;
    drop(mapped);
    subject.until("it is gone", GONE, || Ok(subject.info(id)?.is_none()))
}

fn pv(subject: &Subject) -> Outcome {
    let unsupported = XenErrorKind::Unsupported;
    let (guard, shell) = subject.shell_of(GuestKind::Pv, 1)?;
    limits(subject, &guard, &shell, 65_536)?;
    let (memory, state, id) = (&subject.xen.guest_memory, &subject.xen.guest_state, guard.domid);
    let some = batch([1]);
    refused("its end", memory.gfn_end(id), unsupported)?;
    refused("types", memory.page_types(id, &some), unsupported)?;
    refused("a mapping", memory.map(id, &some).map(|_| ()), unsupported)?;
    refused("giving back", memory.release(id, &some), unsupported)?;
    refused("a log", memory.log_dirty(id, Leftover::Replace).map(|_| ()), unsupported)?;
    refused("its machine", state.hvm_context(id), unsupported)?;
    refused("its parameters", state.hvm_params(id), unsupported)?;
    ensure(!state.cpu_policy(id).map_err(text)?.leaves.is_empty(), "it has no processor")
}
