//! The pool under test: a manager, two real hosts, and what stands between them.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;
use vmm_proto::credentials::Credentials;

use super::{Ctl, Guest, LabHost, ManagerProcess, Proxy, Relay, Wire, eventually};

/// Where the lab puts the guests' files in each dom0.
pub(in crate::lab) const KERNEL: &str = "/g/vmlinux";
/// The guests' initramfs.
pub(in crate::lab) const INITRAMFS: &str = "/g/guest.cpio.gz";

/// A guest that the emulated processor breaks while it boots is created again, so often at most.
const CREATE_TRIES: u32 = 4;

/// Everything that a case needs.
pub struct LabPool {
    /// The command line of a user.
    pub ctl: Ctl,
    /// The manager.
    pub manager: ManagerProcess,
    /// Both hosts.
    pub hosts: Vec<LabHost>,
    /// Between the manager and the first host: records what is on the wire.
    pub proxy: Proxy,
    /// Between the manager and the second host: holds the TLS keys of both ends.
    pub wire: Wire,
    /// Between the user and the manager.
    pub front: Proxy,
    /// Before each host, on the way that VMs move.
    pub links: Vec<Relay>,
    /// As much as takes long, too.
    pub is_full: bool,
    /// Guests that the emulated processor broke and that were started again.
    pub retried: usize,
    /// Credentials and logs.
    pub directory: TempDir,
}

impl LabPool {
    /// Makes a pool, installs the agents and joins the hosts.
    ///
    /// # Errors
    /// Any of it failed.
    pub fn start(hosts: Vec<LabHost>, programs: &Path) -> Result<Self> {
        ensure!(hosts.len() >= 2, "the suite needs two hosts; `cargo xtask xenlab up 2`");
        let directory = tempfile::tempdir()?;
        let home = directory.path().join("manager");
        let mut manager = ManagerProcess::init(programs.join("vmm-manager"), &home)?;
        manager.start()?;
        // The first host and the user join by tokens; the second host gets a bundle that was made for it.
        let front = Proxy::start(manager.address())?;
        let user = directory.path().join("user");
        let ctl = Ctl::new(programs.join("vmmctl"), front.address().to_owned(), &user);
        let join = manager.invite(&["user", "operator", "--role", "admin"], manager.address())?;
        ctl.text(&join.iter().map(String::as_str).collect::<Vec<_>>())?;
        let links: Vec<_> =
            hosts.iter().map(|host| Relay::start(&host.agent, None)).collect::<Result<_>>()?;
        let hosts: Vec<_> =
            hosts.into_iter().zip(&links).map(|(host, link)| host.behind(link.address())).collect();
        let proxy = Proxy::start(&hosts[0].agent)?;
        let join = manager.invite(&["host", &hosts[0].name], &manager.address_in_dom0())?;
        hosts[0].join(&join, proxy.address()).with_context(|| hosts[0].agent_log())?;
        let bundle = manager.issue("agent", &hosts[1].name)?;
        hosts[1].install_agent(&bundle).with_context(|| hosts[1].agent_log())?;
        // A user's key would do for TLS, but the inner layer would notice: he has the manager's.
        let own = manager.credentials()?;
        let wire = Wire::start(&hosts[1].agent, own, Credentials::load(&bundle)?)?;
        ctl.text(&["host", "add", &hosts[1].name, wire.address()])?;
        let is_full = false;
        Ok(Self { ctl, manager, hosts, proxy, wire, front, links, is_full, retried: 0, directory })
    }

    /// Creates a VM and waits until its guest speaks.
    ///
    /// # Errors
    /// It was refused, or the guest never spoke.
    pub fn create(&mut self, name: &str, workload: &str, more: &[&str]) -> Result<()> {
        for tries_left in (0..CREATE_TRIES).rev() {
            let faults = self.triple_faults();
            let error = match self.try_create(name, workload, more) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if tries_left == 0 || self.triple_faults() == faults {
                return Err(error.context(self.words()));
            }
            eprintln!("the emulated processor broke {name}; once more");
            self.retried += 1;
            let _ = self.ctl.run(&["vm", "destroy", name])?;
            let _ = self.ctl.run(&["vm", "delete", name])?;
        }
        bail!("no try left")
    }

    fn try_create(&self, name: &str, workload: &str, more: &[&str]) -> Result<()> {
        let mut arguments = create_arguments(name, workload);
        arguments.extend(more.iter().map(|word| (*word).to_owned()));
        self.ctl.text(&arguments.iter().map(String::as_str).collect::<Vec<_>>())?;
        Guest::until(&self.ctl, name, "the guest speaks", |guest| guest.number("cpus_online") > 0)
            .map(drop)
    }

    /// The names of all VMs.
    ///
    /// # Errors
    /// The manager does not answer.
    pub fn names(&self) -> Result<BTreeSet<String>> {
        let vms = self.ctl.json(&["vm", "list"])?;
        let names = vms.as_array().into_iter().flatten().map(|vm| vm["spec"]["name"].as_str());
        Ok(names.flatten().map(str::to_owned).collect())
    }

    /// After the emulated processor broke a guest: removes the VMs that a case has made, starts what crashed again, and waits for
    /// what the agent starts again by itself, so that the case can be tried once more. `before` are the VMs that there were.
    ///
    /// # Errors
    /// It does not start.
    pub fn recover(&mut self, before: &BTreeSet<String>) -> Result<()> {
        self.retried += 1;
        let vms = self.ctl.json(&["vm", "list"])?;
        for vm in vms.as_array().into_iter().flatten() {
            let name = vm["spec"]["name"].as_str().unwrap_or_default();
            match vm["phase"].as_str().unwrap_or_default() {
                _ if !before.contains(name) => self.remove(name)?,
                "Crashed" | "PoweredOff" | "Failed" => {
                    self.ctl.text(&["vm", "start", name])?;
                    self.until_it_speaks(name)?;
                }
                "Paused" => {
                    self.ctl.text(&["vm", "unpause", name])?;
                    self.until_it_speaks(name)?;
                }
                "Running" | "Rebooting" | "Starting" => {
                    self.until_phase(name, "Running")?;
                    self.until_it_speaks(name)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes the VMs that a case which failed has made.
    ///
    /// # Errors
    /// One stays.
    pub fn tidy(&self, before: &BTreeSet<String>) -> Result<()> {
        for name in self.names()?.difference(before) {
            // Of one that is saved only.
            let _ = self.ctl.run(&["vm", "discard", name])?;
            self.remove(name)?;
        }
        Ok(())
    }

    /// Something that it has not said yet: what stands on the console may be of an earlier boot.
    fn until_it_speaks(&self, name: &str) -> Result<()> {
        let said = |guest: &Guest| (guest.word("boot").to_owned(), guest.number("t"));
        let before = Guest::look(&self.ctl, name)?.as_ref().map(said);
        Guest::until(&self.ctl, name, "the guest speaks", |guest| {
            guest.number("cpus_online") > 0 && Some(said(guest)) != before
        })
        .map(drop)
    }

    /// How many guests the emulated processor has broken so far.
    #[must_use]
    pub fn triple_faults(&self) -> usize {
        self.hosts.iter().map(LabHost::triple_faults).sum()
    }

    /// A VM as the manager has it.
    ///
    /// # Errors
    /// There is none.
    pub fn vm(&self, name: &str) -> Result<Value> {
        self.ctl.json(&["vm", "show", name])
    }

    /// Waits until a VM is in a phase.
    ///
    /// # Errors
    /// It never was.
    pub fn until_phase(&self, name: &str, phase: &str) -> Result<()> {
        let mut seen = Value::Null;
        eventually(&format!("{name} is {phase}"), || {
            seen = self.vm(name)?["phase"].clone();
            Ok(seen == phase)
        })
        .with_context(|| format!("it is {seen}"))
    }

    /// Waits until the manager hears every host.
    ///
    /// # Errors
    /// One stays silent.
    pub fn until_all_are_heard(&self) -> Result<()> {
        eventually("every host is heard", || {
            let hosts = self.ctl.json(&["host", "list"])?;
            let hosts = hosts.as_array().cloned().unwrap_or_default();
            let all = hosts.len() == self.hosts.len();
            Ok(all && hosts.iter().all(|host| host["health"] == "Up"))
        })
    }

    /// The host that a VM is on.
    ///
    /// # Errors
    /// It is on none.
    pub fn host_of(&self, name: &str) -> Result<&LabHost> {
        let vm = self.vm(name)?;
        let host = vm["host"].as_str().with_context(|| format!("{name} is on no host"))?;
        self.hosts.iter().find(|lab| lab.name == host).with_context(|| format!("no host {host}"))
    }

    /// What `xl` on its host says of a VM.
    ///
    /// # Errors
    /// It does not list it.
    pub fn xl_row(&self, name: &str) -> Result<super::XlRow> {
        let host = self.host_of(name)?;
        let row = host.xl_list()?.into_iter().find(|row| row.name == name);
        row.with_context(|| format!("xl on {} does not list {name}", host.name))
    }

    /// Ends a VM and forgets it.
    ///
    /// # Errors
    /// It was refused.
    pub fn remove(&self, name: &str) -> Result<()> {
        self.ctl.text(&["vm", "destroy", name])?;
        self.ctl.text(&["vm", "delete", name]).map(drop)
    }

    /// What manager and agents logged last, for a failure.
    #[must_use]
    pub fn words(&self) -> String {
        let mut words = format!("manager:\n{}", self.manager.log());
        for host in &self.hosts {
            words += &format!("\nagent on {}:\n{}", host.name, host.agent_log());
        }
        words
    }
}

/// The command that creates a small guest.
#[must_use]
pub fn create_arguments(name: &str, workload: &str) -> Vec<String> {
    let cmdline = format!("console=hvc0 quiet memhp_default_state=online workload={workload}");
    [
        "vm",
        "create",
        name,
        "--kernel",
        KERNEL,
        "--initramfs",
        INITRAMFS,
        "--memory",
        "128M",
        "--cmdline",
        &cmdline,
    ]
    .map(str::to_owned)
    .to_vec()
}
