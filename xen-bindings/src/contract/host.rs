//! The machine itself.

use std::time::Duration;

use super::subject::{Case, Outcome, Subject, ensure, same, text};
use crate::domid::DomId;

pub(super) const CASES: &[Case] = &[
    Case { name: "the machine has plausible resources and can run PVH guests", run: resources },
    Case { name: "every physical CPU has an idle time and time passes", run: idle },
    Case { name: "the hypervisor is Xen 4", run: version },
    Case { name: "the list is in order and starts with dom0", run: list },
];

fn resources(subject: &Subject) -> Outcome {
    let info = subject.xen.host.physinfo().map_err(text)?;
    let shown = format!("{info:?}");
    let sound = info.pcpus > 0
        && info.nodes > 0
        && info.cpu_khz > 0
        && info.memory_total_kib > 64 << 10
        && info.memory_free_kib > 0
        && info.memory_free_kib < info.memory_total_kib;
    ensure(sound, format!("implausible: {shown}"))?;
    ensure(info.hvm && info.hap, format!("no PVH guests here: {shown}"))
}

fn idle(subject: &Subject) -> Outcome {
    let times = || subject.xen.host.pcpu_times().map_err(text);
    let before = times()?;
    let pcpus = subject.xen.host.physinfo().map_err(text)?.pcpus;
    same("physical CPUs with an idle time", before.len(), pcpus as usize)?;
    (subject.wait)(Duration::from_millis(500));
    let after = times()?;
    let monotonic = before.iter().zip(&after).all(|(b, a)| b.idle_ns <= a.idle_ns);
    ensure(monotonic, format!("idle time went back: {before:?}, {after:?}"))?;
    let sum = |times: &[crate::PcpuTime]| times.iter().map(|time| time.idle_ns).sum::<u64>();
    ensure(sum(&after) > sum(&before), "nothing was idle for half a second")
}

fn version(subject: &Subject) -> Outcome {
    let version = subject.xen.host.version().map_err(text)?;
    ensure(version.major == 4 && version.minor >= 17, format!("{version:?}"))?;
    ensure(version.capabilities.contains("hvm-3.0"), format!("{version:?}"))
}

fn list(subject: &Subject) -> Outcome {
    let (first, _) = subject.create(1)?;
    let (second, _) = subject.create(1)?;
    let list = subject.xen.control.list().map_err(text)?;
    let ids: Vec<DomId> = list.iter().map(|info| info.domid).collect();
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    sorted.dedup();
    same("ids of all domains", &ids, &sorted)?;
    same("the first one", ids.first().copied(), Some(DomId::DOM0))?;
    ensure(ids.contains(&first.domid) && ids.contains(&second.domid), "a new domain is missing")
}
