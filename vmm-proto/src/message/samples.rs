//! One full sample of each request, for tests of the wire; [`super::answers`] has the replies.

use crate::envelope::{Direction, Header};
use crate::v1::{
    self, Autostart, Disk, EventAction, GuestKind, Nic, OnEvent, Request, Scheduling, Spec,
};

const VM: &str = "00000000-0000-0000-0000-000000000001";

/// The header of every sample.
pub(super) fn header(direction: Direction) -> Header {
    Header {
        session: "000102030405060708090a0b0c0d0e0f".to_owned(),
        direction,
        seq: 7,
        id: "m-7".to_owned(),
    }
}

pub(super) fn vm() -> String {
    VM.to_owned()
}

fn disk(device: &str) -> Disk {
    Disk { path: format!("/srv/{device} <&>\".img"), device: device.into(), read_only: true }
}

fn nic(index: u32) -> Nic {
    Nic { index, mac: format!("00:16:3e:00:00:0{index}"), bridge: "xenbr0".into() }
}

pub(super) fn tag(name: &str) -> v1::Tag {
    v1::Tag { name: name.into() }
}

pub(super) fn pin(host: &str) -> v1::Pin {
    v1::Pin { host: host.into() }
}

pub(super) fn group(name: &str) -> v1::GroupRef {
    v1::GroupRef { group: name.into() }
}

fn new_vm() -> v1::NewVm {
    v1::NewVm {
        pool: Some("p1".into()),
        spec: spec(),
        pins: vec![pin("h1"), pin("h2")],
        groups: vec![group("web-ha"), group("shop")],
    }
}

fn vm_ref(vm: &str) -> v1::VmRef {
    v1::VmRef { vm: vm.into() }
}

fn scheduling() -> Scheduling {
    Scheduling { weight: 512, cap_percent: 50, affinity: "0-3,7".into(), affinity_soft: "1".into() }
}

fn on_event() -> OnEvent {
    OnEvent {
        poweroff: EventAction::Destroy,
        reboot: EventAction::Preserve,
        crash: EventAction::Restart,
    }
}

/// Nothing in it is what it would be if it were not said.
pub(super) fn spec() -> Spec {
    Spec {
        name: "web".into(),
        kind: GuestKind::Pv,
        vcpus: 1,
        vcpus_max: 4,
        memory_min_kib: Some(65_536),
        memory_kib: 131_072,
        memory_max_kib: 262_144,
        kernel: "/boot/vmlinuz".into(),
        initramfs: Some("/boot/initrd".into()),
        cmdline: "console=hvc0 \"quoted\"".into(),
        cpu_demand_milli: 500,
        disk_demand_bytes_per_s: 1_000_000,
        disks: vec![disk("xvda"), disk("xvdb")],
        nics: vec![nic(0), nic(1)],
        scheduling: Some(scheduling()),
        on_event: Some(on_event()),
        autostart: Some(Autostart { enabled: true, order: 7, delay_s: 30 }),
    }
}

/// Those about tasks.
fn of_tasks() -> Vec<Request> {
    let wait_ms_max = 120_000;
    vec![
        Request::ListTasks(v1::ListTasks {
            after: Some("n42".into()),
            count_max: Some(500),
            state: Some(v1::TaskState::Queued),
            over: Some(false),
            vm: Some(vm()),
            host: Some("h1".into()),
            initiator: Some("operator/ann".into()),
            since_ms: Some(1_800_000_000_000),
            parent: Some(vm()),
        }),
        Request::WaitTask(v1::WaitTask { task: vm(), wait_ms_max }),
        Request::CancelTask(v1::CancelTask { task: vm() }),
        Request::RetryTask(v1::RetryTask { task: vm() }),
        Request::ListOrphans(v1::ListOrphans {}),
        Request::DestroyOrphan(v1::DestroyOrphan { host: "h1".into(), vm: vm() }),
        Request::BulkVms(v1::BulkVms {
            operation: v1::BulkOperation::Save,
            wait_ms_max: Some(wait_ms_max),
            directory: Some("/var/lib/saved".into()),
            vms: vec![v1::VmRef { vm: vm() }, v1::VmRef { vm: "db".into() }],
        }),
    ]
}

/// A list of one kind: nothing is left out.
macro_rules! list {
    ($list:ident) => {
        v1::$list {
            filter: Some("status=running and tag~web".into()),
            sort: Some("-cpu,name".into()),
            after: Some("db".into()),
            count_max: Some(500),
            totals: true,
        }
    };
}

/// Each request.
pub(super) fn requests() -> Vec<Request> {
    [of_vms(), super::moves::requests(), of_places(), of_tasks(), of_others()].concat()
}

/// What VMs are told.
fn of_vms() -> Vec<Request> {
    let (wait_ms_max, path) = (120_000, || "/var/lib/web.save".to_owned());
    let named = || vm();
    vec![
        Request::CreateVm(v1::CreateVm {
            dry_run: true,
            pool: Some("p1".into()),
            spec: spec(),
            pins: vec![pin("h1"), pin("h2")],
            groups: vec![group("web-ha"), group("shop")],
        }),
        Request::CreateVms(v1::CreateVms {
            dry_run: true,
            partial: true,
            vms: vec![new_vm(), new_vm()],
        }),
        Request::PinVm(v1::PinVm { vm: vm(), pins: vec![pin("h1"), pin("h2")] }),
        Request::BuildVm(v1::BuildVm { vm: vm(), restore_from: Some(path()), spec: spec() }),
        Request::StartVm(v1::StartVm { vm: named() }),
        Request::PauseVm(v1::PauseVm { vm: named() }),
        Request::UnpauseVm(v1::UnpauseVm { vm: named() }),
        Request::ShutdownVm(v1::ShutdownVm { vm: vm(), wait_ms_max }),
        Request::RebootVm(v1::RebootVm { vm: vm(), wait_ms_max }),
        Request::SuspendVm(v1::SuspendVm { vm: vm(), wait_ms_max }),
        Request::ResumeVm(v1::ResumeVm { vm: named() }),
        Request::SaveVm(v1::SaveVm {
            vm: vm(),
            path: path(),
            format: v1::SavedFormat::Xl,
            wait_ms_max,
        }),
        Request::RestoreVm(v1::RestoreVm { vm: vm(), path: Some(path()) }),
        Request::DiscardSaved(v1::DiscardSaved { vm: named() }),
        Request::DestroyVm(v1::DestroyVm { vm: named() }),
        Request::DeleteVm(v1::DeleteVm { vm: named() }),
        Request::SetVcpus(v1::SetVcpus { vm: vm(), vcpus: 2, wait_ms_max }),
        Request::SetMemory(v1::SetMemory { vm: vm(), memory_kib: 262_144, wait_ms_max }),
        Request::AttachDisk(v1::AttachDisk { vm: vm(), wait_ms_max, disk: disk("xvdc") }),
        Request::DetachDisk(v1::DetachDisk {
            vm: vm(),
            device: "xvdc".into(),
            wait_ms_max,
            force: true,
        }),
        Request::ResizeDisk(v1::ResizeDisk {
            vm: vm(),
            device: "xvdc".into(),
            size_bytes: 1 << 30,
            wait_ms_max,
        }),
        Request::AttachNic(v1::AttachNic { vm: vm(), wait_ms_max, nic: nic(2) }),
        Request::DetachNic(v1::DetachNic { vm: vm(), index: 2, wait_ms_max, force: true }),
        Request::RenameVm(v1::RenameVm { vm: vm(), name: "shop".into() }),
        Request::ConfigureVm(v1::ConfigureVm {
            vm: vm(),
            memory_min_kib: Some(65_536),
            scheduling: Some(scheduling()),
            on_event: Some(on_event()),
            autostart: Some(Autostart { enabled: false, order: 0, delay_s: 0 }),
        }),
    ]
}

/// Lists, and where objects are.
fn of_places() -> Vec<Request> {
    vec![
        Request::ListHosts(list!(ListHosts)),
        Request::SetHostPool(v1::SetHostPool { host: "h1".into(), pool: "p1".into() }),
        Request::LabelHost(v1::LabelHost {
            host: "h1".into(),
            notes: Some("rack 4".into()),
            add: vec![tag("ssd"), tag("gpu")],
            remove: vec![tag("old"), tag("slow")],
        }),
        Request::DefineSite(v1::DefineSite {
            site: "s1".into(),
            new_name: Some("paris".into()),
            notes: Some("room 2".into()),
        }),
        Request::RemoveSite(v1::RemoveSite { site: "s1".into() }),
        Request::ListSites(list!(ListSites)),
        Request::DefinePool(v1::DefinePool {
            pool: "p1".into(),
            new_name: Some("fast".into()),
            site: Some("s1".into()),
            notes: Some("NVMe".into()),
            rebalance: Some(v1::Rebalance::CarryOut),
        }),
        Request::RemovePool(v1::RemovePool { pool: "p1".into() }),
        Request::ListPools(list!(ListPools)),
        Request::LabelVm(v1::LabelVm {
            vm: vm(),
            folder: Some("/prod/web".into()),
            notes: Some("ask ann\nfirst".into()),
            add: vec![tag("web"), tag("tier:1")],
            remove: vec![tag("new"), tag("test")],
        }),
        Request::ListLabels(v1::ListLabels {}),
        Request::DefineGroup(v1::DefineGroup {
            group: "web-ha".into(),
            new_name: Some("shop".into()),
            rule: Some(v1::GroupKind::Apart),
            soft: Some(true),
            notes: Some("ask ann".into()),
            add: vec![vm_ref("web-1"), vm_ref("web-2")],
            remove: vec![vm_ref("old"), vm_ref(VM)],
        }),
        Request::RemoveGroup(v1::RemoveGroup { group: "web-ha".into() }),
        Request::ListGroups(list!(ListGroups)),
        Request::ShowGroup(v1::ShowGroup { group: "web-ha".into() }),
        Request::PlanMoves(v1::PlanMoves { pool: Some("p1".into()), moves_max: Some(4) }),
        Request::PlanEvacuation(v1::PlanEvacuation { host: "h1".into() }),
        Request::ListDecisions(v1::ListDecisions {
            vm: Some(vm()),
            before: Some(43),
            count_max: Some(100),
        }),
        Request::ShowDecision(v1::ShowDecision { decision: 42 }),
        Request::ReadDecision(v1::ReadDecision { decision: 42, offset: Some(262_144) }),
        Request::PlanGrowth(v1::PlanGrowth { vm: vm(), vcpus: Some(4), memory_kib: Some(1 << 20) }),
        Request::ListVms(list!(ListVms)),
    ]
}

/// Hosts, tasks, events, certificates.
fn of_others() -> Vec<Request> {
    let wait_ms_max = 120_000;
    let named = || vm();
    vec![
        Request::Ping(v1::Ping { text: "hi".into() }),
        Request::AddHost(v1::AddHost {
            name: "h1".into(),
            address: "h1:8443".into(),
            pool: Some("p1".into()),
        }),
        Request::RemoveHost(v1::RemoveHost { host: "h1".into() }),
        Request::SetMaintenance(v1::SetMaintenance { host: "h1".into(), maintenance: true }),
        Request::AwaitReport(v1::AwaitReport { cursor: "9".into(), wait_ms_max }),
        Request::ShowVm(v1::ShowVm { vm: named() }),
        Request::ReadConsole(v1::ReadConsole { vm: vm(), bytes_max: 4096 }),
        Request::GetVmStats(v1::GetVmStats { vm: vm() }),
        Request::GetHostStats(v1::GetHostStats { host: "h1".into() }),
        Request::WaitEvents(v1::WaitEvents {
            cursor: "5f0c2a917be34d60.42".into(),
            wait_ms_max,
            count_max: 500,
            hosts: false,
            vms: false,
            tasks: false,
            pools: true,
            sites: true,
            groups: true,
        }),
        Request::RenewCertificate(v1::RenewCertificate { signing_request: "MIHx".into() }),
        Request::ShowCertificate(v1::ShowCertificate {}),
        Request::PrepareKeys(v1::PrepareKeys {}),
        Request::InstallCertificate(v1::InstallCertificate { certificate: "MIIB".into() }),
    ]
}
