//! What is known of a running host, as its state file and the hosts file have it; and ending a host by that file.
//!
//! A state file whose process is gone, or has become another program, is stale: it is removed and nothing is ended.

use std::fs;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::{Value, json};

use super::paths::Lab;
use super::qemu::serial;

/// Ids are in MAC and IP addresses and in the names of state files.
pub(crate) const HOSTS_MAX: u32 = 8;
const END_LIMIT: Duration = Duration::from_secs(10);

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
    pub(crate) fn of_host(asked: Option<Self>, id: u32) -> Self {
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

/// A host as its state file has it.
pub(crate) struct Host {
    pub(crate) id: u32,
    pub(crate) ssh_port: u16,
    pub(crate) flavour: &'static str,
    pub(crate) agent_port: u16,
    pub(crate) pid: u32,
}

impl Host {
    pub(crate) fn to_json(&self, lab: &Lab<'_>) -> Value {
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
pub(crate) fn forget(lab: &Lab<'_>, id: u32) {
    for file in [lab.host_state(id), lab.hosts_file()] {
        if let Err(error) = fs::remove_file(&file)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            eprintln!("{}: {error}", file.display());
        }
    }
}
