//! `vmmctl vm label`: tags, the folder, notes.

use clap::Args;
use vmm_proto::v1::{LabelVm, Request, Tag};

use super::change::{Ask, change};
use super::targets::{Deed, Targets};
use crate::complete;
use crate::failure::Failure;
use crate::session::Session;
use crate::wait::Waiting;

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true), after_help = "\
Examples:
  vmmctl vm label web --add prod,front --folder /prod/web
  vmmctl vm label --where 'tag=old' --remove old
  vmmctl vm label db --notes 'ask Ada before you touch it'

Nothing of it reaches the VM. Queries find it: vmmctl vm list --where 'tag=prod and folder=/prod'.")]
pub(crate) struct Label {
    #[command(flatten)]
    targets: Targets,
    #[command(flatten)]
    tags: Tags,
    /// The folder that it shall lie in; / takes it out of all.
    #[arg(long, value_name = "PATH", group = "what", add = complete::folders())]
    folder: Option<String>,
    /// What people should know about it; empty for nothing.
    #[arg(long, value_name = "TEXT", group = "what")]
    notes: Option<String>,
}

/// Tags that come and go.
#[derive(Clone, Debug, Args)]
pub(crate) struct Tags {
    /// Tags that it shall have.
    #[arg(long, value_name = "TAGS", value_delimiter = ',', group = "what", add = complete::tags())]
    add: Vec<String>,
    /// Tags that it shall not have.
    #[arg(long, value_name = "TAGS", value_delimiter = ',', group = "what", add = complete::tags())]
    remove: Vec<String>,
}

impl Tags {
    /// Those that come, and those that go.
    pub(in crate::commands) fn of_wire(&self) -> (Vec<Tag>, Vec<Tag>) {
        let tags = |names: &[String]| -> Vec<Tag> {
            names.iter().map(|name| Tag { name: name.clone() }).collect()
        };
        (tags(&self.add), tags(&self.remove))
    }
}

pub(super) async fn run(session: &Session, label: Label) -> Result<(), Failure> {
    let Label { targets, tags, folder, notes } = label;
    let ask = async |vm: &str| {
        let (add, remove) = tags.of_wire();
        let (folder, notes) = (folder.clone(), notes.clone());
        let request = LabelVm { vm: vm.to_owned(), folder, notes, add, remove };
        Ok(Ask::new(Request::LabelVm(request), |name, _| format!("{name} is labelled")))
    };
    change(session, targets, Waiting::default(), Deed::harmless("label"), ask).await
}
