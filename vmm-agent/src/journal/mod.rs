//! What the agent intends and has, on disk: one small JSON file a VM, the host's id, and a count of starts.
//!
//! ```text
//!   state/host-id          made at the first start, never changed
//!   state/starts           one more at each start, so that generations grow over restarts
//!   state/vms/UUID.json    written before the first change of the host, and again after each that could be left over
//! ```
//!
//! A file is written beside, synced, renamed, and its directory synced: after a crash there is the old one or the new one.
//! The journal says what an agent that was killed must look for; whether it is there, only the host says.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use vmm_core::id::{HostId, VmId};

mod record;

pub(crate) use record::{HeldImage, Intent, Moved, Moving, Record};

/// Why the journal cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum JournalError {
    /// Linux refused.
    #[error("cannot {operation} {path}: {detail}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: String,
        /// What Linux said.
        detail: String,
    },
    /// A file is not what this version writes.
    #[error(
        "{path} is not a record of this version ({detail}); move it away and look after its VM by hand"
    )]
    Record {
        /// Which file.
        path: String,
        /// Why.
        detail: String,
    },
}

fn io(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> JournalError {
    let path = path.display().to_string();
    move |error| JournalError::Io { operation, path, detail: error.to_string() }
}

fn refused(path: &Path, detail: String) -> JournalError {
    JournalError::Record { path: path.display().to_string(), detail }
}

/// The journal of one host.
pub(crate) struct Journal {
    state: PathBuf,
    host_id: HostId,
    starts: u64,
    records: Mutex<BTreeMap<VmId, Record>>,
}

impl Journal {
    /// Opens or makes the journal; `random` gives the host's id when there is none.
    pub(crate) fn open(state: &Path, random: [u8; 16]) -> Result<Self, JournalError> {
        let vms = state.join("vms");
        fs::create_dir_all(&vms).map_err(io("make", &vms))?;
        let host_id = keep(&state.join("host-id"), HostId::from_random(random))?;
        let starts = keep(&state.join("starts"), 0u64)? + 1;
        write_file(&state.join("starts"), starts.to_string().as_bytes())?;
        let mut records = BTreeMap::new();
        for entry in fs::read_dir(&vms).map_err(io("list", &vms))? {
            let path = entry.map_err(io("list", &vms))?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let text = fs::read(&path).map_err(io("read", &path))?;
                let record = Record::decode(&text).map_err(|detail| refused(&path, detail))?;
                records.insert(record.vm, record);
            }
        }
        Ok(Self { state: state.to_owned(), host_id, starts, records: Mutex::new(records) })
    }

    pub(crate) fn host_id(&self) -> HostId {
        self.host_id
    }

    /// How often an agent has started on this state directory, this time included.
    pub(crate) fn starts(&self) -> u64 {
        self.starts
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<VmId, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All records, in order of id.
    pub(crate) fn records(&self) -> Vec<Record> {
        self.lock().values().cloned().collect()
    }

    /// Writes a record. Returns when it is on disk.
    pub(crate) fn put(&self, record: &Record) -> Result<(), JournalError> {
        let path = self.path(record.vm);
        let text = record.encode().map_err(|detail| refused(&path, detail))?;
        write_file(&path, &text)?;
        self.lock().insert(record.vm, record.clone());
        Ok(())
    }

    /// Forgets a VM.
    pub(crate) fn remove(&self, vm: VmId) -> Result<(), JournalError> {
        let path = self.path(vm);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(io("remove", &path)(error));
            }
            _ => self.lock().remove(&vm),
        };
        Ok(())
    }

    fn path(&self, vm: VmId) -> PathBuf {
        self.state.join("vms").join(format!("{vm}.json"))
    }
}

/// What a small file says; made with `first` when it is missing.
fn keep<T: std::str::FromStr + ToString>(path: &Path, first: T) -> Result<T, JournalError> {
    match fs::read_to_string(path) {
        Ok(text) => text.trim().parse().map_err(|_| refused(path, format!("{text:?}"))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            write_file(path, first.to_string().as_bytes())?;
            Ok(first)
        }
        Err(error) => Err(io("read", path)(error)),
    }
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), JournalError> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside).map_err(io("make", &beside))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io("write", &beside))?;
    fs::rename(&beside, path).map_err(io("rename to", path))?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    File::open(directory).and_then(|dir| dir.sync_all()).map_err(io("sync", directory))
}

#[cfg(test)]
mod tests {
    use vmm_core::units::Kib;
    use vmm_core::vm::{Demand, GuestKind, OnEvent, Scheduling, VmName, VmSpec};
    use xen_bindings::DomId;

    use crate::dom0::FileId;

    use super::*;

    #[test]
    fn a_record_survives_a_restart_and_the_host_keeps_its_id() {
        let dir = tempfile::tempdir().unwrap();
        let spec = VmSpec {
            name: VmName::new("a").unwrap(),
            kind: GuestKind::Pvh,
            vcpus: 1,
            vcpus_max: 2,
            memory_min: Kib::from_mib(64),
            memory: Kib::from_mib(64),
            memory_max: Kib::from_mib(64),
            kernel: "/k".into(),
            initramfs: None,
            cmdline: String::new(),
            disks: Vec::new(),
            nics: Vec::new(),
            scheduling: Scheduling::default(),
            on_event: OnEvent::default(),
            autostart: None,
            demand: Demand::default(),
        };
        let mut record = Record::new(VmId::from_bytes([3; 16]), spec, Some("manager key".into()));
        record.domid = DomId::new(7).ok();
        record.images = vec![HeldImage {
            device: "xvda".into(),
            file: FileId { device: 1, inode: 2 }.into(),
            loop_index: Some(2),
            loops_before: vec![1],
        }];
        let first = Journal::open(dir.path(), [1; 16]).unwrap();
        first.put(&record).unwrap();
        let second = Journal::open(dir.path(), [2; 16]).unwrap();
        assert_eq!(second.records(), [record.clone()]);
        assert_eq!((second.host_id(), second.starts()), (first.host_id(), 2));
        second.remove(record.vm).unwrap();
        assert!(Journal::open(dir.path(), [2; 16]).unwrap().records().is_empty());
    }

    #[test]
    fn a_record_that_cannot_be_read_stops_the_start() {
        let dir = tempfile::tempdir().unwrap();
        Journal::open(dir.path(), [1; 16]).unwrap();
        fs::write(dir.path().join("vms/x.json"), "{}").unwrap();
        assert!(Journal::open(dir.path(), [1; 16]).is_err());
    }
}
