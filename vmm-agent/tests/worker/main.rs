//! Workers as processes: this program starts itself as its own worker, with an image that behaves as the command line says.
//!
//! It has no harness, because a worker is confined first thing in `main`.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod questions;

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use vmm_agent::kernels::{Format, Packed, Unpack as _, UnpackError};
use vmm_agent::worker::{self, Program, WorkerImage, Workers};
use xen_bindings::sim::{SimConfig, SimMachine};
use xen_bindings::{
    Affinity, BuildSpec, BuiltGuest, Credit2, DomId, DomainConfig, DomainHandle, Gfn, GuestImage,
    GuestKind, Loader, Port, RestoreSpec, SavePilot, Shell, VcpuControl, VcpuInfo, VcpulessDomain,
    Xen, XenError, XenErrorKind,
};

/// As an agent that is killed.
const AGENT: &str = "agent";
/// Enough for a worker to start on a busy machine; a test that hangs fails.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    if worker::is_worker() {
        return worker::serve(open);
    }
    if std::env::args().nth(1).is_some_and(|word| word == AGENT) {
        agent();
    }
    let tests: [(&str, fn()); 9] = [
        ("an answer and a refusal come back whole", answers_and_refusals),
        ("a worker that misbehaves is an error, and the next job is done", misbehaviour),
        ("a worker has few rights", few_rights),
        ("streams go through a worker and end before the answer", streams),
        ("a worker that saves a running guest asks, and is told", questions::questions),
        ("a kernel is unpacked by a worker", unpacking),
        ("several jobs at once", several_at_once),
        ("a worker that was ended in waiting is replaced", ended_in_waiting),
        ("workers die with the agent", die_with_the_agent),
    ];
    for (name, test) in tests {
        let begun = Instant::now();
        test();
        println!("test {name} ... ok ({} ms)", begun.elapsed().as_millis());
    }
    ExitCode::SUCCESS
}

fn machine() -> Xen {
    let started = Instant::now();
    SimMachine::new(SimConfig::default(), Arc::new(move || started.elapsed())).xen()
}

fn shell_of(xen: &Xen) -> Shell {
    let config = DomainConfig::new(DomainHandle([7; 16]), GuestKind::Pvh, 2);
    xen.vcpu.allocate(xen.control.create(&config).unwrap()).unwrap()
}

// ---- the worker's side

fn open() -> Result<Loader, XenError> {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let fds = fs::read_dir("/proc/self/fd").unwrap().count();
    Ok(Loader { vcpu: Arc::new(FakeVcpu(machine())), image: Arc::new(FakeImage { status, fds }) })
}

/// Finds the shell in a machine of its own, where it has the number that it has in the agent's.
struct FakeVcpu(Xen);

impl VcpuControl for FakeVcpu {
    fn allocate(&self, domain: VcpulessDomain) -> Result<Shell, XenError> {
        self.0.vcpu.allocate(domain)
    }

    fn reclaim(&self, domid: DomId, kind: GuestKind, vcpus_max: u32) -> Result<Shell, XenError> {
        let shell = shell_of(&self.0);
        assert_eq!((shell.domid(), shell.kind(), shell.vcpus_max()), (domid, kind, vcpus_max));
        Ok(shell)
    }

    fn info(&self, domid: DomId, vcpu_index: u32) -> Result<VcpuInfo, XenError> {
        self.0.vcpu.info(domid, vcpu_index)
    }

    fn credit2(&self, domid: DomId) -> Result<Credit2, XenError> {
        self.0.vcpu.credit2(domid)
    }

    fn set_credit2(&self, domid: DomId, parameters: Credit2) -> Result<(), XenError> {
        self.0.vcpu.set_credit2(domid, parameters)
    }

    fn affinity(&self, domid: DomId, vcpu_index: u32) -> Result<Affinity, XenError> {
        self.0.vcpu.affinity(domid, vcpu_index)
    }

    fn set_affinity(&self, domid: DomId, vcpu: u32, affinity: &Affinity) -> Result<(), XenError> {
        self.0.vcpu.set_affinity(domid, vcpu, affinity)
    }
}

struct FakeImage {
    status: String,
    fds: usize,
}

impl GuestImage for FakeImage {
    fn build(&self, shell: &Shell, spec: &BuildSpec) -> Result<BuiltGuest, XenError> {
        match spec.cmdline.as_str() {
            "load" => {}
            "refuse" => return Err(refusal(shell.domid())),
            "hang" => loop {
                std::thread::sleep(Duration::from_secs(1));
            },
            "garbage" => println!("I am a worker"),
            "flood" => loop {
                let _ = io::stdout().write_all(&[b'x'; 4096]);
            },
            "noise" => loop {
                eprintln!("{}", "noise ".repeat(500));
            },
            "exit" => {
                eprintln!("no more\nof this");
                std::process::exit(3)
            }
            "abort" => std::process::abort(),
            "panic" => panic!("broken to pieces"),
            "eat" => eat(),
            "rights" => self.find_rights(spec)?,
            other => unreachable!("{other}"),
        }
        assert_eq!(fs::read(&spec.kernel).unwrap(), b"the kernel");
        Ok(BuiltGuest {
            store_gfn: Gfn(spec.memory_target_kib + u64::from(spec.store_port.0)),
            console_gfn: Gfn(spec.memory_max_kib + u64::from(spec.console_port.0)),
        })
    }

    fn save(&self, _: DomId, stream: BorrowedFd<'_>) -> Result<(), XenError> {
        File::from(stream.try_clone_to_owned().unwrap()).write_all(&memory()).unwrap();
        Ok(())
    }

    fn save_live(
        &self,
        _: DomId,
        stream: BorrowedFd<'_>,
        pilot: &mut dyn SavePilot,
    ) -> Result<(), XenError> {
        questions::ask(stream, pilot)
    }

    fn restore(
        &self,
        _: &Shell,
        stream: BorrowedFd<'_>,
        spec: &RestoreSpec,
    ) -> Result<BuiltGuest, XenError> {
        let mut read = Vec::new();
        File::from(stream.try_clone_to_owned().unwrap()).read_to_end(&mut read).unwrap();
        assert!(read == memory());
        let (store_gfn, console_gfn) = (spec.store_port.0.into(), spec.console_port.0.into());
        Ok(BuiltGuest { store_gfn: Gfn(store_gfn), console_gfn: Gfn(console_gfn) })
    }
}

fn refusal(domid: DomId) -> XenError {
    XenError::new("dom_boot_mem_init", XenErrorKind::OutOfMemory)
        .domain(domid)
        .detail("panic: \"xc_dom_boot.c\": \n no memory")
}

fn memory() -> Vec<u8> {
    (0..300_000_u32).flat_map(u32::to_le_bytes).collect()
}

/// More than a worker may have.
fn eat() {
    let mut eaten = Vec::new();
    for _ in 0..64 {
        eaten.push(std::hint::black_box(vec![1_u8; 16 << 20]));
    }
}

impl FakeImage {
    /// Tries what a worker must not be able to do, and answers what worked.
    fn find_rights(&self, spec: &BuildSpec) -> Result<(), XenError> {
        let mut found = Vec::new();
        for line in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            let value = self.status.lines().find_map(|l| l.strip_prefix(line)).unwrap();
            if !value.trim_matches([':', '\t', '0']).is_empty() {
                found.push(format!("{line}{value}"));
            }
        }
        if !self.status.contains("NoNewPrivs:\t1") {
            found.push("no_new_privs is off".into());
        }
        // Standard input, output and error, the directory that is read to count them, and whatever whoever started these
        // tests has left open to all.
        if self.fds as u64 != 4 + spec.memory_target_kib {
            found.push(format!("{} open files", self.fds));
        }
        found.extend(std::env::vars_os().next().map(|(name, _)| format!("variable {name:?}")));
        let directory = spec.kernel.parent().unwrap();
        let secret = fs::read(directory.join("secret")).is_ok();
        let written = fs::write(directory.join("written"), "x").is_ok();
        let overwritten = File::options().write(true).open(&spec.kernel).is_ok();
        let own = process("true");
        for (what, worked) in [
            ("reads another file", landlock_is_there() && secret),
            ("writes a file", landlock_is_there() && written),
            ("writes the kernel", landlock_is_there() && overwritten),
            ("makes a TCP connection", is_not_refused(TcpStream::connect("127.0.0.1:9"))),
            ("makes a socket", UnixStream::pair().is_ok()),
            ("starts a process", own),
            ("starts a thread", std::thread::Builder::new().spawn(|| ()).is_ok()),
            ("signals", kill_process(Pid::INIT, Signal::CONT).is_ok()),
        ] {
            if worked {
                found.push(what.to_owned());
            }
        }
        match found.is_empty() {
            true => Ok(()),
            false => Err(XenError::new("rights", XenErrorKind::Other(0)).detail(found.join(", "))),
        }
    }
}

/// Any answer of the network is one too many.
fn is_not_refused(attempt: io::Result<TcpStream>) -> bool {
    !matches!(attempt, Err(error) if error.kind() == io::ErrorKind::PermissionDenied)
}

fn process(name: &str) -> bool {
    #[expect(clippy::disallowed_methods, reason = "what a worker must not be able to do")]
    let mut command = Command::new(name);
    command.spawn().is_ok()
}

/// The kernel that runs these tests may have none.
fn landlock_is_there() -> bool {
    use landlock::{CompatLevel, Compatible as _, Ruleset, RulesetAttr as _};
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    ruleset.handle_access(landlock::AccessFs::ReadFile).and_then(Ruleset::create).is_ok()
}

// ---- the agent's side

/// An agent's surroundings: a simulated machine with a shell, a kernel, workers.
struct Bench {
    dir: tempfile::TempDir,
    xen: Xen,
    shell: Shell,
    workers: Workers,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("kernel"), "the kernel").unwrap();
        fs::write(dir.path().join("secret"), "the secret").unwrap();
        let xen = machine();
        let shell = shell_of(&xen);
        xen.memory.set_max(shell.domid(), 128 << 10).unwrap();
        let workers = Workers::start(Program::this(), 2).unwrap();
        Self { dir, xen, shell, workers }
    }

    fn image(&self) -> WorkerImage {
        WorkerImage::new(self.workers.clone(), self.xen.control.clone())
    }

    fn spec(&self, cmdline: &str) -> BuildSpec {
        BuildSpec {
            kernel: self.dir.path().join("kernel"),
            initramfs: None,
            cmdline: cmdline.into(),
            vcpus_online: 1,
            memory_target_kib: 1000,
            memory_max_kib: 2000,
            store_port: Port(1),
            console_port: Port(2),
        }
    }

    fn build(&self, cmdline: &str) -> Result<BuiltGuest, XenError> {
        self.image().build(&self.shell, &self.spec(cmdline))
    }

    fn assert_works(&self, after: &str) {
        let built = self.build("load").unwrap_or_else(|error| panic!("after {after}: {error}"));
        assert_eq!((built.store_gfn, built.console_gfn), (Gfn(1001), Gfn(2002)), "after {after}");
    }
}

fn answers_and_refusals() {
    let bench = Bench::new();
    bench.assert_works("a start");
    let error = bench.build("refuse").unwrap_err();
    let expected = refusal(bench.shell.domid());
    assert_eq!(
        (error.kind(), error.operation(), error.domid(), error.said()),
        (expected.kind(), expected.operation(), expected.domid(), expected.said())
    );
}

fn misbehaviour() {
    let bench = Bench::new();
    for (what, words) in [
        ("garbage", "answered what no worker says"),
        ("flood", "answered what no worker says"),
        ("noise", "a flood on its standard error"),
        ("exit", "exit status: 3); it said: no more; of this"),
        ("abort", "ended without an answer (signal: "),
        ("panic", "broken to pieces"),
        ("eat", "ended without an answer (signal: "),
    ] {
        let error = bench.build(what).unwrap_err();
        assert_eq!(error.kind(), XenErrorKind::Other(0), "{what}: {error}");
        assert_eq!((error.operation(), error.domid()), ("worker_build", Some(bench.shell.domid())));
        assert!(error.to_string().contains(words), "{what}: {error}");
        bench.assert_works(what);
    }
    let impatient = bench.image().build_within(Duration::from_secs(1));
    let error = impatient.build(&bench.shell, &bench.spec("hang")).unwrap_err();
    assert!(error.to_string().contains("did not end within 1 s and was killed"), "{error}");
    bench.assert_works("hang");
    wait_until("no worker is left but the idle one", || children().len() <= 1);
}

fn few_rights() {
    let bench = Bench::new();
    let spec = BuildSpec { memory_target_kib: left_open(), ..bench.spec("rights") };
    if let Err(error) = bench.image().build(&bench.shell, &spec) {
        panic!("{error}");
    }
    assert!(!bench.dir.path().join("written").exists() || !landlock_is_there());
    println!("  landlock: {}", if landlock_is_there() { "enforced" } else { "not in this kernel" });
}

/// Files that this process has inherited and that everything it starts inherits.
fn left_open() -> u64 {
    let close_on_exec =
        |flags: &str| i32::from_str_radix(flags.trim(), 8).unwrap() & libc::O_CLOEXEC != 0;
    let infos = fs::read_dir("/proc/self/fdinfo").unwrap().filter_map(|file| {
        let file = file.unwrap();
        let number: u32 = file.file_name().to_str().unwrap().parse().unwrap();
        (number > 2).then(|| fs::read_to_string(file.path()).ok()).flatten()
    });
    let flags = infos.filter_map(|info| {
        Some(info.lines().find_map(|line| line.strip_prefix("flags:"))?.to_owned())
    });
    flags.filter(|flags| !close_on_exec(flags)).count() as u64
}

fn streams() {
    let bench = Bench::new();
    let (image, domid) = (bench.image(), bench.shell.domid());
    let (mut read_end, write_end) = io::pipe().unwrap();
    let reader = std::thread::spawn(move || {
        let mut read = Vec::new();
        read_end.read_to_end(&mut read).unwrap();
        read
    });
    image.save(domid, write_end.as_fd()).unwrap();
    drop(write_end);
    assert!(reader.join().unwrap() == memory());

    let (read_end, mut write_end) = io::pipe().unwrap();
    let writer = std::thread::spawn(move || write_end.write_all(&memory()));
    let spec = RestoreSpec { store_port: Port(5), console_port: Port(6) };
    let built = image.restore(&bench.shell, read_end.as_fd(), &spec).unwrap();
    writer.join().unwrap().unwrap();
    assert_eq!((built.store_gfn, built.console_gfn), (Gfn(5), Gfn(6)));
}

fn unpacking() {
    let bench = Bench::new();
    let elf = [b"\x7fELF".as_slice(), &memory()].concat();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&elf).unwrap();
    let gzip = encoder.finish().unwrap();
    let (from, to) = (bench.dir.path().join("from"), bench.dir.path().join("to"));
    fs::write(&from, &gzip).unwrap();
    let mut packed = Packed {
        format: Format::Gzip,
        offset: 0,
        length: gzip.len() as u64,
        unpacked_bytes: elf.len() as u64,
    };
    let source = File::open(&from).unwrap();
    bench.workers.unpack(&packed, &source, &File::create(&to).unwrap()).unwrap();
    assert!(fs::read(&to).unwrap() == elf);
    packed.length /= 2;
    let cut_off = bench.workers.unpack(&packed, &source, &File::create(&to).unwrap());
    assert!(matches!(cut_off, Err(UnpackError::Damaged(_))), "{cut_off:?}");
}

fn several_at_once() {
    let bench = Bench::new();
    let done = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                bench.assert_works("others");
                done.fetch_add(1, Ordering::SeqCst);
            });
        }
    });
    assert_eq!(done.into_inner(), 6);
}

fn ended_in_waiting() {
    let bench = Bench::new();
    bench.assert_works("a start");
    wait_until("the next worker waits", || children().len() == 1);
    for child in children() {
        kill_process(Pid::from_raw(child).unwrap(), Signal::KILL).unwrap();
        wait_until("it has ended", || state_of(child).is_none_or(|state| state == 'Z'));
    }
    bench.assert_works("the end of the one in waiting");
}

/// Runs a job that hangs, and says which processes it has.
fn agent() -> ! {
    let bench = Bench::new();
    std::thread::scope(|scope| {
        scope.spawn(|| bench.build("hang"));
        wait_until("a worker is at work", || children().len() == 1);
        std::thread::sleep(Duration::from_millis(200));
        println!(
            "{}",
            children().into_iter().map(|pid| pid.to_string()).collect::<Vec<_>>().join(" ")
        );
    });
    unreachable!("the job hangs");
}

fn die_with_the_agent() {
    let exe = std::env::current_exe().unwrap();
    #[expect(clippy::disallowed_methods, reason = "this test is its own agent")]
    let mut command = Command::new(&exe);
    let mut agent = command.arg(AGENT).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let stdout = agent.stdout.take().unwrap();
    io::BufRead::read_line(&mut io::BufReader::new(stdout), &mut line).unwrap();
    let workers: Vec<i32> = line.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    assert!(!workers.is_empty());
    agent.kill().unwrap();
    agent.wait().unwrap();
    for worker in workers {
        wait_until("the worker is gone", || state_of(worker).is_none_or(|state| state == 'Z'));
    }
}

/// Child processes of this one.
fn children() -> Vec<i32> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let lists =
        tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
    let pids = lists.flat_map(|list| {
        list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<i32>>()
    });
    pids.filter(|pid| state_of(*pid).is_some_and(|state| state != 'Z')).collect()
}

fn state_of(pid: i32) -> Option<char> {
    let path: PathBuf = Path::new("/proc").join(pid.to_string()).join("stat");
    fs::read_to_string(path).ok()?.rsplit_once(") ")?.1.chars().next()
}

fn wait_until(what: &str, ready: impl Fn() -> bool) {
    let begun = Instant::now();
    while !ready() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
