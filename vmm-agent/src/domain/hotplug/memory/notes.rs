//! What is told of a change that the guest did not carry out to the end.

use vmm_core::units::Kib;
use vmm_core::vm::VmSpec;

/// Linux adds memory above its boot-time maximum in blocks of this size.
const BLOCK: Kib = Kib::from_mib(128);

/// A growth that ended early.
pub(super) fn grew(spec: &VmSpec, asked: Kib, reached: Kib) -> String {
    let mib = reached.mib();
    let mut note = format!("the guest grew to {mib} MiB and no further; the request is withdrawn");
    let above = asked.saturating_sub(spec.memory_max);
    if above > Kib::ZERO {
        let acknowledged = reached.saturating_sub(spec.memory_max).mib();
        note.push_str(&format!(
            "; of the {} MiB above memory-max it acknowledged {acknowledged} MiB: they take {} blocks of {} MiB that its kernel \
             must hot-add (CONFIG_XEN_BALLOON_MEMORY_HOTPLUG) and put online (boot it with memhp_default_state=online, or add \
             the udev rule SUBSYSTEM==\"memory\", ACTION==\"add\", ATTR{{state}}=\"online\")",
            above.mib(),
            above.0.div_ceil(BLOCK.0),
            BLOCK.mib(),
        ));
    }
    note
}

/// A guest that holds more than it was asked to.
pub(super) fn shrank(reached: Kib) -> String {
    let mib = reached.mib();
    format!("the guest gave back memory down to {mib} MiB so far and keeps the target")
}
