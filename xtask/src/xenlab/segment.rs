//! Free loopback ports, and the Ethernet segment that joins the hosts: one TCP connection for two of them, which slows a
//! sender down rather than lose frames; multicast datagrams for more.
//!
//! Fails when no port is free, or when the listening host does not come to listen.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

const LISTEN_LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);
const LOOPBACK: &str = "0100007F";
const LISTENING: &str = "0A";

/// A port that nobody had a moment ago.
pub(crate) fn free_port() -> Result<u16> {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?;
    Ok(socket.local_addr()?.port())
}

/// The segment of one set of hosts.
pub(crate) struct Segment {
    port: u16,
    hosts: u32,
}

impl Segment {
    pub(crate) fn new(hosts: u32) -> Result<Self> {
        Ok(Self { port: free_port()?, hosts })
    }

    /// What QEMU's `-netdev` takes for this host.
    pub(crate) fn netdev(&self, id: u32) -> String {
        let port = self.port;
        match (self.hosts, id) {
            (..=2, 1) => format!("socket,id=n1,listen=127.0.0.1:{port}"),
            (..=2, _) => format!("socket,id=n1,connect=127.0.0.1:{port}"),
            _ => format!("socket,id=n1,mcast=230.77.0.1:{port},localaddr=127.0.0.1"),
        }
    }

    /// Host 2 must not connect before host 1 listens. The kernel's table is asked, because a trial connection would be
    /// taken for host 2.
    pub(crate) fn wait_for_listener(&self) -> Result<()> {
        if self.hosts != 2 {
            return Ok(());
        }
        let local = format!("{LOOPBACK}:{:04X}", self.port);
        let deadline = Instant::now() + LISTEN_LIMIT;
        while Instant::now() < deadline {
            let table = fs::read_to_string("/proc/net/tcp")?;
            let listens = table.lines().any(|line| {
                let mut fields = line.split_whitespace().skip(1);
                fields.next() == Some(&local) && fields.nth(1) == Some(LISTENING)
            });
            if listens {
                return Ok(());
            }
            thread::sleep(POLL);
        }
        bail!("host 1 does not listen on port {} for the others", self.port)
    }
}
