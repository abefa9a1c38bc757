//! The table of verbs: the one place that says what a request is called, who may send it to whom, whether it changes anything,
//! and what it costs whoever answers.

use super::request::Request;
use crate::principal::Role;

/// What a user must be allowed to do. Each holds those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// To look, but not at what guests say on their consoles.
    View,
    /// To change VMs, and to read their consoles.
    Operate,
    /// To change hosts.
    Administer,
}

impl Permission {
    /// The most that a role may do at the manager; agents may do nothing there.
    #[must_use]
    pub fn of(role: Role) -> Option<Self> {
        match role {
            Role::Viewer => Some(Self::View),
            Role::Operator => Some(Self::Operate),
            Role::Admin | Role::Manager => Some(Self::Administer),
            Role::Agent => None,
        }
    }

    /// The least role of a user who may do it.
    #[must_use]
    pub fn least(self) -> Role {
        match self {
            Self::View => Role::Viewer,
            Self::Operate => Role::Operator,
            Self::Administer => Role::Admin,
        }
    }
}

/// What a request costs whoever answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// A look into memory.
    Look,
    /// A look whose answer grows with the pool; it comes in pages.
    List,
    /// Xen, xenstore or dom0 are asked.
    Host,
    /// A place in the server until something happens. Each principal has few of them, and they end at once when the server stops.
    Wait,
    /// Something is decided and stored; what it takes beyond that is a task's, or the agent's own.
    Work,
}

impl Cost {
    /// The class as documents write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::List => "list",
            Self::Host => "host",
            Self::Wait => "wait",
            Self::Work => "work",
        }
    }
}

/// What is known of a verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verb {
    /// The name of its element.
    pub name: &'static str,
    /// It changes something, so it needs an idempotency key and is never repeated without one.
    pub mutating: bool,
    /// The manager answers it, to users who may do this.
    pub manager: Option<Permission>,
    /// An agent answers it, to the manager.
    pub agent: bool,
    /// An agent answers it to agents of other hosts as well; which of them may say what, it decides itself.
    pub peers: bool,
    /// What it costs.
    pub cost: Cost,
}

const fn read(name: &'static str, cost: Cost, manager: Option<Permission>, agent: bool) -> Verb {
    Verb { name, mutating: false, manager, agent, peers: false, cost }
}

const fn change(name: &'static str, manager: Option<Permission>, agent: bool) -> Verb {
    Verb { name, mutating: true, manager, agent, peers: false, cost: Cost::Work }
}

const fn among_agents(verb: Verb) -> Verb {
    Verb { peers: true, ..verb }
}

const VIEW: Option<Permission> = Some(Permission::View);
const OPERATE: Option<Permission> = Some(Permission::Operate);
const ADMINISTER: Option<Permission> = Some(Permission::Administer);

/// Looks a request up.
#[must_use]
#[expect(clippy::too_many_lines, reason = "a table: one line a verb")]
pub fn verb(request: &Request) -> Verb {
    match request {
        //                                         cost, to the manager, to an agent
        Request::Ping(_) => read("Ping", Cost::Look, VIEW, true),
        Request::ListHosts(_) => read("ListHosts", Cost::List, VIEW, false),
        Request::AwaitReport(_) => read("AwaitReport", Cost::Wait, None, true),
        Request::ShowVm(_) => read("ShowVm", Cost::Look, VIEW, false),
        Request::ListVms(_) => read("ListVms", Cost::List, VIEW, false),
        Request::ReadConsole(_) => read("ReadConsole", Cost::Host, OPERATE, true),
        Request::GetVmStats(_) => read("GetVmStats", Cost::Host, VIEW, true),
        Request::GetHostStats(_) => read("GetHostStats", Cost::Host, VIEW, true),
        Request::ListSites(_) => read("ListSites", Cost::List, VIEW, false),
        Request::ListPools(_) => read("ListPools", Cost::List, VIEW, false),
        Request::ListLabels(_) => read("ListLabels", Cost::List, VIEW, false),
        Request::PlanMoves(_) => read("PlanMoves", Cost::List, VIEW, false),
        Request::PlanEvacuation(_) => read("PlanEvacuation", Cost::List, VIEW, false),
        Request::PlanGrowth(_) => read("PlanGrowth", Cost::List, VIEW, false),
        Request::ListDecisions(_) => read("ListDecisions", Cost::List, VIEW, false),
        Request::ShowDecision(_) => read("ShowDecision", Cost::List, VIEW, false),
        Request::ReadDecision(_) => read("ReadDecision", Cost::List, VIEW, false),
        Request::ListTasks(_) => read("ListTasks", Cost::List, VIEW, false),
        Request::WaitTask(_) => read("WaitTask", Cost::Wait, VIEW, false),
        Request::WaitEvents(_) => read("WaitEvents", Cost::Wait, VIEW, false),
        Request::RenewCertificate(_) => read("RenewCertificate", Cost::Look, VIEW, false),
        Request::ShowCertificate(_) => read("ShowCertificate", Cost::Look, None, true),
        Request::PrepareKeys(_) => read("PrepareKeys", Cost::Look, None, true),
        Request::InstallCertificate(_) => change("InstallCertificate", None, true),
        Request::AddHost(_) => change("AddHost", ADMINISTER, false),
        Request::RemoveHost(_) => change("RemoveHost", ADMINISTER, false),
        Request::SetMaintenance(_) => change("SetMaintenance", ADMINISTER, false),
        Request::SetHostPool(_) => change("SetHostPool", ADMINISTER, false),
        Request::LabelHost(_) => change("LabelHost", ADMINISTER, false),
        Request::DefineSite(_) => change("DefineSite", ADMINISTER, false),
        Request::RemoveSite(_) => change("RemoveSite", ADMINISTER, false),
        Request::DefinePool(_) => change("DefinePool", ADMINISTER, false),
        Request::RemovePool(_) => change("RemovePool", ADMINISTER, false),
        Request::LabelVm(_) => change("LabelVm", OPERATE, false),
        Request::ListGroups(_) => read("ListGroups", Cost::List, VIEW, false),
        Request::ShowGroup(_) => read("ShowGroup", Cost::Look, VIEW, false),
        Request::DefineGroup(_) => change("DefineGroup", OPERATE, false),
        Request::RemoveGroup(_) => change("RemoveGroup", OPERATE, false),
        Request::PinVm(_) => change("PinVm", OPERATE, false),
        Request::CreateVm(_) => change("CreateVm", OPERATE, false),
        Request::CreateVms(_) => change("CreateVms", OPERATE, false),
        Request::StartVm(_) => change("StartVm", OPERATE, false),
        Request::DeleteVm(_) => change("DeleteVm", OPERATE, false),
        Request::CancelTask(_) => change("CancelTask", OPERATE, false),
        Request::RetryTask(_) => change("RetryTask", OPERATE, false),
        Request::BulkVms(_) => change("BulkVms", OPERATE, false),
        Request::ListOrphans(_) => read("ListOrphans", Cost::List, VIEW, false),
        Request::DestroyOrphan(_) => change("DestroyOrphan", ADMINISTER, false),
        Request::BuildVm(_) => change("BuildVm", None, true),
        Request::PauseVm(_) => change("PauseVm", OPERATE, true),
        Request::UnpauseVm(_) => change("UnpauseVm", OPERATE, true),
        Request::ShutdownVm(_) => change("ShutdownVm", OPERATE, true),
        Request::RebootVm(_) => change("RebootVm", OPERATE, true),
        Request::SuspendVm(_) => change("SuspendVm", OPERATE, true),
        Request::ResumeVm(_) => change("ResumeVm", OPERATE, true),
        Request::SaveVm(_) => change("SaveVm", OPERATE, true),
        Request::RestoreVm(_) => change("RestoreVm", OPERATE, false),
        Request::DiscardSaved(_) => change("DiscardSaved", OPERATE, false),
        Request::AttachDisk(_) => change("AttachDisk", OPERATE, true),
        Request::DetachDisk(_) => change("DetachDisk", OPERATE, true),
        Request::ResizeDisk(_) => change("ResizeDisk", OPERATE, true),
        Request::AttachNic(_) => change("AttachNic", OPERATE, true),
        Request::DetachNic(_) => change("DetachNic", OPERATE, true),
        Request::RenameVm(_) => change("RenameVm", OPERATE, true),
        Request::ConfigureVm(_) => change("ConfigureVm", OPERATE, true),
        Request::DestroyVm(_) => change("DestroyVm", OPERATE, true),
        Request::SetVcpus(_) => change("SetVcpus", OPERATE, true),
        Request::SetMemory(_) => change("SetMemory", OPERATE, true),
        Request::MigrateVm(_) => change("MigrateVm", OPERATE, false),
        Request::PlanMigration(_) => read("PlanMigration", Cost::List, VIEW, false),
        Request::EvacuateHost(_) => change("EvacuateHost", ADMINISTER, false),
        Request::ReceiveVm(_) => change("ReceiveVm", None, true),
        Request::SendVm(_) => change("SendVm", None, true),
        Request::SettleMigration(_) => among_agents(change("SettleMigration", None, true)),
        Request::AwaitMigration(_) => among_agents(read("AwaitMigration", Cost::Wait, None, true)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_do_what_those_below_it_may() {
        let users = [Role::Viewer, Role::Operator, Role::Admin];
        let may = users.map(Permission::of);
        assert!(may.is_sorted() && may.iter().all(Option::is_some));
        assert_eq!(Permission::of(Role::Agent), None);
        for permission in may.into_iter().flatten() {
            assert_eq!(Permission::of(permission.least()), Some(permission));
        }
    }
}
