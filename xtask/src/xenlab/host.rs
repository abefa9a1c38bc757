//! Hosts under emulation: started together, waited for, and ended when the command that started them ends.
//!
//! Fails when QEMU ends early or ssh does not answer in time, with the end of the logs.

use std::fs::{self, File};
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::paths::Lab;
use super::record::{Flavour, HOSTS_MAX, Host, forget, recorded};
use super::segment::{Segment, free_port};
use super::{qemu, ssh};
use crate::run;

/// Power-on to ssh takes 15 s on an idle machine, and several times that on a busy one.
const UP_LIMIT: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(500);
const SHARED_DISK_BYTES: u64 = 16 << 20;
/// Whether hosts outlive this command.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Lifetime {
    UntilDown,
    ThisCommand,
}

/// What is started.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) count: u32,
    /// Of each host.
    pub(crate) cpus: u32,
    /// The xenstore daemon of all; otherwise they differ.
    pub(crate) flavour: Option<Flavour>,
    /// The last host has a processor that can less.
    pub(crate) is_lesser: bool,
}

/// Hosts that this command started; they end when it is dropped.
pub(crate) struct Hosts<'a> {
    lab: &'a Lab<'a>,
    hosts: Vec<(Host, Child)>,
    keep: bool,
}

impl<'a> Hosts<'a> {
    /// Starts hosts 1 to `count` together and returns when ssh answers in all of them.
    pub(crate) fn start(lab: &'a Lab<'a>, shape: Shape, lifetime: Lifetime) -> Result<Self> {
        let count = shape.count;
        if !(1..=HOSTS_MAX).contains(&count) {
            bail!("{count} hosts; 1 to {HOSTS_MAX} fit the lab");
        }
        if let Some(host) = recorded(lab)?.first() {
            bail!("host {} is up; `cargo xtask xenlab down` ends it", host.id);
        }
        let start = Instant::now();
        let segment = Segment::new(count)?;
        make_shared_disk(lab)?;
        let mut hosts = Self { lab, hosts: Vec::new(), keep: false };
        for id in 1..=count {
            hosts.add(id, shape, &segment, lifetime)?;
            if id == 1 {
                segment.wait_for_listener()?;
            }
        }
        hosts.wait(start)?;
        hosts.record()?;
        Ok(hosts)
    }

    fn add(&mut self, id: u32, shape: Shape, segment: &Segment, lifetime: Lifetime) -> Result<()> {
        let (ssh_port, agent_port) = (free_port()?, free_port()?);
        let program = match lifetime {
            Lifetime::ThisCommand => run::tied("qemu-system-x86_64"),
            Lifetime::UntilDown => run::command("qemu-system-x86_64"),
        };
        let forward = format!(
            "user,id=n0,hostfwd=tcp:127.0.0.1:{ssh_port}-:22,hostfwd=tcp:127.0.0.1:{agent_port}-:7443"
        );
        let flavour = Flavour::of_host(shape.flavour, id);
        let is_lesser = shape.is_lesser && id == shape.count;
        let cpu = if is_lesser { qemu::LESSER_CPU } else { qemu::CPU };
        let mut qemu = qemu::command(self.lab, program, id, (cpu, shape.cpus), flavour)?;
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
                        qemu::logs(self.lab, host.id)
                    );
                }
                if start.elapsed() > UP_LIMIT {
                    let limit = UP_LIMIT.as_secs();
                    bail!(
                        "host {}: no ssh after {limit} s\n{}",
                        host.id,
                        qemu::logs(self.lab, host.id)
                    );
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

/// Empty, for each set of hosts.
fn make_shared_disk(lab: &Lab<'_>) -> Result<()> {
    let file = File::create(lab.shared_disk()).context("make the hosts' shared disk")?;
    file.set_len(SHARED_DISK_BYTES).context("make the hosts' shared disk")
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
