//! `vmmctl doctor …`: what is wrong, one by one.

use std::sync::Arc;

use clap::Subcommand;
use serde::Serialize;
use vmm_proto::client::TcpConnector;
use vmm_proto::clock::SystemClock;
use vmm_proto::credentials::Credentials;
use vmm_proto::doctor::{Finding, examine};
use vmm_proto::principal::Principal;

use crate::args::Global;
use crate::failure::Failure;
use crate::output::{Answer, Column, Told, Tone};
use crate::session::{MANAGER_ID, credentials_directory};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Look at every certificate, name and clock between you and a server. Without HOST, the manager.
    Tls {
        /// A manager or an agent; 8443, where agents listen, if it names no port.
        #[arg(value_name = "HOST[:PORT]")]
        host: Option<String>,
        /// Who should answer there, such as `agent/host-1` [default: the manager, where HOST is not given].
        #[arg(long, value_name = "ROLE/NAME", value_parser = principal)]
        expect: Option<Principal>,
    },
}

/// Where agents listen when nobody said.
const AGENT_PORT: u16 = 8443;

fn principal(text: &str) -> Result<Principal, String> {
    format!("xvmp://smps-vmm/{text}").parse().map_err(|error| format!("{error}"))
}

#[derive(Serialize)]
struct Shown {
    good: bool,
    seen: String,
    advice: String,
}

/// Exit status 1 when anything is wrong.
pub(crate) async fn run(global: &Global, command: Command) -> Result<(), Failure> {
    let Command::Tls { host, expect } = command;
    let directory = credentials_directory(global)?;
    let own = Credentials::load(&directory).map_err(|error| Failure::Usage(error.to_string()))?;
    let address = host.as_deref().map_or_else(|| global.manager.clone(), with_port);
    let expect = expect.or_else(|| host.is_none().then(|| Principal::manager(MANAGER_ID)));
    let connector = Arc::new(TcpConnector::new(address.clone()));
    let findings = examine(connector, Arc::new(own), expect, Arc::new(SystemClock)).await;
    let wrong = findings.iter().filter(|finding| !finding.is_good).count();
    let shown = findings.into_iter().map(|Finding { is_good, seen, advice }| Shown {
        good: is_good,
        seen,
        advice,
    });
    let shown: Vec<Shown> = shown.collect();
    global.look().print(&Answer::list(&shown, COLUMNS).told(|| told(&shown)))?;
    match wrong {
        0 => Ok(()),
        1 => Err(Failure::Local(format!("one thing is wrong between here and {address}"))),
        more => Err(Failure::Local(format!("{more} things are wrong between here and {address}"))),
    }
}

/// An address of IPv6 stands in brackets when it has a port.
fn with_port(host: &str) -> String {
    let has_port = host.rsplit_once(':').is_some_and(|(name, port)| {
        port.parse::<u16>().is_ok() && (!name.contains(':') || name.ends_with(']'))
    });
    if has_port { host.to_owned() } else { format!("{host}:{AGENT_PORT}") }
}

type OfShown = Column<Shown>;

const COLUMNS: &[OfShown] = &[
    OfShown::text("seen", |shown| shown.seen.clone()),
    OfShown::flag("good", |shown| shown.good).toned(|shown| match shown.good {
        true => Tone::Good,
        false => Tone::Bad,
    }),
    OfShown::text("advice", |shown| shown.advice.clone()),
];

fn told(findings: &[Shown]) -> Told {
    findings.iter().fold(Told::default(), |told, finding| match finding.good {
        true => told.and_line(format!("ok     {}", finding.seen)),
        false => told
            .and_line(format!("WRONG  {}", finding.seen))
            .and_line(format!("       do: {}", finding.advice)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_a_port_is_an_agent() {
        for (host, address) in [
            ("h1", "h1:8443"),
            ("h1:9", "h1:9"),
            ("10.0.0.1", "10.0.0.1:8443"),
            ("[::1]:9", "[::1]:9"),
            ("[::1]", "[::1]:8443"),
        ] {
            assert_eq!(with_port(host), address);
        }
    }

    #[test]
    fn a_principal_is_written_as_role_and_name() {
        assert_eq!(principal("agent/h1"), Ok(Principal::agent("h1")));
        assert!(principal("h1").is_err() && principal("root/h1").is_err());
    }
}
