//! `lab-echo`: how long a guest was away, as its peer on the network sees it.
//!
//! ```text
//!   a number every 20 ms ──► UDP ──► the guest's `echo` ──► the same number ──► when it came
//! ```
//!
//! Runs until its standard input ends, then waits a moment for what is still under way and prints one JSON object. The longest time
//! between two answers is the gap: the standstill of a guest that moved, its network's way to the new place included, to within the
//! period and what an emulated dom0 takes to wake up. Numbers that were never answered are counted on either side of it apart: those that were
//! sent before the last answer's or after the gap. One that a bridge kept and that is answered late ends the gap and does not split it.
//! Fails when the socket cannot be made.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use serde_json::json;

const PERIOD: Duration = Duration::from_millis(20);
const PACKET_BYTES: usize = 64;
const WAITING_BYTES: usize = 8 << 20;
/// How long a socket waits before it looks whether it is over.
const LOOK: Duration = Duration::from_millis(100);
/// An answer that takes longer is lost.
const LATE: Duration = Duration::from_secs(2);
/// How many are told.
const GAPS: usize = 5;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab-echo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let peer = std::env::args().nth(1).context("usage: lab-echo ADDRESS:PORT")?;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).context("make a socket")?;
    socket.connect(&peer).with_context(|| format!("reach {peer}"))?;
    socket.set_read_timeout(Some(LOOK))?;
    // What waits while this host has no time is late, and not lost.
    let _ = set_socket_recv_buffer_size_force(&socket, WAITING_BYTES);
    let (over, start) = (Arc::new(AtomicBool::new(false)), Instant::now());
    let sent = Arc::new(Mutex::new(Vec::new()));
    let (told, asked) = (Arc::clone(&over), Arc::clone(&sent));
    let asking = socket.try_clone()?;
    thread::spawn(move || ask(&asking, &told, start, &asked));
    thread::spawn({
        let over = Arc::clone(&over);
        move || {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            over.store(true, Relaxed);
        }
    });
    let answers = listen(&socket, &over, start);
    let sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
    println!("{}", Away::read(&answers, &sent).to_json());
    Ok(())
}

/// Sends numbers; writes down when each was sent.
fn ask(socket: &UdpSocket, over: &AtomicBool, start: Instant, sent: &Mutex<Vec<Duration>>) {
    let mut due = Instant::now();
    for number in 0_u64.. {
        if over.load(Relaxed) {
            return;
        }
        sent.lock().unwrap_or_else(PoisonError::into_inner).push(start.elapsed());
        let mut packet = [0; PACKET_BYTES];
        packet[..8].copy_from_slice(&number.to_le_bytes());
        // One that cannot be sent is one that is not answered.
        let _ = socket.send(&packet);
        // A pause of this host must not be followed by a burst.
        due = (due + PERIOD).max(Instant::now());
        thread::sleep(due.saturating_duration_since(Instant::now()).max(PERIOD / 2));
    }
}

/// Numbers as they came back, and when.
fn listen(socket: &UdpSocket, over: &AtomicBool, start: Instant) -> Vec<(u64, Duration)> {
    let (mut answers, mut ended) = (Vec::new(), None);
    let mut packet = [0; PACKET_BYTES];
    loop {
        if over.load(Relaxed) && ended.get_or_insert_with(Instant::now).elapsed() > LATE {
            return answers;
        }
        // No answer in time, or nobody there: the next look.
        let Ok(PACKET_BYTES) = socket.recv(&mut packet) else { continue };
        let Ok(number) = packet[..8].try_into() else { continue };
        answers.push((u64::from_le_bytes(number), start.elapsed()));
    }
}

/// What the answers say.
#[derive(Debug, PartialEq)]
struct Away {
    sent: u64,
    answered: u64,
    /// When each began, and how long it was; the longest first.
    gaps: Vec<(Duration, Duration)>,
    /// Of what was sent before the question of the last answer before the gap, or after the gap.
    lost_outside: u64,
    /// Of each second: how many of its questions were never answered, when any.
    lost_at: BTreeMap<u64, u64>,
}

impl Away {
    /// `sent` is when each number was, `answers` are numbers and when they came back.
    fn read(answers: &[(u64, Duration)], sent: &[Duration]) -> Self {
        let pairs = || answers.windows(2).map(|pair| (pair[1].1.saturating_sub(pair[0].1), pair));
        let mut gaps: Vec<_> = pairs().map(|(gap, pair)| (pair[0].1, gap)).collect();
        gaps.sort_by_key(|(_, gap)| Reverse(*gap));
        gaps.truncate(GAPS);
        let longest = pairs().max_by_key(|(gap, _)| *gap);
        let of_gap = longest.map_or(0..0, |(_, pair)| {
            let end = sent.partition_point(|at| *at < pair[1].1) as u64;
            pair[0].0 + 1..end
        });
        let answered: BTreeSet<u64> = answers.iter().map(|(number, _)| *number).collect();
        let is_lost = |number: &u64| !answered.contains(number);
        let lost = || (0..).zip(sent).filter(|(number, _)| is_lost(number));
        let mut lost_at = BTreeMap::new();
        for (_, at) in lost() {
            *lost_at.entry(at.as_secs()).or_default() += 1;
        }
        let lost_outside = lost().filter(|(number, _)| !of_gap.contains(number)).count() as u64;
        let (sent, answered) = (sent.len() as u64, answered.len() as u64);
        Self { sent, answered, gaps, lost_outside, lost_at }
    }

    fn to_json(&self) -> serde_json::Value {
        let ms = |gap: &(Duration, Duration)| (gap.0.as_millis(), gap.1.as_millis());
        let gaps: Vec<_> = self.gaps.iter().map(ms).collect();
        json!({
            "sent": self.sent,
            "answered": self.answered,
            "gap_ms": gaps.first().map_or(0, |gap| gap.1),
            "gaps_ms": gaps,
            "lost_outside_gap": self.lost_outside,
            "lost_at_s": self.lost_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_silence_is_the_gap_and_what_was_lost_in_it_is_no_loss_beside_it() {
        let ms = Duration::from_millis;
        let sent: Vec<_> = (0..50).map(|number| ms(20 * number)).collect();
        // Number 2 is lost before, 44 after. 5 was kept, and is answered when the guest is back.
        let answers = [(0, 5), (1, 25), (3, 65), (5, 850), (41, 855), (43, 870)];
        let later = (45..50).map(|number| (number, 20 * number + 5));
        let answers: Vec<_> =
            answers.into_iter().chain(later).map(|(number, at)| (number, ms(at))).collect();
        let away = Away::read(&answers, &sent);
        assert_eq!(away.gaps[..3], [(ms(65), ms(785)), (ms(25), ms(40)), (ms(870), ms(35))]);
        assert_eq!((away.sent, away.answered, away.lost_outside), (50, 11, 2));
        assert_eq!(Away::read(&[], &sent[..7]).lost_outside, 7);
    }
}
