//! `vmmctl label list`: the tags and folders that are in use.

use clap::Subcommand;
use serde::Serialize;
use vmm_proto::v1::{FolderUse, Labels, ListLabels, Reply, Request, TagUse};

use crate::failure::Failure;
use crate::output::{Answer, Column};
use crate::session::{Session, unexpected};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// All tags and folders that VMs and hosts have, and how many have them.
    #[command(visible_alias = "ls")]
    List,
}

/// A tag or a folder.
#[derive(Serialize)]
struct Row {
    name: String,
    kind: &'static str,
    vm_count: u64,
    host_count: Option<u64>,
}

type OfRow = Column<Row>;

const COLUMNS: &[OfRow] = &[
    OfRow::text("name", |row| row.name.clone()),
    OfRow::text("kind", |row| row.kind.to_owned()),
    OfRow::count("vms", |row| Some(row.vm_count)),
    OfRow::count("hosts", |row| row.host_count),
];

pub(crate) async fn run(session: &Session, command: Command) -> Result<(), Failure> {
    let Command::List = command;
    match session.call(Request::ListLabels(ListLabels {})).await? {
        Reply::Labels(labels) => {
            if labels.cut {
                eprintln!("vmmctl: there are more than one answer holds; these are the first");
            }
            session.look.print(&Answer::list(&rows(&labels), COLUMNS).whole(&labels)?)
        }
        other => Err(unexpected(&other)),
    }
}

fn rows(labels: &Labels) -> Vec<Row> {
    let tag = |TagUse { name, vm_count, host_count }: &TagUse| Row {
        name: name.clone(),
        kind: "tag",
        vm_count: *vm_count,
        host_count: Some(*host_count),
    };
    let folder = |FolderUse { path, vm_count }: &FolderUse| Row {
        name: path.clone(),
        kind: "folder",
        vm_count: *vm_count,
        host_count: None,
    };
    labels.tags.iter().map(tag).chain(labels.folders.iter().map(folder)).collect()
}
