//! Building guests that never run.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::guest::{MEMORY_KIB, build, spec};
use super::subject::{Case, Outcome, Subject, ensure, refused, same, text};
use crate::control::{RunState, ShutdownReason};
use crate::error::XenErrorKind;
use crate::store::StorePath;

/// What a machine's free memory may change by, for reasons of its own.
const NOISE_KIB: u64 = 2048;
const BACK: Duration = Duration::from_secs(10);

pub(super) const CASES: &[Case] = &[
    Case { name: "a kernel that is missing or none is told from one another", run: bad_kernels },
    Case { name: "a guest larger than the machine fails and goes without a trace", run: too_big },
    Case { name: "a domain that has run keeps its CPU policy", run: late_policy },
    Case { name: "a domain that has shut down keeps its first reason", run: first_reason },
    Case { name: "a crash is announced and leaves the domain in place", run: crash },
];

fn bad_kernels(subject: &Subject) -> Outcome {
    let (guard, shell) = subject.shell(1)?;
    let mut spec = spec(subject, &guard, &shell, MEMORY_KIB)?;
    spec.kernel = PathBuf::from("/nonexistent/vmm-contract-kernel");
    let image = &subject.xen.image;
    refused("a missing kernel", image.build(&shell, &spec), XenErrorKind::NotFound)?;
    drop(guard);
    let (guard, shell) = subject.shell(1)?;
    let mut spec = self::spec(subject, &guard, &shell, MEMORY_KIB)?;
    let file = NoKernel::new()?;
    spec.kernel = file.0.clone();
    refused("no kernel", image.build(&shell, &spec), XenErrorKind::BadImage)
}

/// A file that is surely no kernel, for as long as the guard lives.
struct NoKernel(PathBuf);

impl NoKernel {
    fn new() -> Result<Self, String> {
        // The suite may run twice at once in one process, for both kinds of xenstored.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("vmm-contract-no-kernel-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, "This is not a kernel.\n".repeat(512)).map_err(text)?;
        Ok(Self(path))
    }
}

impl Drop for NoKernel {
    fn drop(&mut self) {
        // A file of a few KiB among the temporary ones.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn too_big(subject: &Subject) -> Outcome {
    let before = subject.free_kib()?;
    let total = subject.xen.host.physinfo().map_err(text)?.memory_total_kib;
    let (guard, shell) = subject.shell(1)?;
    let spec = spec(subject, &guard, &shell, total)?;
    refused("build", subject.xen.image.build(&shell, &spec), XenErrorKind::OutOfMemory)?;
    drop(guard);
    subject.until("its memory is back", BACK, || Ok(subject.free_kib()? + NOISE_KIB >= before))
}

fn late_policy(subject: &Subject) -> Outcome {
    let (guard, shell) = subject.shell(1)?;
    let (control, id) = (&subject.xen.control, guard.domid);
    let spec = spec(subject, &guard, &shell, MEMORY_KIB)?;
    control.apply_cpu_policy(&shell).map_err(|error| format!("a second time: {error}"))?;
    subject.xen.image.build(&shell, &spec).map_err(text)?;
    control.unpause(id).map_err(text)?;
    control.pause(id).map_err(text)?;
    refused("afterwards", control.apply_cpu_policy(&shell), XenErrorKind::Exists)
}

fn first_reason(subject: &Subject) -> Outcome {
    let (guard, shell) = subject.shell(1)?;
    build(subject, &guard, shell)?;
    for reason in [ShutdownReason::Watchdog, ShutdownReason::Poweroff] {
        subject.xen.control.shutdown(guard.domid, reason).map_err(text)?;
        let state = subject.present(guard.domid)?.state;
        same("its state", state, RunState::Shutdown(ShutdownReason::Watchdog))?;
    }
    Ok(())
}

fn crash(subject: &Subject) -> Outcome {
    let before = subject.free_kib()?;
    let (guard, shell) = subject.shell(1)?;
    build(subject, &guard, shell)?;
    let held = subject.present(guard.domid)?.pages.kib();
    let expected = MEMORY_KIB..=MEMORY_KIB + 1024;
    ensure(expected.contains(&held), format!("it holds {held} KiB"))?;
    ensure(subject.free_kib()? + MEMORY_KIB <= before + NOISE_KIB, "its memory came from nowhere")?;
    let listener = subject.listen("@releaseDomain")?;
    listener.hears(subject, "@releaseDomain")?;
    listener.forget();
    subject.xen.control.shutdown(guard.domid, ShutdownReason::Crash).map_err(text)?;
    listener.hears(subject, "@releaseDomain")?;
    let info = subject.present(guard.domid)?;
    same("its state", info.state, RunState::Shutdown(ShutdownReason::Crash))?;
    same("its memory", info.pages.kib(), held)?;
    same("introduced", subject.xen.store.is_introduced(guard.domid).map_err(text)?, true)?;
    listener.forget();
    let domid = guard.domid;
    subject.xen.control.destroy(domid).map_err(text)?;
    listener.hears(subject, "@releaseDomain")?;
    drop(guard);
    same("afterwards", subject.info(domid)?, None)?;
    let left = subject.xen.store.read(&StorePath::domain(domid)).is_ok();
    ensure(!left, "its nodes are still there")?;
    subject.until("its memory is back", BACK, || Ok(subject.free_kib()? + NOISE_KIB >= before))
}
