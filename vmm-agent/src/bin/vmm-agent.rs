//! The agent of a Xen host. Runs in dom0, as root; and as a worker of itself, with fewer rights.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use vmm_agent::dom0::linux::LinuxDom0;
use vmm_agent::join::Join;
use vmm_agent::worker::{self, Program, WorkerImage, Workers};
use vmm_agent::{AgentConfig, Backend};

/// The agent of one Xen host: builds, grows, watches and ends VMs as the manager says.
///
/// Runs in dom0 as root, beside xenstored and xenconsoled, with the kernel modules xen-blkback and loop. It touches no domain
/// that it did not make, so xl and its domains can live beside it. When it stops, guests run on; when it starts again, it adopts
/// them.
#[derive(Parser)]
#[command(
    version,
    after_help = "The file, with what is used when a line is missing:
  name = \"host-1\"                       # required: as in the agent's certificate
  credentials = \"/etc/smps-vmm/agent\"   # required: ca.pem cert.pem key.pem inner.key
  state = \"/var/lib/smps-vmm/agent\"     # required: host id and journal, made when missing
  listen = \"127.0.0.1:8443\"
  disk_bytes_per_s = 200000000           # what the disks sustain; the scheduler shares it out
  # disk_requests_per_s = 20000          # likewise; not counted when it is not said
  # network_bytes_per_s = 125000000      # what its network carries, both ways; not counted when it is not said
  memory_reserve_mib = 64                # kept free for dom0 and Xen
  dom0_weight = 1024                     # dom0's share of contended processors, a guest's being 256; what somebody has set stays
  kernel_cache_mib = 512                 # unpacked kernels kept on disk; 0: none
  kernel_unpackings = 1                  # at once; each takes dom0 some 100 MB of memory
  workers_max = 4                        # guests loaded, saved or restored at once
  shells = 0                             # guests built ahead, of each flavour that is built again and again
  shell_ttl_s = 600                      # they go when nobody asks for their flavour for so long

Log: standard error; RUST_LOG=vmm_agent=debug shows every step of a start."
)]
struct Args {
    /// The configuration file.
    #[arg(long, default_value = "/etc/smps-vmm/agent.toml")]
    config: PathBuf,
    /// Read the configuration, reach the hypervisor, say what it is, and end.
    #[arg(long)]
    check: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Get credentials for this host, and take it into the pool: as `vmm-manager invite host NAME` prints it.
    Join(Join),
}

fn main() -> anyhow::Result<ExitCode> {
    if worker::is_worker() {
        return Ok(worker::serve(xen_bindings::libxc::open_loader));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(agent());
    // A step that still blocks ends with the process, as it does when the agent is killed.
    runtime.shutdown_background();
    outcome.map(|()| ExitCode::SUCCESS)
}

async fn agent() -> anyhow::Result<()> {
    let args = Args::parse();
    vmm_agent::run::start_log();
    if let Some(Command::Join(join)) = args.command {
        return vmm_agent::join::join(join, &args.config).await;
    }
    let config = AgentConfig::load(&args.config)?;
    let mut xen = xen_bindings::libxc::open()
        .context("cannot reach the hypervisor: run as root in dom0, with xenstored running")?;
    if args.check {
        let version = xen.host.version()?;
        println!("Xen {}.{}{}", version.major, version.minor, version.extra);
        println!("{:#?}", xen.host.physinfo()?);
        return Ok(());
    }
    let dom0 = Arc::new(LinuxDom0::default());
    let workers = Workers::start(Program::this(), config.workers_max)
        .context("cannot start the thread that keeps worker processes")?;
    xen.image = Arc::new(WorkerImage::new(workers.clone(), xen.control.clone()));
    let unpack = Arc::new(workers);
    vmm_agent::run::run(config, Backend { xen, dom0, unpack, name: "libxc" }).await
}
