//! The agent on a simulated host: the same agent, over a model of Xen in this process. Reports call their backend `simulator`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use clap::Parser;
use tokio_util::sync::CancellationToken;
use vmm_agent::config::{LISTEN_DEFAULT, RawConfig};
use xen_bindings::sim::{SimConfig, SimMachine};

/// The agent of a simulated Xen host, for trying the suite without Xen.
///
/// It speaks the real protocol and runs the real agent, but its hypervisor, guests and devices are a model in this process: no VM
/// runs, no device is touched, and everything is gone when it ends. Kernels and disk images must exist as files; a kernel is a
/// bzImage, an ELF file, or any file that begins with SIMKERNEL.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example, with credentials that the pool's authority issued for agent h1:
  vmm-agent-sim --name h1 --credentials ./h1 --state ./h1-state --listen 127.0.0.1:8443"
)]
struct Args {
    /// The host's name, as in the agent's certificate.
    #[arg(long)]
    name: String,
    /// Address and port to listen at; port 0 takes a free one and prints it.
    #[arg(long, default_value = LISTEN_DEFAULT)]
    listen: SocketAddr,
    /// Directory with ca.pem, cert.pem, key.pem and inner.key.
    #[arg(long)]
    credentials: PathBuf,
    /// Directory for the host's id and the journal; made when missing.
    #[arg(long)]
    state: PathBuf,
    /// Physical CPUs of the simulated machine.
    #[arg(long, default_value_t = 4)]
    pcpus: u32,
    /// Memory of the simulated machine, of which its dom0 takes an eighth.
    #[arg(long, default_value_t = 8192)]
    memory_mib: u64,
    /// What its disks sustain, in bytes per second.
    #[arg(long, default_value_t = 200_000_000)]
    disk_bytes_per_s: u64,
    /// Requests a second that they serve; not counted when it is not said.
    #[arg(long)]
    disk_requests_per_s: Option<u64>,
    /// What its network carries, in bytes per second; not counted when it is not said.
    #[arg(long)]
    network_bytes_per_s: Option<u64>,
    /// Guests built ahead, of each flavour that is built again and again.
    #[arg(long, default_value_t = 0)]
    shells: u32,
    /// Connections that a VM leaves over at once, 1 to 8.
    #[arg(long, default_value_t = 2)]
    migration_streams: u8,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    vmm_agent::run::start_log();
    let config = RawConfig {
        name: args.name,
        listen: args.listen.to_string(),
        credentials: args.credentials,
        state: args.state,
        disk_bytes_per_s: args.disk_bytes_per_s,
        disk_requests_per_s: args.disk_requests_per_s,
        network_bytes_per_s: args.network_bytes_per_s,
        memory_reserve_mib: 0,
        dom0_weight: 1024,
        kernel_cache_mib: 512,
        kernel_unpackings: 1,
        workers_max: 4,
        shells: args.shells,
        shell_ttl_s: 600,
        migration_address: None,
        migration_streams: args.migration_streams,
        shared_stores: Vec::new(),
    }
    .validated()?;
    let started = Instant::now();
    let machine = SimMachine::new(
        SimConfig {
            pcpus: args.pcpus,
            memory_total_kib: args.memory_mib << 10,
            dom0_memory_kib: (args.memory_mib << 10) / 8,
            ..SimConfig::default()
        },
        Arc::new(move || started.elapsed()),
    );
    tracing::warn!("the simulator stands in for Xen: no VM really runs here");
    let stop = CancellationToken::new();
    tokio::spawn(vmm_agent::sim::drive(machine.clone(), stop.clone()));
    let outcome = vmm_agent::run::run(config, vmm_agent::sim::backend(&machine)).await;
    stop.cancel();
    outcome
}
