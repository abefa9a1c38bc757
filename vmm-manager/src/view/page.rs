//! How much fits into one answer: so many objects, and no more bytes than a message carries.
//!
//! An object's weight is what it can have at most in XML: each byte of text may be written as six (`&quot;`).

use vmm_proto::v1;

/// Objects in one answer.
const COUNT_MAX: usize = 1000;
/// A message carries about 6 MiB.
const BYTES_MAX: usize = 5 << 20;
/// Names of attributes, numbers and ids of one object, and of one device or tag of it.
const OBJECT_BYTES: usize = 1024;
const PART_BYTES: usize = 256;
const ESCAPED_BYTES: usize = 6;

/// What is left of an answer.
pub(crate) struct Page {
    count: usize,
    bytes: usize,
    is_empty: bool,
}

impl Page {
    /// As many as somebody asked for, within the limits; one at least.
    pub(crate) fn of(asked: Option<u32>) -> Self {
        let asked = asked.and_then(|count| usize::try_from(count).ok());
        let count = asked.unwrap_or(COUNT_MAX).clamp(1, COUNT_MAX);
        Self { count, bytes: BYTES_MAX, is_empty: true }
    }

    /// At most so many fit.
    pub(crate) fn count_max(&self) -> usize {
        self.count
    }

    /// Whether one more of this weight fits; it is taken then. The first always does.
    pub(crate) fn take(&mut self, weight: usize) -> bool {
        let fits = self.is_empty || (self.count > 0 && weight <= self.bytes);
        if fits {
            self.count = self.count.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(weight);
            self.is_empty = false;
        }
        fits
    }
}

pub(crate) fn of_vm(vm: &v1::Vm) -> usize {
    let spec = &vm.spec;
    let own = [&spec.name, &spec.kernel, &spec.cmdline, &vm.reason, &vm.notes];
    let place = [&vm.host, &vm.pool, &vm.site, &vm.folder];
    let other = [&spec.initramfs, &vm.saved_path, &vm.saved_host, &vm.drift, &vm.misplaced];
    let written =
        spec.disks.iter().map(|disk| &disk.path).chain(vm.tags.iter().map(|tag| &tag.name));
    let bounds = vm.pins.iter().map(|pin| &pin.host);
    let bounds = bounds.chain(vm.groups.iter().map(|group| &group.group));
    let written = written.chain(bounds);
    let named = own.into_iter().chain(place.into_iter().chain(other).flatten());
    let text = named.chain(written).map(String::len).sum::<usize>();
    let parts =
        spec.disks.len() + spec.nics.len() + vm.tags.len() + vm.pins.len() + vm.groups.len();
    OBJECT_BYTES + parts * PART_BYTES + text * ESCAPED_BYTES
}

pub(crate) fn of_host(host: &v1::Host) -> usize {
    let own = [&host.name, &host.address, &host.pool, &host.site, &host.notes];
    let text = own.into_iter().chain(host.tags.iter().map(|tag| &tag.name)).map(String::len);
    OBJECT_BYTES + host.tags.len() * PART_BYTES + text.sum::<usize>() * ESCAPED_BYTES
}

pub(crate) fn of_pool(pool: &v1::Pool) -> usize {
    OBJECT_BYTES + (pool.name.len() + pool.site.len() + pool.notes.len()) * ESCAPED_BYTES
}

pub(crate) fn of_site(site: &v1::Site) -> usize {
    OBJECT_BYTES + (site.name.len() + site.notes.len()) * ESCAPED_BYTES
}

pub(crate) fn of_group(group: &v1::Group) -> usize {
    let host = |vm: &v1::Member| vm.host.as_ref().map_or(0, String::len);
    let member = |vm: &v1::Member| PART_BYTES + (vm.vm_name.len() + host(vm)) * ESCAPED_BYTES;
    let members: usize = group.members.iter().map(member).sum();
    OBJECT_BYTES + (group.name.len() + group.notes.len()) * ESCAPED_BYTES + members
}

pub(crate) fn of_task(task: &v1::Task) -> usize {
    let fault = task.fault.as_ref().map_or(0, |fault| fault.message.len() + fault.hop.len());
    let candidates = task.placement.as_ref().map_or(0, |placement| {
        placement.candidates.iter().map(|c| PART_BYTES + c.reason.len() * ESCAPED_BYTES).sum()
    });
    let names = [&task.target_name, &task.host, &task.initiator, &task.waits_for];
    let names: usize = names.into_iter().flatten().map(String::len).sum();
    let phases = task.phases.len() * PART_BYTES;
    let text = task.vm_name.len() + task.step.len() + fault + names;
    OBJECT_BYTES + text * ESCAPED_BYTES + phases + candidates
}

pub(crate) const OF_GONE: usize = PART_BYTES;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Serialize)]
    struct Document {
        #[serde(rename = "@xmlns")]
        xmlns: &'static str,
        #[serde(rename = "$value")]
        body: v1::Reply,
    }

    #[test]
    fn an_object_weighs_at_least_what_it_is_in_xml() {
        let quotes = |count| "\"".repeat(count);
        let disk =
            |n: u32| v1::Disk { path: quotes(4096), device: format!("xvd{n}"), read_only: true };
        let spec = v1::Spec {
            name: quotes(64),
            cmdline: quotes(1000),
            kernel: quotes(4096),
            initramfs: Some(quotes(4096)),
            disks: (0..16).map(disk).collect(),
            ..v1::Spec::default()
        };
        let tags = (0..32).map(|_| v1::Tag { name: quotes(64) }).collect();
        let notes = quotes(4096);
        let pins = (0..64).map(|_| v1::Pin { host: quotes(63) }).collect();
        let vm =
            v1::Vm { vm: quotes(36), reason: quotes(300), notes, tags, pins, spec, ..sample() };
        let body = v1::Reply::Vm(Box::new(vm.clone()));
        let document = Document { xmlns: v1::NAMESPACE, body };
        let text = vmm_proto::xml::write(&document, "Response").expect("written");
        assert!(of_vm(&vm) >= text.len(), "{} and {}", of_vm(&vm), text.len());
        assert!(of_vm(&vm) < BYTES_MAX / 8);
    }

    #[test]
    fn a_page_is_never_empty_and_never_too_large() {
        let mut page = Page::of(Some(0));
        assert!(page.take(BYTES_MAX * 2) && !page.take(1));
        let mut page = Page::of(None);
        let taken = (0..2000).take_while(|_| page.take(1)).count();
        assert_eq!(taken, COUNT_MAX);
        let mut page = Page::of(Some(u32::MAX));
        let taken = (0..2000).take_while(|_| page.take(BYTES_MAX / 10)).count();
        assert_eq!(taken, 10);
    }

    fn sample() -> v1::Vm {
        v1::Vm {
            vm: String::new(),
            phase: v1::VmPhase::Running,
            reason: String::new(),
            host: None,
            stale: false,
            vcpus_online: 1,
            memory_now_kib: 1,
            saved_path: None,
            saved_host: None,
            drift: None,
            pool: None,
            site: None,
            folder: None,
            notes: String::new(),
            rates: None,
            tags: Vec::new(),
            misplaced: None,
            pins: Vec::new(),
            groups: Vec::new(),
            spec: v1::Spec::default(),
        }
    }
}
