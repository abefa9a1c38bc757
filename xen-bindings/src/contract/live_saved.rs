//! A guest of either kind that libxenguest saves while it runs, in rounds that the suite steers.

use std::io::Read as _;
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use super::guest::{
    KINDS, MEMORY_KIB, boot, booted, introduce, limits, port, poweroff, ready, terminal,
    vcpus_come_and_go,
};
use super::live::compare;
use super::memory::all_frames;
use super::subject::{Case, Outcome, Subject, ensure, refused, same, text};
use super::suspend::suspend;
use crate::control::GuestKind;
use crate::domid::DomId;
use crate::error::XenErrorKind;
use crate::guest_image::{GIVEN_UP, Next, Precopy, RestoreSpec, SavePilot};
use crate::log_dirty::Leftover;

/// Rewritten all the time, with its own checks: all of it within a second.
const WORKLOAD: &str = "dirty:4:4";
/// Long enough for a guest to write something.
const WHILE: Duration = Duration::from_secs(2);
/// Rounds of a save that goes well.
const ROUNDS: u32 = 3;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "a PVH guest that is saved while it runs arrives byte by byte and goes on",
        run: |subject| moved(subject, GuestKind::Pvh),
    },
    Case {
        name: "a PV guest that is saved while it runs arrives and goes on",
        run: |subject| match logs_pv(subject)? {
            true => moved(subject, GuestKind::Pv),
            false => not_logged(subject),
        },
    },
    Case { name: "a save that is given up leaves a guest that nobody logs", run: given_up },
];

/// How a save shall end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    GivenUp { at: usize },
    NotSuspended,
}

struct Rounds<'a> {
    subject: &'a Subject,
    id: DomId,
    end: End,
    asked: Vec<Precopy>,
    /// What went wrong with the guest.
    failure: Option<String>,
}

impl<'a> Rounds<'a> {
    fn new(subject: &'a Subject, id: DomId, end: End) -> Self {
        Self { subject, id, end, asked: Vec::new(), failure: None }
    }

    /// What it was asked: in pairs, of rounds that count up; all of memory first, and of what is written later.
    fn check(&self) -> Outcome {
        let first = self.asked.first().ok_or("nothing was asked")?;
        same("sent before the first round", (first.rounds, first.sent_pages), (0, 0))?;
        ensure(
            first.dirty_pages.is_some_and(|pages| pages * 8 >= MEMORY_KIB),
            format!("{first:?}"),
        )?;
        for (pair, number) in self.asked.chunks(2).zip(0..) {
            let [before, after] = pair else { continue };
            let rounds = (before.rounds, after.rounds);
            same("rounds", rounds, (number, number + 1))?;
            ensure(
                before.dirty_pages.is_some() && after.dirty_pages.is_none(),
                format!("{pair:?}"),
            )?;
            let sent = before.sent_pages + before.dirty_pages.unwrap_or(0);
            same("sent pages", after.sent_pages, sent)?;
            let writes = before.dirty_pages.is_some_and(|pages| pages > 0);
            ensure(writes, "a guest that writes is not told of")?;
        }
        Ok(())
    }
}

impl SavePilot for Rounds<'_> {
    fn next(&mut self, at: Precopy) -> Next {
        self.asked.push(at);
        match self.end {
            End::GivenUp { at } if self.asked.len() > at => return Next::GiveUp,
            _ if at.dirty_pages.is_some() && at.rounds == ROUNDS => return Next::Stop,
            _ => {}
        }
        if at.dirty_pages.is_none() {
            (self.subject.wait)(WHILE);
        }
        Next::Round
    }

    fn suspend(&mut self) -> bool {
        if self.end == End::NotSuspended {
            return false;
        }
        self.failure = suspend(self.subject, self.id).err();
        self.failure.is_none()
    }
}

fn logs_pv(subject: &Subject) -> Result<bool, String> {
    Ok(subject.xen.host.physinfo().map_err(text)?.shadow)
}

/// Where Xen has no shadow paging, it is said before anything is written, and the guest runs on.
fn not_logged(subject: &Subject) -> Outcome {
    let guard = ready(subject, GuestKind::Pv)?;
    let id = guard.domid;
    let (mut reader, writer) = std::io::pipe().map_err(text)?;
    let mut rounds = Rounds::new(subject, id, End::Whole);
    let saved = subject.xen.image.save_live(id, writer.as_fd(), &mut rounds);
    drop(writer);
    refused("a save of a guest that nobody logs", saved, XenErrorKind::Unsupported)?;
    let mut written = Vec::new();
    reader.read_to_end(&mut written).map_err(text)?;
    same("what was written and asked", (written.len(), rounds.asked.len()), (0, 0))?;
    vcpus_come_and_go(subject, id)?;
    poweroff(subject, id)
}

fn moved(subject: &Subject, kind: GuestKind) -> Outcome {
    let source = booted(subject, kind, WORKLOAD)?;
    boot(subject, source.domid)?;
    let (guard, shell) = subject.shell_of(kind, 2)?;
    limits(subject, &guard, &shell, MEMORY_KIB)?;
    let (store_port, console_port) = (port(subject, &guard)?, port(subject, &guard)?);
    let spec = RestoreSpec { store_port, console_port };
    let (reader, writer) = std::io::pipe().map_err(text)?;
    let (image, mut rounds) = (&subject.xen.image, Rounds::new(subject, source.domid, End::Whole));
    let restored = thread::scope(|scope| {
        let shell = &shell;
        let restoring = scope.spawn(move || {
            let restored = image.restore(shell, reader.as_fd(), &spec);
            // What is left of the stream has no reader then.
            drop(reader);
            restored
        });
        let saved = image.save_live(source.domid, writer.as_fd(), &mut rounds);
        drop(writer);
        let restored = restoring.join().map_err(|_| "the thread that restores panicked")?;
        let failure = &rounds.failure;
        saved.map_err(|error| format!("save: {error}; suspend: {failure:?}"))?;
        restored.map_err(|error| format!("restore: {error}"))
    })?;
    rounds.check()?;
    subject.xen.guest_memory.end_log(source.domid).map_err(text)?;
    if kind == GuestKind::Pvh {
        compare(subject, source.domid, guard.domid, &all_frames(subject, source.domid)?)?;
    }
    drop(source);
    introduce(subject, &shell, (spec.store_port, spec.console_port), restored)?;
    subject.xen.control.unpause(guard.domid).map_err(text)?;
    terminal(subject, guard.domid)?;
    poweroff(subject, guard.domid)
}

/// Somebody who takes whatever is sent.
fn into_nothing(subject: &Subject, id: DomId, end: End) -> Outcome {
    let (mut reader, writer) = std::io::pipe().map_err(text)?;
    let mut rounds = Rounds::new(subject, id, end);
    let saved = thread::scope(|scope| {
        let reading = scope.spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
        let saved = subject.xen.image.save_live(id, writer.as_fd(), &mut rounds);
        drop(writer);
        reading.join().map(|_| saved).map_err(|_| "the thread that reads panicked".to_owned())
    })?;
    refused("a save that its pilot ends", saved, GIVEN_UP)
}

fn given_up(subject: &Subject) -> Outcome {
    let logs_pv = logs_pv(subject)?;
    for kind in KINDS.into_iter().filter(|kind| *kind == GuestKind::Pvh || logs_pv) {
        let guard = ready(subject, kind)?;
        let id = guard.domid;
        for end in [End::GivenUp { at: 0 }, End::GivenUp { at: 3 }, End::NotSuspended] {
            into_nothing(subject, id, end)?;
            if kind == GuestKind::Pvh {
                let log = subject.xen.guest_memory.log_dirty(id, Leftover::Refuse);
                drop(log.map_err(|error| format!("its log is on: {error}"))?);
            }
        }
        subject.xen.guest_memory.end_log(id).map_err(text)?;
        vcpus_come_and_go(subject, id).map_err(|error| format!("{kind:?}: {error}"))?;
        poweroff(subject, id)?;
    }
    Ok(())
}
