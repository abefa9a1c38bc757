//! What the host's processors can do, and what each guest was promised of the ones that it began on. A guest breaks where a feature is missing that it was
//! promised, and Xen restores it there without a word: so the manager is told both, and an arrival asks again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::OnceCell;
use vmm_core::cpu::Features;
use vmm_core::vm::VmState;
use xen_bindings::{DomId, XenError};

use crate::core::Core;
use crate::domain::registry::VmHandle;

/// What was asked once, and does not change while a domain lives.
#[derive(Debug, Default)]
pub(crate) struct Processors {
    host: OnceCell<Features>,
    guests: Mutex<BTreeMap<DomId, Features>>,
}

/// What a guest may be promised here at most.
pub(crate) async fn of_host(core: &Core) -> Result<Features, XenError> {
    let ask = || {
        core.run(|host| {
            host.xen.guest_state.cpu_policy_max().map(|policy| Features(policy.features()))
        })
    };
    core.processors.host.get_or_try_init(ask).await.cloned()
}

/// What those guests were promised that have begun. Who ends meanwhile is missing.
pub(crate) async fn of_guests(core: &Core, vms: &[VmHandle]) -> BTreeMap<DomId, Features> {
    let running: Vec<DomId> = vms.iter().filter_map(has_begun).collect();
    let mut known = {
        let guests = core.processors.guests.lock().unwrap_or_else(PoisonError::into_inner);
        guests.clone()
    };
    known.retain(|domid, _| running.contains(domid));
    let unknown: Vec<DomId> =
        running.into_iter().filter(|domid| !known.contains_key(domid)).collect();
    if !unknown.is_empty() {
        known.extend(core.run(move |host| ask_each(host, &unknown)).await);
    }
    core.processors.guests.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&known);
    known
}

/// Its domain, once what it was promised is settled.
fn has_begun(vm: &VmHandle) -> Option<DomId> {
    let view = vm.now();
    let is_settled = matches!(view.state, VmState::Running | VmState::Paused);
    view.domid.filter(|_| is_settled)
}

fn ask_each(host: &crate::Backend, domids: &[DomId]) -> Vec<(DomId, Features)> {
    let ask = |domid: &DomId| match host.xen.guest_state.cpu_policy(*domid) {
        Ok(policy) => Some((*domid, Features(policy.features()))),
        Err(error) => {
            tracing::debug!(%domid, %error, "what a guest was promised of its processor is not known");
            None
        }
    };
    domids.iter().filter_map(ask).collect()
}
