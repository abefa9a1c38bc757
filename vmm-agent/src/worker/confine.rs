//! The rights that a worker gives up.
//!
//! | when | what | by |
//! |---|---|---|
//! | at its start | dies with the agent; own session; no capability, none to be had again; no core, few files; first to go when memory is short | prctl, setsid, capset, rlimits, oom_score_adj |
//! | with its request | memory, processor time and file size bounded | rlimits |
//! | | opens only the kernel, the initramfs and Xen's own devices | landlock |
//! | | makes only the system calls that loading needs: no socket, no process, no thread, no signal, no mount | seccomp |
//!
//! libxc opens `/dev/xen/privcmd` by its owner's right: root without a capability may. A kernel that does not know landlock
//! goes without it; every other failure here ends the worker before it has seen its files.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _,
};
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use super::wire::Bounds;

/// Open files: standard ones, libxc's, a request's.
const FILES_OPEN_MAX: u64 = 64;
/// Locked memory, for libxc's buffers on kernels without `/dev/xen/hypercall`.
const LOCKED_BYTES: u64 = 64 << 20;
/// Capabilities have numbers below this.
const CAPABILITIES: u32 = 64;
/// What libxc opens; whichever of these there is.
const XEN_DEVICES: [&str; 3] = ["/dev/xen/privcmd", "/dev/xen/hypercall", "/proc/xen/privcmd"];
const EPERM: u32 = 1;

/// What needs no request.
pub(super) fn drop_rights() -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // Fails only for one that has a session of its own already.
    let _ = rustix::process::setsid();
    rustix::process::umask(Mode::from_raw_mode(0o077));
    go_first();
    for (resource, most) in
        [(Resource::Core, 0), (Resource::Nproc, 0), (Resource::Nofile, FILES_OPEN_MAX)]
    {
        limit(resource, most)?;
    }
    // Only a privileged process may raise it, and only a machine with an old kernel needs it.
    let _ = limit(Resource::Memlock, LOCKED_BYTES);
    set_no_new_privs(true)?;
    drop_capabilities()
}

/// When memory is short, this process ends before the agent or xenstored does.
fn go_first() {
    let adjust = OpenOptions::new().write(true).open("/proc/self/oom_score_adj");
    if let Err(error) = adjust.and_then(|mut file| file.write_all(b"1000")) {
        eprintln!("worker: oom_score_adj: {error}");
    }
}

fn drop_capabilities() -> io::Result<()> {
    for number in 0..CAPABILITIES {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        // An error here means that this kernel has no such capability.
        if matches!(capability_is_in_bounding_set(capability), Ok(true)) {
            match remove_capability_from_bounding_set(capability) {
                // An agent without CAP_SETPCAP: no_new_privs already keeps it from coming back.
                Ok(()) | Err(rustix::io::Errno::PERM) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
    clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    Ok(())
}

/// Never above what the agent itself is held to.
fn limit(resource: Resource, most: u64) -> io::Result<()> {
    let most = getrlimit(resource).maximum.map_or(most, |hard| hard.min(most));
    Ok(setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?)
}

/// What depends on the request. Afterwards the process can do its job and little else.
pub(super) fn confine(reads: &[&PathBuf], bounds: Bounds, filter: &Filter) -> io::Result<()> {
    limit(Resource::Data, bounds.data_bytes)?;
    limit(Resource::Cpu, bounds.cpu_seconds)?;
    bounds.file_bytes.map_or(Ok(()), |bytes| limit(Resource::Fsize, bytes))?;
    see_only(reads).map_err(io::Error::other)?;
    seccompiler::apply_filter(&filter.0).map_err(io::Error::other)
}

/// landlock: best effort, as far as the running kernel goes.
fn see_only(reads: &[&PathBuf]) -> Result<(), landlock::RulesetError> {
    let abi = ABI::V5;
    let rules = Ruleset::default()
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .create()?;
    let file = |path: &Path, access| PathFd::new(path).ok().map(|fd| PathBeneath::new(fd, access));
    let read = landlock::make_bitflags!(AccessFs::{ReadFile});
    let device = landlock::make_bitflags!(AccessFs::{ReadFile | WriteFile | IoctlDev});
    let named = reads.iter().filter_map(|path| file(path, read));
    let devices = XEN_DEVICES.iter().filter_map(|path| file(Path::new(path), device));
    rules.add_rules(named.chain(devices).map(Ok::<_, landlock::RulesetError>))?.restrict_self()?;
    Ok(())
}

/// The system calls of a worker at work; made while it waits for its request.
pub(super) struct Filter(BpfProgram);

impl Filter {
    pub(super) fn new() -> io::Result<Self> {
        let rules: BTreeMap<i64, _> = CALLS.iter().map(|call| (*call, Vec::new())).collect();
        let architecture = std::env::consts::ARCH.try_into().map_err(io::Error::other)?;
        // A refused call is an error to whoever made it, so that a worker can say what went wrong.
        let refuse = SeccompAction::Errno(EPERM);
        let filter = SeccompFilter::new(rules, refuse, SeccompAction::Allow, architecture);
        let program = filter.and_then(BpfProgram::try_from).map_err(io::Error::other)?;
        Ok(Self(program))
    }
}

/// Reading, writing, memory, time, and ioctl for hypercalls.
const CALLS: [i64; 49] = [
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_lseek,
    libc::SYS_open,
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_stat,
    libc::SYS_fstat,
    libc::SYS_lstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_fcntl,
    libc::SYS_dup,
    libc::SYS_ioctl,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_select,
    libc::SYS_pselect6,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_mlock,
    libc::SYS_munlock,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_getrandom,
    libc::SYS_gettimeofday,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getrusage,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
];
