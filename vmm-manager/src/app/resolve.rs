//! From what a caller wrote to what it means: an id or a name.

use vmm_core::id::{HostId, TaskId, VmId};
use vmm_proto::convert::parse_id;
use vmm_proto::v1::{Fault, FaultCode};

use super::state::{Host, State, TaskEntry, Vm};
use crate::store::{GroupRecord, PoolRecord, SiteRecord};

impl State {
    pub(crate) fn vm_named(&self, text: &str) -> Result<&Vm, Fault> {
        let by_id = text.parse::<VmId>().ok().and_then(|id| self.vms.get(&id));
        let by_name = || self.owned.named(text).find_map(|id| self.vms.get(&id));
        by_id.or_else(by_name).ok_or_else(|| {
            let message = format!("no VM has the name or id {text:?}; see `vmmctl vm list`");
            Fault::new(FaultCode::UnknownVm, message)
        })
    }

    pub(crate) fn host_named(&self, text: &str) -> Result<&Host, Fault> {
        let by_id = text.parse::<HostId>().ok().and_then(|id| self.hosts.get(&id));
        let by_name = || self.hosts.values().find(|host| host.record.name == text);
        by_id.or_else(by_name).ok_or_else(|| {
            let message = format!("no host has the name or id {text:?}; see `vmmctl host list`");
            Fault::new(FaultCode::UnknownHost, message)
        })
    }

    pub(crate) fn task_named(&self, text: &str) -> Result<&TaskEntry, Fault> {
        let id: TaskId = parse_id("task", text)?;
        self.tasks.get(&id).ok_or_else(|| {
            let message =
                format!("no task {text}; only the latest are kept, see `vmmctl task list`");
            Fault::new(FaultCode::UnknownTask, message)
        })
    }

    pub(crate) fn pool_named(&self, text: &str) -> Result<&PoolRecord, Fault> {
        self.places.pool_called(text).ok_or_else(|| {
            let message =
                format!("no pool has the name or id {text:?}; ask ListPools which there are");
            Fault::new(FaultCode::UnknownPool, message)
        })
    }

    pub(crate) fn site_named(&self, text: &str) -> Result<&SiteRecord, Fault> {
        self.places.site_called(text).ok_or_else(|| {
            let message =
                format!("no site has the name or id {text:?}; ask ListSites which there are");
            Fault::new(FaultCode::UnknownSite, message)
        })
    }

    pub(crate) fn group_named(&self, text: &str) -> Result<&GroupRecord, Fault> {
        self.groups.called(text).ok_or_else(|| {
            let message = format!("no group has the name or id {text:?}; see `vmmctl group list`");
            Fault::new(FaultCode::UnknownGroup, message)
        })
    }

    pub(crate) fn host_name(&self, id: HostId) -> String {
        self.hosts.get(&id).map_or_else(|| id.to_string(), |host| host.record.name.clone())
    }
}
