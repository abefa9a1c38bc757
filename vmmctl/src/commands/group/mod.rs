//! `vmmctl group …`: VMs that shall be on one host, or on different ones.

mod columns;

use clap::{Args, Subcommand};
use vmm_core::query::GroupField;
use vmm_proto::v1::{
    DefineGroup, Fault, FaultCode, Group, GroupKind, ListGroups, Member, RemoveGroup, Reply,
    Request, ShowGroup, Task, VmRef,
};

use crate::args::Listing;
use crate::changes::Kinds;
use crate::commands::live::{self, Source};
use crate::commands::tell;
use crate::complete;
use crate::confirm::{Reason, confirm};
use crate::failure::Failure;
use crate::output::{Answer, Column, Told};
use crate::session::{Session, unexpected};
use crate::wanted::{Wanted, pages};

pub(crate) use columns::COLUMNS;

const EXAMPLES: &str = "\
Examples:
  vmmctl group add web-ha --apart --vms web-1,web-2
  vmmctl group add shop --together --soft --notes 'they talk all day'
  vmmctl group set web-ha --add web-3 --remove web-1
  vmmctl group show web-ha
  vmmctl group list --where 'violated=yes'
  vmmctl vm create web-4 --kernel /boot/vmlinuz --memory 1G --group web-ha
  vmmctl vm list --where 'group=web-ha'

VMs apart are on different hosts, VMs together on one. A group holds for starts, restores and plans from
now on; VMs that stand against it stay where they are, and `group show` names them. A soft group is a
wish: a breach costs as much as an idle host is worth.";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// All groups: what they want, and who stands against it.
    #[command(visible_alias = "ls")]
    List(Listing),
    /// One group: its VMs, and where they are.
    Show {
        /// Name or id.
        #[arg(add = complete::groups())]
        group: String,
    },
    /// Make a group.
    Add(Define),
    /// Change a group: its VMs, its rule, its name.
    Set(Set),
    /// Forget a group. Its VMs stay where they are.
    Remove(Remove),
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("rule").required(true))]
pub(crate) struct Define {
    /// Its name.
    name: String,
    /// No two of its VMs on one host.
    #[arg(long, group = "rule")]
    apart: bool,
    /// All of its VMs on one host.
    #[arg(long, group = "rule")]
    together: bool,
    /// A wish, not a must.
    #[arg(long)]
    soft: bool,
    /// VMs that shall be in it, with commas between.
    #[arg(long, value_name = "VMS", value_delimiter = ',', add = complete::vms())]
    vms: Vec<String>,
    /// What people should know about it.
    #[arg(long, value_name = "TEXT")]
    notes: Option<String>,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
pub(crate) struct Set {
    /// Name or id.
    #[arg(add = complete::groups())]
    group: String,
    /// VMs that shall be in it, with commas between.
    #[arg(long, value_name = "VMS", value_delimiter = ',', group = "what", add = complete::vms())]
    add: Vec<String>,
    /// VMs that shall not be in it, with commas between.
    #[arg(long, value_name = "VMS", value_delimiter = ',', group = "what", add = complete::vms())]
    remove: Vec<String>,
    /// No two of its VMs on one host.
    #[arg(long, group = "what", conflicts_with = "together")]
    apart: bool,
    /// All of its VMs on one host.
    #[arg(long, group = "what")]
    together: bool,
    /// A wish.
    #[arg(long, group = "what", conflicts_with = "hard")]
    soft: bool,
    /// A must.
    #[arg(long, group = "what")]
    hard: bool,
    /// Another name.
    #[arg(long, value_name = "NAME", group = "what")]
    rename: Option<String>,
    /// What people should know about it.
    #[arg(long, value_name = "TEXT", group = "what")]
    notes: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Name or id.
    #[arg(add = complete::groups())]
    group: String,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

pub(crate) async fn run(session: &Session, command: Command) -> Result<(), Failure> {
    match command {
        Command::List(listing) => {
            listing.wanted.check::<GroupField>()?;
            let source = Source { kinds: Kinds::GROUPS, columns: COLUMNS };
            live::list(session, listing, source, groups).await
        }
        Command::Show { group } => {
            match session.call(Request::ShowGroup(ShowGroup { group })).await? {
                Reply::Group(group) => {
                    session.look.print(&Answer::one(&*group, COLUMNS).told(|| told(&group)))
                }
                other => Err(unexpected(&other)),
            }
        }
        Command::Add(define) => add(session, define).await,
        Command::Set(set) => {
            let name = set.group.clone();
            defined(session, changed(set), &name, "is set").await
        }
        Command::Remove(Remove { group, yes }) => {
            confirm(&format!("remove group {group}?"), Reason::Loses, yes).await?;
            let remove = RemoveGroup { group: group.clone() };
            match session.call(Request::RemoveGroup(remove)).await? {
                Reply::Done(done) => {
                    tell::named(&session.look, &group, done, &format!("group {group} is forgotten"))
                }
                other => Err(unexpected(&other)),
            }
        }
    }
}

async fn add(session: &Session, define: Define) -> Result<(), Failure> {
    let Define { name, together, soft, vms, notes, .. } = define;
    if groups(session, &Wanted::default()).await?.iter().any(|group| group.name == name) {
        let message = format!("there is a group {name}; change it with `vmmctl group set`");
        return Err(Failure::Fault(Fault::new(FaultCode::Conflict, message)));
    }
    let define = DefineGroup {
        group: name.clone(),
        rule: Some(if together { GroupKind::Together } else { GroupKind::Apart }),
        soft: Some(soft),
        notes,
        add: refs(vms),
        ..DefineGroup::default()
    };
    defined(session, define, &name, "is there").await
}

fn changed(set: Set) -> DefineGroup {
    let rule = match (set.apart, set.together) {
        (true, _) => Some(GroupKind::Apart),
        (_, true) => Some(GroupKind::Together),
        _ => None,
    };
    DefineGroup {
        group: set.group,
        new_name: set.rename,
        rule,
        soft: set.soft.then_some(true).or(set.hard.then_some(false)),
        notes: set.notes,
        add: refs(set.add),
        remove: refs(set.remove),
    }
}

fn refs(vms: Vec<String>) -> Vec<VmRef> {
    vms.into_iter().map(|vm| VmRef { vm }).collect()
}

async fn defined(
    session: &Session,
    define: DefineGroup,
    name: &str,
    how: &str,
) -> Result<(), Failure> {
    match session.call(Request::DefineGroup(define)).await? {
        Reply::Task(task) => {
            let said = said(name, how, &task);
            tell::named(&session.look, name, *task, &said)
        }
        other => Err(unexpected(&other)),
    }
}

/// The first line of the task's log says who stands against the rule, if anybody does; the last one says that it is done.
fn said(name: &str, how: &str, task: &Task) -> String {
    match task.lines.as_slice() {
        [note, _, ..] => format!("group {name} {how}; {}", note.text),
        _ => format!("group {name} {how}"),
    }
}

/// The groups that are wanted.
pub(crate) async fn groups(session: &Session, wanted: &Wanted) -> Result<Vec<Group>, Failure> {
    pages(async |after| {
        let (filter, sort) = (wanted.query.clone(), wanted.sort());
        let list = ListGroups { filter, sort, after, ..ListGroups::default() };
        match session.call(Request::ListGroups(list)).await? {
            Reply::Groups(page) => Ok((page.groups, page.next)),
            other => Err(unexpected(&other)),
        }
    })
    .await
}

type OfMember = Column<Member>;

const MEMBERS: &[OfMember] = &[
    OfMember::text("vm", |vm| vm.vm_name.clone()),
    OfMember::text("host", |vm| vm.host.clone().unwrap_or_default()),
    OfMember::text("misplaced", |vm| if vm.misplaced { "yes" } else { "" }.to_owned()),
];

fn told(group: &Group) -> Told {
    let what = columns::rule(group.rule);
    let wish = if group.soft { "a wish" } else { "a must" };
    let stands = if group.violated { ", violated" } else { "" };
    let line = format!("group {}: {what}, {wish}{stands}", group.name);
    let line = if group.notes.is_empty() { line } else { format!("{line}; {}", group.notes) };
    Told::line(line).table(MEMBERS, &group.members)
}

#[cfg(test)]
mod tests {
    use vmm_proto::v1::TaskLine;

    use super::*;
    use crate::screen::Screen;

    const GOLDEN: &str = "
group web-ha: apart, a must, violated; ask ann

VM     HOST  MISPLACED
web-1  h1    yes
web-2  h1    yes
web-3  -     -
";

    fn member(name: &str, host: Option<&str>) -> Member {
        let misplaced = host.is_some();
        Member { vm_name: name.into(), host: host.map(Into::into), misplaced, ..Member::default() }
    }

    #[test]
    fn a_group_tells_its_rule_and_who_stands_against_it() {
        let group = Group {
            group: "7".into(),
            name: "web-ha".into(),
            rule: GroupKind::Apart,
            soft: false,
            violated: true,
            notes: "ask ann".into(),
            members: vec![
                member("web-1", Some("h1")),
                member("web-2", Some("h1")),
                member("web-3", None),
            ],
        };
        assert_eq!(format!("\n{}", told(&group).lay_out(Screen::PIPE, true)), GOLDEN);
    }

    #[test]
    fn who_stands_against_a_new_rule_is_said() {
        let line = |text: &str| TaskLine { at_ms: 1, text: text.into() };
        let task = |lines| Task { lines, ..Task::default() };
        assert_eq!(said("g", "is there", &task(vec![line("Done")])), "group g is there");
        let against = task(vec![line("2 of them share hosts"), line("Done")]);
        assert_eq!(said("g", "is there", &against), "group g is there; 2 of them share hosts");
    }
}
