//! `vmm-agent join`: credentials for this host, by a token of the manager; the host is in the pool then.
//!
//! With a configuration, its `credentials` directory is filled. Without one, both are made: the name is the certificate's, the rest are the
//! defaults. When it is cut off or denied, nothing is half done: the same command again goes on with the same keys.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use vmm_proto::client::TcpConnector;
use vmm_proto::clock::SystemClock;
use vmm_proto::enrolment::{self, JoinToken};
use vmm_proto::principal::Role;

use crate::AgentConfig;

/// Where an agent listens that was given no configuration: it must be reached from the manager.
const LISTEN: &str = "0.0.0.0:8443";
const CREDENTIALS: &str = "/etc/smps-vmm/agent";
const STATE: &str = "/var/lib/smps-vmm/agent";

/// What the manager's `invite` prints, and what may be said beside.
#[derive(Debug, clap::Args)]
pub struct Join {
    /// Where the manager listens.
    #[arg(long, value_name = "HOST:PORT")]
    manager: String,
    /// The token that `vmm-manager invite host` made.
    #[arg(long)]
    token: JoinToken,
    /// Where the manager shall call this host [default: the address that leads to the manager, and the port that the agent listens at].
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
}

/// Joins the pool.
///
/// # Errors
/// The configuration cannot be used, the manager says no, or files cannot be written.
pub async fn join(join: Join, config: &Path) -> anyhow::Result<()> {
    let known = config.exists().then(|| AgentConfig::load(config)).transpose()?;
    let (listen, directory) = match &known {
        Some(known) => (known.listen, known.credentials.clone()),
        None => (LISTEN.parse()?, PathBuf::from(CREDENTIALS)),
    };
    let address = match join.address {
        Some(address) => address,
        None => own_address(&join.manager, listen)?,
    };
    let connector = TcpConnector::new(join.manager.clone());
    let clock = Arc::new(SystemClock);
    let credentials =
        enrolment::join(&connector, &join.token, &directory, Some(&address), clock).await?;
    let principal = credentials.principal();
    ensure!(principal.role == Role::Agent, "the token is for {principal}, not for a host");
    match &known {
        Some(known) if known.name != principal.id => bail!(
            "the token is for host {}, and {} says name = \"{}\": change one of them and join anew",
            principal.id,
            config.display(),
            known.name
        ),
        Some(_) => {}
        None => write_config(config, &principal.id)?,
    }
    println!("host {} is in the pool, to be called at {address}", principal.id);
    println!("next: systemctl enable vmm-agent; systemctl restart vmm-agent");
    Ok(())
}

/// The address of this machine on the way to the manager. Nothing is sent.
fn own_address(manager: &str, listen: SocketAddr) -> anyhow::Result<String> {
    if !listen.ip().is_unspecified() {
        return Ok(listen.to_string());
    }
    let route = manager.to_socket_addrs().and_then(|mut addresses| {
        let to = addresses.next().ok_or(std::io::ErrorKind::AddrNotAvailable)?;
        let any: IpAddr =
            if to.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(to)?;
        socket.local_addr()
    });
    let own = route.with_context(|| {
        format!("no way to {manager}: check it, or say with --address where this host is called")
    })?;
    Ok(SocketAddr::new(own.ip(), listen.port()).to_string())
}

fn write_config(path: &Path, name: &str) -> anyhow::Result<()> {
    let text = format!(
        "# Made by `vmm-agent join`; `vmm-agent --help` shows what else may stand here.\n\
         name = \"{name}\"\nlisten = \"{LISTEN}\"\ncredentials = \"{CREDENTIALS}\"\nstate = \"{STATE}\"\n"
    );
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = made.and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_called_where_it_listens_or_where_the_way_to_the_manager_begins() {
        let address = |listen: &str| own_address("127.0.0.1:8440", listen.parse().unwrap());
        assert_eq!(address("10.0.0.11:9000").unwrap(), "10.0.0.11:9000");
        assert_eq!(address("0.0.0.0:9000").unwrap(), "127.0.0.1:9000");
        assert!(own_address("nowhere", "0.0.0.0:1".parse().unwrap()).is_err());
    }

    #[test]
    fn the_configuration_that_is_made_is_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.toml");
        write_config(&path, "h1").unwrap();
        let made = AgentConfig::load(&path).unwrap();
        assert_eq!((made.name.as_str(), made.listen), ("h1", LISTEN.parse().unwrap()));
        assert!(write_config(&path, "h1").is_err(), "nothing is overwritten");
    }
}
