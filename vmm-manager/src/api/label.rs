//! What people write on VMs and hosts. It concerns nobody but them: neither a task nor a silent host is in the way.

use vmm_core::label::{Folder, LabelError, TAGS_MAX, Tag};
use vmm_proto::v1::{self, Done, Fault, FaultCode, LabelHost, LabelVm, Reply};

use super::change::Change;
use super::place::{bad, notes};
use crate::app::Target;
use crate::store::{HostRecord, KeyedReply, Labels, Put, VmRecord};

/// Changes what is written on a VM.
pub(super) fn vm(change: Change<'_>, label: &LabelVm) -> Result<Reply, Fault> {
    let before = change.state.vm_named(&label.vm)?.record.clone();
    let says_nothing = label.folder.is_none() && label.notes.is_none();
    says_something(says_nothing, &label.add, &label.remove)?;
    let folder = match &label.folder {
        Some(folder) => Folder::new(folder).map(Folder::into_text).map_err(|error| bad(&error))?,
        None => before.labels.folder.clone(),
    };
    let labels = Labels {
        tags: tags(&before.labels.tags, &label.add, &label.remove)?,
        folder,
        notes: notes(label.notes.as_deref(), &before.labels.notes)?,
    };
    let about = Target::Vm(before.id, before.spec.name.clone());
    let put = Put::Vm(Box::new(VmRecord { labels, ..before }));
    change.store(about, vec![put], KeyedReply::Done)?;
    Ok(Reply::Done(Done {}))
}

/// Changes what is written on a host.
pub(super) fn host(change: Change<'_>, label: &LabelHost) -> Result<Reply, Fault> {
    let before = change.state.host_named(&label.host)?.record.clone();
    says_something(label.notes.is_none(), &label.add, &label.remove)?;
    let labels = Labels {
        tags: tags(&before.labels.tags, &label.add, &label.remove)?,
        notes: notes(label.notes.as_deref(), &before.labels.notes)?,
        folder: String::new(),
    };
    let about = Target::Host(before.id, before.name.clone());
    let put = Put::Host(Box::new(HostRecord { labels, ..before }));
    change.store(about, vec![put], KeyedReply::Done)?;
    Ok(Reply::Done(Done {}))
}

fn says_something(nothing: bool, add: &[v1::Tag], remove: &[v1::Tag]) -> Result<(), Fault> {
    if nothing && add.is_empty() && remove.is_empty() {
        let message = "nothing is to be changed: say what shall be";
        return Err(Fault::new(FaultCode::BadRequest, message));
    }
    match add.iter().find(|tag| remove.contains(tag)) {
        None => Ok(()),
        Some(tag) => {
            let message = format!("tag {:?} is to be added and taken away: say one", tag.name);
            Err(Fault::new(FaultCode::BadRequest, message))
        }
    }
}

/// One that is there already is there; one that is not there need not be taken away.
fn tags(before: &[String], add: &[v1::Tag], remove: &[v1::Tag]) -> Result<Vec<String>, Fault> {
    let stays = |tag: &&String| !remove.iter().any(|gone| gone.name == **tag);
    let mut tags: Vec<String> = before.iter().filter(stays).cloned().collect();
    for tag in add {
        tags.push(Tag::new(&tag.name).map_err(|error| bad(&error))?.into_text());
    }
    tags.sort();
    tags.dedup();
    if tags.len() > TAGS_MAX {
        return Err(bad(&LabelError::TooManyTags(tags.len())));
    }
    Ok(tags)
}
