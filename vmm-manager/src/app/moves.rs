//! Moves between hosts: where a VM could go, how far it is, and what an agent is to be told that nobody has told it.

use std::collections::BTreeSet;

use tokio::time::Instant;
use vmm_core::id::{HostId, VmId};
use vmm_core::scheduler::{Pool, Relocation, relocate};
use vmm_core::vm::{VmSpec, VmState};
use vmm_proto::v1::{self, MigrationRole, MigrationStage, MigrationVerdict, ReportedVm};

use super::App;
use super::state::{Host, State, Vm};
use crate::store::{Put, VmRecord};

/// How a directory that hosts share is named to the scheduler.
pub(super) fn storage_name(store: &v1::SharedStore) -> String {
    format!("{}:{}", store.name, store.path)
}

/// What a VM's disks need of its next host: the directories that its own host shares, or the files themselves, which nobody else has.
pub(super) fn storages_of(spec: &v1::Spec, here: &[v1::SharedStore]) -> BTreeSet<String> {
    let needed = |disk: &v1::Disk| {
        let store = here.iter().find(|store| is_below(&disk.path, &store.path));
        store.map_or_else(|| disk.path.clone(), storage_name)
    };
    spec.disks.iter().map(needed).collect()
}

/// Are all disks of it in directories that its host shares?
pub(super) fn is_shared(spec: &v1::Spec, here: &[v1::SharedStore]) -> bool {
    spec.disks.iter().all(|disk| shares(&disk.path, here))
}

/// Is it in a directory that these name?
pub(super) fn shares(path: &str, stores: &[v1::SharedStore]) -> bool {
    stores.iter().any(|store| is_below(path, &store.path))
}

/// A path with `..` in it may lead anywhere.
fn is_below(path: &str, directory: &str) -> bool {
    let inside = path.strip_prefix(directory.trim_end_matches('/'));
    inside.is_some_and(|inside| inside.starts_with('/'))
        && !path.split('/').any(|part| part == "..")
}

/// A verdict that an agent has to hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unsettled {
    pub(crate) host: HostId,
    pub(crate) vm: VmId,
    pub(crate) migration: String,
    pub(crate) verdict: MigrationVerdict,
}

impl State {
    /// Where a VM that runs could go, of what is known now, and the problem that it was asked of.
    pub(crate) fn relocations(&self, vm: &Vm) -> Option<(Pool, Relocation)> {
        let now = Instant::now();
        let (groups, mut vms) = self.scheduled_groups(&[&vm.record]);
        let mut moved = self.scheduled_vm(vm, now)?;
        if let Ok(spec) = VmSpec::try_from(vm.record.spec.clone()) {
            moved.needs.disks_in_use = self.hosts_with_disk_of(vm.record.id, &spec);
        }
        vms.push(moved);
        let pool = Pool { hosts: self.scheduled_hosts(now), vms, groups };
        let found = relocate(&pool, vm.record.id, &self.cost_model)?;
        Some((pool, found))
    }

    /// The move that an open task makes of the VM.
    fn open_move(&self, vm: &Vm) -> Option<&str> {
        let task = self.tasks.get(&vm.owner?)?;
        let of = task.record.plan.as_ref()?.moves()?;
        Some(&of.moving.migration)
    }

    /// Takes over how far a VM's move is. What its source does now, when that is something else than before, in words.
    fn note_migration(&mut self, vm: VmId, seen: &ReportedVm) -> Option<String> {
        let told = seen.migration.as_ref()?;
        let entry = self.vms.get(&vm)?;
        let is_open = self.open_move(entry) == Some(told.migration.as_str());
        if !is_open || told.role != MigrationRole::Source {
            return None;
        }
        let before = self.vms.get_mut(&vm)?.migration.replace(told.clone());
        let key = |told: &v1::Migration| (told.activity, told.stage, told.brake_percent);
        (before.as_ref().map(key) != Some(key(told))).then(|| in_words(told))
    }

    /// Takes over how far the moves of a host's VMs are; each turn of one is a line of its task's log.
    pub(super) fn note_migrations(&mut self, host: HostId, now_ms: u64) -> Vec<Put> {
        let seen = self.hosts.get(&host).into_iter().flat_map(|host| &host.observed);
        let moving: Vec<(VmId, ReportedVm)> = seen
            .filter(|(_, seen)| seen.migration.is_some())
            .map(|(vm, seen)| (*vm, seen.clone()))
            .collect();
        let mut puts = Vec::new();
        for (vm, seen) in moving {
            let Some(line) = self.note_migration(vm, &seen) else { continue };
            let task = self.vms.get(&vm).and_then(|vm| self.tasks.get(&vm.owner?));
            let Some(mut record) = task.map(|task| task.record.clone()) else { continue };
            record.log(now_ms, &line);
            puts.push(Put::Task(Box::new(record)));
        }
        puts
    }

    /// How far the VM of a task is on its way, with its host at the other end by name.
    pub(super) fn shown_migration(&self, vm: VmId) -> Option<v1::Migration> {
        self.vms.get(&vm)?.migration.clone()
    }

    /// From where to where VMs are being moved now, by whomever.
    pub(crate) fn moves_under_way(&self) -> impl Iterator<Item = (HostId, HostId)> {
        let owned = self.vms.values().filter(|vm| vm.owner.is_some());
        let moving = owned.filter_map(|vm| vm.record.moving.as_ref());
        moving.map(|moving| (moving.source, moving.destination))
    }

    /// What agents report of moves that no open task is about, and what the books say of them.
    pub(crate) fn unsettled(&self) -> Vec<Unsettled> {
        let reported = self.hosts.values().flat_map(|host| {
            host.observed
                .values()
                .filter_map(move |seen| Some((host, seen, seen.migration.as_ref()?)))
        });
        reported.filter_map(|(host, seen, told)| self.verdict(host, seen, told)).collect()
    }

    fn verdict(&self, host: &Host, seen: &ReportedVm, told: &v1::Migration) -> Option<Unsettled> {
        let id = seen.vm.parse::<VmId>().ok()?;
        // An orphan is touched by nobody; its agents settle it between themselves.
        let vm = self.vms.get(&id)?;
        let is_fresh = host.observed_poll > vm.settled;
        let is_open =
            vm.owner.is_some_and(|_| self.open_move(vm).is_none_or(|open| open == told.migration));
        let waits = matches!(
            told.stage,
            MigrationStage::Receiving
                | MigrationStage::Ready
                | MigrationStage::Sending
                | MigrationStage::Offered
        );
        if is_open || !is_fresh || !waits {
            return None;
        }
        // Whether it was committed is stored with the move's id; after a commit no task ends before the VM has started.
        let stored = vm.record.moving.as_ref().filter(|of| of.migration == told.migration);
        let verdict = match (stored.map(|of| of.committed), told.role) {
            (Some(true), _) => MigrationVerdict::Commit,
            (Some(false), _) | (None, MigrationRole::Destination) => MigrationVerdict::Abort,
            (None, MigrationRole::Source) if vm.record.host == Some(host.record.id) => {
                MigrationVerdict::Abort
            }
            // Not of these books: what it has may be the only copy, or an old one. It asks its destination itself.
            (None, MigrationRole::Source) => return None,
        };
        let migration = told.migration.clone();
        Some(Unsettled { host: host.record.id, vm: id, migration, verdict })
    }

    /// Moves that are over, of which nothing is left at the other end.
    pub(crate) fn settled_moves(&self) -> Vec<VmRecord> {
        let over = self.vms.values().filter(|vm| vm.owner.is_none() && self.is_clean(vm));
        over.map(|vm| VmRecord { moving: None, ..vm.record.clone() }).collect()
    }

    fn is_clean(&self, vm: &Vm) -> bool {
        let Some(other) = vm.record.other_end().filter(|_| vm.record.moving.is_some()) else {
            return false;
        };
        let Some(host) = self.hosts.get(&other) else { return true };
        let has =
            |seen: &ReportedVm| VmState::from(seen.phase).has_domain() || seen.migration.is_some();
        host.observed_poll > vm.settled && !host.observed.get(&vm.record.id).is_some_and(has)
    }
}

impl App {
    /// Writes down that nothing is left of these moves.
    pub(crate) fn end_moves(&self) -> usize {
        let mut state = self.lock();
        let over = state.settled_moves();
        let count = over.len();
        if count > 0 {
            state.commit_facts(over.into_iter().map(|vm| Put::Vm(Box::new(vm))).collect());
        }
        count
    }
}

fn in_words(told: &v1::Migration) -> String {
    let mib = |bytes: u64| bytes >> 20;
    let doing =
        told.activity.map_or_else(|| format!("{:?}", told.stage), |doing| format!("{doing:?}"));
    let mut text = format!(
        "{doing}: {} rounds, {} MiB sent, {} MiB left",
        told.rounds,
        mib(told.sent_bytes),
        mib(told.left_bytes)
    );
    let mut add = |value: Option<u64>, before: &str, unit: &str| {
        if let Some(value) = value {
            text.push_str(&format!(", {before}{value}{unit}"));
        }
    };
    add(told.dirty_bytes_per_s.map(mib), "", " MiB/s written");
    add(told.downtime_ms, "standstill ", " ms");
    add(told.brake_percent.map(u64::from), "braked by ", " %");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_shared_when_it_lies_below_a_shared_directory() {
        for (path, directory, expect) in [
            ("/srv/images/web.img", "/srv/images", true),
            ("/srv/images/web.img", "/srv/images/", true),
            ("/srv/images/a/web.img", "/srv/images", true),
            ("/srv/images2/web.img", "/srv/images", false),
            ("/srv/images", "/srv/images", false),
            ("/srv/images/../web.img", "/srv/images", false),
            ("/dev/vg/web", "/srv/images", false),
            ("/dev/vg/web", "/", true),
        ] {
            assert_eq!(is_below(path, directory), expect, "{path} below {directory}");
        }
    }
}
