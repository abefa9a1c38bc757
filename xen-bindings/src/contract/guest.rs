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

const BOOT: Duration = Duration::from_secs(60);
const PLUG: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(30);

pub(super) const CASES: &[Case] = &[Case {
    name: "a guest boots, takes a vCPU, gives and takes memory, and powers off when asked",
    run: life,
}];

fn life(subject: &Subject) -> Outcome {
    let (guard, shell) = subject.shell(2)?;
    build(subject, &guard, shell)?;
    pauses(subject, guard.domid)?;
    boot(subject, guard.domid)?;
    vcpu(subject, guard.domid)?;
    balloon(subject, guard.domid)?;
    poweroff(subject, guard.domid)
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

/// Builds the usual guest, describes it in the store and introduces it. It stays paused.
pub(super) fn build(subject: &Subject, guard: &DomainGuard<'_>, shell: Shell) -> Outcome {
    let spec = spec(subject, guard, &shell, MEMORY_KIB)?;
    let built = subject.xen.image.build(&shell, &spec).map_err(text)?;
    introduce(subject, &shell, (spec.store_port, spec.console_port), built)
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
    for name in ["shutdown", "feature-poweroff", "feature-reboot", "feature-suspend", "sysrq"] {
        let node = home.join(&format!("control/{name}"))?;
        transaction.write(&node, b"")?;
        transaction.set_permissions(&node, &owned)?;
    }
    transaction.make_dir(&home.join("device")?)
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
    let info = subject.present(id)?;
    ensure(info.cpu_time_ns > 0, "it booted without CPU time")?;
    same("vCPUs online", info.vcpus_online, 1)
}

/// The console daemon has mapped its ring.
pub(super) fn terminal(subject: &Subject, id: DomId) -> Outcome {
    let tty = node(id, "console/tty")?;
    subject.until("its console has a terminal", PLUG, || {
        Ok(!subject.xen.store.read(&tty).map_err(text)?.is_empty())
    })
}

fn vcpu(subject: &Subject, id: DomId) -> Outcome {
    let availability = node(id, "cpu/1/availability")?;
    for (word, expect) in [("online", 2), ("offline", 1), ("online", 2)] {
        subject.xen.store.write(&availability, word.as_bytes()).map_err(text)?;
        subject.until(&format!("the second vCPU is {word}"), PLUG, || {
            Ok(subject.present(id)?.vcpus_online == expect)
        })?;
        let vcpu = subject.xen.vcpu.info(id, 1).map_err(text)?;
        same("its own word", vcpu.online, expect == 2)?;
    }
    Ok(())
}

fn balloon(subject: &Subject, id: DomId) -> Outcome {
    let target = node(id, "memory/target")?;
    let start = subject.present(id)?.pages.kib();
    for (kib, expect) in [(BALLOONED_KIB, start + BALLOONED_KIB - MEMORY_KIB), (MEMORY_KIB, start)]
    {
        subject.xen.store.write(&target, kib.to_string().as_bytes()).map_err(text)?;
        subject.until(&format!("the balloon reaches {kib} KiB"), PLUG, || {
            Ok(subject.present(id)?.pages.kib().abs_diff(expect) <= BALLOON_NOISE_KIB)
        })?;
    }
    Ok(())
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
