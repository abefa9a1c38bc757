//! Hosts under emulation: started, waited for, recorded, and ended by the process that was recorded and no other.
//!
//! Fails when QEMU ends early or ssh does not answer in time, with the end of the logs. A state file whose process is gone
//! or has become another one is stale and is only removed.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::{Value, json};

use super::paths::Lab;
use super::segment::{Segment, free_port};
use super::ssh;
use crate::run;

/// Power-on to ssh takes 15 s on an idle machine, and several times that on a busy one.
const UP_LIMIT: Duration = Duration::from_secs(300);
const END_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(500);
const HOSTS_MAX: u32 = 8;
const LOG_LINES: usize = 25;

const RAM_MIB: &str = "2048";
/// `max` crashes the PV dom0 and `EPYC` panics Xen. Without npt Xen offers no PVH; without rdrand dom0's random pool
/// stays empty for 40 s; the rest keeps TLS and AES off their portable code.
const CPU: &str = "qemu64,+svm,+npt,+rdrand,+ssse3,+sse4.1,+sse4.2,+popcnt,+aes,+pclmulqdq";
const XEN: &str = "console=com1 com1=115200,8n1 dom0_mem=768M,max:768M dom0_max_vcpus=1 noreboot=1";
const DOM0: &str = "console=hvc0 net.ifnames=0 quiet";

/// Which xenstore daemon a host runs.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Flavour {
    C,
    Ocaml,
}

impl Flavour {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::C => "c",
            Self::Ocaml => "ocaml",
        }
    }

    /// Both daemons are in every run of two hosts unless one is asked for.
    fn of_host(asked: Option<Self>, id: u32) -> Self {
        asked.unwrap_or(if id.is_multiple_of(2) { Self::C } else { Self::Ocaml })
    }
}

impl FromStr for Flavour {
    type Err = std::io::Error;

    fn from_str(text: &str) -> std::io::Result<Self> {
        match text {
            "c" => Ok(Self::C),
            "ocaml" => Ok(Self::Ocaml),
            _ => Err(std::io::Error::other("the xenstore daemon is c or ocaml")),
        }
    }
}

/// Whether hosts outlive this command.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Lifetime {
    UntilDown,
    ThisCommand,
}

/// A host as its state file has it.
pub(crate) struct Host {
    pub(crate) id: u32,
    pub(crate) ssh_port: u16,
    pub(crate) flavour: &'static str,
    agent_port: u16,
    pid: u32,
}

impl Host {
    fn to_json(&self, lab: &Lab<'_>) -> Value {
        json!({
            "id": self.id,
            "name": format!("xen{}", self.id),
            "agent": format!("127.0.0.1:{}", self.agent_port),
            "ssh_port": self.ssh_port,
            "ssh_key": lab.ssh_key(),
            "address": format!("10.77.0.{}", self.id),
            "serial_log": lab.serial_log(self.id),
            "xenstored": self.flavour,
            "qemu_pid": self.pid,
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        let number = |name: &str| value.get(name)?.as_u64();
        let agent = value.get("agent")?.as_str()?;
        let flavour = value.get("xenstored")?.as_str()?.parse::<Flavour>().ok()?;
        Some(Self {
            id: number("id")?.try_into().ok()?,
            ssh_port: number("ssh_port")?.try_into().ok()?,
            flavour: flavour.name(),
            agent_port: agent.rsplit_once(':')?.1.parse().ok()?,
            pid: number("qemu_pid")?.try_into().ok()?,
        })
    }

    /// Ends the emulator if it still is ours. The pidfd is taken before the look, so that nobody else's process can
    /// slip in between.
    fn end(&self, lab: &Lab<'_>) -> Result<bool> {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else {
            return Ok(false);
        };
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(false) };
        if !self.runs(lab) {
            return Ok(false);
        }
        pidfd_send_signal(&process, Signal::KILL)
            .with_context(|| format!("end host {}", self.id))?;
        let deadline = Instant::now() + END_LIMIT;
        while self.runs(lab) {
            if Instant::now() > deadline {
                bail!("host {} (process {}) does not end", self.id, self.pid);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(true)
    }

    /// Its process is QEMU, writing to this host's serial log.
    fn runs(&self, lab: &Lab<'_>) -> bool {
        let line = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        line.contains("qemu-system-x86_64") && line.contains(&serial(lab, self.id))
    }
}

/// Hosts that this command started; they end when it is dropped.
pub(crate) struct Hosts<'a> {
    lab: &'a Lab<'a>,
    hosts: Vec<(Host, Child)>,
    keep: bool,
}

impl<'a> Hosts<'a> {
    /// Starts hosts 1 to `count` together and returns when ssh answers in all of them.
    pub(crate) fn start(
        lab: &'a Lab<'a>,
        count: u32,
        flavour: Option<Flavour>,
        lifetime: Lifetime,
    ) -> Result<Self> {
        if !(1..=HOSTS_MAX).contains(&count) {
            bail!("{count} hosts; 1 to {HOSTS_MAX} fit the lab");
        }
        if let Some(host) = recorded(lab)?.first() {
            bail!("host {} is up; `cargo xtask xenlab down` ends it", host.id);
        }
        let start = Instant::now();
        let segment = Segment::new(count)?;
        let mut hosts = Self { lab, hosts: Vec::new(), keep: false };
        for id in 1..=count {
            hosts.add(id, Flavour::of_host(flavour, id), &segment, lifetime)?;
            if id == 1 {
                segment.wait_for_listener()?;
            }
        }
        hosts.wait(start)?;
        hosts.record()?;
        Ok(hosts)
    }

    fn add(
        &mut self,
        id: u32,
        flavour: Flavour,
        segment: &Segment,
        lifetime: Lifetime,
    ) -> Result<()> {
        let (ssh_port, agent_port) = (free_port()?, free_port()?);
        let program = match lifetime {
            Lifetime::ThisCommand => run::tied("qemu-system-x86_64"),
            Lifetime::UntilDown => run::command("qemu-system-x86_64"),
        };
        let forward = format!(
            "user,id=n0,hostfwd=tcp:127.0.0.1:{ssh_port}-:22,hostfwd=tcp:127.0.0.1:{agent_port}-:7443"
        );
        let mut qemu = qemu(self.lab, program, id, flavour);
        qemu.args(["-netdev", &forward, "-device", "virtio-net-pci,netdev=n0,romfile="]);
        let card = format!("virtio-net-pci,netdev=n1,mac=52:54:00:77:00:{id:02x},romfile=");
        qemu.args(["-netdev", &segment.netdev(id), "-device", &card]);
        let child = qemu.spawn().context("start qemu-system-x86_64")?;
        let host = Host { id, ssh_port, flavour: flavour.name(), agent_port, pid: child.id() };
        fs::write(self.lab.host_state(id), host.to_json(self.lab).to_string())?;
        self.hosts.push((host, child));
        Ok(())
    }

    fn wait(&mut self, start: Instant) -> Result<()> {
        for (host, child) in &mut self.hosts {
            while !ssh::answers(self.lab, host.ssh_port)? {
                if let Some(status) = child.try_wait()? {
                    bail!(
                        "host {}: QEMU ended with {status}\n{}",
                        host.id,
                        logs(self.lab, host.id)
                    );
                }
                if start.elapsed() > UP_LIMIT {
                    let limit = UP_LIMIT.as_secs();
                    bail!("host {}: no ssh after {limit} s\n{}", host.id, logs(self.lab, host.id));
                }
                thread::sleep(POLL);
            }
            println!(
                "host {}  ssh 127.0.0.1:{}  agent 127.0.0.1:{}  10.77.0.{0}  {} xenstored  up after {} s",
                host.id,
                host.ssh_port,
                host.agent_port,
                host.flavour,
                start.elapsed().as_secs()
            );
        }
        Ok(())
    }

    fn record(&self) -> Result<()> {
        let hosts: Vec<_> = self.hosts.iter().map(|(host, _)| host.to_json(self.lab)).collect();
        let text = serde_json::to_string_pretty(&json!({ "hosts": hosts }))?;
        fs::write(self.lab.hosts_file(), text).context("write the hosts file")
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().map(|(host, _)| host)
    }

    /// They live on until `down`.
    pub(crate) fn leave_running(mut self) {
        self.keep = true;
    }
}

impl Drop for Hosts<'_> {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        for (host, child) in &mut self.hosts {
            // A child of ours that nobody waited for keeps its process id, so this cannot hit another.
            let ended = child.kill().and_then(|()| child.wait());
            if let Err(error) = ended {
                eprintln!("host {} (process {}) was not ended: {error}", host.id, host.pid);
                continue;
            }
            forget(self.lab, host.id);
        }
    }
}

fn qemu(lab: &Lab<'_>, mut qemu: Command, id: u32, flavour: Flavour) -> Command {
    use std::os::unix::process::CommandExt as _;

    let path = |path: PathBuf| path.display().to_string();
    let modules = format!(
        "{} {DOM0} hostid={id} xenstored={},{}",
        path(lab.vmlinuz()),
        flavour.name(),
        path(lab.dom0())
    );
    qemu.args(["-accel", "tcg,thread=multi", "-cpu", CPU, "-m", RAM_MIB, "-smp", "2"]);
    qemu.args(["-no-reboot", "-display", "none", "-vga", "none", "-monitor", "none"]);
    qemu.args(["-kernel", &path(lab.xen()), "-append", XEN, "-initrd", &modules]);
    qemu.args(["-serial", &serial(lab, id)]);
    // A group of its own: an interrupt in the terminal is for us, and we end the hosts.
    qemu.process_group(0).stdin(Stdio::null());
    if let Ok(log) = File::create(lab.qemu_log(id))
        && let Ok(copy) = log.try_clone()
    {
        qemu.stdout(log).stderr(copy);
    }
    qemu
}

fn serial(lab: &Lab<'_>, id: u32) -> String {
    format!("file:{}", lab.serial_log(id).display())
}

fn logs(lab: &Lab<'_>, id: u32) -> String {
    let mut text = String::new();
    for log in [lab.qemu_log(id), lab.serial_log(id)] {
        let content = fs::read(&log).unwrap_or_default();
        let content = String::from_utf8_lossy(&content);
        let lines: Vec<_> = content.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
        text += &format!("--- {}\n{}\n", log.display(), tail.join("\n"));
    }
    text
}

/// Hosts that run now; the files of those that do not are removed.
pub(crate) fn recorded(lab: &Lab<'_>) -> Result<Vec<Host>> {
    let mut hosts = Vec::new();
    for id in 1..=HOSTS_MAX {
        let Ok(text) = fs::read_to_string(lab.host_state(id)) else { continue };
        let host = serde_json::from_str(&text).ok().and_then(|value| Host::from_json(&value));
        match host {
            Some(host) if host.runs(lab) => hosts.push(host),
            _ => forget(lab, id),
        }
    }
    Ok(hosts)
}

/// Ends every host that is recorded and runs.
pub(crate) fn end_recorded(lab: &Lab<'_>) -> Result<usize> {
    let mut ended = 0;
    for host in recorded(lab)? {
        ended += usize::from(host.end(lab)?);
        forget(lab, host.id);
    }
    Ok(ended)
}

/// A state file that stays is stale, and is seen to be so by the next command.
fn forget(lab: &Lab<'_>, id: u32) {
    for file in [lab.host_state(id), lab.hosts_file()] {
        if let Err(error) = fs::remove_file(&file)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            eprintln!("{}: {error}", file.display());
        }
    }
}
