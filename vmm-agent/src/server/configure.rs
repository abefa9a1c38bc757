//! RenameVm and ConfigureVm.

use vmm_core::units::Kib;
use vmm_core::vm::VmName;
use vmm_proto::v1::{ConfigureVm, Fault, RenameVm, Reply};

use super::change::change;
use crate::core::Core;
use crate::domain::{Change, Knobs};

pub(super) async fn rename(core: &Core, request: RenameVm) -> Result<Reply, Fault> {
    let name = VmName::new(request.name)?;
    change(core, &request.vm, Change::Rename(name)).await
}

pub(super) async fn configure(core: &Core, request: ConfigureVm) -> Result<Reply, Fault> {
    let knobs = Knobs {
        memory_min: request.memory_min_kib.map(Kib),
        scheduling: request.scheduling.map(TryInto::try_into).transpose()?,
        on_event: request.on_event.map(Into::into),
        autostart: request.autostart.map(Into::into),
    };
    change(core, &request.vm, Change::Configure(knobs)).await
}
