//! Names from the manager, quickly or not at all.

use std::time::Duration;

use vmm_proto::v1::{Labels, ListLabels, Reply, Request, Vm};

use super::Candidate;
use super::words::Words;
use crate::commands::{group, host, pool, site, task, vm};
use crate::failure::Failure;
use crate::session::{Session, unexpected};
use crate::wanted::Wanted;

/// Who presses Tab does not wait longer.
pub(super) const DEADLINE: Duration = Duration::from_millis(900);

pub(super) fn vms(words: &Words, _: &str) -> Vec<Candidate> {
    let help = |vm: &Vm| match &vm.host {
        Some(host) => format!("{} on {host}", vm::state(vm)),
        None => vm::state(vm),
    };
    let vms = ask(words, async |session| vm::list::vms(session, &Wanted::default()).await);
    let is_new = |vm: &Vm| !words.has(&vm.spec.name);
    let new = vms.unwrap_or_default().into_iter().filter(is_new);
    new.map(|vm| (vm.spec.name.clone(), help(&vm))).collect()
}

pub(super) fn hosts(words: &Words, _: &str) -> Vec<Candidate> {
    let hosts = ask(words, async |session| host::list::hosts(session, &Wanted::default()).await);
    let hosts = hosts.unwrap_or_default().into_iter();
    hosts.map(|host| (host.name, host::health(host.health).to_owned())).collect()
}

pub(super) fn pools(words: &Words, _: &str) -> Vec<Candidate> {
    let pools = ask(words, async |session| pool::pools(session, &Wanted::default()).await);
    pools.unwrap_or_default().into_iter().map(|pool| (pool.name, pool.site)).collect()
}

pub(super) fn groups(words: &Words, _: &str) -> Vec<Candidate> {
    let groups = ask(words, async |session| group::groups(session, &Wanted::default()).await);
    let groups = groups.unwrap_or_default().into_iter();
    groups.map(|group| (group.name, format!("{:?}", group.rule).to_lowercase())).collect()
}

pub(super) fn sites(words: &Words, _: &str) -> Vec<Candidate> {
    let sites = ask(words, async |session| site::sites(session, &Wanted::default()).await);
    sites.unwrap_or_default().into_iter().map(|site| (site.name, String::new())).collect()
}

pub(super) fn tasks(words: &Words, _: &str) -> Vec<Candidate> {
    let tasks = ask(words, async |session| task::list::tasks(session, &Wanted::default()).await);
    let help = |verb: &str, vm: &str, state: &str| format!("{verb} {vm}, {state}");
    let tasks = tasks.unwrap_or_default().into_iter();
    tasks
        .map(|task| (task.task, help(&task.verb, &task.vm_name, task::state(task.state))))
        .collect()
}

pub(super) fn tags(words: &Words, _: &str) -> Vec<Candidate> {
    labels(words).tags.into_iter().map(|tag| (tag.name, String::new())).collect()
}

pub(super) fn folders(words: &Words, _: &str) -> Vec<Candidate> {
    labels(words).folders.into_iter().map(|folder| (folder.path, String::new())).collect()
}

fn labels(words: &Words) -> Labels {
    let labels = ask(words, async |session| {
        match session.call(Request::ListLabels(ListLabels {})).await? {
            Reply::Labels(labels) => Ok(labels),
            other => Err(unexpected(&other)),
        }
    });
    labels.unwrap_or_default()
}

/// Values of a field of a query.
pub(super) fn values(words: &Words, field: &str) -> Vec<Candidate> {
    match field {
        "host" | "pin" => hosts(words, ""),
        "pool" => pools(words, ""),
        "group" => groups(words, ""),
        "site" => sites(words, ""),
        "tag" => tags(words, ""),
        "folder" => folders(words, ""),
        "vm" => vms(words, ""),
        _ => Vec::new(),
    }
}

pub(super) fn disks(words: &Words, _: &str) -> Vec<Candidate> {
    let disks = named_vm(words).map(|vm| vm.spec.disks).unwrap_or_default();
    disks.into_iter().map(|disk| (disk.device, disk.path)).collect()
}

pub(super) fn nics(words: &Words, _: &str) -> Vec<Candidate> {
    let nics = named_vm(words).map(|vm| vm.spec.nics).unwrap_or_default();
    nics.into_iter()
        .map(|nic| (nic.index.to_string(), format!("{} on {}", nic.mac, nic.bridge)))
        .collect()
}

/// The VM whose device is to be named.
fn named_vm(words: &Words) -> Option<Vm> {
    let name = words.behind(&["detach", "resize"])?.to_owned();
    ask(words, async |session| vm::show_one(session, name.clone()).await)
}

/// None: there is no answer in time, for whatever reason.
fn ask<T>(words: &Words, question: impl AsyncFn(&Session) -> Result<T, Failure>) -> Option<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async {
        let session = Session::new(&words.global()).ok()?;
        tokio::time::timeout(DEADLINE, question(&session)).await.ok()?.ok()
    })
}
