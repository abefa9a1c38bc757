//! Where the time of a build goes, in dom0: builds guests that never run and prints the median of each step.
//!
//! `xen-build-times [--kernel PATH] [--initramfs PATH] [--kind pvh|pv] [--memory-mib N] [--times N] [--by agent|worker]`; the
//! defaults are the lab's paths, PVH, 128 MiB and 7 builds by a process that goes on. A worker builds once, and its end belongs
//! to the time: measure the whole process. The last line is the median of whole builds.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use xen_bindings::libxc::{self, STEPS};
use xen_bindings::{BuildSpec, DomId, DomainConfig, DomainHandle, GuestKind, Shell, Xen, XenError};

const SLACK_KIB: u64 = 1024;
/// A destroyed domain is gone by then.
const GONE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(10);
const WHOLE: &str = "whole build";

fn main() -> ExitCode {
    match Arguments::parse(std::env::args().skip(1)).and_then(|arguments| run(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            println!("FAIL {message}");
            ExitCode::FAILURE
        }
    }
}

struct Arguments {
    kernel: PathBuf,
    initramfs: PathBuf,
    kind: GuestKind,
    memory_mib: u64,
    times: u32,
    by_worker: bool,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self {
            kernel: "/g/vmlinux".into(),
            initramfs: "/g/guest.cpio.gz".into(),
            kind: GuestKind::Pvh,
            memory_mib: 128,
            times: 7,
            by_worker: false,
        };
        while let Some(option) = words.next() {
            let value = words.next().ok_or_else(|| format!("{option} needs a value"))?;
            let number = || value.parse().map_err(|_| format!("{option} {value}: no number"));
            match (option.as_str(), value.as_str()) {
                ("--kernel", _) => arguments.kernel = value.into(),
                ("--initramfs", _) => arguments.initramfs = value.into(),
                ("--kind", "pvh") => arguments.kind = GuestKind::Pvh,
                ("--kind", "pv") => arguments.kind = GuestKind::Pv,
                ("--by", "agent") => arguments.by_worker = false,
                ("--by", "worker") => arguments.by_worker = true,
                ("--memory-mib", _) => arguments.memory_mib = number()?,
                ("--times", _) => {
                    arguments.times = number()?.try_into().map_err(|_| "too many times")?;
                }
                _ => return Err(format!("unknown option {option} {value}")),
            }
        }
        Ok(arguments)
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let steps = Steps::default();
    tracing::subscriber::set_global_default(steps.clone()).map_err(|error| error.to_string())?;
    let mut xen = libxc::open().map_err(|error| error.to_string())?;
    if arguments.by_worker {
        xen.image = libxc::open_loader().map_err(|error| error.to_string())?.image;
    }
    let times = if arguments.by_worker { 1 } else { arguments.times };
    for _ in 0..times {
        build_once(&xen, arguments, &steps).map_err(|error| error.to_string())?;
    }
    for (name, median) in steps.medians() {
        println!("{name:28} {:9.1} ms", median.as_secs_f64() * 1000.0);
    }
    Ok(())
}

fn build_once(xen: &Xen, arguments: &Arguments, steps: &Steps) -> Result<(), XenError> {
    let handle = DomainHandle(*b"vmm-build-times.");
    let domain = xen.control.create(&DomainConfig::new(handle, arguments.kind, 1))?;
    let domid = domain.domid();
    let outcome = xen.vcpu.allocate(domain).and_then(|shell| {
        let spec = spec(xen, &shell, arguments)?;
        let start = Instant::now();
        let built = xen.image.build(&shell, &spec);
        steps.note(WHOLE, start.elapsed());
        built
    });
    xen.control.destroy(domid)?;
    if arguments.by_worker {
        // It goes with this process.
        return outcome.map(|_| ());
    }
    let start = Instant::now();
    while xen.control.info(domid)?.is_some() && start.elapsed() < GONE {
        thread::sleep(LOOK);
    }
    outcome.map(|_| ())
}

/// Limits and ports, as a toolstack sets them.
fn spec(xen: &Xen, shell: &Shell, arguments: &Arguments) -> Result<BuildSpec, XenError> {
    let (domid, memory_kib) = (shell.domid(), arguments.memory_mib * 1024);
    xen.memory.set_max(domid, memory_kib + SLACK_KIB)?;
    xen.memory.set_memory_map_limit(shell, memory_kib)?;
    if arguments.kind == GuestKind::Pvh {
        xen.memory.set_paging_pool(domid, 4096 * (256 + arguments.memory_mib))?;
    }
    xen.control.apply_cpu_policy(shell)?;
    Ok(BuildSpec {
        kernel: arguments.kernel.clone(),
        initramfs: Some(arguments.initramfs.clone()),
        cmdline: "console=hvc0 quiet".into(),
        vcpus_online: 1,
        memory_target_kib: memory_kib,
        memory_max_kib: memory_kib,
        store_port: xen.evtchn.alloc_unbound(domid, DomId::DOM0)?,
        console_port: xen.evtchn.alloc_unbound(domid, DomId::DOM0)?,
    })
}

/// What the library's steps took, by name.
#[derive(Clone, Default)]
struct Steps(Arc<Mutex<BTreeMap<String, Vec<Duration>>>>);

impl Steps {
    fn note(&self, name: &str, time: Duration) {
        let mut steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        steps.entry(name.to_owned()).or_default().push(time);
    }

    fn medians(&self) -> Vec<(String, Duration)> {
        let steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let median = |times: &Vec<Duration>| {
            let mut times = times.clone();
            times.sort_unstable();
            times.get(times.len() / 2).copied().unwrap_or_default()
        };
        steps.iter().map(|(name, times)| (name.clone(), median(times))).collect()
    }
}

impl Subscriber for Steps {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == STEPS
    }

    fn event(&self, event: &Event<'_>) {
        let mut step = Step::default();
        event.record(&mut step);
        self.note(&step.operation, Duration::from_micros(step.elapsed_us));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The fields of one event.
#[derive(Default)]
struct Step {
    operation: String,
    elapsed_us: u64,
}

impl Visit for Step {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "operation" {
            value.clone_into(&mut self.operation);
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "elapsed_us" {
            self.elapsed_us = value;
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}
