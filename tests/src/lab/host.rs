//! A real Xen host of the lab: commands in its dom0, and the agent there.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::{Peer, eventually};

/// Where the agent keeps its things in dom0.
const AGENT_DIR: &str = "/etc/vmm";
/// How the agent is run elsewhere. Its rights are read from here, so that the two cannot drift apart.
const UNIT: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/vmm-agent.service"));
/// Files in dom0 are in its memory: three kernels and not the default's eight.
const KERNEL_CACHE_MIB: u64 = 256;
/// Where the guest's `echo` listens.
const ECHO_PORT: u16 = 7;
/// Connections that a VM moves over: more than one, though a dom0 of one processor gains nothing by it.
const STREAMS: u32 = 2;

/// Prints a line for each domain, xenstore tree, loop device and bridge port that belongs to a guest. dom0's own `/vm` node stays.
const LEFTOVERS: &str = "xl list | awk 'NR > 1 && $2 != 0 { print \"domain\", $1 }'; \
    xenstore-list /local/domain | grep -vx 0 | sed 's,^,/local/domain/,'; \
    xenstore-list /vm 2>/dev/null | grep -vx 00000000-0000-0000-0000-000000000000 | sed 's,^,/vm/,'; \
    for k in vbd vif; do xenstore-list /local/domain/0/backend/$k 2>/dev/null | sed \"s,^,$k backend of domain ,\"; done; \
    ls /sys/class/net/br0/brif | grep ^vif | sed 's,^,bridge port ,'; \
    for l in /sys/block/loop*/loop/backing_file; do [ -e $l ] && sed 's,^,loop device on ,' $l; done; true";

/// A host, as the lab describes it.
#[derive(Clone, Debug, Deserialize)]
pub struct LabHost {
    /// `xen1`, `xen2`, …; also the agent's name.
    pub name: String,
    /// The agent's address as seen from here.
    pub agent: String,
    ssh_port: u16,
    ssh_key: PathBuf,
    serial_log: PathBuf,
    qemu_pid: u32,
    /// Which xenstore daemon runs: `c` or `ocaml`.
    pub xenstored: String,
    /// What stands between other hosts' agents and this one's, if anything does.
    #[serde(skip)]
    relay: Option<String>,
}

#[derive(Deserialize)]
struct HostsFile {
    hosts: Vec<LabHost>,
}

impl LabHost {
    /// All hosts of a hosts file.
    ///
    /// # Errors
    /// The file is missing or not the lab's.
    pub fn load(path: &Path) -> Result<Vec<Self>> {
        let text = std::fs::read_to_string(path).with_context(|| {
            format!("read {}; start hosts with `cargo xtask xenlab up 2`", path.display())
        })?;
        let file: HostsFile = serde_json::from_str(&text)
            .with_context(|| format!("{} is not a hosts file", path.display()))?;
        Ok(file.hosts)
    }

    /// The host as others see it when VMs move to it by way of this address.
    #[must_use]
    pub fn behind(self, relay: &str) -> Self {
        Self { relay: Some(relay.to_owned()), ..self }
    }

    #[allow(clippy::disallowed_methods, reason = "a test drives real programs")]
    fn command(&self, command: &str) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(["-q", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
            .args(["-o", "ConnectTimeout=20", "-o", "ServerAliveInterval=15"])
            .arg("-i")
            .arg(&self.ssh_key)
            .args(["-p", &self.ssh_port.to_string(), "root@127.0.0.1"])
            .arg(format!(
                "export PATH=/usr/lib/xen-4.17/bin:/usr/sbin:/usr/bin:/sbin:/bin; {command}"
            ));
        ssh
    }

    /// Runs a command in dom0; its standard output.
    ///
    /// # Errors
    /// It ended with a bad status.
    pub fn ssh(&self, command: &str) -> Result<String> {
        let output = self.command(command).stdin(Stdio::null()).output().context("start ssh")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            bail!("{}: `{command}` ended with {}: {text}{stderr}", self.name, output.status);
        }
        Ok(text)
    }

    /// Reads a saved guest's file in dom0 with Xen's own checker of streams, here.
    ///
    /// # Errors
    /// It is not as Xen writes it; what the checker says.
    #[allow(clippy::disallowed_methods, reason = "a peer from outside, in a test only")]
    pub fn verify_stream(&self, path: &str) -> Result<()> {
        let copy = tempfile::NamedTempFile::new()?;
        let cat = self.command(&format!("cat {path}")).stdout(copy.reopen()?).status()?;
        ensure!(cat.success(), "{}: cat {path} ended with {cat}", self.name);
        let xen = self.ssh_key.with_file_name("sysroot").join("usr/lib/xen-4.17");
        // A file: what a pipe gives in parts it takes for cut off.
        let output = Command::new("python3")
            .arg(xen.join("bin/verify-stream-v2"))
            .args(["--format", "xl", "--in"])
            .arg(copy.path())
            .env("PYTHONPATH", xen.join("lib/python"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .output()
            .context("start python3")?;
        let words = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "verify-stream-v2 refuses {path}: {words}");
        Ok(())
    }

    /// Asks a guest's `echo` without end, from this dom0.
    ///
    /// # Errors
    /// ssh could not be started.
    pub fn peer_of(&self, address: &str) -> Result<Peer> {
        Peer::start(self.command(&format!("/opt/vmm/lab-echo {address}:{ECHO_PORT}")))
    }

    /// Writes a file in dom0.
    ///
    /// # Errors
    /// ssh failed.
    pub fn upload(&self, path: &str, contents: &[u8]) -> Result<()> {
        let mut child = self
            .command(&format!("umask 077; mkdir -p $(dirname {path}); cat > {path}"))
            .stdin(Stdio::piped())
            .spawn()
            .context("start ssh")?;
        child.stdin.take().context("ssh has no stdin")?.write_all(contents)?;
        if !child.wait()?.success() {
            bail!("{}: cannot write {path}", self.name);
        }
        Ok(())
    }

    /// What Xen and dom0 wrote to the serial line.
    #[must_use]
    pub fn serial_log(&self) -> String {
        std::fs::read(&self.serial_log)
            .map_or_else(|_| String::new(), |b| String::from_utf8_lossy(&b).into_owned())
    }

    /// Ends the emulator of this host at once, as a cut of its power would. Nothing starts it again.
    ///
    /// # Errors
    /// The process that the lab has recorded is not this host's emulator any more.
    #[allow(clippy::disallowed_methods, reason = "a test drives real programs")]
    pub fn cut_power(&self) -> Result<()> {
        let line = std::fs::read(format!("/proc/{}/cmdline", self.qemu_pid)).unwrap_or_default();
        let serial = self.serial_log.display().to_string();
        let is_ours = String::from_utf8_lossy(&line).contains(&serial);
        ensure!(is_ours, "process {} is not the emulator of {}", self.qemu_pid, self.name);
        let killed = Command::new("kill").args(["-KILL", &self.qemu_pid.to_string()]).status()?;
        ensure!(killed.success(), "the emulator of {} was not killed: {killed}", self.name);
        Ok(())
    }

    /// How many guests the emulated processor has broken so far.
    #[must_use]
    pub fn triple_faults(&self) -> usize {
        self.serial_log().matches("riple fault").count()
    }

    /// Copies credentials and configuration over and starts the agent.
    ///
    /// # Errors
    /// It did not start, or does not listen.
    pub fn install_agent(&self, bundle: &Path) -> Result<()> {
        self.upload_folder(bundle, &format!("{AGENT_DIR}/credentials"))?;
        self.configure_agent("")
    }

    /// Joins the pool with the words that the manager's `invite` printed, to be called at `address`, and starts the agent.
    ///
    /// # Errors
    /// The manager did not admit it, or the agent did not start.
    pub fn join(&self, words: &[String], address: &str) -> Result<()> {
        self.write_config("")?;
        // Of another pool, when the host was left up.
        self.ssh(&format!("rm -rf {AGENT_DIR}/credentials"))?;
        let words = words.join(" ");
        self.ssh(&format!(
            "NO_COLOR=1 /opt/vmm/vmm-agent --config {AGENT_DIR}/agent.toml {words} --address {address}"
        ))?;
        self.start_anew()
    }

    /// Copies the files of a folder over.
    ///
    /// # Errors
    /// ssh failed.
    pub fn upload_folder(&self, from: &Path, to: &str) -> Result<()> {
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            self.upload(&format!("{to}/{name}"), &std::fs::read(entry.path())?)?;
        }
        Ok(())
    }

    /// Starts the agent anew, with more in its configuration than all agents of the lab have.
    ///
    /// # Errors
    /// It did not start, or does not listen.
    pub fn configure_agent(&self, more: &str) -> Result<()> {
        self.write_config(more)?;
        self.start_anew()
    }

    fn write_config(&self, more: &str) -> Result<()> {
        let config = format!(
            "name = \"{}\"\nlisten = \"0.0.0.0:7443\"\ncredentials = \"{AGENT_DIR}/credentials\"\n\
             state = \"/var/lib/vmm\"\ndisk_bytes_per_s = 100000000\n\
             disk_requests_per_s = 1000\nnetwork_bytes_per_s = 125000000\nkernel_cache_mib = {KERNEL_CACHE_MIB}\n\
             migration_address = \"{}\"\nmigration_streams = {STREAMS}\n{more}\n[[shared_stores]]\nname = \"san\"\npath = \"/san\"\n",
            self.name,
            self.agent_in_dom0()
        );
        self.upload(&format!("{AGENT_DIR}/agent.toml"), config.as_bytes())
    }

    /// The agent's address as a dom0 of the lab sees it: the machine that emulates both is 10.0.2.2 there.
    fn agent_in_dom0(&self) -> String {
        self.relay.as_ref().unwrap_or(&self.agent).replace("127.0.0.1", "10.0.2.2")
    }

    fn start_anew(&self) -> Result<()> {
        // Hosts that are left up between runs have the agent of the last one, for another pool.
        self.ssh(
            "[ ! -e /run/vmm-agent.pid ] || kill -9 $(cat /run/vmm-agent.pid) 2>/dev/null; true",
        )?;
        self.start_agent()
    }

    /// Starts the agent that is installed.
    ///
    /// # Errors
    /// It does not listen in time.
    pub fn start_agent(&self) -> Result<()> {
        // By its path: busybox would take its own applet, which knows no bounding set.
        let rights = rights(UNIT)?;
        self.ssh(&format!(
            "NO_COLOR=1 RUST_LOG=info setsid /usr/bin/setpriv {rights} /opt/vmm/vmm-agent --config {AGENT_DIR}/agent.toml >>/var/log/vmm-agent.log 2>&1 </dev/null & \
             echo $! > /run/vmm-agent.pid"
        ))?;
        // 7443 in hexadecimal.
        eventually("the agent listens", || {
            Ok(self.ssh("cat /proc/net/tcp /proc/net/tcp6")?.contains(":1D13 "))
        })
        .with_context(|| self.agent_log())
    }

    /// Ends the agent at once, as a crash would.
    ///
    /// # Errors
    /// ssh failed.
    pub fn kill_agent(&self) -> Result<()> {
        self.ssh("kill -9 $(cat /run/vmm-agent.pid)").map(drop)
    }

    /// The end of the agent's log.
    #[must_use]
    pub fn agent_log(&self) -> String {
        self.ssh("tail -n 8 /var/log/vmm-agent.log").unwrap_or_default()
    }

    /// Rows of `xl list` but dom0's: name, domid, memory in MiB, vCPUs, state, seconds of CPU time.
    ///
    /// # Errors
    /// xl failed.
    pub fn xl_list(&self) -> Result<Vec<XlRow>> {
        Ok(self
            .ssh("xl list")?
            .lines()
            .skip(1)
            .filter_map(XlRow::parse)
            .filter(|row| row.domid != 0)
            .collect())
    }

    /// What is left of guests: domains, xenstore trees, loop devices, bridge ports.
    ///
    /// # Errors
    /// A command failed.
    pub fn leftovers(&self) -> Result<Vec<String>> {
        // One command: each costs a second of the emulated dom0.
        Ok(self.ssh(LEFTOVERS)?.lines().map(str::to_owned).collect())
    }

    /// Physical CPUs that Xen has.
    ///
    /// # Errors
    /// xl failed.
    pub fn cpus(&self) -> Result<u32> {
        let info = self.ssh("xl info")?;
        let count = info.lines().find_map(|line| line.strip_prefix("nr_cpus")?.split(':').nth(1));
        count.context("xl info names no CPUs")?.trim().parse().context("nr_cpus")
    }

    /// Loop devices on this image, and backends and bridge ports of domains that are not there, a line each.
    ///
    /// # Errors
    /// ssh failed.
    pub fn orphans(&self, image: &str) -> Result<String> {
        self.ssh(&format!(
            "grep -l {image} /sys/block/loop*/loop/backing_file 2>/dev/null; \
             for k in vbd vif; do for d in $(xenstore-list /local/domain/0/backend/$k 2>/dev/null); do \
             xenstore-exists /local/domain/$d || echo backend $k of domain $d; done; done; \
             for p in /sys/class/net/br0/brif/vif*; do [ -e $p ] || continue; d=${{p##*/vif}}; d=${{d%.*}}; \
             xenstore-exists /local/domain/$d || echo bridge port $p; done; true"
        ))
    }
}

/// The agent's rights as its unit declares them, for setpriv: what is not in the set is given up before the agent starts.
fn rights(unit: &str) -> Result<String> {
    let line =
        |name: &str| unit.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let set = line("CapabilityBoundingSet").context("the agent's unit declares no capabilities")?;
    let kept: String = set
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("CAP_"))
        .map(|name| format!(",+{}", name.to_lowercase()))
        .collect();
    let no_new = if line("NoNewPrivileges") == Some("yes") { " --no-new-privs" } else { "" };
    Ok(format!("--bounding-set=-all{kept} --inh-caps=-all{no_new}"))
}

/// One row of `xl list`.
#[derive(Clone, Debug)]
pub struct XlRow {
    /// The VM's name.
    pub name: String,
    /// Its number now.
    pub domid: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// vCPUs online.
    pub vcpus: u32,
    /// A letter for each state it is in: `r`unning, `b`locked, `p`aused, `s`hut down or suspended, `c`rashed, `d`ying.
    pub state: String,
    /// CPU time.
    pub cpu_time_s: f64,
}

impl XlRow {
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [name, domid, memory, vcpus, state, .., time] = fields[..] else { return None };
        Some(Self {
            name: name.to_owned(),
            domid: domid.parse().ok()?,
            memory_mib: memory.parse().ok()?,
            vcpus: vcpus.parse().ok()?,
            state: state.to_owned(),
            cpu_time_s: time.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_gets_what_its_unit_declares_and_no_more() {
        for (unit, expect) in [
            (
                "CapabilityBoundingSet=CAP_NET_ADMIN CAP_SYS_ADMIN\n",
                "--bounding-set=-all,+net_admin,+sys_admin --inh-caps=-all",
            ),
            (
                "CapabilityBoundingSet=\nNoNewPrivileges=yes",
                "--bounding-set=-all --inh-caps=-all --no-new-privs",
            ),
        ] {
            assert_eq!(rights(unit).unwrap(), expect);
        }
        assert!(rights("[Service]").is_err());
        assert!(rights(UNIT).unwrap().contains("net_admin"));
    }
}
