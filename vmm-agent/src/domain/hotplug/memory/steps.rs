//! A change of memory as data: each step with its undo.
//!
//! An undo is an action too, with the value of before: whatever part of a step happened, it sets what was.

use vmm_core::task::Step;
use vmm_core::units::Kib;
use vmm_core::vm::{GuestKind, MAXMEM_SLACK, VmSpec, paging_pool};
use xen_bindings::StorePath;
use xen_bindings::store::transact;

use crate::domain::error::StepError;
use crate::domain::plan::Action;
use crate::domain::site::Site;
use crate::memory::Agreement;

/// How things stand between a VM and its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) held: Kib,
    /// What Xen lets it hold, as the guest counts.
    pub(super) limit: Kib,
    pub(super) target: Kib,
    pub(super) agreed: Kib,
}

impl Terms {
    /// What is not free because of it.
    pub(super) fn grip(&self) -> Kib {
        self.held.max(self.limit)
    }
}

/// One step of a change of memory, or the undo of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemoryAct {
    /// Of a PVH guest; PV has none.
    SetPool(Kib),
    SetLimit(Kib),
    /// What is populated of a guest that has not booted to the end.
    SetPodTarget(Kib),
    Ask(Agreement),
}

/// The pool for a VM that was agreed to have this much.
pub(super) fn paging_pool_for(spec: &VmSpec, agreed: Kib) -> Kib {
    match spec.kind {
        GuestKind::Pvh => paging_pool(spec.vcpus_max, spec.memory_max.max(agreed)),
        GuestKind::Pv => Kib::ZERO,
    }
}

/// What it takes to get from `before` to what is wanted: limits are raised first; they follow a guest that shrinks.
pub(super) fn steps(spec: &VmSpec, before: &Terms, wanted: Agreement) -> Vec<Step<Action>> {
    let step = |name, action, undo| Step {
        name,
        action: Action::Memory(action),
        undo: Some(Action::Memory(undo)),
    };
    let mut steps = Vec::new();
    let (pool, more_pool) =
        (paging_pool_for(spec, before.agreed), paging_pool_for(spec, wanted.agreed));
    if more_pool > pool {
        steps.push(step(
            "raise-paging-pool",
            MemoryAct::SetPool(more_pool),
            MemoryAct::SetPool(pool),
        ));
    }
    if wanted.target > before.limit {
        let (raise, lower) =
            (MemoryAct::SetLimit(wanted.target), MemoryAct::SetLimit(before.limit));
        steps.push(step("raise-limit", raise, lower));
    }
    // Nothing is populated on demand above the boot-time maximum.
    if wanted.target <= spec.memory_max {
        let undo = MemoryAct::SetPodTarget(before.target.min(spec.memory_max));
        steps.push(step("set-pod-target", MemoryAct::SetPodTarget(wanted.target), undo));
    }
    let undo = Agreement { target: before.target, agreed: before.agreed };
    steps.push(step("ask-guest", MemoryAct::Ask(wanted), MemoryAct::Ask(undo)));
    steps
}

impl Site {
    pub(in crate::domain) async fn act_on_memory(&self, act: MemoryAct) -> Result<(), StepError> {
        let domid = self.domid()?;
        let pv = self.record.spec.kind == GuestKind::Pv;
        let work = move |host: &crate::Backend| -> Result<(), StepError> {
            let memory = &host.xen.memory;
            match act {
                MemoryAct::SetPool(_) | MemoryAct::SetPodTarget(_) if pv => {}
                MemoryAct::SetPool(pool) => {
                    memory.set_paging_pool(domid, pool.0.saturating_mul(1024))?;
                }
                MemoryAct::SetLimit(limit) => memory.set_max(domid, (limit + MAXMEM_SLACK).0)?,
                MemoryAct::SetPodTarget(target) => memory.set_pod_target(domid, target.0)?,
                MemoryAct::Ask(Agreement { target, agreed }) => {
                    let home = StorePath::domain(domid).join("memory")?;
                    transact(host.xen.store.as_ref(), |transaction| {
                        for (name, value) in [("target", target), ("dynamic-max", agreed)] {
                            transaction.write(&home.join(name)?, value.0.to_string().as_bytes())?;
                        }
                        Ok(())
                    })?;
                }
            }
            Ok(())
        };
        self.core.run(work).await
    }
}

#[cfg(test)]
mod tests {
    use vmm_core::vm::VmName;

    use super::*;

    fn spec(kind: GuestKind) -> VmSpec {
        let mib = Kib::from_mib;
        VmSpec {
            name: VmName::new("vm").unwrap(),
            kind,
            vcpus: 1,
            vcpus_max: 1,
            memory_min: mib(64),
            memory: mib(128),
            memory_max: mib(256),
            kernel: "/k".into(),
            initramfs: None,
            cmdline: String::new(),
            disks: Vec::new(),
            nics: Vec::new(),
            scheduling: vmm_core::vm::Scheduling::default(),
            on_event: vmm_core::vm::OnEvent::default(),
            autostart: None,
            demand: vmm_core::vm::Demand::default(),
        }
    }

    fn check(kind: GuestKind, from: u64, to: u64, expect: &str) {
        let (from, to) = (Kib::from_mib(from), Kib::from_mib(to));
        let before = Terms { held: from, limit: from, target: from, agreed: from };
        let steps = steps(&spec(kind), &before, Agreement { target: to, agreed: to });
        let names: Vec<&str> = steps.iter().map(|step| step.name).collect();
        assert_eq!(names.join(" "), expect, "{from} to {to}");
        assert!(steps.iter().all(|step| step.undo.is_some()));
    }

    #[test]
    fn limits_rise_before_the_guest_is_asked_and_only_as_far_as_needed() {
        check(GuestKind::Pvh, 128, 96, "set-pod-target ask-guest");
        check(GuestKind::Pvh, 128, 200, "raise-limit set-pod-target ask-guest");
        check(GuestKind::Pvh, 128, 400, "raise-paging-pool raise-limit ask-guest");
        check(GuestKind::Pvh, 400, 300, "ask-guest");
        check(GuestKind::Pv, 128, 400, "raise-limit ask-guest");
    }
}
