//! A guest that moves to and fro between two hosts, ours beside `xl migrate`: bytes, rounds, time, and how long it was away.
//!
//! ```text
//!   ours   vmmctl ─► manager ─► agent ─┐                            ┌─► agent             ─► guest
//!                                      ├─► relay: counts, a rate ───┤
//!   xl     xl migrate -s '' │ cat ─────┘                            └─► nc -e xl migrate-receive ─► guest
//!                             a peer in the first host's dom0 asks the guest's echo all the while
//! ```
//!
//! Both sides move the same guest with the same NIC and the same writer over the same port, counted and slowed by the same relay. xl
//! goes without ssh, which costs it least: a pipe into a socket, and a receiver whose input is the socket itself. Its bytes travel in
//! clear where ours are encrypted twice. Its time is taken around the
//! command in dom0, ours around `vmmctl`. Downtime is the longest time between two answers of the guest's echo, whoever moves it, to
//! within 20 ms and an emulated processor's moods.

use std::cell::RefCell;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use vmm_e2e::lab::{
    Away, Ctl, Figures, Goal, Guest, LabHost, ManagerProcess, Relay, eventually, passes,
};

/// What the link between the hosts carries, in either direction. An emulated dom0 does nothing faster than a thirtieth of what a real one does:
/// this is to it what a gigabit is to that.
const LINK_BYTES_PER_S: u64 = 4_000_000;
const RAM_BYTES: f64 = (128 << 20) as f64;
const NAME: &str = "wanderer";
const ADDRESS: &str = "10.77.0.80";
const MAC: &str = "00:16:3e:77:00:01";
/// What ours may lose of its time before that. The usual 5 s let no guest write so much: what is hot takes 8 s of the link.
const SLOWDOWN_MS: &str = "20000";
/// What ours may stand still for. Emulated, stop and start alone take more than the 300 ms that are usual; xl has no such limit.
const DOWNTIME_MS: &str = "2000";
/// Several times what xl takes where it ends at all.
const XL_LIMIT_S: u32 = 300;
/// A move of xl that stood still is told, and tried again with a new guest.
const XL_TRIES: usize = 3;
/// How long its peer asks before and after.
const PEACE: Duration = Duration::from_secs(2);
/// What is said of each row.
const NOTE: &str = "xl migrate -s '' into a bare socket, without ssh and in clear; one relay of 4 MB/s for both; downtime: the longest silence of \
     the guest's echo, asked every 20 ms from the first host's dom0";

/// What is compared, and what the guest does meanwhile.
pub(crate) const WRITERS: &[(&str, &str)] =
    &[("idle", "idle"), ("moderate", "dirty:1:8"), ("hot", "dirty:8:32")];

/// What xl takes is 1.
const GOALS: &[Goal] = &[
    ("idle: bytes to RAM", "ours", "xl", 0.25),
    ("moderate: bytes to RAM", "ours", "xl", 0.4),
    ("moderate: downtime", "ours", "xl", 0.5),
    ("hot: downtime", "ours", "xl", 0.25),
];

/// Two hosts, a relay before each, and a manager.
struct Ways {
    hosts: Vec<LabHost>,
    relays: Vec<Relay>,
    ctl: Ctl,
    manager: RefCell<ManagerProcess>,
    _directory: tempfile::TempDir,
}

/// One move.
struct Moved {
    time_s: f64,
    rounds: f64,
    /// What was taken of its time while it ran.
    slowed_s: f64,
}

/// All rows. `only` names writers; all, if it is empty.
pub(crate) fn rows(hosts: &Path, rounds: usize, only: &[String]) -> Result<Vec<Value>> {
    let ways = Ways::start(hosts)?;
    let mut figures = Figures::default();
    for (name, work) in WRITERS {
        if !only.is_empty() && !only.iter().any(|only| only == name) {
            continue;
        }
        let words = |error: anyhow::Error| error.context(ways.words());
        ways.ours(name, work, rounds, &mut figures).map_err(words)?;
        ways.xl(name, work, rounds, &mut figures)?;
    }
    let mut rows = [figures.medians(), figures.ratios(GOALS)].concat();
    for row in &mut rows {
        row["note"] = NOTE.into();
    }
    Ok(rows)
}

impl Ways {
    fn start(hosts: &Path) -> Result<Self> {
        let hosts = LabHost::load(hosts)?;
        ensure!(hosts.len() >= 2, "a move takes two hosts; `cargo xtask xenlab up 2`");
        let relays: Vec<_> = hosts
            .iter()
            .map(|host| Relay::start(&host.agent, Some(LINK_BYTES_PER_S)))
            .collect::<Result<_>>()?;
        let hosts: Vec<_> = hosts
            .into_iter()
            .zip(&relays)
            .map(|(host, relay)| host.behind(relay.address()))
            .collect();
        let directory = tempfile::tempdir()?;
        let programs = std::env::current_exe()?;
        let mut manager = ManagerProcess::init(
            programs.with_file_name("vmm-manager"),
            &directory.path().join("manager"),
        )?;
        let user = manager.issue("admin", "bench")?;
        manager.start()?;
        let ctl = Ctl::new(programs.with_file_name("vmmctl"), manager.address().to_owned(), &user);
        for host in &hosts {
            host.install_agent(&manager.issue("agent", &host.name)?)?;
            ctl.text(&["host", "add", &host.name, &host.agent])?;
        }
        Ok(Self { hosts, relays, ctl, manager: RefCell::new(manager), _directory: directory })
    }

    fn words(&self) -> String {
        let agents: Vec<_> = self.hosts.iter().map(LabHost::agent_log).collect();
        format!("{}\n{}", self.manager.borrow().log(), agents.join("\n"))
    }

    /// Counted at the relays, and seen from the guest's network.
    fn measure(
        &self,
        (writer, who): (&str, &str),
        figures: &mut Figures,
        go: impl FnOnce() -> Result<Moved>,
    ) -> Result<()> {
        let bytes = || self.relays.iter().map(Relay::bytes).sum::<u64>();
        let peer = self.hosts[0].peer_of(ADDRESS)?;
        thread::sleep(PEACE);
        let before = bytes();
        let moved = go();
        let passed = bytes() - before;
        let moved = match moved {
            Ok(moved) => moved,
            Err(error) => return Err(error.context(format!("{writer}, {who}: {:?}", peer.stop()?))),
        };
        // Its network may come back long after the toolstack has ended, and a silence that has no end is no gap.
        let heard = self.until_it_answers();
        thread::sleep(PEACE);
        let away = peer.stop()?;
        heard.with_context(|| format!("{writer}, {who}: {away:?}"))?;
        #[allow(clippy::cast_precision_loss, reason = "bytes and milliseconds of a short run")]
        let (share, gap_s, lost) =
            (passed as f64 / RAM_BYTES, away.gap_ms as f64 / 1000.0, away.lost_outside_gap as f64);
        told(writer, who, &moved, share, &away);
        figures.add(&format!("{writer}: bytes to RAM"), who, share);
        figures.add(&format!("{writer}: time"), who, moved.time_s);
        figures.add(&format!("{writer}: downtime"), who, gap_s);
        figures.add(&format!("{writer}: answers lost beside the gap"), who, lost);
        figures.add(&format!("{writer}: rounds"), who, moved.rounds);
        figures.add(&format!("{writer}: slowed down"), who, moved.slowed_s);
        Ok(())
    }

    /// Until somebody in the first dom0 gets an answer.
    fn until_it_answers(&self) -> Result<()> {
        let ping = format!("ping -c 1 -W 1 {ADDRESS} >/dev/null 2>&1 && echo heard || true");
        eventually("the guest answers", || Ok(self.hosts[0].ssh(&ping)?.contains("heard")))
    }

    fn ours(&self, writer: &str, work: &str, rounds: usize, figures: &mut Figures) -> Result<()> {
        eventually("both hosts are up", || {
            let hosts = self.ctl.json(&["host", "list"])?;
            let mut hosts = hosts.as_array().into_iter().flatten();
            Ok(hosts.all(|host| host["health"] == "Up"))
        })?;
        let nic = format!("br0,mac={MAC}");
        let cmdline = cmdline(work);
        self.ctl.text(&[
            "vm",
            "create",
            NAME,
            "--kernel",
            "/g/vmlinux",
            "--initramfs",
            "/g/guest.cpio.gz",
            "--memory",
            "128M",
            "--nic",
            &nic,
            "--cmdline",
            &cmdline,
        ])?;
        let first = Guest::until(&self.ctl, NAME, "it speaks", |guest| guest.number("t") > 0)?;
        for _ in 0..rounds {
            self.until_it_answers()?;
            self.measure((writer, "ours"), figures, || self.ours_once())?;
        }
        let t = Guest::look(&self.ctl, NAME)?.map_or(0, |guest| guest.number("t"));
        let last = Guest::until(&self.ctl, NAME, "it goes on", |guest| guest.number("t") > t)?;
        ensure!(last.word("boot") == first.word("boot"), "it has rebooted: {first:?} {last:?}");
        ensure!(last.word("selfcheck") == "ok", "its memory was damaged: {last:?}");
        self.ctl.text(&["vm", "destroy", NAME])?;
        self.ctl.text(&["vm", "delete", NAME]).map(drop)
    }

    fn ours_once(&self) -> Result<Moved> {
        let here = self.ctl.json(&["vm", "show", NAME])?["host"].clone();
        let to = self.hosts.iter().find(|host| here != host.name.as_str());
        let to = &to.context("a second host")?.name;
        let start = Instant::now();
        let limits = ["--downtime-max", DOWNTIME_MS, "--slowdown-max", SLOWDOWN_MS];
        let migrate = ["vm", "migrate", NAME, "--to", to];
        let done = self.ctl.json(&[migrate.as_slice(), &limits].concat())?.to_string();
        let time_s = start.elapsed().as_secs_f64();
        let said = |words| number_before(&done, words).with_context(|| done.clone());
        let slowed_s = said(" ms slowed down")? / 1000.0;
        Ok(Moved { time_s, rounds: said(" rounds")?, slowed_s })
    }

    /// Without agents: their port is xl's door now, and they would take time of the same processor. Without the manager, who would knock
    /// at that door.
    fn xl(&self, writer: &str, work: &str, rounds: usize, figures: &mut Figures) -> Result<()> {
        self.manager.borrow_mut().kill()?;
        self.hosts.iter().try_for_each(LabHost::kill_agent)?;
        let cmdline = cmdline(work);
        let config = format!(
            "name=\"{NAME}\"\ntype=\"pvh\"\nkernel=\"/g/vmlinux\"\nramdisk=\"/g/guest.cpio.gz\"\n\
             extra=\"{cmdline}\"\nmemory=128\nvcpus=1\nvif=[\"bridge=br0,mac={MAC}\"]\n"
        );
        for host in &self.hosts {
            host.upload("/tmp/wanderer.cfg", config.as_bytes())?;
        }
        self.hosts[0].ssh(XL_CREATE)?;
        for round in 0..rounds {
            let (from, to) = (round % 2, 1 - round % 2);
            for tried in 1.. {
                self.until_it_answers()?;
                let moved = self.measure((writer, "xl"), figures, || self.xl_once(from, to));
                match moved {
                    Ok(()) => break,
                    Err(error) if tried == XL_TRIES => return Err(error),
                    Err(error) => println!("{writer}, xl: tried again: {error:#}"),
                }
                for host in &self.hosts {
                    // As xl calls its halves, too.
                    host.ssh(&format!(
                        "killall -q -9 xl nc cat dd; for n in {NAME} {NAME}--incoming {NAME}--migratedaway; do xl destroy $n >&2; done; true"
                    ))?;
                }
                self.hosts[from].ssh(XL_CREATE)?;
            }
        }
        self.hosts[rounds % 2].ssh(&format!("xl destroy {NAME} >&2"))?;
        self.hosts.iter().try_for_each(LabHost::start_agent)?;
        self.manager.borrow_mut().start()
    }

    fn xl_once(&self, from: usize, to: usize) -> Result<Moved> {
        let door = self.relays[to].address().replace("127.0.0.1:", "10.0.2.2/");
        // Not `cat` on the way back: busybox splices, and a splice that waits for the socket keeps the pipe locked, so that xl cannot read
        // what is in it already.
        let send = format!("exec 3<>/dev/tcp/{door}\ndd bs=4096 <&3 2>/dev/null &\ncat >&3\n");
        self.hosts[from].upload("/tmp/send.sh", send.as_bytes())?;
        self.hosts[to].upload("/tmp/receive.sh", RECEIVE)?;
        self.hosts[to].ssh(
            "setsid nc -l -p 7443 -e /bin/sh /tmp/receive.sh >/dev/null 2>/tmp/nc.log </dev/null & true",
        )?;
        // 7443 in hexadecimal, and listening.
        eventually("the door is open", || {
            Ok(self.hosts[to].ssh("cat /proc/net/tcp /proc/net/tcp6")?.contains(":1D13 "))
        })?;
        let tap = self.relays[to].tap();
        let counting = thread::spawn(|| passes(tap));
        let output = self.hosts[from].ssh(&format!(
            "read a x < /proc/uptime; timeout {XL_LIMIT_S} xl migrate -s '' {NAME} 'bash /tmp/send.sh' >/tmp/migrate.log 2>&1; s=$?; \
             read b x < /proc/uptime; echo $s $a $b; cat /tmp/migrate.log"
        ))?;
        let (numbers, log) = output.split_once('\n').unwrap_or((&output, ""));
        let numbers: Vec<f64> =
            numbers.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [status, start, end] = numbers[..] else { bail!("xl's times: {output}") };
        let there = self.hosts[to].xl_list()?.iter().any(|row| row.name == NAME);
        if status != 0.0 || !there {
            let other = self.hosts[to].ssh("cat /tmp/nc.log /tmp/receive.log")?;
            bail!("xl migrate ended with {status}, there: {there}: {log}\n{other}");
        }
        let rounds = counting.join().expect("it does not panic").context("what xl sent")?;
        Ok(Moved { time_s: end - start, rounds: f64::from(rounds), slowed_s: 0.0 })
    }
}

const XL_CREATE: &str = "xl create -q /tmp/wanderer.cfg >&2";
/// Its words must not get into the stream.
const RECEIVE: &[u8] = b"exec xl migrate-receive 2>/tmp/receive.log\n";

fn cmdline(work: &str) -> String {
    format!("console=hvc0 quiet workload={work},echo addr={ADDRESS}/24")
}

fn told(writer: &str, who: &str, moved: &Moved, share: f64, away: &Away) {
    println!(
        "{writer}, {who}: {share:.2} of RAM, {:.1} s, {} rounds, {:.1} s slowed down, away {:?} ms, lost beside it {}",
        moved.time_s, moved.rounds, moved.slowed_s, away.gaps_ms, away.lost_outside_gap
    );
}

/// The number that stands before these words, where they come last.
fn number_before(text: &str, words: &str) -> Option<f64> {
    let before = &text[..text.rfind(words)?];
    before.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_from_a_tasks_words() {
        let said = "32 MiB sent for 128 MiB of memory, 147 rounds, 3 ms, 250 ms slowed down";
        assert_eq!(number_before(said, " rounds"), Some(147.0));
        assert_eq!(number_before(said, " ms slowed down"), Some(250.0));
        assert_eq!(number_before("", " rounds"), None);
    }
}
