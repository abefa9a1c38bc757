//! ReceiveVm, SendVm, SettleMigration and AwaitMigration: what the manager tells both ends, and what the ends ask each other.

use std::path::{Component, Path};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use vmm_core::id::VmId;
use vmm_core::migration::Limits;
use vmm_core::migration::layered::{Phase, Progress};
use vmm_core::units::Kib;
use vmm_core::vm::{DiskSpec, VmSpec};
use vmm_proto::bulk::IncomingStream;
use vmm_proto::convert::parse_id;
use vmm_proto::principal::{Principal, Role};
use vmm_proto::server::Caller;
use vmm_proto::v1::{
    self as v1, AwaitMigration, Fault, FaultCode, MigrationActivity, MigrationRole, MigrationStage,
    MigrationState, MigrationVerdict, Offered, ReceiveVm, Receiving, Reply, ReturnedDevice, SendVm,
    SettleMigration,
};

use super::{ANSWER_MARGIN, done, find};
use crate::core::Core;
use crate::domain::migration::destination::Arriving;
use crate::domain::migration::reattach::{Reattached, Returned};
use crate::domain::migration::source::{Offer, Send};
use crate::domain::migration::{Migration, MigrationId, Side, Stage, Verdict};
use crate::domain::{Answer, Change, registry};

/// The longest that a question about a migration is kept waiting.
const WAIT_MAX: Duration = Duration::from_secs(60);

fn id_of(text: &str) -> Result<MigrationId, Fault> {
    text.parse().map_err(|error| Fault::new(FaultCode::BadRequest, format!("{error}: {text:?}")))
}

/// Gets ready for a VM that comes from another host. Asked again, it is answered again.
pub(super) async fn receive(core: &Arc<Core>, request: ReceiveVm) -> Result<Reply, Fault> {
    let (vm, id): (VmId, _) = (parse_id("vm", &request.vm)?, id_of(&request.migration)?);
    let receiving = Reply::Receiving(Receiving { migration: request.migration });
    match core.migrations.get(vm, id).map(|one| one.now()) {
        Some(Stage::Receiving) => return Ok(receiving),
        Some(stage) if stage.is_over() => return Err(over(id)),
        _ => {}
    }
    let spec = VmSpec::try_from(request.spec)?;
    require_movable(core, &spec)?;
    let migration = Migration::new(id, vm, (Side::Destination, request.source));
    let migration = core.migrations.open(migration);
    let memory = Kib(request.memory_kib);
    let vcpus_online = request.vcpus_online;
    let arriving = Arriving { migration: migration.clone(), memory, vcpus_online };
    match registry::receive(core, vm, spec, arriving).await {
        Ok(_) => Ok(receiving),
        Err(error) => {
            migration.reach(Stage::Discarded, &error.to_string());
            Err(error.into())
        }
    }
}

/// What has not been shown to arrive whole does not set out.
fn require_movable(core: &Core, spec: &VmSpec) -> Result<(), Fault> {
    let refuse = |text: String| Err(Fault::new(FaultCode::Unsupported, text));
    let stores = &core.config.shared_stores;
    let is_shared = |disk: &&DiskSpec| stores.iter().any(|store| is_below(&disk.path, &store.path));
    // Another disk of the same name would be taken for the guest's own.
    match spec.disks.iter().find(|disk| !disk.read_only && !is_shared(disk)) {
        None => Ok(()),
        Some(disk) => refuse(format!(
            "disk {} is writable, and {} is in no store that host {} shares; name the store under [[shared_stores]] in each agent's configuration, or shut the VM down and start it there",
            disk.device, disk.path, core.config.name
        )),
    }
}

/// A path with `..` in it may lead anywhere.
fn is_below(path: &str, directory: &Path) -> bool {
    let path = Path::new(path);
    path.starts_with(directory) && path.components().all(|part| part != Component::ParentDir)
}

/// Sends a VM; answers once the destination has all of it.
pub(super) async fn send(core: &Core, request: SendVm) -> Result<Reply, Fault> {
    let handle = find(core, &request.vm)?;
    let id = id_of(&request.migration)?;
    require_movable(core, &handle.spec())?;
    if core.migrations.get(handle.vm, id).is_some() {
        return Err(over(id));
    }
    // From here on it can be taken back.
    let side = (Side::Source, request.destination);
    let migration = core.migrations.open(Migration::new(id, handle.vm, side));
    let downtime = Duration::from_millis(request.downtime_ms_max);
    let usual = Limits::default();
    let limits = Limits {
        downtime_target: usual.downtime_target.min(downtime),
        downtime_max: downtime,
        deadline: Duration::from_millis(request.deadline_ms),
        brake_budget: request.slowdown_ms_max.map_or(usual.brake_budget, Duration::from_millis),
        ..usual
    };
    let send = Send {
        migration: migration.clone(),
        address: request.address,
        limits,
        bandwidth_bytes_per_s: request.bandwidth_bytes_per_s.filter(|rate| *rate > 0),
    };
    let outcome = handle.change(Change::Migrate(Box::new(send))).await;
    if let Err(error) = &outcome {
        migration.reach(Stage::Resumed, &error.to_string());
    }
    match outcome? {
        Answer::Offered(offer) => Ok(Reply::Offered(offered(request.migration, &offer))),
        _ => Ok(Reply::Offered(Offered { migration: request.migration, ..Offered::default() })),
    }
}

/// It was taken back before it began, or this is an old request.
fn over(id: MigrationId) -> Fault {
    let text = format!("migration {id} is under way or over on this host; begin a new one");
    Fault::new(FaultCode::Cancelled, text)
}

fn offered(migration: String, offer: &Offer) -> Offered {
    let Offer { sent, stood_still } = offer;
    Offered {
        migration,
        ram_bytes: sent.ram_bytes,
        sent_bytes: sent.sent_bytes,
        rounds: sent.rounds,
        elapsed_ms: ms(sent.elapsed),
        downtime_ms: ms(*stood_still),
        lost_ms: ms(sent.lost),
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Carries a verdict out, and answers when that is done.
pub(super) async fn settle(
    core: &Core,
    caller: &Caller,
    request: SettleMigration,
) -> Result<Reply, Fault> {
    let (vm, id): (VmId, _) = (parse_id("vm", &request.vm)?, id_of(&request.migration)?);
    let verdict = match request.verdict {
        MigrationVerdict::Commit => Verdict::Commit,
        MigrationVerdict::Abort => Verdict::Abort,
    };
    let Some(migration) = core.migrations.get(vm, id) else {
        return of_unknown(core, caller, (vm, id), verdict);
    };
    admit(&caller.principal, &migration, verdict)?;
    migration.tell(verdict);
    let mut stage = migration.stage();
    let ended = stage.wait_for(|(stage, _)| stage.is_over()).await;
    let (stage, reason) = ended.map(|now| now.clone()).unwrap_or((Stage::Resumed, String::new()));
    if stage.verdict() == Some(verdict) {
        return Ok(done());
    }
    let text =
        format!("migration {id} of VM {vm} has ended otherwise on this host ({stage:?}): {reason}");
    Err(Fault::new(FaultCode::Conflict, text))
}

/// The manager may say anything; an agent may have that discarded which it sends.
fn admit(principal: &Principal, migration: &Migration, verdict: Verdict) -> Result<(), Fault> {
    let is_peer = *principal == Principal::agent(migration.peer.clone());
    let may_abort = is_peer && migration.side == Side::Destination && verdict == Verdict::Abort;
    if principal.role == Role::Manager || may_abort {
        return Ok(());
    }
    let text = format!("{principal} may not decide about this migration; ask the manager");
    Err(Fault::new(FaultCode::Denied, text))
}

/// One that this host has no memory of: it has no copy that it could start, or resume.
fn of_unknown(
    core: &Core,
    caller: &Caller,
    (vm, id): (VmId, MigrationId),
    verdict: Verdict,
) -> Result<Reply, Fault> {
    if verdict == Verdict::Abort && caller.principal.role == Role::Manager {
        // A request that begins it may still be on its way: it comes too late then.
        let none = Migration::new(id, vm, (Side::Destination, String::new()));
        core.migrations.open(none).reach(Stage::Discarded, "it was taken back before it began");
        return Ok(done());
    }
    let text = format!(
        "there is nothing of migration {id} of VM {vm} on this host: it was discarded, or never came"
    );
    Err(Fault::new(FaultCode::UnknownVm, text))
}

/// How far a migration is: at once when it is not at work, else after a change or the wait.
pub(super) async fn wait(
    core: &Core,
    caller: &Caller,
    request: AwaitMigration,
) -> Result<Reply, Fault> {
    let (vm, id): (VmId, _) = (parse_id("vm", &request.vm)?, id_of(&request.migration)?);
    let missing = || {
        let text = format!("there is nothing of migration {id} of VM {vm} on this host");
        Fault::new(FaultCode::UnknownVm, text)
    };
    let migration = core.migrations.get(vm, id).ok_or_else(missing)?;
    let principal = &caller.principal;
    if principal.role != Role::Manager && *principal != Principal::agent(migration.peer.clone()) {
        return Err(missing());
    }
    let asked = Duration::from_millis(request.wait_ms_max).min(WAIT_MAX);
    let limit = caller.deadline.map_or(asked, |left| asked.min(left.saturating_sub(ANSWER_MARGIN)));
    let mut stage = migration.stage();
    let at_work =
        |stage: Stage| matches!(stage, Stage::Preparing | Stage::Receiving | Stage::Sending);
    let until = Instant::now() + limit;
    let changed = stage.wait_for(|(stage, _)| !at_work(*stage));
    let _ = timeout_at(until, changed).await;
    let (stage, reason) = stage.borrow().clone();
    let mut reattached = migration.reattached.subscribe();
    if request.devices && stage == Stage::Started {
        let _ = timeout_at(until, reattached.wait_for(|all| all.is_over)).await;
    }
    let Reattached { started, devices, .. } = reattached.borrow().clone();
    Ok(Reply::MigrationState(MigrationState {
        migration: request.migration,
        stage: told(stage),
        reason,
        started_ms: started.map(ms),
        devices: devices.into_iter().map(returned).collect(),
    }))
}

fn returned(device: Returned) -> ReturnedDevice {
    let Returned { name, used, heard } = device;
    ReturnedDevice { name, used_ms: used.map(ms), heard_ms: heard.map(ms) }
}

/// As it is called on the wire.
pub(super) fn told(stage: Stage) -> MigrationStage {
    match stage {
        Stage::Sending => MigrationStage::Sending,
        Stage::Offered => MigrationStage::Offered,
        Stage::Gone => MigrationStage::Gone,
        Stage::Resumed => MigrationStage::Resumed,
        Stage::Preparing | Stage::Receiving => MigrationStage::Receiving,
        Stage::Ready => MigrationStage::Ready,
        Stage::Started => MigrationStage::Started,
        Stage::Discarded => MigrationStage::Discarded,
    }
}

/// A migration, for the report.
pub(super) fn told_of(migration: &Migration) -> v1::Migration {
    let progress = *migration.progress.borrow();
    let (stage, role) = (migration.now(), migration.side);
    let progress = progress.as_ref();
    v1::Migration {
        migration: migration.id.to_string(),
        role: match role {
            Side::Source => MigrationRole::Source,
            Side::Destination => MigrationRole::Destination,
        },
        peer: migration.peer.clone(),
        stage: told(stage),
        activity: (role == Side::Source).then(|| activity(stage, progress)),
        rounds: progress.map_or(0, |now| now.harvests),
        sent_bytes: progress.map_or(0, |now| now.sent_bytes),
        left_bytes: progress.map_or(0, |now| now.left_bytes),
        dirty_bytes_per_s: progress.map(|now| now.dirty_bytes_per_s),
        downtime_ms: progress.map(|now| ms(now.downtime)),
        left_ms: progress.map(|now| ms(now.left)),
        brake_percent: progress
            .map(|now| u32::from(now.brake.in_percent()))
            .filter(|percent| *percent > 0),
    }
}

fn activity(stage: Stage, progress: Option<&Progress>) -> MigrationActivity {
    match (stage, progress.map(|now| now.phase)) {
        (Stage::Sending, Some(Phase::Compact)) => MigrationActivity::Compact,
        (Stage::Sending, Some(Phase::Log | Phase::Hints)) => MigrationActivity::Log,
        (Stage::Sending, Some(Phase::FirstPass)) => MigrationActivity::FirstPass,
        (Stage::Sending, Some(Phase::Sprint)) => MigrationActivity::Sprint,
        (Stage::Sending, Some(Phase::Stopping)) => MigrationActivity::Stopping,
        (Stage::Sending, Some(Phase::Rest)) => MigrationActivity::Rest,
        _ => MigrationActivity::Waiting,
    }
}

/// One of the streams of a migration to this host, from the agent that it was announced of.
pub(crate) async fn stream(core: &Core, incoming: IncomingStream) {
    let migration = core.migrations.of_transfer(incoming.name.transfer).filter(|migration| {
        migration.side == Side::Destination
            && incoming.wants_to_send()
            && incoming.principal == Principal::agent(migration.peer.clone())
    });
    let principal = incoming.principal.clone();
    let refused = match migration {
        Some(migration) => match migration.hand_over(Box::new(incoming)) {
            // Served by the VM's own task, to its end or that of the migration.
            Ok(()) => {
                let mut stage = migration.stage();
                let _ =
                    stage.wait_for(|(stage, _)| *stage == Stage::Ready || stage.is_over()).await;
                return;
            }
            Err(incoming) => *incoming,
        },
        None => incoming,
    };
    tracing::warn!(%principal, "a stream that nobody waits for");
    let fault =
        Fault::new(FaultCode::Denied, "no migration of that name waits for a stream of yours");
    let _ = refused.refuse(fault.at(&format!("agent {}", core.config.name))).await;
}
