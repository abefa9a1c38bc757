//! Requests to xenstore for one create, ours and xl's counted the same way: in the daemon's own trace, switched on for this alone.
//!
//! The guest halts at once, so that it asks nothing itself. Only C xenstored can be told so while it runs.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::agent::Agent;
use crate::guest::Guest;
use crate::{say, xl};

const TRACE: &str = "/tmp/lab-dom0-xenstored.trace";
/// xenconsoled and xl write a little after the guest runs.
const SETTLE: Duration = Duration::from_secs(2);

pub(crate) async fn all(agent: &Agent) -> Result<()> {
    for (measure, guest) in [
        ("xenstore requests a create", Guest::filler()),
        ("xenstore requests a create with a NIC", Guest::filler().with_nic()),
    ] {
        let name = if guest.has_nic { "count-nic" } else { "count" };
        say(measure, "ours", ours(agent, &guest, name).await);
        say(measure, "xl", theirs(&guest, &format!("xl-{name}")).await);
    }
    Ok(())
}

fn say(measure: &str, who: say::Who<'_>, counted: Result<u64>) {
    match counted {
        Ok(count) => say::count(measure, who, count),
        Err(error) => say::left_out(measure, who, &error),
    }
}

async fn ours(agent: &Agent, guest: &Guest, name: &str) -> Result<u64> {
    let trace = Trace::start().await?;
    let vm = agent.build(guest.spec(name, 1)).await;
    let count = trace.count().await?;
    agent.destroy(&vm?).await?;
    Ok(count)
}

async fn theirs(guest: &Guest, name: &str) -> Result<u64> {
    xl::prepare(guest, name)?;
    let trace = Trace::start().await?;
    let created = xl::create(name);
    let count = trace.count().await?;
    created?;
    xl::destroy(name)?;
    Ok(count)
}

/// The daemon writes down every request while this lives.
struct Trace;

impl Trace {
    async fn start() -> Result<Self> {
        tokio::time::sleep(SETTLE).await;
        control(&["logfile", TRACE])?;
        control(&["log", "on"])?;
        std::fs::write(TRACE, "").context("empty the trace")?;
        Ok(Self)
    }

    /// Requests since the start, those of other clients that are always there included.
    async fn count(self) -> Result<u64> {
        tokio::time::sleep(SETTLE).await;
        let trace = std::fs::read_to_string(TRACE).context("read the trace")?;
        control(&["log", "off"])?;
        // Our own order to stop comes after this look.
        let requests = trace.lines().filter(|line| line.starts_with("IN ")).count();
        Ok(u64::try_from(requests)?)
    }
}

fn control(words: &[&str]) -> Result<()> {
    let output = xl::command("xenstore-control", words).output().context("xenstore-control")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.success(),
        "xenstore-control {}: {said}; C xenstored is needed",
        words.join(" ")
    );
    Ok(())
}
