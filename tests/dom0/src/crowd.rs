//! Many domains: four at once, and beside twenty others.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use vmm_proto::v1::GuestKind;

use crate::agent::Agent;
use crate::guest::{Guest, VMLINUZ};
use crate::{create, say, xl};

const TOGETHER: usize = 4;
const CROWD: u64 = 20;
/// Samples of statistics in one measurement, one a second as xentop takes them.
const SAMPLES: u64 = 10;
const SAMPLE_PERIOD: Duration = Duration::from_secs(1);
const REST: Duration = Duration::from_secs(1);

pub(crate) async fn parallel(agent: &Agent, rounds: u32) -> Result<()> {
    let guest = Guest::new(GuestKind::Pvh, VMLINUZ);
    for round in 0..rounds {
        for (who, outcome) in
            [("ours, warm", ours(agent, &guest, round).await), ("xl", theirs(&guest, round))]
        {
            match outcome {
                Ok(time) => say::seconds("create 4 PVH at once", who, time),
                Err(error) => say::left_out("create 4 PVH at once", who, &error),
            }
            tokio::time::sleep(REST).await;
        }
    }
    Ok(())
}

async fn ours(agent: &Agent, guest: &Guest, round: u32) -> Result<Duration> {
    let start = Instant::now();
    let builds: Vec<_> = (0..TOGETHER)
        .map(|number| {
            let spec = guest.spec(&format!("ours-four-{round}-{number}"), 0);
            let agent = agent.clone();
            tokio::spawn(async move { agent.build(spec).await })
        })
        .collect();
    let mut vms = Vec::new();
    for build in builds {
        vms.push(build.await?);
    }
    let time = start.elapsed();
    for vm in vms.iter().flatten() {
        agent.destroy(vm).await?;
    }
    vms.into_iter().collect::<Result<Vec<_>>>().map(|_| time)
}

fn theirs(guest: &Guest, round: u32) -> Result<Duration> {
    let names: Vec<_> = (0..TOGETHER).map(|number| format!("xl-four-{round}-{number}")).collect();
    for name in &names {
        xl::prepare(guest, name)?;
    }
    let time = xl::create_together(&names);
    for name in &names {
        // One that was not created has nothing to destroy; the error of the create counts.
        xl::destroy(name).ok();
    }
    time
}

pub(crate) async fn beside_twenty(agent: &Agent, rounds: u32) -> Result<()> {
    let mut vms = Vec::new();
    for number in 0..CROWD {
        vms.push(agent.build(Guest::filler().spec(&format!("filler-{number}"), 0)).await?);
    }
    let guest = Guest::new(GuestKind::Pvh, VMLINUZ);
    for round in 0..rounds {
        create::beside(agent, &guest, round).await;
        let start = Instant::now();
        agent.list().await?;
        say::seconds("list of 20", "ours, an agent's whole report", start.elapsed());
        say::seconds("list of 20", "xl", xl::list()?);
    }
    for (who, outcome) in [("ours", sample_ours(agent).await), ("xentop", sample_xentop())] {
        match outcome {
            Ok(ns) => say::count("CPU ns a domain for a sample of 20", who, ns),
            Err(error) => say::left_out("CPU ns a domain for a sample of 20", who, &error),
        }
    }
    for vm in vms {
        agent.destroy(&vm).await?;
    }
    Ok(())
}

/// What the agent's process used for a number of samples, above what it uses when nobody asks.
async fn sample_ours(agent: &Agent) -> Result<u64> {
    let pid: u32 = std::fs::read_to_string("/run/vmm-agent.pid")?.trim().parse()?;
    // A session that is open costs no handshake.
    agent.sample().await?;
    let idle_from = cpu_ns(pid)?;
    tokio::time::sleep(SAMPLE_PERIOD * u32::try_from(SAMPLES)?).await;
    let idle = cpu_ns(pid)? - idle_from;
    let from = cpu_ns(pid)?;
    for _ in 0..SAMPLES {
        agent.sample().await?;
        tokio::time::sleep(SAMPLE_PERIOD).await;
    }
    Ok((cpu_ns(pid)? - from).saturating_sub(idle) / SAMPLES / CROWD)
}

fn sample_xentop() -> Result<u64> {
    let count = (SAMPLES + 10).to_string();
    let mut xentop = xl::command("xentop", &["-b", "-d", "1", "-i", &count]);
    let mut child = xentop.stdout(Stdio::null()).spawn().context("start xentop")?;
    // Its start and first sample are not counted.
    std::thread::sleep(2 * SAMPLE_PERIOD);
    let from = cpu_ns(child.id());
    std::thread::sleep(SAMPLE_PERIOD * u32::try_from(SAMPLES)?);
    let to = cpu_ns(child.id());
    child.kill()?;
    child.wait()?;
    Ok((to? - from?) / SAMPLES / CROWD)
}

/// CPU time of all threads of a process so far, from the kernel's scheduler.
fn cpu_ns(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        sum += thread_ns(&thread?.path()).unwrap_or(0);
    }
    Ok(sum)
}

fn thread_ns(thread: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(thread.join("schedstat")).ok()?;
    text.split_whitespace().next()?.parse().ok()
}
