//! All requests and all replies.

use serde::{Deserialize, Serialize};

use super::{
    certificate, create, decision, device, event, group, host, label, migration, orphan, pin,
    place, plan, saved, stats, task, vm,
};

/// Is anybody there? Answers with the same text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    /// Comes back.
    #[serde(rename = "@text")]
    pub text: String,
}

/// It is done, and there is nothing more to say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {}

/// A request. [`super::verb()`] says who may send which.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each variant is documented at its type")]
pub enum Request {
    Ping(Ping),
    AddHost(host::AddHost),
    RemoveHost(host::RemoveHost),
    SetMaintenance(host::SetMaintenance),
    ListHosts(host::ListHosts),
    AwaitReport(host::AwaitReport),
    SetHostPool(place::SetHostPool),
    LabelHost(label::LabelHost),
    DefineSite(place::DefineSite),
    RemoveSite(place::RemoveSite),
    ListSites(place::ListSites),
    DefinePool(place::DefinePool),
    RemovePool(place::RemovePool),
    ListPools(place::ListPools),
    LabelVm(label::LabelVm),
    ListLabels(label::ListLabels),
    PinVm(pin::PinVm),
    DefineGroup(group::DefineGroup),
    RemoveGroup(group::RemoveGroup),
    ListGroups(group::ListGroups),
    ShowGroup(group::ShowGroup),
    PlanMoves(plan::PlanMoves),
    PlanEvacuation(plan::PlanEvacuation),
    PlanGrowth(plan::PlanGrowth),
    ListDecisions(decision::ListDecisions),
    ShowDecision(decision::ShowDecision),
    ReadDecision(decision::ReadDecision),
    CreateVm(create::CreateVm),
    CreateVms(create::CreateVms),
    BuildVm(vm::BuildVm),
    StartVm(vm::StartVm),
    PauseVm(vm::PauseVm),
    UnpauseVm(vm::UnpauseVm),
    ShutdownVm(vm::ShutdownVm),
    RebootVm(vm::RebootVm),
    SuspendVm(vm::SuspendVm),
    ResumeVm(vm::ResumeVm),
    SaveVm(saved::SaveVm),
    RestoreVm(saved::RestoreVm),
    DiscardSaved(vm::DiscardSaved),
    DestroyVm(vm::DestroyVm),
    MigrateVm(migration::MigrateVm),
    PlanMigration(migration::PlanMigration),
    EvacuateHost(migration::EvacuateHost),
    ReceiveVm(migration::ReceiveVm),
    SendVm(migration::SendVm),
    SettleMigration(migration::SettleMigration),
    AwaitMigration(migration::AwaitMigration),
    DeleteVm(vm::DeleteVm),
    SetVcpus(vm::SetVcpus),
    SetMemory(vm::SetMemory),
    AttachDisk(device::AttachDisk),
    DetachDisk(device::DetachDisk),
    ResizeDisk(device::ResizeDisk),
    AttachNic(device::AttachNic),
    DetachNic(device::DetachNic),
    RenameVm(vm::RenameVm),
    ConfigureVm(vm::ConfigureVm),
    ShowVm(vm::ShowVm),
    ListVms(vm::ListVms),
    ReadConsole(vm::ReadConsole),
    GetVmStats(stats::GetVmStats),
    GetHostStats(stats::GetHostStats),
    ListTasks(task::ListTasks),
    WaitTask(task::WaitTask),
    CancelTask(task::CancelTask),
    RetryTask(task::RetryTask),
    BulkVms(task::BulkVms),
    ListOrphans(orphan::ListOrphans),
    DestroyOrphan(orphan::DestroyOrphan),
    WaitEvents(event::WaitEvents),
    RenewCertificate(certificate::RenewCertificate),
    ShowCertificate(certificate::ShowCertificate),
    PrepareKeys(certificate::PrepareKeys),
    InstallCertificate(certificate::InstallCertificate),
}

/// A reply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each variant is documented at its type")]
pub enum Reply {
    Pong(Ping),
    Done(Done),
    HostRef(host::HostRef),
    Hosts(host::Hosts),
    AgentReport(host::AgentReport),
    Sites(place::Sites),
    Pools(place::Pools),
    Labels(label::Labels),
    Groups(group::Groups),
    Group(Box<group::Group>),
    Placement(vm::Placement),
    Placements(create::Placements),
    Plan(plan::Plan),
    Growth(plan::Growth),
    MigrationPlan(migration::MigrationPlan),
    Receiving(migration::Receiving),
    Offered(migration::Offered),
    MigrationState(migration::MigrationState),
    Decision(Box<decision::Decision>),
    Decisions(decision::Decisions),
    DecisionText(decision::DecisionText),
    Vcpus(vm::Vcpus),
    Memory(vm::Memory),
    Vm(Box<vm::Vm>),
    Vms(vm::Vms),
    ConsoleText(vm::ConsoleText),
    VmStats(stats::VmStats),
    HostStats(stats::HostStats),
    Task(Box<task::Task>),
    Tasks(task::Tasks),
    Orphans(orphan::Orphans),
    Events(event::Events),
    Certificate(certificate::Certificate),
    SigningRequest(certificate::SigningRequest),
}
