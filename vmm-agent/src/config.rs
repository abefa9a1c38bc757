//! The agent's configuration: what stands in the file ([`RawConfig`]), and what is left once it was checked ([`AgentConfig`]).
//!
//! ```toml
//! name = "host-1"                        # as in the agent's certificate
//! listen = "0.0.0.0:8443"
//! credentials = "/etc/smps-vmm/agent"    # ca.pem cert.pem key.pem inner.key
//! state = "/var/lib/smps-vmm/agent"      # host id, one file a VM
//! disk_bytes_per_s = 200000000           # what the disks sustain; the scheduler shares it out
//! # disk_requests_per_s = 20000          # likewise; not counted when it is not said
//! # network_bytes_per_s = 125000000      # what its network carries, both ways; not counted when it is not said
//! memory_reserve_mib = 64                # kept free for dom0 and Xen
//! dom0_weight = 1024                     # dom0's share of contended processors, a guest's being 256; what somebody has set stays
//! shells = 0                             # guests built ahead, of each flavour that is built again and again
//! shell_ttl_s = 600                      # they go when nobody asks for their flavour for so long
//! kernel_cache_mib = 512                 # unpacked kernels kept on disk; 0: none
//! kernel_unpackings = 1                  # at once; each takes dom0 some 100 MB of memory
//! workers_max = 4                        # guests loaded, saved or restored at once
//! # migration_address = "10.9.0.1:8443"  # where agents of other hosts reach this one; as the manager does when it is not said
//! # migration_streams = 2                # connections that a VM leaves over at once, 1 to 8; half of dom0's processors when it is not said, at most 4
//!
//! [[shared_stores]]                      # directories whose files other hosts have too, under the same name: VMs whose disks
//! name = "nfs1"                          # are there can move to them
//! path = "/srv/nfs1"
//! ```

use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;
use vmm_core::units::{BytesPerSecond, Kib};
use vmm_proto::principal::Principal;

use crate::domain::shells::ShellLimits;
use crate::kernels::KernelLimits;
use crate::migrate::lanes::LANES_MAX;

/// What disks sustain when nobody said.
const DISK_DEFAULT: u64 = 200_000_000;
/// What is kept free when nobody said.
const RESERVE_MIB_DEFAULT: u64 = 64;
/// Dom0's share of contended processors when nobody said: four guests'. It serves the disks and networks of them all.
const DOM0_WEIGHT_DEFAULT: u16 = 1024;
/// Unpacked kernels that are kept when nobody said: six or seven of a distribution's.
const KERNEL_CACHE_MIB_DEFAULT: u64 = 512;
/// Kernels unpacked at once when nobody said.
const KERNEL_UNPACKINGS_DEFAULT: u32 = 1;
/// Workers at once when nobody said.
const WORKERS_DEFAULT: u32 = 4;
/// How long a flavour keeps its shells when nobody said.
const SHELL_TTL_S_DEFAULT: u64 = 600;
/// Connections of a migration when nobody said, at most: more would take from the guests what a migration does not gain.
const STREAMS_DEFAULT_MAX: usize = 4;
/// Connections of a migration where the machine is not asked: more than one, so that tests have several.
const STREAMS_SIMULATED: u8 = 2;
/// Where the agent listens when nobody said.
pub const LISTEN_DEFAULT: &str = "127.0.0.1:8443";

/// The file, unchecked.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawConfig {
    /// The host's name.
    pub name: String,
    /// `address:port`.
    #[serde(default = "default_listen")]
    pub listen: String,
    /// Directory with `ca.pem`, `cert.pem`, `key.pem` and `inner.key`.
    pub credentials: PathBuf,
    /// Directory that the agent keeps its journal in.
    pub state: PathBuf,
    /// What the disks sustain.
    #[serde(default = "default_disk")]
    pub disk_bytes_per_s: u64,
    /// Requests a second that the disks serve; not counted when missing.
    pub disk_requests_per_s: Option<u64>,
    /// What the network carries, both ways; not counted when missing.
    pub network_bytes_per_s: Option<u64>,
    /// Memory kept free for dom0 and Xen.
    #[serde(default = "default_reserve")]
    pub memory_reserve_mib: u64,
    /// Dom0's weight, where it has the one that it boots with.
    #[serde(default = "default_dom0_weight")]
    pub dom0_weight: u16,
    /// Unpacked kernels kept on disk; 0 keeps none.
    #[serde(default = "default_kernel_cache")]
    pub kernel_cache_mib: u64,
    /// Kernels unpacked at once.
    #[serde(default = "default_kernel_unpackings")]
    pub kernel_unpackings: u32,
    /// Guests loaded, saved or restored at once, each in a process of its own.
    #[serde(default = "default_workers")]
    pub workers_max: u32,
    /// Prepared guests kept of each flavour that is built again and again.
    #[serde(default)]
    pub shells: u32,
    /// How long a flavour keeps them without being asked for.
    #[serde(default = "default_shell_ttl")]
    pub shell_ttl_s: u64,
    /// Where agents of other hosts reach this one.
    pub migration_address: Option<String>,
    /// Connections that a VM leaves over at once.
    #[serde(default = "default_streams")]
    pub migration_streams: u8,
    /// Directories whose files other hosts have too.
    #[serde(default)]
    pub shared_stores: Vec<SharedStore>,
}

/// A directory in which files are the same on every host that has one of this name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedStore {
    /// Which.
    pub name: String,
    /// Where it is on this host.
    pub path: PathBuf,
}

fn default_shell_ttl() -> u64 {
    SHELL_TTL_S_DEFAULT
}

fn default_listen() -> String {
    LISTEN_DEFAULT.to_owned()
}

fn default_disk() -> u64 {
    DISK_DEFAULT
}

fn default_reserve() -> u64 {
    RESERVE_MIB_DEFAULT
}

fn default_dom0_weight() -> u16 {
    DOM0_WEIGHT_DEFAULT
}

fn default_kernel_cache() -> u64 {
    KERNEL_CACHE_MIB_DEFAULT
}

fn default_kernel_unpackings() -> u32 {
    KERNEL_UNPACKINGS_DEFAULT
}

fn default_workers() -> u32 {
    WORKERS_DEFAULT
}

/// Each keeps a processor busy at either end; half of dom0's serve the guests.
fn default_streams() -> u8 {
    streams_of(std::thread::available_parallelism().map_or(1, Into::into))
}

fn streams_of(processors: usize) -> u8 {
    u8::try_from((processors / 2).clamp(1, STREAMS_DEFAULT_MAX)).unwrap_or(1)
}

/// A configuration that can be used.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// The host's name: the id of the agent's principal.
    pub name: String,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Directory of the agent's credentials.
    pub credentials: PathBuf,
    /// Directory of the journal.
    pub state: PathBuf,
    /// What the disks sustain.
    pub disk: BytesPerSecond,
    /// Requests a second that the disks serve; `None`: not counted.
    pub disk_requests_per_s: Option<u64>,
    /// What the network carries, both ways; `None`: not counted.
    pub network: Option<BytesPerSecond>,
    /// Memory kept free for dom0 and Xen.
    pub memory_reserve: Kib,
    /// Dom0's weight, where it has the one that it boots with.
    pub dom0_weight: u16,
    /// The kernel cache's bounds.
    pub kernels: KernelLimits,
    /// Guests loaded, saved or restored at once.
    pub workers_max: u32,
    /// Prepared guests.
    pub shells: ShellLimits,
    /// Where agents of other hosts reach this one; `None`: as the manager does.
    pub migration_address: Option<String>,
    /// Connections that a VM leaves over at once.
    pub migration_streams: u8,
    /// Directories whose files other hosts have too.
    pub shared_stores: Vec<SharedStore>,
}

/// Why a configuration is refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}")]
    Read {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is not what it should be.
    #[error("the configuration {path} is refused")]
    Parse {
        /// Which file.
        path: String,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// The name cannot stand in a certificate.
    #[error("name {0:?} is refused: use 1 to 128 of A-Z a-z 0-9 . _ -")]
    Name(String),
    /// credit2 takes no such weight.
    #[error(
        "dom0_weight 0 is refused: give 1 to 65535; a guest has 256, and so has dom0 until it is given another"
    )]
    Dom0Weight,
    /// A shared store that cannot be one.
    #[error("shared store {0:?} is refused: give each a name of its own and an absolute path")]
    SharedStore(String),
    /// No address with a port.
    #[error("migration_address {0:?} is refused: write a host and a port, such as 10.9.0.1:8443")]
    MigrationAddress(String),
    /// No migration goes over none, or over so many connections.
    #[error("migration_streams {0} is refused: give 1 to {LANES_MAX}")]
    MigrationStreams(u8),
    /// The address cannot be listened at.
    #[error("listen {0:?} is refused: write an IP address and a port, such as 0.0.0.0:8443")]
    Listen(String),
}

impl RawConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// The first field that cannot be used.
    pub fn validated(self) -> Result<AgentConfig, ConfigError> {
        if Principal::agent(self.name.clone()).check().is_err() {
            return Err(ConfigError::Name(self.name));
        }
        if self.dom0_weight == 0 {
            return Err(ConfigError::Dom0Weight);
        }
        if let Some(store) = unusable(&self.shared_stores) {
            return Err(ConfigError::SharedStore(store.name.clone()));
        }
        if let Some(address) = self.migration_address.as_ref().filter(|text| !has_port(text)) {
            return Err(ConfigError::MigrationAddress(address.clone()));
        }
        if !(1..=LANES_MAX).contains(&self.migration_streams.into()) {
            return Err(ConfigError::MigrationStreams(self.migration_streams));
        }
        let listen = self.listen.parse().map_err(|_| ConfigError::Listen(self.listen.clone()))?;
        Ok(AgentConfig {
            name: self.name,
            listen,
            credentials: self.credentials,
            state: self.state,
            disk: BytesPerSecond(self.disk_bytes_per_s),
            disk_requests_per_s: self.disk_requests_per_s.filter(|rate| *rate > 0),
            network: self.network_bytes_per_s.filter(|rate| *rate > 0).map(BytesPerSecond),
            memory_reserve: Kib::from_mib(self.memory_reserve_mib),
            dom0_weight: self.dom0_weight,
            kernels: KernelLimits {
                bytes_max: self.kernel_cache_mib.saturating_mul(1 << 20),
                unpackings_max: self.kernel_unpackings,
            },
            workers_max: self.workers_max,
            shells: ShellLimits {
                per_flavour: usize::try_from(self.shells).unwrap_or(usize::MAX),
                time_to_live: Duration::from_secs(self.shell_ttl_s),
            },
            migration_address: self.migration_address,
            migration_streams: self.migration_streams,
            shared_stores: self.shared_stores,
        })
    }
}

/// A host, by name or address, and a port.
fn has_port(address: &str) -> bool {
    address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

/// One without a name, with a name that another has, or that is no absolute path.
fn unusable(stores: &[SharedStore]) -> Option<&SharedStore> {
    stores.iter().enumerate().find_map(|(index, store)| {
        let plain = store.path.components().all(|part| part != Component::ParentDir);
        let is_named = stores[..index].iter().all(|other| other.name != store.name);
        let usable = !store.name.is_empty() && is_named && plain && store.path.is_absolute();
        (!usable).then_some(store)
    })
}

impl AgentConfig {
    /// A configuration with all defaults, as tests need it: the same on every machine.
    ///
    /// # Errors
    /// [`ConfigError::Name`].
    pub fn new(name: &str, state: &Path) -> Result<Self, ConfigError> {
        RawConfig {
            name: name.to_owned(),
            listen: default_listen(),
            credentials: PathBuf::new(),
            state: state.to_owned(),
            disk_bytes_per_s: DISK_DEFAULT,
            disk_requests_per_s: None,
            network_bytes_per_s: None,
            memory_reserve_mib: RESERVE_MIB_DEFAULT,
            dom0_weight: DOM0_WEIGHT_DEFAULT,
            kernel_cache_mib: KERNEL_CACHE_MIB_DEFAULT,
            kernel_unpackings: KERNEL_UNPACKINGS_DEFAULT,
            workers_max: WORKERS_DEFAULT,
            shells: 0,
            shell_ttl_s: SHELL_TTL_S_DEFAULT,
            migration_address: None,
            migration_streams: STREAMS_SIMULATED,
            shared_stores: Vec::new(),
        }
        .validated()
    }

    /// Reads and checks a file.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: shown.clone(), source })?;
        let raw: RawConfig = toml::from_str(&text)
            .map_err(|source| ConfigError::Parse { path: shown, source: Box::new(source) })?;
        raw.validated()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: &str, accepted: bool) {
        let text = format!("name = \"h1\"\ncredentials = \"/c\"\nstate = \"/s\"\n{change}");
        let outcome = toml::from_str::<RawConfig>(&text).map(|raw| raw.validated().is_ok());
        assert_eq!(outcome.unwrap_or(false), accepted, "{change}");
    }

    #[test]
    fn a_file_needs_little_and_unknown_words_are_refused() {
        check("", true);
        check("listen = \"0.0.0.0:9000\"", true);
        check("listen = \"nowhere\"", false);
        check("memory_reserve_mib = 512", true);
        check("memory_reserve = 512", false);
        check("dom0_weight = 256", true);
        check("dom0_weight = 0", false);
        check("dom0_weight = 65536", false);
        check("migration_address = \"h1.example:8443\"", true);
        check("migration_address = \"h1.example\"", false);
        check("migration_streams = 8", true);
        check("migration_streams = 0", false);
        check("migration_streams = 9", false);
        check("[[shared_stores]]\nname = \"a\"\npath = \"/srv\"", true);
        check("[[shared_stores]]\nname = \"a\"\npath = \"srv\"", false);
        check("[[shared_stores]]\nname = \"a\"\npath = \"/srv/../etc\"", false);
        check("kernel_cache_mib = 0\nkernel_unpackings = 2\nworkers_max = 1", true);
    }

    #[test]
    fn a_migration_takes_a_connection_for_two_of_dom0s_processors() {
        assert_eq!([0, 1, 2, 3, 4, 6, 8, 64].map(streams_of), [1, 1, 1, 1, 2, 3, 4, 4]);
        assert!((1..=4).contains(&default_streams()));
    }
}
