//! The messages of XVMP/1, one file a noun.
//!
//! These are wire types: plain, serialisable, unchecked. [`crate::convert`] turns them into the types of `vmm-core`, and
//! refuses what those refuse. Every variant of [`Request`] and [`Reply`] is one XML element of the same name; quantities
//! carry their unit in the attribute's name; ids are uuids in text; bytes are base64.
//!
//! One table, [`verb()`], says of each request what it is called, who may send it, whether it changes anything, and what it costs.

mod certificate;
mod create;
mod decision;
mod device;
mod event;
mod fault;
mod group;
mod host;
mod label;
mod list;
mod migration;
mod orphan;
mod pin;
mod place;
mod plan;
mod policy;
mod request;
mod saved;
mod stats;
mod task;
mod verb;
mod vm;

pub use certificate::{
    Certificate, InstallCertificate, PrepareKeys, RenewCertificate, ShowCertificate, SigningRequest,
};
pub use create::{CreateVm, CreateVms, NewVm, PlacedVm, Placements, UnplacedVm};
pub use decision::{
    CarriedMove, CarryOut, Decision, DecisionKind, DecisionText, Decisions, ListDecisions,
    Progress, ReadDecision, ShowDecision,
};
pub use device::{AttachDisk, AttachNic, DetachDisk, DetachNic, Disk, Nic, ResizeDisk};
pub use event::{Events, Gone, ObjectKind, WaitEvents};
pub use fault::{Fault, FaultCode};
pub use group::{
    DefineGroup, Group, GroupKind, GroupRef, Groups, ListGroups, Member, RemoveGroup, ShowGroup,
};
pub use host::{
    AddHost, AgentReport, AwaitReport, Host, HostFacts, HostHealth, HostLoad, HostRef, Hosts,
    ListHosts, RemoveHost, ReportedVm, SetMaintenance,
};
pub use label::{FolderUse, LabelHost, LabelVm, Labels, ListLabels, Tag, TagUse};
pub use migration::{
    AwaitMigration, EvacuateHost, MigrateVm, Migration, MigrationActivity, MigrationPlan,
    MigrationRole, MigrationStage, MigrationState, MigrationVerdict, Offered, PlanMigration,
    ReceiveVm, Receiving, ReturnedDevice, SendVm, SettleMigration, SharedStore,
};
pub use orphan::{DestroyOrphan, ListOrphans, Orphan, Orphans};
pub use pin::{Pin, PinVm};
pub use place::{
    Capacity, DefinePool, DefineSite, ListPools, ListSites, Pool, Pools, Rebalance, RemovePool,
    RemoveSite, SetHostPool, Site, Sites,
};
pub use plan::{
    Growth, KeptVm, Part, Plan, PlanEvacuation, PlanGrowth, PlanMoves, PlannedMove, RefusedHost,
    Way,
};
pub use policy::{Autostart, EventAction, GuestKind, OnEvent, Scheduling};
pub use request::{Done, Ping, Reply, Request};
pub use saved::{RestoreVm, SaveVm, SavedFormat};
pub use stats::{
    DiskCounters, GetHostStats, GetVmStats, HostDisk, HostNic, HostStats, NicCounters, Pcpu, Vcpu,
    VmStats,
};
pub use task::{
    BulkOperation, BulkVms, CancelTask, ListTasks, PhaseStatus, RetryTask, TargetKind, Task,
    TaskChild, TaskLine, TaskPhase, TaskState, Tasks, VmRef, WaitTask,
};
pub use verb::{Cost, Permission, Verb, verb};
pub use vm::{
    BuildVm, Candidate, ConfigureVm, ConsoleText, DeleteVm, DestroyVm, DiscardSaved, ListVms,
    Memory, PauseVm, Placement, ReadConsole, RebootVm, RenameVm, ResumeVm, SetMemory, SetVcpus,
    ShowVm, ShutdownVm, Spec, StartVm, SuspendVm, UnpauseVm, Vcpus, Vm, VmPhase, VmRates, VmTotals,
    Vms,
};

/// The namespace of every element.
pub const NAMESPACE: &str = "urn:smps-vmm:xvmp:1";
