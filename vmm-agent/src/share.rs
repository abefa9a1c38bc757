//! Dom0's own share of the processors. Every guest's disks and networks are served there, and so is whoever asks after them: with a guest's weight,
//! dom0 waits among guests that compute, and the host looks dead while they do.
//!
//! A weight that somebody has set stays. Where it cannot be set (another scheduler than credit2), the agent says so and goes on.

use xen_bindings::{Credit2, DomId, XenError};

use crate::core::Core;

/// What a domain has that nobody gave a weight.
const WEIGHT_AT_BOOT: u16 = 256;

/// Gives dom0 the weight of the configuration, where it has none of its own.
pub(crate) async fn give_dom0(core: &Core) {
    let weight = core.config.dom0_weight;
    let given = core.run(move |host| give(host, weight)).await;
    match given {
        Ok(None) => {}
        Ok(Some(before)) => tracing::info!(weight, before, "dom0's weight is set"),
        Err(error) => tracing::warn!(%error, weight, "dom0's weight is not set"),
    }
}

/// What it was, if it was changed.
fn give(host: &crate::Backend, weight: u16) -> Result<Option<u16>, XenError> {
    let before = host.xen.vcpu.credit2(DomId::DOM0)?;
    if before.weight != WEIGHT_AT_BOOT || before.weight == weight {
        return Ok(None);
    }
    host.xen.vcpu.set_credit2(DomId::DOM0, Credit2 { weight, ..before })?;
    Ok(Some(before.weight))
}
