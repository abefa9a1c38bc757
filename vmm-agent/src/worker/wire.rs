//! What agent and worker say to each other: one request with its files, as one message over a socket; one answer, a line of JSON. A worker
//! that saves a running guest asks before, a line each, and is told by a message each.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use xen_bindings::{
    BuildSpec, BuiltGuest, DomId, Gfn, GuestKind, Next, Port, Precopy, RestoreSpec, SavePilot,
    Shell, XenError, XenErrorKind,
};

use crate::kernels::Packed;

/// The longest request: paths and a command line.
pub(super) const REQUEST_BYTES_MAX: usize = 64 << 10;
/// The longest answer: libxc's words.
pub(super) const ANSWER_BYTES_MAX: usize = 64 << 10;
/// The longest word of the agent's on a question.
pub(super) const TOLD_BYTES_MAX: usize = 64;
/// Files that come with a request.
pub(super) const FILES_MAX: usize = 2;

/// What a worker does, once.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) job: Job,
    pub(super) bounds: Bounds,
}

/// What the kernel enforces while it does it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Bounds {
    /// Memory of its own.
    pub(super) data_bytes: u64,
    /// Processor time.
    pub(super) cpu_seconds: u64,
    /// The largest file that it may write; streams have no limit.
    pub(super) file_bytes: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Job {
    Build {
        shell: ShellName,
        spec: BuildJob,
    },
    /// The stream comes with it.
    Save {
        domid: u16,
    },
    /// Of a guest that runs; the stream comes with it. The worker asks as [`Question`] says.
    SaveLive {
        domid: u16,
    },
    /// The stream comes with it.
    Restore {
        shell: ShellName,
        store_port: u32,
        console_port: u32,
    },
    /// Source and destination come with it.
    Unpack(Packed),
}

impl Job {
    /// Its name in errors, as Xen's own operations have theirs.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Build { .. } => "worker_build",
            Self::Save { .. } => "worker_save",
            Self::SaveLive { .. } => "worker_save_live",
            Self::Restore { .. } => "worker_restore",
            Self::Unpack(_) => "worker_unpack",
        }
    }

    /// Files that it opens by name.
    pub(super) fn reads(&self) -> Vec<&PathBuf> {
        match self {
            Self::Build { spec, .. } => {
                [Some(&spec.kernel), spec.initramfs.as_ref()].into_iter().flatten().collect()
            }
            _ => Vec::new(),
        }
    }
}

/// A shell, for the worker to reclaim.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct ShellName {
    pub(super) domid: u16,
    pv: bool,
    pub(super) vcpus_max: u32,
}

impl ShellName {
    pub(super) fn of(shell: &Shell) -> Self {
        Self {
            domid: shell.domid().get(),
            pv: shell.kind() == GuestKind::Pv,
            vcpus_max: shell.vcpus_max(),
        }
    }

    pub(super) fn kind(self) -> GuestKind {
        if self.pv { GuestKind::Pv } else { GuestKind::Pvh }
    }
}

/// [`BuildSpec`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct BuildJob {
    pub(super) kernel: PathBuf,
    pub(super) initramfs: Option<PathBuf>,
    cmdline: String,
    vcpus_online: u32,
    memory_target_kib: u64,
    memory_max_kib: u64,
    store_port: u32,
    console_port: u32,
}

impl From<&BuildSpec> for BuildJob {
    fn from(spec: &BuildSpec) -> Self {
        Self {
            kernel: spec.kernel.clone(),
            initramfs: spec.initramfs.clone(),
            cmdline: spec.cmdline.clone(),
            vcpus_online: spec.vcpus_online,
            memory_target_kib: spec.memory_target_kib,
            memory_max_kib: spec.memory_max_kib,
            store_port: spec.store_port.0,
            console_port: spec.console_port.0,
        }
    }
}

impl From<BuildJob> for BuildSpec {
    fn from(job: BuildJob) -> Self {
        Self {
            kernel: job.kernel,
            initramfs: job.initramfs,
            cmdline: job.cmdline,
            vcpus_online: job.vcpus_online,
            memory_target_kib: job.memory_target_kib,
            memory_max_kib: job.memory_max_kib,
            store_port: Port(job.store_port),
            console_port: Port(job.console_port),
        }
    }
}

/// [`RestoreSpec`].
pub(super) fn restore_spec(store_port: u32, console_port: u32) -> RestoreSpec {
    RestoreSpec { store_port: Port(store_port), console_port: Port(console_port) }
}

/// One line of a worker's: the last one is its answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Word {
    Ask(Question),
    Answer(Answer),
}

/// What a worker that saves a running guest asks. It is told by a [`Told`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Question {
    /// What comes next.
    Next { rounds: u32, sent_pages: u64, dirty_pages: Option<u64> },
    /// To have it suspended.
    Suspend,
}

/// The agent's word on a question: a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Told {
    Round,
    Stop,
    GiveUp,
    Suspended,
}

impl From<Precopy> for Question {
    fn from(at: Precopy) -> Self {
        let Precopy { rounds, sent_pages, dirty_pages } = at;
        Self::Next { rounds, sent_pages, dirty_pages }
    }
}

impl Question {
    /// What the pilot says.
    pub(super) fn put_to(self, pilot: &mut dyn SavePilot) -> Told {
        match self {
            Self::Next { rounds, sent_pages, dirty_pages } => {
                match pilot.next(Precopy { rounds, sent_pages, dirty_pages }) {
                    Next::Round => Told::Round,
                    Next::Stop => Told::Stop,
                    Next::GiveUp => Told::GiveUp,
                }
            }
            Self::Suspend if pilot.suspend() => Told::Suspended,
            Self::Suspend => Told::GiveUp,
        }
    }
}

/// How a job ended.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Built {
        store_gfn: u64,
        console_gfn: u64,
    },
    Done,
    Refused(Refusal),
    /// The kernel's payload is not what its header says.
    Damaged(String),
    /// Unpacking failed for another reason.
    Failed(String),
}

impl From<Result<BuiltGuest, XenError>> for Answer {
    fn from(outcome: Result<BuiltGuest, XenError>) -> Self {
        match outcome {
            Ok(built) => {
                Self::Built { store_gfn: built.store_gfn.0, console_gfn: built.console_gfn.0 }
            }
            Err(error) => Self::Refused(Refusal::from(&error)),
        }
    }
}

impl From<Result<(), XenError>> for Answer {
    fn from(outcome: Result<(), XenError>) -> Self {
        match outcome {
            Ok(()) => Self::Done,
            Err(error) => Self::Refused(Refusal::from(&error)),
        }
    }
}

/// The frames that a worker has answered.
pub(super) fn built(store_gfn: u64, console_gfn: u64) -> BuiltGuest {
    BuiltGuest { store_gfn: Gfn(store_gfn), console_gfn: Gfn(console_gfn) }
}

/// A [`XenError`] on its way.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Refusal {
    kind: Kind,
    operation: String,
    domid: Option<u16>,
    said: String,
}

impl From<&XenError> for Refusal {
    fn from(error: &XenError) -> Self {
        Self {
            kind: error.kind().into(),
            operation: error.operation().to_owned(),
            domid: error.domid().map(DomId::get),
            said: error.said().to_owned(),
        }
    }
}

impl From<Refusal> for XenError {
    fn from(refusal: Refusal) -> Self {
        let error = XenError::new(refusal.operation, refusal.kind.into()).detail(refusal.said);
        match refusal.domid.map(|domid| DomId::new(domid.into())) {
            Some(Ok(domid)) => error.domain(domid),
            _ => error,
        }
    }
}

/// [`XenErrorKind`], one name each, so that a kind that is added there must be added here.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Kind {
    NoSuchDomain,
    Exists,
    OutOfMemory,
    PermissionDenied,
    Invalid,
    Unsupported,
    Exhausted,
    Busy,
    BadImage,
    NotFound,
    Other(i32),
}

impl From<XenErrorKind> for Kind {
    fn from(kind: XenErrorKind) -> Self {
        match kind {
            XenErrorKind::NoSuchDomain => Self::NoSuchDomain,
            XenErrorKind::Exists => Self::Exists,
            XenErrorKind::OutOfMemory => Self::OutOfMemory,
            XenErrorKind::PermissionDenied => Self::PermissionDenied,
            XenErrorKind::Invalid => Self::Invalid,
            XenErrorKind::Unsupported => Self::Unsupported,
            XenErrorKind::Exhausted => Self::Exhausted,
            XenErrorKind::Busy => Self::Busy,
            XenErrorKind::BadImage => Self::BadImage,
            XenErrorKind::NotFound => Self::NotFound,
            XenErrorKind::Other(errno) => Self::Other(errno),
        }
    }
}

impl From<Kind> for XenErrorKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::NoSuchDomain => Self::NoSuchDomain,
            Kind::Exists => Self::Exists,
            Kind::OutOfMemory => Self::OutOfMemory,
            Kind::PermissionDenied => Self::PermissionDenied,
            Kind::Invalid => Self::Invalid,
            Kind::Unsupported => Self::Unsupported,
            Kind::Exhausted => Self::Exhausted,
            Kind::Busy => Self::Busy,
            Kind::BadImage => Self::BadImage,
            Kind::NotFound => Self::NotFound,
            Kind::Other(errno) => Self::Other(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_the_same_after_the_way() {
        for kind in [
            XenErrorKind::NoSuchDomain,
            XenErrorKind::Exists,
            XenErrorKind::OutOfMemory,
            XenErrorKind::PermissionDenied,
            XenErrorKind::Invalid,
            XenErrorKind::Unsupported,
            XenErrorKind::Exhausted,
            XenErrorKind::Busy,
            XenErrorKind::BadImage,
            XenErrorKind::NotFound,
            XenErrorKind::Other(71),
        ] {
            for domid in [None, DomId::new(7).ok()] {
                let error = XenError::new("dom_kernel_file", kind).detail("line \"one\"\nline two");
                let error = domid.into_iter().fold(error, XenError::domain);
                let line =
                    serde_json::to_string(&Answer::from(Err::<(), _>(error.clone()))).unwrap();
                assert!(!line.contains('\n'));
                let Answer::Refused(refusal) = serde_json::from_str(&line).unwrap() else {
                    panic!("{line}");
                };
                let told = XenError::from(refusal);
                assert_eq!(
                    (told.kind(), told.operation(), told.domid(), told.said()),
                    (error.kind(), error.operation(), error.domid(), error.said())
                );
            }
        }
    }
}
