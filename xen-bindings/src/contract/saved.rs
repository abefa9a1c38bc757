//! A guest saved to a file, resumed, and restored into a new domain.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::guest::{self, MEMORY_KIB, boot, build, introduce, node, port, poweroff, terminal};
use super::subject::{Case, DomainGuard, Outcome, Subject, ensure, refused, same, text};
use crate::control::{DomainConfig, GuestKind, RunState, ShutdownReason};
use crate::domid::DomId;
use crate::error::XenErrorKind;
use crate::guest_image::RestoreSpec;
use crate::vcpu::Shell;

const SUSPEND: Duration = Duration::from_secs(30);
const BACK: Duration = Duration::from_secs(10);
/// What a machine's free memory may change by, for reasons of its own.
const NOISE_KIB: u64 = 2048;
const SUSPENDED: RunState = RunState::Shutdown(ShutdownReason::Suspend);

pub(super) const CASES: &[Case] = &[
    Case { name: "a PVH guest is suspended, resumed, saved and goes on in a new domain", run: pvh },
    Case { name: "a PV guest is suspended, resumed, saved and goes on in a new domain", run: pv },
    Case { name: "what is no saved guest is refused and nothing of it stays", run: no_stream },
];

fn pvh(subject: &Subject) -> Outcome {
    round_trip(subject, GuestKind::Pvh)
}

fn pv(subject: &Subject) -> Outcome {
    round_trip(subject, GuestKind::Pv)
}

fn round_trip(subject: &Subject, kind: GuestKind) -> Outcome {
    let before = subject.free_kib()?;
    let (guard, shell) = shell(subject, kind)?;
    build(subject, &guard, shell)?;
    subject.xen.control.unpause(guard.domid).map_err(text)?;
    boot(subject, guard.domid)?;
    let file = Scrap::new()?;
    refuse_running(subject, guard.domid, &file)?;
    suspend(subject, guard.domid)?;
    resume(subject, guard.domid)?;
    suspend(subject, guard.domid)?;
    let pages = subject.present(guard.domid)?.pages.kib();
    subject.xen.image.save(guard.domid, file.open()?.as_fd()).map_err(text)?;
    same("the state after a save", subject.present(guard.domid)?.state, SUSPENDED)?;
    drop(guard);
    cut_off(subject, kind, &file)?;
    let (guard, shell) = self::shell(subject, kind)?;
    restore(subject, &guard, &shell, &file)?;
    let held = subject.present(guard.domid)?.pages.kib();
    ensure(held.abs_diff(pages) <= NOISE_KIB, format!("it holds {held} KiB instead of {pages}"))?;
    subject.xen.control.unpause(guard.domid).map_err(text)?;
    // Linux says only once in its life what it can do.
    terminal(subject, guard.domid)?;
    poweroff(subject, guard.domid)?;
    drop(guard);
    subject.until("its memory is back", BACK, || Ok(subject.free_kib()? + NOISE_KIB >= before))
}

fn shell(subject: &Subject, kind: GuestKind) -> Result<(DomainGuard<'_>, Shell), String> {
    let config = DomainConfig { kind, ..Subject::config(1) };
    let (guard, domain) = subject.create_with(&config)?;
    Ok((guard, subject.xen.vcpu.allocate(domain).map_err(text)?))
}

fn refuse_running(subject: &Subject, id: DomId, file: &Scrap) -> Outcome {
    let stream = file.open()?;
    let save = subject.xen.image.save(id, stream.as_fd());
    refused("saving a guest that runs", save, XenErrorKind::Invalid)?;
    let resume = subject.xen.control.resume(id);
    refused("resuming a guest that runs", resume, XenErrorKind::Invalid)
}

fn suspend(subject: &Subject, id: DomId) -> Outcome {
    let request = node(id, "control/shutdown")?;
    subject.xen.store.write(&request, b"suspend").map_err(text)?;
    subject.until("the guest is suspended", SUSPEND, || Ok(subject.present(id)?.state == SUSPENDED))
}

/// In the same domain. That the guest goes on shows when it can be suspended again.
fn resume(subject: &Subject, id: DomId) -> Outcome {
    subject.xen.control.resume(id).map_err(text)?;
    subject.xen.store.resume(id).map_err(text)?;
    let state = subject.present(id)?.state;
    ensure(state != SUSPENDED, "it is still suspended")?;
    let request = node(id, "control/shutdown")?;
    subject.until("the guest has taken the request", SUSPEND, || {
        Ok(subject.xen.store.read(&request).map_err(text)?.is_empty())
    })
}

/// Half a stream.
fn cut_off(subject: &Subject, kind: GuestKind, whole: &Scrap) -> Outcome {
    let before = subject.free_kib()?;
    let length = whole.open()?.metadata().map_err(text)?.len();
    let half = Scrap::new()?;
    std::io::copy(&mut std::io::Read::take(whole.open()?, length / 2), &mut half.open()?)
        .map_err(text)?;
    let (guard, shell) = shell(subject, kind)?;
    let spec = limits(subject, &guard, &shell)?;
    let restored = subject.xen.image.restore(&shell, half.open()?.as_fd(), &spec);
    refused("half a stream", restored, XenErrorKind::BadImage)?;
    drop(guard);
    subject.until("its memory is back", BACK, || Ok(subject.free_kib()? + NOISE_KIB >= before))
}

fn no_stream(subject: &Subject) -> Outcome {
    let before = subject.free_kib()?;
    for (what, bytes) in [("nothing", &b""[..]), ("something else", &[b'x'; 4096])] {
        let file = Scrap::new()?;
        std::fs::write(&file.0, bytes).map_err(text)?;
        let (guard, shell) = shell(subject, GuestKind::Pvh)?;
        let spec = limits(subject, &guard, &shell)?;
        let restored = subject.xen.image.restore(&shell, file.open()?.as_fd(), &spec);
        refused(what, restored, XenErrorKind::BadImage)?;
    }
    subject.until("its memory is back", BACK, || Ok(subject.free_kib()? + NOISE_KIB >= before))
}

fn restore(subject: &Subject, guard: &DomainGuard<'_>, shell: &Shell, file: &Scrap) -> Outcome {
    let spec = limits(subject, guard, shell)?;
    let image = &subject.xen.image;
    let built = image.restore(shell, file.open()?.as_fd(), &spec).map_err(text)?;
    introduce(subject, shell, (spec.store_port, spec.console_port), built)
}

/// As for a build, but for the CPU policy: it comes out of the stream.
fn limits(
    subject: &Subject,
    guard: &DomainGuard<'_>,
    shell: &Shell,
) -> Result<RestoreSpec, String> {
    guest::limits(subject, guard, shell, MEMORY_KIB)?;
    let store_port = port(subject, guard)?;
    Ok(RestoreSpec { store_port, console_port: port(subject, guard)? })
}

/// A temporary file, removed with its guard.
struct Scrap(PathBuf);

impl Scrap {
    fn new() -> Result<Self, String> {
        // The suite may run twice at once in one process, for both kinds of xenstored.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("vmm-contract-saved-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        File::create_new(&path).map_err(text)?;
        Ok(Self(path))
    }

    /// From its start.
    fn open(&self) -> Result<File, String> {
        File::options().read(true).write(true).open(&self.0).map_err(text)
    }
}

impl Drop for Scrap {
    fn drop(&mut self) {
        // It lies among the temporary files.
        let _ = std::fs::remove_file(&self.0);
    }
}
