//! Room in the host's memory: what is free, less what was promised to builds and growth under way.
//!
//! Two builds at once must not both count on the same free memory. A promise is held until the change is over; what its domain
//! holds already is no longer free, so only the rest of it is subtracted.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use vmm_core::id::VmId;
use vmm_core::units::Kib;
use xen_bindings::{DomainInfo, XenError};

use super::error::ChangeError;
use crate::core::Core;

/// Memory that is kept for a change; dropped, it is given back.
pub(crate) struct Promise {
    core: Arc<Core>,
    vm: VmId,
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.core.promises.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.vm);
    }
}

/// Keeps `needed` for `vm`, which holds `held` of what it will hold in all.
pub(crate) async fn promise(
    core: &Arc<Core>,
    vm: VmId,
    needed: Kib,
    held: Kib,
) -> Result<Promise, ChangeError> {
    let (free, domains) = look(core).await.map_err(|e| ChangeError::step("look-for-room", e))?;
    let mut promises = core.promises.lock().unwrap_or_else(PoisonError::into_inner);
    let free = free
        .saturating_sub(promised(&promises, &domains))
        .saturating_sub(core.config.memory_reserve);
    if needed > free {
        return Err(ChangeError::OutOfMemory { needed, free });
    }
    promises.insert(vm, held + needed);
    drop(promises);
    Ok(Promise { core: core.clone(), vm })
}

async fn look(core: &Core) -> Result<(Kib, Vec<DomainInfo>), XenError> {
    core.run(|host| {
        let info = host.xen.host.physinfo()?;
        let free = Kib(info.memory_free_kib).saturating_sub(Kib(info.memory_claimed_kib));
        Ok((free, host.xen.control.list()?))
    })
    .await
}

/// What is promised and not yet held.
fn promised(promises: &BTreeMap<VmId, Kib>, domains: &[DomainInfo]) -> Kib {
    let rest = |(vm, whole): (&VmId, &Kib)| {
        let own = domains.iter().filter(|domain| domain.handle.0 == vm.bytes());
        whole.saturating_sub(own.map(|domain| Kib(domain.pages.kib())).sum())
    };
    promises.iter().map(rest).sum()
}
