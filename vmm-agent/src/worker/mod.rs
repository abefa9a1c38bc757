//! Guests are loaded, saved and restored, and kernels unpacked, in a process of their own: a stranger's kernel, initramfs or stream
//! meets libxenguest's parsers there and not in the agent.
//!
//! ```text
//!   agent                                              worker: this program again, `vmm-agent worker`
//!   WorkerImage ── job ──► pool.rs ── takes the idle one ──► serve.rs   waits with Xen open and no capability
//!                            │  process.rs ─ request + files ─►  │      confine.rs: sees its files, makes its system calls
//!                            │             ◄─ one line ────────  │      reclaims the shell from Xen, loads, answers, ends
//!                            └─ keeper: the next one, when it is quiet
//! ```
//!
//! # How to use it
//!
//! ```text
//!   // bin/vmm-agent.rs, before anything else, and without threads:
//!   if worker::is_worker() { return worker::serve(xen_bindings::libxc::open_loader) }
//!   …
//!   let workers = Workers::start(Program::this(), config.workers_max)?;
//!   xen.image = Arc::new(WorkerImage::new(workers.clone(), xen.control.clone()));
//!   Backend { xen, unpack: Arc::new(workers), … }
//! ```
//!
//! The simulator's images stay in the agent: there is nothing to protect it from.
//!
//! # Who owns what
//!
//! A worker serves one job. One waits at any time, unless jobs run; at most so many work at once. The keeper starts and ends them
//! all. Streams and files are opened by the agent and handed over; the worker has closed its ends before it answers.
//!
//! # How it fails
//!
//! What the worker answers is what libxc answered: kind, operation, domain and words come through. A worker that dies, hangs,
//! says too much or something else than an answer is an error of its own, names what it said last, and is gone. The
//! domain is then as after any failed build: the caller destroys it; of a guest that was being saved while it runs, the log may be left on, and the
//! caller ends that. When the agent dies, its workers do.

mod confine;
mod error;
mod files;
mod pool;
mod process;
mod serve;
mod wire;

use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use xen_bindings::{
    BuildSpec, BuiltGuest, DomId, DomainControl, GuestImage, Next, Precopy, RestoreSpec, SavePilot,
    Shell, XenError, XenErrorKind,
};

use crate::kernels::{Packed, Unpack, UnpackError};

use error::WorkerError;
use pool::Pool;
use wire::{Answer, Bounds, BuildJob, Job, Request, ShellName, built};

pub use process::Program;
pub use serve::serve;

/// The word on the command line that makes this program a worker.
const SUBCOMMAND: &str = "worker";

/// A build: reading, copying, and where the cache is off, unpacking.
const BUILD_MAX: Duration = Duration::from_mins(5);
/// Unpacking a kernel.
const UNPACK_MAX: Duration = Duration::from_mins(3);
/// A stream, besides the time for its bytes.
const STREAM_MAX: Duration = Duration::from_mins(5);
/// A stream of a guest that moves while it runs takes as long as its migration. Whoever feeds or takes it ends it when nothing comes or goes any
/// more.
const MOVE_MAX: Duration = Duration::from_hours(24 * 8);
/// The slowest stream that is waited for.
const STREAM_KIB_PER_S_MIN: u64 = 8 << 10;
/// Memory of a worker: libxenguest unpacks kernels in memory when it must.
const DATA_BYTES: u64 = 512 << 20;
/// And its tables of the guest's frames.
const DATA_BYTES_PER_PAGE: u64 = 24;
const PAGE_KIB: u64 = 4;

/// Whether this process was started to be a worker.
#[must_use]
pub fn is_worker() -> bool {
    std::env::args_os().nth(1).is_some_and(|word| word == SUBCOMMAND)
}

/// The workers of one agent. Clones share them.
#[derive(Clone)]
pub struct Workers {
    pool: Arc<Pool>,
}

impl Workers {
    /// Starts the first worker. At most `at_once_max` work at once.
    ///
    /// # Errors
    /// No thread for the keeper.
    pub fn start(program: Program, at_once_max: u32) -> std::io::Result<Self> {
        Ok(Self { pool: Arc::new(Pool::start(program, at_once_max)?) })
    }

    fn run(
        &self,
        request: &Request,
        files: &[BorrowedFd<'_>],
        limit: Duration,
    ) -> Result<Answer, WorkerError> {
        self.run_asked(request, files, limit, &mut NothingAsked)
    }

    fn run_asked(
        &self,
        request: &Request,
        files: &[BorrowedFd<'_>],
        limit: Duration,
        pilot: &mut dyn SavePilot,
    ) -> Result<Answer, WorkerError> {
        let (mut taken, process) = self.pool.take_alive()?;
        let (outcome, leaving) = process.serve(request, files, limit, pilot);
        taken.leaving = Some(leaving);
        if let Err(error) = &outcome {
            tracing::warn!(job = request.job.name(), %error, "a worker failed");
        }
        outcome
    }
}

/// Of a job that asks nothing.
struct NothingAsked;

impl SavePilot for NothingAsked {
    fn next(&mut self, _: Precopy) -> Next {
        Next::GiveUp
    }

    fn suspend(&mut self) -> bool {
        false
    }
}

impl Unpack for Workers {
    fn unpack(
        &self,
        packed: &Packed,
        source: &File,
        destination: &File,
    ) -> Result<(), UnpackError> {
        let bounds = bounds(UNPACK_MAX, DATA_BYTES, Some(packed.unpacked_bytes));
        let request = Request { job: Job::Unpack(*packed), bounds };
        match self.run(&request, &[source.as_fd(), destination.as_fd()], UNPACK_MAX) {
            Ok(Answer::Done) => Ok(()),
            Ok(Answer::Damaged(why)) => Err(UnpackError::Damaged(why)),
            Ok(Answer::Failed(why)) => Err(UnpackError::Failed(why)),
            Ok(other) => Err(UnpackError::Failed(format!("the worker answered {other:?}"))),
            Err(error) => Err(UnpackError::Failed(error.to_string())),
        }
    }
}

/// Processor time is no more than the whole time; one second more, so that the time limit's error comes first.
fn bounds(limit: Duration, data_bytes: u64, file_bytes: Option<u64>) -> Bounds {
    Bounds { data_bytes, cpu_seconds: limit.as_secs() + 1, file_bytes }
}

/// Builds, saves and restores guests in workers.
pub struct WorkerImage {
    workers: Workers,
    control: Arc<dyn DomainControl>,
    build_max: Duration,
}

impl WorkerImage {
    /// `control` tells how large a domain is, and so how long a stream may take.
    #[must_use]
    pub fn new(workers: Workers, control: Arc<dyn DomainControl>) -> Self {
        Self { workers, control, build_max: BUILD_MAX }
    }

    /// The same with another limit for a build.
    #[must_use]
    pub fn build_within(mut self, build_max: Duration) -> Self {
        self.build_max = build_max;
        self
    }

    fn run(
        &self,
        domid: DomId,
        request: &Request,
        files: &[BorrowedFd<'_>],
        limit: Duration,
    ) -> Result<Answer, XenError> {
        let outcome = self.workers.run(request, files, limit);
        Self::accepted(domid, request, outcome)
    }

    fn accepted(
        domid: DomId,
        request: &Request,
        outcome: Result<Answer, WorkerError>,
    ) -> Result<Answer, XenError> {
        let operation = request.job.name();
        match outcome.map_err(|error| error.of_operation(operation).domain(domid))? {
            Answer::Refused(refusal) => Err(refusal.into()),
            answer => Ok(answer),
        }
    }

    /// What Xen says that the domain may hold.
    fn memory_max_kib(&self, domid: DomId) -> Result<u64, XenError> {
        let missing = || XenError::new("worker", XenErrorKind::NoSuchDomain).domain(domid);
        Ok(self.control.info(domid)?.ok_or_else(missing)?.memory_max_kib)
    }

    /// Bounds of a stream of such a domain; the stream may be a file, so its size has none.
    fn stream_bounds(&self, domid: DomId) -> Result<(Bounds, Duration), XenError> {
        let memory_kib = self.memory_max_kib(domid)?;
        let limit = STREAM_MAX + Duration::from_secs(memory_kib / STREAM_KIB_PER_S_MIN);
        Ok((bounds(limit, data_bytes(memory_kib), None), limit))
    }
}

fn data_bytes(memory_kib: u64) -> u64 {
    DATA_BYTES + (memory_kib / PAGE_KIB).saturating_mul(DATA_BYTES_PER_PAGE)
}

fn built_guest(answer: &Answer, operation: &'static str) -> Result<BuiltGuest, XenError> {
    match answer {
        Answer::Built { store_gfn, console_gfn } => Ok(built(*store_gfn, *console_gfn)),
        other => Err(unexpected(other, operation)),
    }
}

fn unexpected(answer: &Answer, operation: &'static str) -> XenError {
    XenError::new(operation, XenErrorKind::Other(0))
        .detail(format!("the worker answered {answer:?}"))
}

impl GuestImage for WorkerImage {
    fn build(&self, shell: &Shell, spec: &BuildSpec) -> Result<BuiltGuest, XenError> {
        let bounds = bounds(self.build_max, data_bytes(spec.memory_max_kib), Some(0));
        let job = Job::Build { shell: ShellName::of(shell), spec: BuildJob::from(spec) };
        let request = Request { job, bounds };
        let answer = self.run(shell.domid(), &request, &[], self.build_max)?;
        built_guest(&answer, request.job.name())
    }

    fn save(&self, domid: DomId, stream: BorrowedFd<'_>) -> Result<(), XenError> {
        let (bounds, limit) = self.stream_bounds(domid)?;
        let request = Request { job: Job::Save { domid: domid.get() }, bounds };
        match self.run(domid, &request, &[stream], limit)? {
            Answer::Done => Ok(()),
            other => Err(unexpected(&other, request.job.name())),
        }
    }

    fn save_live(
        &self,
        domid: DomId,
        stream: BorrowedFd<'_>,
        pilot: &mut dyn SavePilot,
    ) -> Result<(), XenError> {
        let memory_kib = self.memory_max_kib(domid)?;
        let bounds = bounds(MOVE_MAX, data_bytes(memory_kib), None);
        let request = Request { job: Job::SaveLive { domid: domid.get() }, bounds };
        let outcome = self.workers.run_asked(&request, &[stream], MOVE_MAX, pilot);
        match Self::accepted(domid, &request, outcome)? {
            Answer::Done => Ok(()),
            other => Err(unexpected(&other, request.job.name())),
        }
    }

    fn restore(
        &self,
        shell: &Shell,
        stream: BorrowedFd<'_>,
        spec: &RestoreSpec,
    ) -> Result<BuiltGuest, XenError> {
        let (bounds, limit) = self.stream_bounds(shell.domid())?;
        let limit = limit + MOVE_MAX;
        let job = Job::Restore {
            shell: ShellName::of(shell),
            store_port: spec.store_port.0,
            console_port: spec.console_port.0,
        };
        let request = Request { job, bounds };
        let answer = self.run(shell.domid(), &request, &[stream], limit)?;
        built_guest(&answer, request.job.name())
    }
}
