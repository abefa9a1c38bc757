//! The manager's directory and its `manager.toml`: raw, then validated.
//!
//! ```toml
//! listen = "0.0.0.0:8440"
//! # store = "store.redb"       # relative to this directory
//! # density = 0.0             # 0: spread VMs over all hosts; 1: fill hosts, keep the others free; or between
//! # [http]                     # offers the JSON API; what stands here are the defaults
//! # listen = "127.0.0.1:8441"   # elsewhere than on loopback only with TLS
//! # names = []                  # other names that it is called by, such as "pool.example"
//! # certificate = "cert.pem"    # PEM, trusted by those who call; none
//! # key = "key.pem"
//! # [limits]                   # in seconds; what stands here are the defaults
//! # build_wait = 120           # an agent's time to build a VM
//! # transfer_wait = 150        # an agent's time to write a VM's memory to a file, or to read it
//! # unknown_wait = 60          # how long a call whose outcome is not known is repeated
//! # guest_wait_max = 420       # the most that a guest may be given to do what it is asked
//! ```

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use vmm_core::scheduler::Preference;
use vmm_core::task::turns::Limits;
use vmm_manager::ManagerConfig;

pub(super) const LISTEN_DEFAULT: &str = "127.0.0.1:8440";
/// Where the JSON API listens when it is offered and nothing else is said.
const HTTP_DEFAULT: &str = "127.0.0.1:8441";
/// A wait that is longer than this was meant in another unit.
const SECONDS_MAX: u64 = 3600;

/// The paths of a manager's directory.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) config: PathBuf,
    /// `ca.pem` and `ca-key.pem`.
    pub(super) authority: PathBuf,
    /// The manager's own.
    pub(super) credentials: PathBuf,
    /// Who may join.
    pub(super) invitations: PathBuf,
    /// Who may call the JSON API.
    pub(super) tokens: PathBuf,
    directory: PathBuf,
}

impl Layout {
    pub(super) fn of(directory: &Path) -> Self {
        Self {
            config: directory.join("manager.toml"),
            authority: directory.join("authority"),
            credentials: directory.join("credentials"),
            invitations: directory.join("invitations"),
            tokens: directory.join("tokens"),
            directory: directory.to_owned(),
        }
    }

    /// Makes the directory and writes the configuration; neither may be there.
    pub(super) fn create(&self, listen: &str) -> Result<()> {
        let mut builder = std::fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(&self.directory);
        made.with_context(|| format!("making {}", self.directory.display()))?;
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&self.config);
        let mut file = file.with_context(|| {
            format!("making {}: use another directory for another pool", self.config.display())
        })?;
        let text = format!("listen = {}\n", toml::Value::String(listen.to_owned()));
        file.write_all(text.as_bytes())
            .with_context(|| format!("writing {}", self.config.display()))
    }

    pub(super) fn read(&self) -> Result<Config> {
        let text = std::fs::read_to_string(&self.config).with_context(|| {
            format!("reading {}: make a pool with `vmm-manager init`", self.config.display())
        })?;
        let raw: RawConfig = toml::from_str(&text)
            .with_context(|| format!("{} is refused", self.config.display()))?;
        raw.validated(&self.directory)
            .with_context(|| format!("{} is refused", self.config.display()))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    listen: String,
    store: Option<PathBuf>,
    density: Option<f64>,
    http: Option<RawHttp>,
    #[serde(default)]
    limits: RawLimits,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHttp {
    listen: Option<String>,
    #[serde(default)]
    names: Vec<String>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLimits {
    build_wait: Option<u64>,
    transfer_wait: Option<u64>,
    unknown_wait: Option<u64>,
    guest_wait_max: Option<u64>,
    running_tasks: Option<usize>,
    queued_tasks: Option<usize>,
    bulk_vms: Option<usize>,
    builds_per_host: Option<usize>,
    transfers_per_host: Option<usize>,
    small_changes_per_host: Option<usize>,
    finished_tasks: Option<usize>,
    finished_tasks_days: Option<u64>,
}

/// A configuration that can be used.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) listen: SocketAddr,
    pub(super) store: PathBuf,
    pub(super) http: Option<Http>,
    pub(super) manager: ManagerConfig,
}

/// How the JSON API is offered.
#[derive(Debug)]
pub(super) struct Http {
    pub(super) listen: SocketAddr,
    pub(super) names: Vec<String>,
    /// Certificate and key.
    pub(super) tls: Option<(PathBuf, PathBuf)>,
}

impl RawHttp {
    fn validated(self, directory: &Path) -> Result<Http> {
        let listen = parse_listen(self.listen.as_deref().unwrap_or(HTTP_DEFAULT))?;
        let tls = match (self.certificate, self.key) {
            (Some(certificate), Some(key)) => {
                Some((directory.join(certificate), directory.join(key)))
            }
            (None, None) => None,
            _ => bail!("[http] names a certificate or a key: name both, or none"),
        };
        if tls.is_none() && !listen.ip().is_loopback() {
            bail!(
                "[http] listen = {listen} is not loopback: name certificate and key, or listen at 127.0.0.1"
            );
        }
        Ok(Http { listen, names: self.names, tls })
    }
}

impl RawConfig {
    fn validated(self, directory: &Path) -> Result<Config> {
        let usual = ManagerConfig::default();
        let limits = self.limits;
        let manager = ManagerConfig {
            build_wait: seconds("build_wait", limits.build_wait, usual.build_wait)?,
            transfer_wait: seconds("transfer_wait", limits.transfer_wait, usual.transfer_wait)?,
            unknown_wait: seconds("unknown_wait", limits.unknown_wait, usual.unknown_wait)?,
            guest_wait_max: seconds("guest_wait_max", limits.guest_wait_max, usual.guest_wait_max)?,
            task_limits: limits.of_tasks(usual.task_limits),
            queued_tasks_max: limits.queued_tasks.unwrap_or(usual.queued_tasks_max),
            bulk_open_max: limits.bulk_vms.unwrap_or(usual.bulk_open_max),
            finished_tasks_max: limits.finished_tasks.unwrap_or(usual.finished_tasks_max),
            finished_tasks_age: limits.finished_tasks_age().unwrap_or(usual.finished_tasks_age),
            preference: preference(self.density)?.unwrap_or(usual.preference),
            ..usual
        };
        Ok(Config {
            listen: parse_listen(&self.listen)?,
            store: directory.join(self.store.unwrap_or_else(|| PathBuf::from("store.redb"))),
            http: self.http.map(|http| http.validated(directory)).transpose()?,
            manager: manager.validated()?,
        })
    }
}

impl RawLimits {
    fn of_tasks(&self, usual: Limits) -> Limits {
        Limits {
            running: self.running_tasks.unwrap_or(usual.running),
            builds_per_host: self.builds_per_host.unwrap_or(usual.builds_per_host),
            transfers_per_host: self.transfers_per_host.unwrap_or(usual.transfers_per_host),
            light_per_host: self.small_changes_per_host.unwrap_or(usual.light_per_host),
        }
    }

    fn finished_tasks_age(&self) -> Option<Duration> {
        self.finished_tasks_days.map(|days| Duration::from_secs(days.saturating_mul(24 * 3600)))
    }
}

fn seconds(name: &str, given: Option<u64>, usual: Duration) -> Result<Duration> {
    match given {
        Some(seconds) if !(1..=SECONDS_MAX).contains(&seconds) => {
            bail!("{name} = {seconds}: use 1 to {SECONDS_MAX} seconds")
        }
        given => Ok(given.map_or(usual, Duration::from_secs)),
    }
}

fn preference(density: Option<f64>) -> Result<Option<Preference>> {
    let valid = |density| {
        Preference::new(density).with_context(|| format!("density = {density}: use 0 to 1"))
    };
    density.map(valid).transpose()
}

pub(super) fn parse_listen(text: &str) -> Result<SocketAddr> {
    text.parse().with_context(|| {
        format!("listen address {text:?}: write ADDRESS:PORT with a numeric address, such as 0.0.0.0:8440")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, accepted: bool) {
        let read = toml::from_str::<RawConfig>(text).map_err(anyhow::Error::from);
        let read = read.and_then(|raw| raw.validated(Path::new("/d")));
        assert_eq!(read.is_ok(), accepted, "{text}");
    }

    #[test]
    fn only_what_is_understood_is_accepted() {
        check("listen = '127.0.0.1:1'", true);
        check("listen = '127.0.0.1:1'\nstore = 'x'\n[limits]\nbuild_wait = 5", true);
        check(
            "listen = '127.0.0.1:1'\n[limits]\nbuilds_per_host = 1\nfinished_tasks_days = 7",
            true,
        );
        check("listen = '127.0.0.1:1'\n[limits]\nbuilds_per_host = 0", false);
        check("listen = '127.0.0.1:1'\n[limits]\nfinished_tasks_days = 0", false);
        check("listen = '127.0.0.1:1'\ndensity = 0.5", true);
        check("listen = '127.0.0.1:1'\ndensity = 1.5", false);
        let http = |more: &str| format!("listen = '127.0.0.1:1'\n[http]\n{more}");
        check(&http(""), true);
        check(&http("listen = '127.0.0.1:9'\nnames = ['pool.example']"), true);
        check(&http("listen = '0.0.0.0:9'"), false);
        check(&http("listen = '0.0.0.0:9'\ncertificate = 'c'\nkey = 'k'"), true);
        check(&http("certificate = 'c'"), false);
        check(&http("open = true"), false);
        check("listen = 'here'", false);
        check("listen = '127.0.0.1:1'\nlisten_too = 1", false);
        check("listen = '127.0.0.1:1'\n[limits]\nbuild_wait = 0", false);
        check("listen = '127.0.0.1:1'\n[limits]\nbuild_wait = 120000", false);
    }
}
