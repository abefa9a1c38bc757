//! A guest from its first instruction to its last, and the small toolstack that it takes.

use std::time::Duration;

use super::subject::{Case, DomainGuard, Outcome, Subject, ensure, refused, same, text};
use crate::control::{GuestKind, RunState, ShutdownReason};
use crate::domid::DomId;
use crate::error::XenErrorKind;
use crate::evtchn::Port;
use crate::guest_image::{BuildSpec, BuiltGuest};
use crate::store::{Access, Permissions, StorePath, StoreTransaction, transact};
use crate::vcpu::Shell;

/// What the suite's guests have.
pub(super) const MEMORY_KIB: u64 = 160 * 1024;
const BALLOONED_KIB: u64 = 128 * 1024;
/// Room for what Xen and the builder put beside the guest's memory.
const SLACK_KIB: u64 = 1024;
/// The balloon driver's own accounting may be off by so much.
const BALLOON_NOISE_KIB: u64 = 4096;

pub(super) const BOOT: Duration = Duration::from_secs(120);
/// Until a guest has done what it was asked.
pub(super) const PLUG: Duration = Duration::from_secs(60);
/// A word is written again after so many looks.
pub(super) const LOOKS_A_WORD: u32 = 20;
pub(super) const STOP: Duration = Duration::from_secs(60);
/// More than a guest's memory map of its boot.
const GROWN_KIB: u64 = 192 * 1024;
pub(super) const KINDS: [GuestKind; 2] = [GuestKind::Pvh, GuestKind::Pv];
/// vCPUs of the suite's guests; one of them is a spare.
const VCPUS: u32 = 2;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "a guest boots, takes a vCPU, gives and takes memory, and powers off when asked",
        run: |subject| life(subject, GuestKind::Pvh),
    },
    Case { name: "a PV guest does all that as well", run: |subject| life(subject, GuestKind::Pv) },
    Case { name: "a guest grows above its boot-time maximum", run: growth },
    Case { name: "a PV domain has no paging pool", run: no_pool },
];

fn life(subject: &Subject, kind: GuestKind) -> Outcome {
    let (guard, shell) = subject.shell_of(kind, VCPUS)?;
    build(subject, &guard, shell)?;
    pauses(subject, guard.domid)?;
    boot(subject, guard.domid)?;
    vcpus_come_and_go(subject, guard.domid)?;
    balloon(subject, guard.domid)?;
    poweroff(subject, guard.domid)
}

/// A guest that runs, with words for the lab's workload.
pub(super) fn booted<'a>(
    subject: &'a Subject,
    kind: GuestKind,
    workload: &str,
) -> Result<DomainGuard<'a>, String> {
    let (guard, shell) = subject.shell_of(kind, VCPUS)?;
    let mut spec = spec(subject, &guard, &shell, MEMORY_KIB)?;
    if !workload.is_empty() {
        spec.cmdline = format!("{} workload={workload}", spec.cmdline);
    }
    build_spec(subject, &shell, &spec)?;
    subject.xen.control.unpause(guard.domid).map_err(text)?;
    Ok(guard)
}

/// As [`booted`], once it is on xenstore.
pub(super) fn ready<'a>(subject: &'a Subject, kind: GuestKind) -> Result<DomainGuard<'a>, String> {
    let guard = booted(subject, kind, "")?;
    boot(subject, guard.domid)?;
    Ok(guard)
}

/// What a shell needs before it is built into or restored into.
pub(super) fn limits(
    subject: &Subject,
    guard: &DomainGuard<'_>,
    shell: &Shell,
    memory_kib: u64,
) -> Outcome {
    let (memory, id) = (&subject.xen.memory, guard.domid);
    memory.set_max(id, memory_kib + SLACK_KIB).map_err(text)?;
    memory.set_memory_map_limit(shell, memory_kib).map_err(text)?;
    if shell.kind() == GuestKind::Pv {
        return Ok(());
    }
    // As libxl: 1 MiB a vCPU and a page a MiB.
    let pool = 4096 * (256 * u64::from(shell.vcpus_max()) + memory_kib / 1024);
    memory.set_paging_pool(id, pool).map_err(text)
}

pub(super) fn port(subject: &Subject, guard: &DomainGuard<'_>) -> Result<Port, String> {
    subject.xen.evtchn.alloc_unbound(guard.domid, DomId::DOM0).map_err(text)
}

/// Limits, CPU policy and ports of a shell, and what to build into it.
pub(super) fn spec(
    subject: &Subject,
    guard: &DomainGuard<'_>,
    shell: &Shell,
    memory_kib: u64,
) -> Result<BuildSpec, String> {
    limits(subject, guard, shell, memory_kib)?;
    subject.xen.control.apply_cpu_policy(shell).map_err(text)?;
    Ok(BuildSpec {
        kernel: subject.kernel.clone(),
        initramfs: subject.initramfs.clone(),
        cmdline: subject.cmdline.clone(),
        vcpus_online: 1,
        memory_target_kib: memory_kib,
        memory_max_kib: memory_kib,
        store_port: port(subject, guard)?,
        console_port: port(subject, guard)?,
    })
}

/// Builds the usual guest, describes it in the store and introduces it. It stays paused.
pub(super) fn build(subject: &Subject, guard: &DomainGuard<'_>, shell: Shell) -> Outcome {
    let spec = spec(subject, guard, &shell, MEMORY_KIB)?;
    build_spec(subject, &shell, &spec)
}

fn build_spec(subject: &Subject, shell: &Shell, spec: &BuildSpec) -> Outcome {
    let built = subject.xen.image.build(shell, spec).map_err(text)?;
    introduce(subject, shell, (spec.store_port, spec.console_port), built)
}

/// Describes a guest that is in place, and connects it. `ports`: xenstore's and the console's.
pub(super) fn introduce(
    subject: &Subject,
    shell: &Shell,
    ports: (Port, Port),
    built: BuiltGuest,
) -> Outcome {
    let (store, id) = (&subject.xen.store, shell.domid());
    transact(store.as_ref(), |transaction| {
        describe(transaction, id, shell.vcpus_max())?;
        let home = StorePath::domain(id);
        for (name, port, gfn) in
            [("store", ports.0, built.store_gfn), ("console", ports.1, built.console_gfn)]
        {
            let node = |leaf: &str| home.join(&format!("{name}/{leaf}"));
            transaction.write(&node("port")?, port.0.to_string().as_bytes())?;
            transaction.write(&node("ring-ref")?, gfn.0.to_string().as_bytes())?;
        }
        Ok(())
    })
    .map_err(text)?;
    store.introduce(id, built.store_gfn, ports.0).map_err(text)?;
    same("introduced", store.is_introduced(id).map_err(text)?, true)
}

fn describe(
    transaction: &dyn StoreTransaction,
    id: DomId,
    vcpus: u32,
) -> Result<(), crate::StoreError> {
    let home = StorePath::domain(id);
    let readable = Permissions::owned_by(DomId::DOM0).grant(id, Access::Read);
    transaction.make_dir(&home)?;
    transaction.set_permissions(&home, &readable)?;
    let write = |name: &str, value: &str| transaction.write(&home.join(name)?, value.as_bytes());
    write("name", "vmm-contract")?;
    write("domid", &id.to_string())?;
    write("memory/static-max", &MEMORY_KIB.to_string())?;
    write("memory/target", &MEMORY_KIB.to_string())?;
    write("console/limit", "1048576")?;
    write("console/type", "xenconsoled")?;
    write("console/output", "pty")?;
    write("console/tty", "")?;
    write("control/platform-feature-multiprocessor-suspend", "1")?;
    write("control/platform-feature-xs_reset_watches", "1")?;
    for index in 0..vcpus {
        let state = if index == 0 { "online" } else { "offline" };
        write(&format!("cpu/{index}/availability"), state)?;
    }
    let owned = Permissions::owned_by(id);
    for name in [
        "control/shutdown",
        "control/feature-poweroff",
        "control/feature-reboot",
        "control/feature-suspend",
        "control/sysrq",
        "device/suspend/event-channel",
        "data",
    ] {
        let node = home.join(name)?;
        transaction.write(&node, b"")?;
        transaction.set_permissions(&node, &owned)?;
    }
    Ok(())
}

pub(super) fn node(id: DomId, name: &str) -> Result<StorePath, String> {
    StorePath::domain(id).join(name).map_err(text)
}

fn pauses(subject: &Subject, id: DomId) -> Outcome {
    let control = &subject.xen.control;
    control.pause(id).map_err(text)?;
    control.unpause(id).map_err(text)?;
    same("paused after one of two unpauses", subject.present(id)?.paused, true)?;
    control.unpause(id).map_err(text)?;
    same("paused after both", subject.present(id)?.paused, false)?;
    refused("a third", control.unpause(id), XenErrorKind::Invalid)
}

pub(super) fn boot(subject: &Subject, id: DomId) -> Outcome {
    let ready = node(id, "control/feature-poweroff")?;
    subject.until("the guest is on xenstore", BOOT, || {
        Ok(subject.xen.store.read(&ready).map_err(text)? == b"1")
    })?;
    terminal(subject, id)?;
    ensure(subject.present(id)?.cpu_time_ns > 0, "it booted without CPU time")?;
    // A PV guest starts all its vCPUs and puts the spare ones away.
    subject.until("its spare vCPU is offline", PLUG, || Ok(subject.present(id)?.vcpus_online == 1))
}

/// The console daemon has mapped its ring.
pub(super) fn terminal(subject: &Subject, id: DomId) -> Outcome {
    let tty = node(id, "console/tty")?;
    subject.until("its console has a terminal", PLUG, || {
        Ok(!subject.xen.store.read(&tty).map_err(text)?.is_empty())
    })
}

/// Shows that a guest listens and works.
/// Linux hears of a vCPU only while it watches: a word that is written before a guest that was moved watches again is lost, so it
/// is written again and again.
pub(super) fn vcpus_come_and_go(subject: &Subject, id: DomId) -> Outcome {
    let availability = node(id, "cpu/1/availability")?;
    for (word, expect) in [("online", 2), ("offline", 1)] {
        let mut looks = 0_u32;
        subject.until(&format!("the second vCPU is {word}"), PLUG, || {
            if looks.is_multiple_of(LOOKS_A_WORD) {
                subject.xen.store.write(&availability, word.as_bytes()).map_err(text)?;
            }
            looks += 1;
            Ok(subject.present(id)?.vcpus_online == expect)
        })?;
        let vcpu = subject.xen.vcpu.info(id, 1).map_err(text)?;
        same("its own word", vcpu.online, expect == 2)?;
    }
    Ok(())
}

fn balloon(subject: &Subject, id: DomId) -> Outcome {
    let start = subject.present(id)?.pages.kib();
    for kib in [BALLOONED_KIB, MEMORY_KIB] {
        aim(subject, id, kib, start + kib - MEMORY_KIB)?;
    }
    Ok(())
}

fn aim(subject: &Subject, id: DomId, target_kib: u64, expect_kib: u64) -> Outcome {
    let node = node(id, "memory/target")?;
    subject.xen.store.write(&node, target_kib.to_string().as_bytes()).map_err(text)?;
    subject.until(&format!("the balloon reaches {target_kib} KiB"), PLUG, || {
        Ok(subject.present(id)?.pages.kib().abs_diff(expect_kib) <= BALLOON_NOISE_KIB)
    })
}

fn growth(subject: &Subject) -> Outcome {
    for kind in KINDS {
        let guard = ready(subject, kind)?;
        let id = guard.domid;
        let start = subject.present(id)?.pages.kib();
        subject.xen.memory.set_max(id, GROWN_KIB + SLACK_KIB).map_err(text)?;
        if kind == GuestKind::Pvh {
            let pool = 4096 * (256 * u64::from(VCPUS) + GROWN_KIB / 1024);
            subject.xen.memory.set_paging_pool(id, pool).map_err(text)?;
        }
        let grown = start + GROWN_KIB - MEMORY_KIB;
        aim(subject, id, GROWN_KIB, grown).map_err(|error| format!("{kind:?}: {error}"))?;
        aim(subject, id, MEMORY_KIB, start).map_err(|error| format!("{kind:?} back: {error}"))?;
    }
    Ok(())
}

fn no_pool(subject: &Subject) -> Outcome {
    let (guard, _shell) = subject.shell_of(GuestKind::Pv, 1)?;
    same("its kind", subject.present(guard.domid)?.kind, GuestKind::Pv)?;
    let pool = subject.xen.memory.set_paging_pool(guard.domid, 1 << 20);
    refused("a pool", pool, XenErrorKind::Unsupported)?;
    subject.xen.memory.set_pod_target(guard.domid, MEMORY_KIB).map_err(text)
}

pub(super) fn poweroff(subject: &Subject, id: DomId) -> Outcome {
    let request = node(id, "control/shutdown")?;
    subject.xen.store.write(&request, b"poweroff").map_err(text)?;
    subject.until("the guest acknowledges", PLUG, || {
        Ok(subject.xen.store.read(&request).map_err(text)?.is_empty())
    })?;
    let off = RunState::Shutdown(ShutdownReason::Poweroff);
    subject.until("the guest is off", STOP, || Ok(subject.present(id)?.state == off))?;
    let pages = subject.present(id)?.pages.kib();
    ensure(pages > 0, "it has lost its memory before it was destroyed")
}
