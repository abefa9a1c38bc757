//! A guest that moves into another domain while it is saved, through a pipe; and what does not fit there.

use std::io::{PipeReader, Read, Write};
use std::os::fd::AsFd;
use std::thread;

use super::guest::{MEMORY_KIB, introduce, limits, port, poweroff, ready, vcpus_come_and_go};
use super::subject::{Case, DomainGuard, Outcome, Subject, ensure, refused, same, text};
use super::suspend::{resume, suspend};
use crate::control::{GuestKind, RunState};
use crate::domid::DomId;
use crate::error::{XenError, XenErrorKind};
use crate::guest_image::{BuiltGuest, RestoreSpec};
use crate::vcpu::Shell;

/// A restored guest may have so much more or less of Xen's own pages.
const NOISE_KIB: u64 = 1024;
/// Where a stream is cut: within its first headers.
const HEAD_BYTES: usize = 100;
const EPIPE: XenErrorKind = XenErrorKind::Other(32);

pub(super) const CASES: &[Case] = &[
    Case {
        name: "a PVH guest moves through a pipe and goes on",
        run: |s| moved(s, GuestKind::Pvh),
    },
    Case { name: "a PV guest moves through a pipe and goes on", run: |s| moved(s, GuestKind::Pv) },
    Case { name: "a save that cannot be written leaves the guest as it was", run: unwritable },
    Case { name: "a stream that is cut in its first headers is refused", run: cut_early },
    Case { name: "a stream that does not fit the shell is refused", run: misfits },
];

/// A shell with limits, and its ports.
fn target(
    subject: &Subject,
    kind: GuestKind,
    vcpus: u32,
    memory_kib: u64,
) -> Result<(DomainGuard<'_>, Shell, RestoreSpec), String> {
    let (guard, shell) = subject.shell_of(kind, vcpus)?;
    limits(subject, &guard, &shell, memory_kib)?;
    let (store_port, console_port) = (port(subject, &guard)?, port(subject, &guard)?);
    Ok((guard, shell, RestoreSpec { store_port, console_port }))
}

type Both = (Result<(), XenError>, Result<BuiltGuest, XenError>);

/// Saves one domain and restores it into a shell at the same time.
fn transfer(
    subject: &Subject,
    from: DomId,
    into: &Shell,
    spec: &RestoreSpec,
) -> Result<Both, String> {
    let (reader, writer) = std::io::pipe().map_err(text)?;
    let image = &subject.xen.image;
    thread::scope(|scope| {
        let saving = scope.spawn(move || image.save(from, writer.as_fd()));
        let restored = image.restore(into, reader.as_fd(), spec);
        // What is left of the stream has no reader then.
        drop(reader);
        let saved = saving.join().map_err(|_| "the thread that saves panicked".to_owned())?;
        Ok((saved, restored))
    })
}

fn moved(subject: &Subject, kind: GuestKind) -> Outcome {
    let source = ready(subject, kind)?;
    suspend(subject, source.domid)?;
    let before = subject.present(source.domid)?;
    let (guard, shell, spec) = target(subject, kind, 2, MEMORY_KIB)?;
    let (saved, restored) = transfer(subject, source.domid, &shell, &spec)?;
    saved.map_err(|error| format!("save: {error}"))?;
    let restored = restored.map_err(|error| format!("restore: {error}"))?;
    same("the source afterwards", subject.present(source.domid)?.state, before.state)?;
    drop(source);
    let info = subject.present(guard.domid)?;
    same("its state", info.state, RunState::Paused)?;
    let moved = info.pages.kib().abs_diff(before.pages.kib());
    ensure(moved <= NOISE_KIB, format!("{:?} of {:?}", info.pages, before.pages))?;
    introduce(subject, &shell, (spec.store_port, spec.console_port), restored)?;
    subject.xen.control.unpause(guard.domid).map_err(text)?;
    poweroff(subject, guard.domid)
}

fn unwritable(subject: &Subject) -> Outcome {
    let guard = ready(subject, GuestKind::Pvh)?;
    suspend(subject, guard.domid)?;
    let (reader, writer) = std::io::pipe().map_err(text)?;
    drop(reader);
    refused("a closed pipe", subject.xen.image.save(guard.domid, writer.as_fd()), EPIPE)?;
    resume(subject, guard.domid)?;
    vcpus_come_and_go(subject, guard.domid)
}

/// A pipe that holds these few bytes and then ends.
fn piped(bytes: &[u8]) -> Result<PipeReader, String> {
    let (reader, mut writer) = std::io::pipe().map_err(text)?;
    writer.write_all(bytes).map_err(text)?;
    Ok(reader)
}

/// The beginning of a real stream.
fn head(subject: &Subject, from: DomId) -> Result<Vec<u8>, String> {
    let (mut reader, writer) = std::io::pipe().map_err(text)?;
    let image = &subject.xen.image;
    thread::scope(|scope| {
        // It fails when the reader goes, or has written all before.
        let saving = scope.spawn(move || image.save(from, writer.as_fd()));
        let mut head = vec![0; HEAD_BYTES];
        let read = reader.read_exact(&mut head).map_err(text);
        drop(reader);
        let _ = saving.join().map_err(|_| "the thread that saves panicked".to_owned())?;
        read.map(|()| head)
    })
}

fn cut_early(subject: &Subject) -> Outcome {
    let source = ready(subject, GuestKind::Pvh)?;
    suspend(subject, source.domid)?;
    let head = head(subject, source.domid)?;
    drop(source);
    let (_guard, shell, spec) = target(subject, GuestKind::Pvh, 2, MEMORY_KIB)?;
    let restored = subject.xen.image.restore(&shell, piped(&head)?.as_fd(), &spec);
    refused("a beginning", restored, XenErrorKind::BadImage)
}

fn misfits(subject: &Subject) -> Outcome {
    let source = ready(subject, GuestKind::Pvh)?;
    suspend(subject, source.domid)?;
    for (what, kind, vcpus, memory_kib) in [
        ("fewer vCPUs", GuestKind::Pvh, 1, MEMORY_KIB),
        ("another kind", GuestKind::Pv, 2, MEMORY_KIB),
        ("less memory", GuestKind::Pvh, 2, MEMORY_KIB / 2),
    ] {
        let (_guard, shell, spec) = target(subject, kind, vcpus, memory_kib)?;
        let (_, restored) = transfer(subject, source.domid, &shell, &spec)?;
        refused(what, restored, XenErrorKind::BadImage)?;
    }
    resume(subject, source.domid)?;
    vcpus_come_and_go(subject, source.domid)
}
