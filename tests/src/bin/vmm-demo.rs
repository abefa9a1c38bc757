//! A pool to try out: a manager and three simulated hosts in one process, reachable over TCP on loopback.
//!
//! The hosts are simulated and say so (`backend: simulator`); manager, agents, protocol and command line are the product's own.
//! `--check` runs a short tour through the command line and exits.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use vmm_agent::{Blocking, Env, Peers};
use vmm_e2e::pool::SimHost;
use vmm_manager::enrolment::{Enrolment, Invitations};
use vmm_manager::{MANAGER_ID, Manager, ManagerConfig, StoreLocation};
use vmm_proto::client::{Connector, TcpConnector};
use vmm_proto::clock::{SystemClock, WallClock};
use vmm_proto::credentials::CertificateAuthority;
use vmm_proto::enrolment::JoinToken;
use vmm_proto::principal::Principal;
use vmm_proto::server::{Server, ServerOptions, TcpListenerAdapter};
use xen_bindings::sim::{SimConfig, SimMachine};

/// Where the manager listens, so that the printed commands are the same each time.
const MANAGER_ADDRESS: &str = "127.0.0.1:7400";
const HOST_COUNT: u64 = 3;

/// A manager with three simulated hosts.
#[derive(Parser)]
struct Arguments {
    /// Run a short tour and exit.
    #[arg(long)]
    check: bool,
    /// Run this program on the pool and exit as it does. It finds XVMP_MANAGER, XVMP_CREDENTIALS and XVMP_TOKEN in its environment.
    #[arg(long, num_args = 1.., value_name = "PROGRAM", allow_hyphen_values = true, conflicts_with = "check")]
    run: Vec<String>,
}

/// A pool that runs until it is dropped.
struct Demo {
    directory: PathBuf,
    manager: String,
    vmmctl: PathBuf,
    _hosts: Vec<SimHost>,
    stop: CancellationToken,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let files = tempfile::tempdir()?;
    // A tour must not be in the way of a demo that somebody has open.
    let is_private = arguments.check || !arguments.run.is_empty();
    let listen = if is_private { "127.0.0.1:0" } else { MANAGER_ADDRESS };
    let demo = Demo::start(files.path(), listen).await?;
    if !arguments.run.is_empty() {
        return demo.run(arguments.run).await;
    }
    demo.deploy().await?;
    if arguments.check {
        demo.tour().await?;
        println!("demo: the tour is done");
    } else {
        demo.invite();
        tokio::signal::ctrl_c().await?;
        println!("\nthe pool is gone; nothing is left of it");
    }
    demo.stop.cancel();
    Ok(ExitCode::SUCCESS)
}

/// A token for a user who may do everything.
fn invite(
    authority: &CertificateAuthority,
    invitations: PathBuf,
    name: &str,
    clock: &dyn WallClock,
) -> Result<JoinToken> {
    let token = JoinToken::generate(authority.certificate())?;
    let expires = clock.now() + Duration::from_secs(600);
    Invitations::of(invitations).add(&token, &Principal::admin(name), expires)?;
    Ok(token)
}

fn random_bytes() -> Arc<dyn Fn() -> [u8; 16] + Send + Sync> {
    Arc::new(|| {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the system has randomness");
        bytes
    })
}

impl Demo {
    async fn start(directory: &Path, listen: &str) -> Result<Self> {
        let clock: Arc<dyn WallClock> = Arc::new(SystemClock);
        let authority = CertificateAuthority::create(clock.now())?;
        authority.save(&directory.join("authority"))?;
        std::fs::write(directory.join("kernel"), "SIMKERNEL")?;
        std::fs::write(directory.join("disk.img"), [0; 512])?;
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("listen at {listen}; is another demo running?"))?;
        let manager = listener.local_addr()?.to_string();
        let own = std::env::current_exe()?;
        let vmmctl = own.with_file_name("vmmctl");
        ensure!(vmmctl.exists(), "{} is missing; `cargo build -p vmmctl`", vmmctl.display());
        let mut demo = Self {
            directory: directory.to_owned(),
            manager,
            vmmctl,
            _hosts: Vec::new(),
            stop: CancellationToken::new(),
        };
        let credentials = Arc::new(authority.issue(&Principal::manager(MANAGER_ID), clock.now())?);
        let env = vmm_manager::Env {
            random: random_bytes(),
            clock: Arc::clone(&clock),
            dial: Arc::new(|address| Arc::new(TcpConnector::new(address)) as Arc<dyn Connector>),
        };
        let store = StoreLocation::File(directory.join("store.redb"));
        let invitations = directory.join("invitations");
        let enrolment = Enrolment::new(
            CertificateAuthority::load(&directory.join("authority"))?,
            Some(Invitations::of(invitations.clone())),
        );
        let own = Arc::clone(&credentials);
        let manager =
            Manager::open(ManagerConfig::default(), store, own, Some(enrolment), env).await?;
        let mut options = ServerOptions::new(Arc::clone(&clock));
        options.registrar = Some(manager.clone());
        let server = Server::new(credentials, manager.clone(), options);
        tokio::spawn(server.serve(TcpListenerAdapter(listener), demo.stop.clone()));
        tokio::spawn(manager.run(demo.stop.clone()));
        // Whoever uses the pool has joined it, as everybody does.
        let token = invite(&authority, invitations, "operator", clock.as_ref())?;
        demo.vmmctl(&["join", "--token", &token.to_string()]).await?;
        for n in 1..=HOST_COUNT {
            let host = demo.start_host(n, &authority, Arc::clone(&clock)).await?;
            demo._hosts.push(host);
        }
        Ok(demo)
    }

    async fn start_host(
        &self,
        n: u64,
        authority: &CertificateAuthority,
        clock: Arc<dyn WallClock>,
    ) -> Result<SimHost> {
        let name = format!("host{n}");
        let start = tokio::time::Instant::now();
        let machine = SimMachine::new(
            SimConfig { seed: n, ..SimConfig::default() },
            Arc::new(move || start.elapsed()),
        );
        let credentials = Arc::new(authority.issue(&Principal::agent(name.clone()), clock.now())?);
        let state = self.directory.join(&name);
        let peers = Some(Peers::tcp(credentials.clone().into()));
        let env = Env { blocking: Blocking::Inline, random: random_bytes(), peers };
        let mut host = SimHost::new(&name, machine, state, credentials, env)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        host.start_agent(TcpListenerAdapter(listener), clock).await?;
        self.vmmctl(&["host", "add", &name, &address]).await?;
        Ok(host)
    }

    /// Runs somebody's program on the pool.
    async fn run(&self, words: Vec<String>) -> Result<ExitCode> {
        let authority = CertificateAuthority::load(&self.directory.join("authority"))?;
        let token = invite(&authority, self.directory.join("invitations"), "guest", &SystemClock)?;
        let (manager, credentials) = (self.manager.clone(), self.directory.join("operator"));
        #[allow(clippy::disallowed_methods, reason = "whoever starts the demo wants it")]
        let status = tokio::task::spawn_blocking(move || {
            let (program, arguments) = words.split_first().context("name a program")?;
            let mut command = Command::new(program);
            command.args(arguments).env("XVMP_MANAGER", manager);
            command.env("XVMP_CREDENTIALS", credentials).env("XVMP_TOKEN", token.to_string());
            command.status().with_context(|| format!("starting {program}"))
        })
        .await??;
        self.stop.cancel();
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
    }

    /// Runs the real command line; what it printed.
    async fn vmmctl(&self, arguments: &[&str]) -> Result<String> {
        let (program, manager, credentials) =
            (self.vmmctl.clone(), self.manager.clone(), self.directory.join("operator"));
        let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        let shown = arguments.join(" ");
        #[allow(clippy::disallowed_methods, reason = "the tour drives the real program")]
        let output = tokio::task::spawn_blocking(move || {
            Command::new(program)
                .args(["--manager", &manager, "--credentials"])
                .arg(credentials)
                .args(arguments)
                .output()
        })
        .await??;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success(),
            "vmmctl {shown}: {}{text}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(text)
    }

    fn file(&self, name: &str) -> String {
        self.directory.join(name).to_string_lossy().into_owned()
    }

    async fn deploy(&self) -> Result<()> {
        // The first long poll of each host.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (kernel, disk) = (self.file("kernel"), self.file("disk.img"));
        for (name, demand) in [
            ("web-1", ["--cpu-demand", "1.5"]),
            ("web-2", ["--cpu-demand", "1.5"]),
            ("db-1", ["--disk-demand", "60M"]),
        ] {
            let mut create = vec![
                "vm",
                "create",
                name,
                "--kernel",
                &kernel,
                "--memory",
                "512M",
                "--vcpus-max",
                "4",
            ];
            create.extend(demand);
            create.extend(["--cmdline", "workload=burn:1"]);
            if name == "db-1" {
                create.extend(["--disk", &disk]);
            }
            self.vmmctl(&create).await?;
        }
        Ok(())
    }

    fn invite(&self) {
        let ctl = format!(
            "{} --manager {} --credentials {}",
            self.vmmctl.display(),
            self.manager,
            self.directory.join("operator").display()
        );
        println!(
            "A manager and {HOST_COUNT} simulated hosts are running, with three VMs. In another terminal:\n"
        );
        println!("  alias vmmctl='{ctl}'");
        println!("  vmmctl host list");
        println!("  vmmctl vm list");
        println!(
            "  vmmctl vm create big --kernel {} --memory 1G --cpu-demand 2 --dry-run",
            self.file("kernel")
        );
        println!("  vmmctl vm vcpus web-1 2");
        println!("  vmmctl vm memory web-1 256M");
        println!("  vmmctl vm stats web-1");
        println!("  vmmctl vm --help\n");
        println!("Ctrl-C ends it all.");
    }

    async fn tour(&self) -> Result<()> {
        let hosts = self.vmmctl(&["host", "list"]).await?;
        println!("{hosts}");
        ensure!(hosts.contains("host3"), "a host is missing");
        let kernel = self.file("kernel");
        println!(
            "{}",
            self.vmmctl(&[
                "vm",
                "create",
                "big",
                "--kernel",
                &kernel,
                "--memory",
                "1G",
                "--cpu-demand",
                "2",
                "--dry-run"
            ])
            .await?
        );
        for step in [
            &["vm", "vcpus", "web-1", "2"][..],
            &["vm", "memory", "web-1", "256M"],
            &["vm", "stats", "web-1"],
            &["vm", "console", "web-1"],
            &["vm", "pause", "web-2"],
            &["vm", "unpause", "web-2"],
            &["vm", "shutdown", "web-2"],
            &["vm", "start", "web-2"],
            &["vm", "destroy", "db-1"],
            &["vm", "delete", "db-1"],
            &["vm", "list"],
        ] {
            println!("$ vmmctl {}\n{}", step.join(" "), self.vmmctl(step).await?);
        }
        let vms = self.vmmctl(&["vm", "list"]).await?;
        ensure!(vms.contains("web-1") && !vms.contains("db-1"), "the list is wrong");
        ensure!(
            vms.contains("2/4") && vms.contains("256 MiB"),
            "the list does not show what has grown"
        );
        Ok(())
    }
}
