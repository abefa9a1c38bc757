//! The contract suite on real Xen, in dom0: a line per case, then `contract: N passed, N failed` and a true exit status.
//!
//! `xen-contract [--kernel PATH] [--initramfs PATH] [--filter PART]`; the defaults are the lab's paths.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use xen_bindings::contract::{self, Case, StoreFlavour, Subject};
use xen_bindings::store::StorePath;
use xen_bindings::{Xen, XenError, libxc};
use xenstore_rs::Xs;
use xenstore_rs::unix::XsUnix;

const KERNEL: &str = "/g/vmlinux";
const INITRAMFS: &str = "/g/guest.cpio.gz";
const CMDLINE: &str = "console=hvc0 quiet";
/// The first RAM disk.
const DISK: &str = "1:0";

/// What Xen logs when a guest's CPU gives up. Emulated hardware does that now and then to a guest that did nothing wrong.
const TRIPLE_FAULT: &str = "Triple fault";

/// Of a case in which that happens each time.
const TRIES: u32 = 3;

/// Not a case of the suite, since the simulator has no socket.
const ORACLE: &str = "xenstore-rs reads the same tree from the same daemon";
/// Nodes that change neither while the suite runs nor between two reads.
const ORACLE_NODES: [&str; 3] = ["/tool", "/local/domain/0/domid", "/local/domain/0/name"];

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(message) => return fail(&message),
    };
    let subject = match subject(&arguments) {
        Ok(subject) => subject,
        Err(error) => return fail(&error),
    };
    println!("xenstore daemon: {:?}", subject.flavour);
    let mut tally = Tally::default();
    for case in contract::cases().iter().filter(|case| arguments.wants(case.name)) {
        let outcome = try_case(case, &subject, &mut tally);
        tally.note(case.name, outcome);
    }
    if arguments.wants(ORACLE) {
        tally.note(ORACLE, compare_clients(&subject.xen));
    }
    tally.finish()
}

fn fail(message: &str) -> ExitCode {
    println!("FAIL start: {message}");
    println!("contract: 0 passed, 1 failed");
    ExitCode::FAILURE
}

struct Arguments {
    kernel: PathBuf,
    initramfs: PathBuf,
    filter: String,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let (kernel, initramfs) = (KERNEL.into(), INITRAMFS.into());
        let mut arguments = Self { kernel, initramfs, filter: String::new() };
        while let Some(option) = words.next() {
            let value = words.next().ok_or_else(|| format!("{option} needs a value"))?;
            match option.as_str() {
                "--kernel" => arguments.kernel = value.into(),
                "--initramfs" => arguments.initramfs = value.into(),
                "--filter" => arguments.filter = value,
                _ => return Err(format!("unknown option {option}")),
            }
        }
        Ok(arguments)
    }

    fn wants(&self, name: &str) -> bool {
        name.contains(&self.filter)
    }
}

fn subject(arguments: &Arguments) -> Result<Subject, String> {
    let xen = libxc::open().map_err(|error| error.to_string())?;
    let flavour = flavour(&xen)?;
    Ok(Subject {
        xen,
        kernel: arguments.kernel.clone(),
        initramfs: Some(arguments.initramfs.clone()),
        cmdline: CMDLINE.into(),
        disk: DISK.into(),
        wait: Arc::new(thread::sleep),
        flavour,
    })
}

/// oxenstored lists the special watch names among the root's children; C xenstored does not.
fn flavour(xen: &Xen) -> Result<StoreFlavour, String> {
    let root = StorePath::new("/").map_err(|error| error.to_string())?;
    let names = xen.store.directory(&root).map_err(|error| error.to_string())?;
    let special = names.iter().any(|name| name.starts_with('@'));
    Ok(if special { StoreFlavour::Ocaml } else { StoreFlavour::C })
}

/// Runs a case; again when Xen logged a triple fault meanwhile, which is told in the summary.
fn try_case(case: &Case, subject: &Subject, tally: &mut Tally) -> Result<(), String> {
    for _ in 1..TRIES {
        let faults_before = triple_faults();
        let outcome = (case.run)(subject);
        let faulted =
            triple_faults().is_ok_and(|now| faults_before.is_ok_and(|before| now > before));
        match outcome {
            Err(reason) if faulted => {
                println!("retry {}: {reason}, after a triple fault", case.name);
                tally.retried += 1;
            }
            outcome => return outcome,
        }
    }
    (case.run)(subject)
}

fn triple_faults() -> Result<usize, XenError> {
    Ok(libxc::hypervisor_log()?.matches(TRIPLE_FAULT).count())
}

/// Two clients that share no code must see the same.
fn compare_clients(xen: &Xen) -> Result<(), String> {
    let theirs = XsUnix::new().map_err(|error| error.to_string())?;
    for node in ORACLE_NODES {
        let path = StorePath::new(node).map_err(|error| error.to_string())?;
        let value = xen.store.read(&path).ok();
        let other = theirs.read(node).ok().map(|text| text.as_bytes().to_vec());
        // An empty value: xenstore-rs answers an error where we answer nothing at all.
        if value.unwrap_or_default() != other.unwrap_or_default() {
            return Err(format!("the value of {node} differs"));
        }
        let names = xen.store.directory(&path).ok();
        let others = theirs.directory(node).ok();
        let others = others.map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>());
        if names != others {
            return Err(format!("the children of {node}: {names:?} and {others:?}"));
        }
    }
    Ok(())
}

#[derive(Default)]
struct Tally {
    passed: u32,
    failed: u32,
    retried: u32,
}

impl Tally {
    fn note(&mut self, name: &str, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => {
                println!("ok {name}");
                self.passed += 1;
            }
            Err(reason) => {
                println!("FAIL {name}: {reason}");
                self.failed += 1;
            }
        }
    }

    fn finish(&self) -> ExitCode {
        if self.retried > 0 {
            println!("retried {}", self.retried);
        }
        println!("contract: {} passed, {} failed", self.passed, self.failed);
        if self.failed == 0 && self.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
