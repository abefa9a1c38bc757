//! From the request to a running guest, to its first line, and its end: ours and xl in turn.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use vmm_proto::v1::GuestKind;

use crate::agent::Agent;
use crate::guest::{Guest, VMLINUX, VMLINUZ, first_line, forget_console};
use crate::{say, xl};

/// Between samples: Xen gives a dead domain's memory back after the toolstack is done.
const REST: Duration = Duration::from_millis(500);
const POOL_LIMIT: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(200);

/// How one sample differs from the others of its measure.
struct Case<'a> {
    measure: &'a str,
    who: say::Who<'a>,
    /// Of the VM.
    name: String,
}

impl<'a> Case<'a> {
    fn new(measure: &'a str, who: say::Who<'a>, round: u32) -> Self {
        let words = format!("{who}-{measure}-{round}").replace(", ", "-").replace(' ', "-");
        Self { measure, who, name: words }
    }
}

/// What goes wrong is said, and the sample is left out.
async fn ours(agent: &Agent, guest: &Guest, case: Case<'_>) {
    if let Err(error) = ours_once(agent, guest, &case).await {
        say::left_out(case.measure, case.who, &error);
    }
}

async fn ours_once(agent: &Agent, guest: &Guest, case: &Case<'_>) -> Result<()> {
    tokio::time::sleep(REST).await;
    let spec = guest.spec(&case.name, std::process::id());
    forget_console(&case.name);
    let start = Instant::now();
    let vm = agent.build(spec).await?;
    let created = start.elapsed();
    let line = first_line(&case.name, start).await;
    let end = Instant::now();
    agent.destroy(&vm).await?;
    report(case, [created, line?, end.elapsed()]);
    Ok(())
}

async fn theirs(guest: &Guest, case: Case<'_>) {
    if let Err(error) = theirs_once(guest, &case).await {
        say::left_out(case.measure, case.who, &error);
    }
}

async fn theirs_once(guest: &Guest, case: &Case<'_>) -> Result<()> {
    tokio::time::sleep(REST).await;
    xl::prepare(guest, &case.name)?;
    forget_console(&case.name);
    let start = Instant::now();
    let created = xl::create(&case.name)?;
    let line = first_line(&case.name, start).await;
    let destroyed = xl::destroy(&case.name)?;
    report(case, [created, line?, destroyed]);
    Ok(())
}

fn report(case: &Case<'_>, [created, line, destroyed]: [Duration; 3]) {
    let Case { measure, who, .. } = case;
    say::seconds(&format!("create {measure}"), who, created);
    say::seconds(&format!("first line {measure}"), who, line);
    say::seconds(&format!("destroy {measure}"), who, destroyed);
}

pub(crate) async fn all(agent: &Agent, rounds: u32) -> Result<()> {
    for kind in [GuestKind::Pvh, GuestKind::Pv] {
        let (packed, plain) = (Guest::new(kind, VMLINUZ), Guest::new(kind, VMLINUX));
        let measure = packed.label();
        warm(agent, &packed).await;
        for round in 0..rounds {
            let fresh = Guest::new(kind, &unseen_kernel(measure, round)?);
            ours(agent, &fresh, Case::new(measure, "ours, cold", round)).await;
            std::fs::remove_file(&fresh.kernel).context("remove a kernel")?;
            theirs(&packed, Case::new(measure, "xl", round)).await;
            ours(agent, &packed, Case::new(measure, "ours, warm", round)).await;
            theirs(&plain, Case::new(measure, "xl, plain kernel", round)).await;
        }
    }
    Ok(())
}

/// Once, untimed, so that the kernel is in the agent's cache. A refusal shows again in what is timed.
async fn warm(agent: &Agent, guest: &Guest) {
    let spec = guest.spec(&format!("prepare-{}", guest.label()), 0);
    if let Ok(vm) = agent.build(spec).await {
        agent.destroy(&vm).await.ok();
    }
}

/// A kernel that the agent cannot have seen: the same, and a few bytes behind its end that nobody reads.
fn unseen_kernel(measure: &str, round: u32) -> Result<String> {
    let path = format!("/tmp/lab-dom0-vmlinuz-{measure}-{}-{round}", std::process::id());
    let mut kernel = std::fs::read(VMLINUZ).context("read the kernel")?;
    kernel.extend(path.bytes());
    std::fs::write(&path, kernel).context("write another kernel")?;
    Ok(path)
}

pub(crate) async fn nic(agent: &Agent, rounds: u32) -> Result<()> {
    let guest = Guest::new(GuestKind::Pvh, VMLINUZ).with_nic();
    let measure = "PVH with a NIC";
    warm(agent, &guest).await;
    for round in 0..rounds {
        ours(agent, &guest, Case::new(measure, "ours, warm", round)).await;
        theirs(&guest, Case::new(measure, "xl", round)).await;
    }
    Ok(())
}

pub(crate) async fn shells(agent: &Agent, rounds: u32) -> Result<()> {
    for (kind, shells) in [(GuestKind::Pvh, 1), (GuestKind::Pv, 2)] {
        let guest = Guest::new(kind, VMLINUZ);
        let measure = guest.label();
        // What is built once gets no shell.
        for _ in 0..2 {
            warm(agent, &guest).await;
        }
        for round in 0..rounds {
            let primed = until_primed(agent, shells).await;
            if let Err(error) = primed {
                say::left_out(measure, "ours, from a shell", &error);
                break;
            }
            ours(agent, &guest, Case::new(measure, "ours, from a shell", round)).await;
            theirs(&guest, Case::new(measure, "xl, beside shells", round)).await;
        }
    }
    Ok(())
}

/// One shell of each flavour that was asked for so far.
async fn until_primed(agent: &Agent, shells: u32) -> Result<()> {
    let start = Instant::now();
    let mut seen = 0;
    while start.elapsed() < POOL_LIMIT {
        seen = agent.shells().await?;
        if seen >= shells {
            // Let it finish: what it refills would be measured with the rest.
            tokio::time::sleep(4 * REST).await;
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
    bail!("{seen} of {shells} shells after {POOL_LIMIT:?}")
}

/// One create without its end, for those who measure beside others.
pub(crate) async fn beside(agent: &Agent, guest: &Guest, round: u32) {
    let measure = "PVH beside 20";
    ours(agent, guest, Case::new(measure, "ours, warm", round)).await;
    theirs(guest, Case::new(measure, "xl", round)).await;
}
