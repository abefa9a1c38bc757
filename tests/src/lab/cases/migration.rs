//! Guests that move between two real hosts while they work. That a guest did not reboot shows in the id of its boot; that no page was
//! lost shows in its own check of its memory, which it rewrites all the time; how long it was away, in the answers that a peer on
//! its network misses.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::{LabPool, Table};
use crate::lab::{Guest, LabHost, Relay, eventually};

pub(super) const CASES: Table = &[("a_guest_that_writes_moves_to_another_host", moves)];
/// In the suite of migration, and with the whole matrix of a day.
pub(super) const LONG: Table = &[
    ("idle_and_busy_guests_move", kinds),
    ("a_guest_that_says_what_is_free_moves_without_it_and_has_it_again", compacted),
    ("a_guest_that_writes_too_fast_is_slowed_down_as_far_as_it_may_be_or_stays", slowed),
    ("a_guest_on_the_network_is_away_once_and_its_peer_loses_nothing_else", network),
    ("a_migration_that_is_cancelled_at_any_moment_leaves_the_guest_where_it_was", cancel),
    ("a_migration_whose_agents_die_leaves_one_guest", agents_die),
    ("a_migration_whose_link_is_cut_leaves_the_guest_where_it_was", link_cut),
    ("a_guest_moves_to_and_fro_many_times", many),
];

/// What the emulated network needs on a busy machine: these cases are about pages, not about times.
pub(super) const DOWNTIME_MS: &str = "60000";
/// Rewrites memory all the time and checks it.
pub(super) const NOMAD: &str = "nomad";
pub(super) const WRITES: &str = "dirty:1:8";
/// Not its own: the cases of devices have theirs.
const ADDRESS: &str = "10.77.0.70";
/// When a migration is taken back: at once, in its first pass, and when it may be done.
const MOMENTS: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(500),
    Duration::from_millis(1500),
    Duration::from_millis(3000),
];
/// When its link is cut: in its first pass, and when little is left.
const CUTS: [Duration; 2] = [Duration::from_millis(1200), Duration::from_millis(8000)];
/// Of a guest that moves to and fro.
const MOVES: u32 = 6;
const MOVES_FULL: u32 = 20;
/// Of a guest that has grown to 256 MiB.
const FREE_KIB: u64 = 120 << 10;
/// How long a peer asks before and after a move.
const PEACE: Duration = Duration::from_secs(3);

/// The host that it is not on.
pub(super) fn other<'a>(pool: &'a LabPool, here: &LabHost) -> Result<&'a LabHost> {
    pool.hosts.iter().find(|host| host.name != here.name).context("a second host")
}

/// The same boot, later, with all memory as it was; one that writes has written more.
pub(super) fn goes_on(pool: &LabPool, before: &Guest) -> Result<()> {
    let (t, dirtied) = (before.number("t"), before.number("dirtied"));
    let more = if dirtied > 0 { 4 << 20 } else { 0 };
    let after = Guest::until(&pool.ctl, NOMAD, "the guest goes on", |guest| {
        guest.word("boot") != before.word("boot")
            || (guest.number("t") > t && guest.number("dirtied") >= dirtied + more)
    })?;
    ensure!(after.word("boot") == before.word("boot"), "it has rebooted: {before:?} {after:?}");
    ensure!(after.word("selfcheck") == "ok", "its memory was damaged: {after:?}");
    Ok(())
}

/// Nothing of it is on that host.
fn is_gone_from(host: &LabHost) -> Result<()> {
    eventually(&format!("{NOMAD} is gone from {}", host.name), || {
        Ok(host.xl_list()?.iter().all(|row| row.name != NOMAD))
    })
}

/// Moves it to its other host and looks that it is there, whole, and nowhere else. What was told of the move.
pub(super) fn moved(pool: &LabPool) -> Result<String> {
    let before = Guest::look(&pool.ctl, NOMAD)?.context("the guest is silent")?;
    let from = pool.host_of(NOMAD)?.clone();
    let to = other(pool, &from)?.name.clone();
    let migrate = ["vm", "migrate", NOMAD, "--to", &to, "--downtime-max", DOWNTIME_MS];
    let told = pool.ctl.json(&migrate)?.to_string();
    ensure!(pool.host_of(NOMAD)?.name == to, "it is not on {to}");
    is_gone_from(&from)?;
    pool.xl_row(NOMAD)?;
    goes_on(pool, &before)?;
    Ok(told)
}

fn create(pool: &mut LabPool) -> Result<()> {
    create_of(pool, "pvh")
}

fn create_of(pool: &mut LabPool, kind: &str) -> Result<()> {
    pool.create(NOMAD, WRITES, &["--type", kind, "--vcpus-max", "2", "--cpu-demand", "0.1"])
}

fn moves(pool: &mut LabPool) -> Result<()> {
    create(pool)?;
    // There and back, and more, is another case's.
    moved(pool)?;
    let here = pool.host_of(NOMAD)?.name.clone();
    pool.ctl.refused(&["vm", "migrate", NOMAD, "--to", &here], &["already"])?;
    // It obeys where it is. A host that has fewer processors than it uses is refused.
    pool.ctl.text(&["vm", "vcpus", NOMAD, "2"])?;
    Guest::until(&pool.ctl, NOMAD, "a second vCPU", |guest| guest.number("cpus_online") == 2)?;
    let there = other(pool, pool.host_of(NOMAD)?)?.name.clone();
    pool.ctl.refused(&["vm", "migrate", NOMAD, "--to", &there], &["vCPUs"])?;
    pool.remove(NOMAD)
}

/// The one that writes is the first case's.
fn kinds(pool: &mut LabPool) -> Result<()> {
    for work in ["idle", "burn:1"] {
        pool.create(NOMAD, work, &["--cpu-demand", "0.1"])?;
        moved(pool).with_context(|| work.to_owned())?;
        if work.starts_with("burn") {
            let burned = Guest::look(&pool.ctl, NOMAD)?.map_or(0, |guest| guest.number("burned"));
            Guest::until(&pool.ctl, NOMAD, "it computes on", |now| now.number("burned") > burned)?;
        }
        pool.remove(NOMAD)?;
    }
    Ok(())
}

/// A balloon is slower than most networks: only over a slow one is it asked.
fn compacted(pool: &mut LabPool) -> Result<()> {
    let more = ["--memory-min", "64M", "--memory-max", "256M", "--cpu-demand", "0.1"];
    pool.create(NOMAD, "dirty:1:8,tools", &more)?;
    pool.ctl.text(&["vm", "memory", NOMAD, "256M"])?;
    Guest::until(&pool.ctl, NOMAD, "its memory", |guest| guest.number("mem_free_kib") > FREE_KIB)?;
    let before = Guest::look(&pool.ctl, NOMAD)?.context("the guest is silent")?;
    let from = pool.host_of(NOMAD)?.clone();
    let to = other(pool, &from)?.name.clone();
    let slow = ["--downtime-max", DOWNTIME_MS, "--bandwidth", "20"];
    let moved = ["vm", "migrate", NOMAD, "--to", &to].into_iter().chain(slow).collect::<Vec<_>>();
    let told = pool.ctl.json(&moved)?.to_string();
    let held = told.split(" MiB of memory").next().and_then(|text| text.rsplit(' ').next());
    let held: u64 = held.and_then(|text| text.parse().ok()).with_context(|| told.clone())?;
    println!("{held} MiB of 256 travelled");
    ensure!(held < 200, "it was not made smaller: {told}");
    is_gone_from(&from)?;
    eventually("it has its memory again", || Ok(pool.xl_row(NOMAD)?.memory_mib >= 250))?;
    goes_on(pool, &before)?;
    pool.remove(NOMAD)
}

/// Faster than it is sent, over memory that takes several times longer than it may stand still.
fn slowed(pool: &mut LabPool) -> Result<()> {
    pool.create(NOMAD, "dirty:8:16", &["--cpu-demand", "0.1"])?;
    let before = Guest::until(&pool.ctl, NOMAD, "it writes", |guest| guest.number("dirtied") > 0)?;
    let from = pool.host_of(NOMAD)?.clone();
    let to = other(pool, &from)?.name.clone();
    let slow = ["vm", "migrate", NOMAD, "--to", &to, "--bandwidth", "3", "--downtime-max", "2000"];
    let within = |slowdown_ms| [&slow[..], &["--slowdown-max", slowdown_ms]].concat();
    pool.ctl.refused(&within("0"), &["faster than the link carries", "slowdown"])?;
    goes_on(pool, &before)?;
    uncapped(&from)?;
    let told = pool.ctl.json(&within("30000"))?.to_string();
    let lost = told.split(" ms slowed down").next().and_then(|text| text.rsplit(' ').next());
    let lost: u64 = lost.and_then(|text| text.parse().ok()).with_context(|| told.clone())?;
    println!("slowed down by {lost} ms");
    ensure!((1..=30_000).contains(&lost), "{told}");
    ensure!(pool.host_of(NOMAD)?.name == to, "it is not on {to}");
    is_gone_from(&from)?;
    uncapped(pool.host_of(NOMAD)?)?;
    goes_on(pool, &before)?;
    pool.remove(NOMAD)
}

fn uncapped(host: &LabHost) -> Result<()> {
    let said = host.ssh(&format!("xl sched-credit2 -d {NOMAD}"))?;
    let cap = said.lines().last().and_then(|line| line.split_whitespace().last());
    ensure!(cap == Some("0"), "it is still slowed down: {said}");
    Ok(())
}

fn network(pool: &mut LabPool) -> Result<()> {
    let work = format!("{WRITES},echo addr={ADDRESS}/24");
    pool.create(NOMAD, &work, &["--nic", "br0", "--cpu-demand", "0.1"])?;
    for _ in 0..2 {
        // In either dom0: the one that it leaves, then the one that it comes to.
        let dom0 = &pool.hosts[0];
        let home = format!("ping -c 1 -W 1 {ADDRESS} >/dev/null 2>&1 && echo heard || true");
        eventually("its network is up", || Ok(dom0.ssh(&home)?.contains("heard")))?;
        let peer = dom0.peer_of(ADDRESS)?;
        thread::sleep(PEACE);
        let moved = moved(pool);
        // A silence that has no end is no gap.
        let heard = eventually("it is heard again", || Ok(dom0.ssh(&home)?.contains("heard")));
        thread::sleep(PEACE);
        let away = peer.stop()?;
        let told = heard.and(moved).with_context(|| format!("{away:?}"))?;
        ensure!(told.contains("NIC 0 used again after"), "its NIC is not told of: {told}");
        println!("away for {} ms, {away:?}", away.gap_ms);
        ensure!(away.answered > 0, "it never answered: {away:?}");
        ensure!(away.lost_outside_gap == 0, "answers are missing beside the gap: {away:?}");
    }
    pool.remove(NOMAD)
}

fn many(pool: &mut LabPool) -> Result<()> {
    create(pool)?;
    let held = held_kib(pool)?;
    let count = if pool.is_full { MOVES_FULL } else { MOVES };
    (1..=count).try_for_each(|move_number| {
        moved(pool).map(drop).with_context(|| format!("move {move_number} of {count}"))
    })?;
    eventually("it holds what it held", || Ok(held_kib(pool)? == held))?;
    pool.remove(NOMAD)
}

/// By Xen's count, as its agent tells it.
fn held_kib(pool: &LabPool) -> Result<u64> {
    let shown = pool.ctl.json(&["vm", "show", NOMAD])?;
    shown["memory_now_kib"].as_u64().with_context(|| format!("no memory: {shown}"))
}

/// Wherever it is then, it is whole, and on one host.
fn is_on_one_host(pool: &LabPool, before: &Guest) -> Result<()> {
    pool.until_phase(NOMAD, "Running")?;
    let here = pool.host_of(NOMAD)?.clone();
    is_gone_from(other(pool, &here)?)?;
    goes_on(pool, before)
}

/// Begins to move it; the task, and the host that it is on.
fn begin(pool: &LabPool) -> Result<(String, LabHost)> {
    let from = pool.host_of(NOMAD)?.clone();
    let to = other(pool, &from)?.name.clone();
    let far = ["--to", &to, "--downtime-max", DOWNTIME_MS, "--no-wait"];
    let begun = pool.ctl.json(&[&["vm", "migrate", NOMAD][..], &far].concat())?;
    let task = begun["task"].as_str().with_context(|| format!("no task: {begun}"))?;
    Ok((task.to_owned(), from))
}

fn cancel(pool: &mut LabPool) -> Result<()> {
    cancelled(pool, "pvh")
}

pub(super) fn cancelled(pool: &mut LabPool, kind: &str) -> Result<()> {
    create_of(pool, kind)?;
    for moment in MOMENTS {
        let before = Guest::look(&pool.ctl, NOMAD)?.context("the guest is silent")?;
        let (task, _) = begin(pool)?;
        thread::sleep(moment);
        // One that is done already says so.
        let _ = pool.ctl.run(&["task", "cancel", &task])?;
        let _ = pool.ctl.run(&["task", "wait", &task])?;
        is_on_one_host(pool, &before).with_context(|| format!("cancelled after {moment:?}"))?;
    }
    pool.remove(NOMAD)
}

fn agents_die(pool: &mut LabPool) -> Result<()> {
    agents_killed(pool, "pvh")
}

pub(super) fn agents_killed(pool: &mut LabPool, kind: &str) -> Result<()> {
    create_of(pool, kind)?;
    for of_source in [true, false] {
        let before = Guest::look(&pool.ctl, NOMAD)?.context("the guest is silent")?;
        let from = pool.host_of(NOMAD)?.clone();
        let to = other(pool, &from)?.clone();
        let (ctl, name) = (pool.ctl.clone(), to.name.clone());
        let migrating = thread::spawn(move || {
            ctl.run(&["vm", "migrate", NOMAD, "--to", &name, "--downtime-max", DOWNTIME_MS])
        });
        thread::sleep(Duration::from_millis(1200));
        let victim = if of_source { &from } else { &to };
        victim.kill_agent()?;
        victim.start_agent()?;
        // Whether it was through before is not known; that it ends is.
        migrating.join().map_err(|_| anyhow!("vmmctl's thread"))??.ok();
        is_on_one_host(pool, &before)
            .with_context(|| format!("agent on {} killed", victim.name))?;
    }
    pool.remove(NOMAD)
}

fn link_cut(pool: &mut LabPool) -> Result<()> {
    cut_off(pool, "pvh")
}

/// Both hosts live and the manager hears them; only they do not hear each other.
pub(super) fn cut_off(pool: &mut LabPool, kind: &str) -> Result<()> {
    create_of(pool, kind)?;
    for moment in CUTS {
        let before = Guest::look(&pool.ctl, NOMAD)?.context("the guest is silent")?;
        let (task, from) = begin(pool)?;
        thread::sleep(moment);
        pool.links.iter().for_each(Relay::cut);
        let ended = pool.ctl.run(&["task", "wait", &task]);
        pool.links.iter().for_each(Relay::mend);
        let ended = ended?;
        is_on_one_host(pool, &before).with_context(|| format!("cut after {moment:?}"))?;
        let here = pool.host_of(NOMAD)?.name == from.name;
        match ended {
            // It was through before the cut.
            Ok(_) if !here => {}
            Err(refused) if here => println!("cut after {moment:?}: {}", refused.message.trim()),
            ended => bail!("cut after {moment:?}: {ended:?}, and it is on its source: {here}"),
        }
    }
    moved(pool).context("after the cuts")?;
    pool.remove(NOMAD)
}
