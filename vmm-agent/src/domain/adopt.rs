//! What a restarted agent makes of its journal and of what it finds.
//!
//! | the journal says | found | then |
//! |---|---|---|
//! | running | the domain, with its number and the VM's uuid | adopted: the guest notices nothing; a plug or save that was half-way is finished or taken back, and the file of a restore that is done goes |
//! | running, to be started with its host | no such domain, and the host has booted since | started again, in its turn ([`super::autostart`]) |
//! | running | no such domain | lost; what is left of it is removed, a file that it may have gone on from too |
//! | building | whatever there is of it | removed; failed, or saved as before when it was being restored |
//! | running, being sent to another host | its domain | the guest goes on here: the destination cannot have started it |
//! | running, offered to another host | its domain, suspended | it stands still until the verdict is told |
//! | running, offered to another host | no such domain | lost; never started with its host, since it may run elsewhere |
//! | committed to this host | its domain, perhaps paused | started, and adopted |
//! | half of it come from another host | whatever there is of it | removed and forgotten: the source has the guest |
//! | rebuilding | whatever there is of it | removed; built again |
//! | taking down | whatever there is of it | removed; stopped for the reason that was recorded |
//! | stopped | | remembered until the manager forgets it |
//!
//! A domain that no record names is never touched. One that has a recorded VM's uuid but came while that VM was stopped, or
//! has another number than a running one, was made by somebody else: it is not touched either.

use std::sync::Arc;

use futures_util::FutureExt as _;
use vmm_core::id::VmId;
use vmm_core::vm::{StopReason, VmState};
use xen_bindings::{DomainInfo, RunState, XenError};

use super::error::ChangeError;
use super::migration::{Migration, Side, Stage};
use super::runner::Runner;
use super::site::{Site, is_suspended};
use super::{autostart, registry};
use crate::core::Core;
use crate::journal::{Intent, Moved, Record};

/// Adopts, cleans up or remembers every VM of the journal.
pub(crate) async fn reconcile(core: &Arc<Core>) -> Result<(), XenError> {
    let domains = core.run(|host| host.xen.control.list()).await?;
    let has_booted = autostart::host_has_booted(core).await;
    let (mut to_start, mut to_rebuild) = (Vec::new(), Vec::new());
    for record in core.journal.records() {
        tell_of_ended(core, &record);
        let own = |domain: &&DomainInfo| domain.handle.0 == record.vm.bytes();
        let found: Vec<&DomainInfo> = domains.iter().filter(own).collect();
        match record.intent {
            Intent::Rest => registry::remember(core, record, false),
            Intent::Run => to_start.extend(running(core, record, &found, has_booted).await),
            Intent::Arrive => {
                let record = started(core, record, &found).await;
                to_start.extend(running(core, record, &found, has_booted).await);
            }
            Intent::Shell => no_shell(core, record, &found).await,
            Intent::Build | Intent::Rebuild | Intent::Remove => {
                to_rebuild.extend(interrupted(core, record, &found).await);
            }
        }
    }
    // None is built before all images of those that run, or may, are leased again.
    for record in to_rebuild {
        registry::rebuild(core, record);
    }
    if has_booted {
        autostart::mark_boot(core).await;
    }
    autostart::start(core, to_start);
    Ok(())
}

/// A VM that ran; given back when it shall run again.
async fn running(
    core: &Arc<Core>,
    mut record: Record,
    found: &[&DomainInfo],
    has_booted: bool,
) -> Option<Record> {
    let ours = found.iter().find(|d| Some(d.domid) == record.domid && d.state != RunState::Dying);
    if let Some(domain) = ours {
        adopted(core, record, domain).await;
        return None;
    }
    let offered = record.moving.as_ref().is_some_and(|moving| moving.stage == Moved::Offered);
    if has_booted && record.spec.autostart.is_some() && !offered {
        // An agent that dies before the VM's turn leaves it to the next one.
        record.intent = Intent::Rebuild;
        record.stop = StopReason::Lost;
        let (record, left_over) = take_off(core, record).await;
        if !left_over {
            return Some(record);
        }
        remember(core, record, left_over).await;
        return None;
    }
    record.stop = StopReason::Lost;
    record.reason = "its domain was gone when the agent started; the host restarted, or somebody else destroyed it".into();
    clean(core, record).await
}

/// A VM that was committed to this host: it may not have been started yet.
async fn started(core: &Arc<Core>, mut record: Record, found: &[&DomainInfo]) -> Record {
    let ours = found.iter().map(|found| found.domid).find(|id| Some(*id) == record.domid);
    if let Some(domid) = ours
        && let Err(error) = core.run(move |host| host.xen.control.unpause(domid)).await
    {
        tracing::error!(vm_id = %record.vm, %error, "a VM that has come was not started");
    }
    record.intent = Intent::Run;
    if let Err(error) = core.record(&record).await {
        tracing::error!(vm_id = %record.vm, %error, "journal not written");
    }
    record
}

/// What whoever asks is told of the migration that a VM came or went by: also of one that does not run any more, for it has run, and its
/// source must not go on.
fn tell_of_ended(core: &Core, record: &Record) {
    match record.moving.as_ref().map(|moving| moving.stage) {
        Some(Moved::Arrived) => {
            tell_of_migration(core, record, (Side::Destination, Stage::Started))
        }
        Some(Moved::Gone) => tell_of_migration(core, record, (Side::Source, Stage::Gone)),
        Some(Moved::Sending | Moved::Offered | Moved::Arriving) | None => {}
    }
}

fn tell_of_migration(core: &Core, record: &Record, (side, stage): (Side, Stage)) {
    let Some(moving) = &record.moving else { return };
    let migration = Migration::new(moving.migration, record.vm, (side, moving.peer.clone()));
    core.migrations.open(migration).reach(stage, "");
}

async fn adopted(core: &Arc<Core>, record: Record, domain: &DomainInfo) {
    let offered = record.moving.as_ref().is_some_and(|moving| moving.stage == Moved::Offered);
    if offered {
        tell_of_migration(core, &record, (Side::Source, Stage::Offered));
    }
    let state = match domain.paused {
        _ if offered => VmState::Migrating,
        _ if is_suspended(domain) => VmState::Suspended,
        true => VmState::Paused,
        false => VmState::Running,
    };
    tracing::info!(vm_id = %record.vm, domid = domain.domid.get(), "VM adopted");
    // Before anybody else can ask for its images.
    let mut site = Site::new(core.clone(), record);
    site.lease_again().await;
    registry::adopt(core, site.record, state);
}

impl Runner {
    /// A domain that an earlier agent has left running.
    pub(super) async fn take_over(&mut self) {
        self.open_console();
        if let Some(moving) = self.site.record.moving.clone() {
            self.settle_migration(moving).boxed().await;
        }
        if !self.state().has_domain() || self.state() == VmState::Migrating {
            return;
        }
        match self.site.is_described().await {
            Ok(true) => self.settle().await,
            // A xenstore that has lost its content would have the VM lose its disks.
            Ok(false) => {
                let vm_id = self.site.record.vm;
                tracing::error!(%vm_id, "xenstore does not know the VM: nothing of it is settled");
            }
            Err(error) => {
                tracing::error!(vm_id = %self.site.record.vm, %error, "adopted VM not settled");
            }
        }
        self.publish_spec();
        self.look().await;
    }

    /// What was half-way is finished or taken back.
    async fn settle(&mut self) {
        if let Some(file) = self.site.record.saved.clone() {
            self.abandon_save(file).await;
        }
        if let Err(error) = self.settle_devices().await {
            tracing::error!(vm_id = %self.site.record.vm, %error, "devices not settled");
        }
        self.settle_adopted_memory().await;
    }
}

/// A change was under way; the VM is given back when it shall be built again.
async fn interrupted(
    core: &Arc<Core>,
    mut record: Record,
    found: &[&DomainInfo],
) -> Option<Record> {
    tracing::info!(vm_id = %record.vm, intent = ?record.intent, "interrupted change found");
    // The agent may have died between making the domain and writing its number down. No other domain had this uuid then.
    if record.domid.is_none() && record.intent != Intent::Remove {
        record.domid = found.first().map(|domain| domain.domid);
    }
    if record.moving.as_ref().is_some_and(|moving| moving.stage == Moved::Arriving) {
        return discarded(core, record).await;
    }
    if record.intent == Intent::Build {
        let (stop, reason) = match &record.saved {
            Some(_) => {
                (StopReason::Saved, "the agent stopped while it restored the VM; restore it again")
            }
            None => {
                (StopReason::Failed, "the agent stopped while it built the VM; start the VM again")
            }
        };
        (record.stop, record.reason) = (stop, reason.into());
    }
    clean(core, record).await
}

/// Half of a VM that was to come: it is as if it had never been here.
async fn discarded(core: &Arc<Core>, record: Record) -> Option<Record> {
    let (record, left_over) = take_off(core, record).await;
    if left_over {
        remember(core, record, left_over).await;
    } else {
        registry::forget_arrival(core, record.vm).await;
    }
    None
}

/// A shell of an earlier agent; it goes.
async fn no_shell(core: &Arc<Core>, mut record: Record, found: &[&DomainInfo]) {
    let uuid = record.vm;
    record.domid = record.domid.or_else(|| found.first().map(|domain| domain.domid));
    if !take_off(core, record).await.1 {
        super::shells::forget(core, uuid).await;
    }
}

/// Removes what is left of a VM, then remembers it, or gives it back to be rebuilt.
async fn clean(core: &Arc<Core>, record: Record) -> Option<Record> {
    let rebuild = record.intent == Intent::Rebuild;
    let (record, left_over) = take_off(core, record).await;
    if rebuild && !left_over {
        return Some(record);
    }
    remember(core, record, left_over).await;
    None
}

/// What is left of a VM may still write to its images: they stay its own.
async fn remember(core: &Arc<Core>, record: Record, left_over: bool) {
    let mut site = Site::new(core.clone(), record);
    if left_over {
        site.lease_again().await;
    }
    registry::remember(core, site.record, left_over);
}

async fn take_off(core: &Arc<Core>, record: Record) -> (Record, bool) {
    let keeps_intent = matches!(record.intent, Intent::Rebuild | Intent::Shell);
    let mut site = Site::new(core.clone(), record);
    let left_over = site.end().await;
    if left_over.is_empty() {
        site.record.domid = None;
        if !keeps_intent {
            site.record.intent = Intent::Rest;
        }
    } else if site.record.intent != Intent::Shell {
        tracing::error!(vm_id = %site.record.vm, ?left_over, "VM not taken off the host");
        site.record.intent = Intent::Remove;
        site.record.reason = format!("left over on the host: {}", left_over.join(", "));
    }
    if let Err(error) = site.write_record().await {
        tracing::error!(vm_id = %site.record.vm, %error, "journal not written");
    }
    (site.record, !left_over.is_empty())
}

/// Tries again to remove what a stopped VM left behind.
pub(crate) async fn clean_again(core: &Arc<Core>, vm: VmId) -> Result<(), ChangeError> {
    let record = core.journal.records().into_iter().find(|record| record.vm == vm);
    let Some(record) = record else { return Ok(()) };
    match take_off(core, record).await {
        (_, false) => Ok(()),
        (record, true) => Err(ChangeError::LeftOver(record.reason)),
    }
}
