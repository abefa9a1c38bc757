//! A PVH guest that is copied while it runs, by a sender of the suite's own, and compared byte by byte where it arrives.
//!
//! The sender is as simple as one can be that loses nothing: all pages, one round of those written to meanwhile, and the rest once the
//! guest is suspended.

use std::io::Write;
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use super::guest::{
    MEMORY_KIB, boot, booted, introduce, limits, port, poweroff, ready, terminal, vcpus_come_and_go,
};
use super::memory::{all_frames, batch};
use super::subject::{Case, Outcome, Subject, ensure, same, text};
use super::suspend::{resume, suspend};
use crate::control::GuestKind;
use crate::domid::DomId;
use crate::frame::{Gfn, Pfn};
use crate::gfn_set::{GfnBatch, GfnSet};
use crate::guest_image::RestoreSpec;
use crate::log_dirty::{DirtyLog, Leftover};
use crate::page_type::PageType;
use crate::stream::Output;
use crate::stream::image::{
    DomainHeader, HvmParam, ImageWriter, Page, PageBytes, Pages, Record, ZERO_PAGE,
};

/// Rewritten all the time, with its own checks: a few MiB, and all of them within a second.
const WORKLOAD: &str = "dirty:4:4";
/// Long enough for a guest to write something.
const WHILE: Duration = Duration::from_secs(2);

pub(super) const CASES: &[Case] = &[
    Case {
        name: "a guest that is copied while it runs arrives byte by byte and goes on",
        run: moved,
    },
    Case { name: "a guest that was about to move stays as it was", run: stays },
];

/// A stream and what has been sent through it.
struct Sender<'a, W> {
    subject: &'a Subject,
    id: DomId,
    writer: ImageWriter<W>,
    sent: GfnSet,
}

impl<'a, W: Write> Sender<'a, W> {
    fn begin(subject: &'a Subject, id: DomId, to: W) -> Result<Self, String> {
        let header = DomainHeader { kind: GuestKind::Pvh, xen_major: 4, xen_minor: 17 };
        let mut writer = ImageWriter::begin(Output::new(to), header).map_err(text)?;
        let policy = subject.xen.guest_state.cpu_policy(id).map_err(text)?;
        writer.write(&Record::CpuidPolicy(policy.leaves)).map_err(text)?;
        writer.write(&Record::MsrPolicy(policy.msrs)).map_err(text)?;
        writer.write(&Record::StaticDataEnd).map_err(text)?;
        Ok(Self { subject, id, writer, sent: GfnSet::default() })
    }

    /// Those of them that are there now.
    fn send(&mut self, frames: &GfnSet) -> Outcome {
        self.sent.grow(frames.end());
        for batch in GfnBatch::all(frames.iter()) {
            self.send_batch(&batch)?;
        }
        Ok(())
    }

    fn send_batch(&mut self, batch: &GfnBatch) -> Outcome {
        let memory = &self.subject.xen.guest_memory;
        let types = memory.page_types(self.id, batch).map_err(text)?;
        let there = batch.gfns().iter().zip(types).filter(|(_, kind)| kind.has_contents());
        let there = self::batch(there.map(|(gfn, _)| gfn.0));
        if there.is_empty() {
            return Ok(());
        }
        let mapped = memory.map(self.id, &there).map_err(text)?;
        let mut copies = vec![ZERO_PAGE; there.len()];
        let mut pages = Pages::new();
        for (index, (gfn, copy)) in there.gfns().iter().zip(&mut copies).enumerate() {
            // A frame that has gone meanwhile is none.
            if mapped.copy(index, copy) {
                ensure(self.sent.insert(*gfn), format!("frame {gfn} lies above the end"))?;
                let page = Page::normal(Pfn(gfn.0), copy);
                ensure(page.is_some_and(|page| pages.push(page)), "a batch fits a record")?;
            }
        }
        match pages.is_empty() {
            true => Ok(()),
            false => self.writer.write(&Record::Pages(pages)).map_err(text),
        }
    }

    /// Once the guest is suspended: what was written to or has come since, and the guest's machine.
    fn end(mut self, log: &mut DirtyLog) -> Result<GfnSet, String> {
        let mut frames = GfnSet::default();
        log.clean_final(&mut frames).map_err(text)?;
        self.send(&frames)?;
        let now = all_frames(self.subject, self.id)?;
        let mut come = now.clone();
        come.subtract(&self.sent);
        self.send(&come)?;
        let state = &self.subject.xen.guest_state;
        for record in [
            Record::Tsc(state.tsc(self.id).map_err(text)?),
            Record::HvmContext(&state.hvm_context(self.id).map_err(text)?),
            Record::HvmParams(state.hvm_params(self.id).map_err(text)?),
            Record::End,
        ] {
            self.writer.write(&record).map_err(text)?;
        }
        self.writer.into_output().map_err(text)?;
        Ok(now)
    }
}

/// The whole way, until the guest is suspended and all of it is in the stream. Answers the frames that it has.
fn send_live(subject: &Subject, id: DomId, to: impl Write) -> Result<GfnSet, String> {
    let memory = &subject.xen.guest_memory;
    let mut sender = Sender::begin(subject, id, to)?;
    let mut log = memory.log_dirty(id, Leftover::Refuse).map_err(text)?;
    sender.send(&all_frames(subject, id)?)?;
    (subject.wait)(WHILE);
    let (mut peeked, mut cleaned) = (GfnSet::default(), GfnSet::default());
    log.peek(&mut peeked).map_err(text)?;
    log.clean(&mut cleaned).map_err(text)?;
    ensure(!peeked.is_empty(), "a guest that writes is not told of")?;
    peeked.subtract(&cleaned);
    ensure(peeked.is_empty(), "a look at the log has changed it")?;
    sender.send(&cleaned)?;
    suspend(subject, id)?;
    let frames = sender.end(&mut log)?;
    log.clean(&mut cleaned).map_err(text)?;
    same("what a suspended guest writes", cleaned.len(), 0)?;
    same("counted", log.counts().map_err(text)?.dirty, 0)?;
    log.end().map_err(text)?;
    Ok(frames)
}

fn moved(subject: &Subject) -> Outcome {
    let source = booted(subject, GuestKind::Pvh, WORKLOAD)?;
    boot(subject, source.domid)?;
    let (guard, shell) = subject.shell_of(GuestKind::Pvh, 2)?;
    limits(subject, &guard, &shell, MEMORY_KIB)?;
    let (store_port, console_port) = (port(subject, &guard)?, port(subject, &guard)?);
    let spec = RestoreSpec { store_port, console_port };
    let (reader, writer) = std::io::pipe().map_err(text)?;
    let image = &subject.xen.image;
    let (frames, restored) = thread::scope(|scope| {
        let shell = &shell;
        let restoring = scope.spawn(move || {
            let restored = image.restore(shell, reader.as_fd(), &spec);
            // What is left of the stream has no reader then.
            drop(reader);
            restored
        });
        let sent = send_live(subject, source.domid, writer);
        let restored = restoring.join().map_err(|_| "the thread that restores panicked")?;
        let restored = restored
            .map_err(|error| format!("restore: {error}; sent: {:?}", sent.as_ref().err()))?;
        Ok::<_, String>((sent?, restored))
    })?;
    compare(subject, source.domid, guard.domid, &frames)?;
    drop(source);
    introduce(subject, &shell, (spec.store_port, spec.console_port), restored)?;
    subject.xen.control.unpause(guard.domid).map_err(text)?;
    terminal(subject, guard.domid)?;
    poweroff(subject, guard.domid)
}

/// Every page, but for the rings, which a restore clears.
pub(super) fn compare(subject: &Subject, from: DomId, to: DomId, frames: &GfnSet) -> Outcome {
    let mut expected = frames.clone();
    for param in subject.xen.guest_state.hvm_params(from).map_err(text)? {
        if [HvmParam::STORE_PFN, HvmParam::CONSOLE_PFN].contains(&param.index) {
            expected.remove(Gfn(param.value));
        }
    }
    let (mut differ, memory) = (Vec::new(), &subject.xen.guest_memory);
    for batch in GfnBatch::all(expected.iter()) {
        let (own, other) = (memory.map(from, &batch), memory.map(to, &batch));
        let (own, other) = (own.map_err(text)?, other.map_err(text)?);
        let (mut page, mut copy): (PageBytes, PageBytes) = (ZERO_PAGE, ZERO_PAGE);
        for (index, gfn) in batch.gfns().iter().enumerate() {
            let there = own.copy(index, &mut page) && other.copy(index, &mut copy);
            if !there || page != copy {
                differ.push(*gfn);
            }
        }
    }
    let first: Vec<&Gfn> = differ.iter().take(8).collect();
    ensure(
        differ.is_empty(),
        format!("{} of {} pages differ: {first:?}", differ.len(), frames.len()),
    )?;
    let (mut missing, mut extra) = (frames.clone(), all_frames(subject, to)?);
    missing.subtract(&extra);
    extra.subtract(frames);
    ensure(missing.is_empty(), format!("{} frames have not arrived", missing.len()))?;
    ensure(extra.is_empty(), format!("{} frames have come from nowhere", extra.len()))
}

/// Everything is undone after the guest was suspended: it goes on in the same domain, and nobody logs.
fn stays(subject: &Subject) -> Outcome {
    let guard = ready(subject, GuestKind::Pvh)?;
    let id = guard.domid;
    let frames = send_live(subject, id, std::io::sink())?;
    let types = subject.xen.guest_memory.page_types(id, &batch([0])).map_err(text)?;
    same("its first frame", types, vec![PageType::Normal])?;
    resume(subject, id)?;
    vcpus_come_and_go(subject, id)?;
    ensure(all_frames(subject, id)?.len() >= frames.len() / 2, "it has lost memory")?;
    drop(subject.xen.guest_memory.log_dirty(id, Leftover::Refuse).map_err(text)?);
    poweroff(subject, id)
}
