//! Groups come, change and go.
//!
//! Defining says what shall be, as it does of pools. A group that is violated by where its VMs are is accepted: nobody is moved, and the answer's log
//! names them. Groups that contradict each other are not: nobody could obey both.

use std::collections::{BTreeMap, BTreeSet};

use vmm_core::id::{GroupId, VmId};
use vmm_proto::v1::{
    DefineGroup, Done, Fault, FaultCode, GroupKind, GroupRef, RemoveGroup, Reply, ShowGroup, VmRef,
};

use super::change::Change;
use super::place::{conflict, named, notes};
use crate::app::{App, Deed, State, Target};
use crate::store::{GroupRecord, KeyedReply, Put, VmRecord};

/// Groups of one manager.
const GROUPS_MAX: usize = 10_000;
/// VMs of one group.
const MEMBERS_MAX: usize = 1000;
/// Groups of one VM.
const GROUPS_OF_VM_MAX: usize = 16;
/// VMs that a message names.
const NAMED_MAX: usize = 10;

fn bad(message: impl Into<String>) -> Fault {
    Fault::new(FaultCode::BadRequest, message)
}

/// One group.
pub(super) fn show(app: &App, show: &ShowGroup) -> Result<Reply, Fault> {
    let state = app.lock();
    let group = state.group_named(&show.group)?;
    Ok(Reply::Group(Box::new(state.show_group(group))))
}

/// Makes a group, or changes it and who is in it.
pub(super) fn define(change: Change<'_>, define: &DefineGroup) -> Result<Reply, Fault> {
    let before = existing(&change, define)?;
    let after = GroupRecord {
        name: named(define.new_name.as_deref(), &before.name)?,
        rule: define.rule.unwrap_or(before.rule),
        soft: define.soft.unwrap_or(before.soft),
        notes: notes(define.notes.as_deref(), &before.notes)?,
        ..before
    };
    let same = |other: &GroupRecord| other.name == after.name && other.id != after.id;
    if change.state.groups.all().any(same) {
        return Err(conflict("group", &after.name));
    }
    let (vms, members) = changed_members(change.state, after.id, define)?;
    check_sense(change.state, &after, &members)?;
    let target = Target::Group(after.id, after.name.clone());
    let mut batch = vec![Put::Group(after.clone())];
    batch.extend(vms.into_iter().map(|vm| Put::Vm(Box::new(vm))));
    let note = violation(change.state, &after, &members);
    let deed = Deed { target, origin: change.origin, note };
    change.app.done_at_once(change.state, deed, batch, None)
}

fn existing(change: &Change<'_>, define: &DefineGroup) -> Result<GroupRecord, Fault> {
    let groups = &change.state.groups;
    match (groups.called(&define.group), define.rule) {
        (Some(group), _) => Ok(group.clone()),
        (None, _) if define.new_name.is_some() => change.state.group_named(&define.group).cloned(),
        (None, None) => Err(bad(format!(
            "there is no group {:?}; to make it, say its rule: Together or Apart",
            define.group
        ))),
        (None, Some(_)) if groups.all().count() >= GROUPS_MAX => {
            let message = format!("there are {GROUPS_MAX} groups already: remove some first");
            Err(Fault::new(FaultCode::BadState, message))
        }
        (None, Some(rule)) => {
            let (id, name) = (change.app.new_group_id(), named(Some(&define.group), "")?);
            Ok(GroupRecord { id, name, rule, soft: false, notes: String::new() })
        }
    }
}

/// The VMs that come and go, as they are then, and all who are in the group then.
fn changed_members(
    state: &State,
    group: GroupId,
    define: &DefineGroup,
) -> Result<(Vec<VmRecord>, BTreeSet<VmId>), Fault> {
    let find = |vms: &[VmRef]| -> Result<BTreeMap<VmId, VmRecord>, Fault> {
        let one = |vm: &VmRef| {
            let record = &state.vm_named(&vm.vm)?.record;
            Ok((record.id, record.clone()))
        };
        vms.iter().map(one).collect()
    };
    let (add, remove) = (find(&define.add)?, find(&define.remove)?);
    if let Some(both) = add.values().find(|vm| remove.contains_key(&vm.id)) {
        let name = &both.spec.name;
        return Err(bad(format!("VM {name} is to be added and taken away: say one")));
    }
    let mut members: BTreeSet<VmId> = state.groups.members(group).collect();
    members.extend(add.keys());
    members.retain(|vm| !remove.contains_key(vm));
    if members.len() > MEMBERS_MAX {
        return Err(bad(format!(
            "a group of {} VMs is refused: {MEMBERS_MAX} at most",
            members.len()
        )));
    }
    let mut changed = Vec::new();
    for mut vm in add.into_values().filter(|vm| !vm.groups.contains(&group)) {
        vm.groups.push(group);
        check_count(vm.groups.len(), &vm.spec.name)?;
        changed.push(vm);
    }
    for mut vm in remove.into_values().filter(|vm| vm.groups.contains(&group)) {
        vm.groups.retain(|other| *other != group);
        changed.push(vm);
    }
    Ok((changed, members))
}

fn check_count(count: usize, vm: &str) -> Result<(), Fault> {
    if count <= GROUPS_OF_VM_MAX {
        return Ok(());
    }
    Err(bad(format!("VM {vm} would be in {count} groups; {GROUPS_OF_VM_MAX} are the most")))
}

/// Two VMs cannot be kept together by one group and apart by another.
fn check_sense(state: &State, group: &GroupRecord, members: &BTreeSet<VmId>) -> Result<(), Fault> {
    let opposed = |other: &&GroupRecord| {
        other.id != group.id && other.rule != group.rule && !other.soft && !group.soft
    };
    for other in state.groups.all().filter(opposed) {
        let both: Vec<VmId> =
            state.groups.members(other.id).filter(|vm| members.contains(vm)).take(2).collect();
        if let [one, two] = both.as_slice() {
            let name = |vm| state.vms.get(vm).map_or("", |vm| vm.record.spec.name.as_str());
            let message = format!(
                "groups {} and {} contradict each other: VMs {} and {} are in both, to be together and apart",
                group.name,
                other.name,
                name(one),
                name(two)
            );
            return Err(Fault::new(FaultCode::Conflict, message));
        }
    }
    Ok(())
}

/// Who will stand against the rule, in words.
fn violation(state: &State, group: &GroupRecord, members: &BTreeSet<VmId>) -> Option<String> {
    let against = state.against(group, members.iter().copied());
    let names = against.iter().filter_map(|vm| state.vms.get(vm));
    let names: Vec<&str> = names.map(|vm| vm.record.spec.name.as_str()).collect();
    let named = names.iter().take(NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
    let more = if names.len() > NAMED_MAX { ", …" } else { "" };
    let what = match group.rule {
        GroupKind::Apart => "share hosts",
        GroupKind::Together => "are not where most are",
    };
    (!names.is_empty())
        .then(|| format!("{} of them {what} and stay there: {named}{more}", names.len()))
}

/// Forgets a group. Its VMs are where they were, and one rule less binds them.
pub(super) fn remove(change: Change<'_>, remove: &RemoveGroup) -> Result<Reply, Fault> {
    let group = change.state.group_named(&remove.group)?;
    let (id, about) = (group.id, Target::Group(group.id, group.name.clone()));
    let members = change.state.groups.members(id).filter_map(|vm| change.state.vms.get(&vm));
    let without = |vm: &VmRecord| {
        let groups = vm.groups.iter().copied().filter(|group| *group != id).collect();
        Put::Vm(Box::new(VmRecord { groups, ..vm.clone() }))
    };
    let mut batch: Vec<Put> = members.map(|vm| without(&vm.record)).collect();
    batch.push(Put::DropGroup(id));
    change.store(about, batch, KeyedReply::Done)?;
    Ok(Reply::Done(Done {}))
}

/// The groups that a new VM shall be in, each once.
pub(super) fn groups(state: &State, groups: &[GroupRef], vm: &str) -> Result<Vec<GroupId>, Fault> {
    let mut ids = Vec::with_capacity(groups.len());
    for group in groups {
        let id = state.group_named(&group.group)?.id;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    check_count(ids.len(), vm)?;
    match ids.iter().find(|id| state.groups.members(**id).count() >= MEMBERS_MAX) {
        None => Ok(ids),
        Some(_) => Err(bad(format!("one of the groups has {MEMBERS_MAX} VMs already"))),
    }
}
