//! The tags and folders in use: what a tree and a search box begin with.

use std::collections::BTreeMap;

use vmm_core::label::folders_above;
use vmm_proto::v1::{FolderUse, Labels, Reply, TagUse};

use super::page::{OF_GONE, Page};
use crate::app::App;

/// Bytes of text that XML may write as six.
const ESCAPED_BYTES: usize = 6;

/// All of them, as far as an answer holds them.
pub(crate) fn list_labels(app: &App) -> Reply {
    let state = app.lock();
    let mut tags: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let mut folders: BTreeMap<&str, u64> = BTreeMap::new();
    for vm in state.vms.values() {
        let labels = &vm.record.labels;
        labels.tags.iter().for_each(|tag| tags.entry(tag).or_default().0 += 1);
        for above in folders_above(&labels.folder) {
            folders.entry(above).or_default();
        }
        if let Some(count) = folders.get_mut(labels.folder.as_str()) {
            *count += 1;
        }
    }
    for host in state.hosts.values() {
        host.record.labels.tags.iter().for_each(|tag| tags.entry(tag).or_default().1 += 1);
    }
    Reply::Labels(within_a_page(&tags, &folders))
}

fn within_a_page(tags: &BTreeMap<&str, (u64, u64)>, folders: &BTreeMap<&str, u64>) -> Labels {
    let mut page = Page::of(None);
    let mut labels = Labels::default();
    let mut fits = |text: &str| page.take(OF_GONE + text.len() * ESCAPED_BYTES);
    for (name, (vm_count, host_count)) in tags {
        if !fits(name) {
            labels.cut = true;
            break;
        }
        let (vm_count, host_count) = (*vm_count, *host_count);
        labels.tags.push(TagUse { name: (*name).to_owned(), vm_count, host_count });
    }
    for (path, vm_count) in folders {
        if !fits(path) {
            labels.cut = true;
            break;
        }
        labels.folders.push(FolderUse { path: (*path).to_owned(), vm_count: *vm_count });
    }
    labels
}
