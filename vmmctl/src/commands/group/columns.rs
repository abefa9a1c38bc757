//! The columns of a group.

use vmm_proto::v1::{Group, GroupKind};

use crate::output::Column;

type OfGroup = Column<Group>;

/// The name first.
pub(crate) const COLUMNS: &[OfGroup] = &[
    OfGroup::text("name", |group| group.name.clone()),
    OfGroup::text("rule", |group| rule(group.rule).to_owned()),
    OfGroup::text("kind", |group| if group.soft { "wish" } else { "must" }.to_owned()),
    OfGroup::count("vms", |group| u64::try_from(group.members.len()).ok()),
    OfGroup::text("violated_by", |group| misplaced(group).join(",")),
    OfGroup::text("notes", |group| group.notes.clone()),
    OfGroup::text("members", |group| {
        let names: Vec<&str> = group.members.iter().map(|vm| vm.vm_name.as_str()).collect();
        names.join(",")
    })
    .wide(),
    OfGroup::text("id", |group| group.group.clone()).wide(),
];

pub(super) fn rule(rule: GroupKind) -> &'static str {
    match rule {
        GroupKind::Together => "together",
        GroupKind::Apart => "apart",
    }
}

/// Who stands against the rule, by name.
fn misplaced(group: &Group) -> Vec<&str> {
    let misplaced = group.members.iter().filter(|vm| vm.misplaced);
    misplaced.map(|vm| vm.vm_name.as_str()).collect()
}
