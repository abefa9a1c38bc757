//! `lab-echo`: how long a guest was away, as its peer on the network sees it.
//!
//! ```text
//!   a number every 20 ms ──► UDP ──► the guest's `echo` ──► the same number ──► when it came
//! ```
//!
//! Runs until its standard input ends, then waits a moment for what is still under way and prints one JSON object. The longest time
//! between two answers is the gap: the standstill of a guest that moved, its network's way to the new place included, to within the
//! period and what an emulated dom0 takes to wake up. Numbers that were never answered are counted on either side of it apart.
//! Fails when the socket cannot be made.

use std::io::Read as _;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;

const PERIOD: Duration = Duration::from_millis(20);
const PACKET_BYTES: usize = 64;
/// How long a socket waits before it looks whether it is over.
const LOOK: Duration = Duration::from_millis(100);
/// An answer that takes longer is lost.
const LATE: Duration = Duration::from_secs(2);

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
    let (over, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (told, asked) = (Arc::clone(&over), Arc::clone(&sent));
    let asking = socket.try_clone()?;
    thread::spawn(move || ask(&asking, &told, &asked));
    thread::spawn({
        let over = Arc::clone(&over);
        move || {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            over.store(true, Relaxed);
        }
    });
    let answers = listen(&socket, &over);
    println!("{}", Away::read(&answers, sent.load(Relaxed)).to_json());
    Ok(())
}

fn ask(socket: &UdpSocket, over: &AtomicBool, sent: &AtomicU64) {
    let mut due = Instant::now();
    while !over.load(Relaxed) {
        let number = sent.fetch_add(1, Relaxed);
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
fn listen(socket: &UdpSocket, over: &AtomicBool) -> Vec<(u64, Duration)> {
    let start = Instant::now();
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
    /// The longest first.
    gaps: Vec<Duration>,
    /// Of what was sent before the last answer before the gap, or after the first one after it.
    lost_outside: u64,
}

impl Away {
    fn read(answers: &[(u64, Duration)], sent: u64) -> Self {
        let pairs = || answers.windows(2).map(|pair| (pair[1].1.saturating_sub(pair[0].1), pair));
        let mut gaps: Vec<_> = pairs().map(|(gap, _)| gap).collect();
        gaps.sort_unstable();
        gaps.reverse();
        gaps.truncate(3);
        let longest = pairs().max_by_key(|(gap, _)| *gap);
        let inside = longest.map_or(0, |(_, pair)| pair[1].0.saturating_sub(pair[0].0 + 1));
        let answered = answers.len() as u64;
        Self { sent, answered, gaps, lost_outside: sent.saturating_sub(answered + inside) }
    }

    fn to_json(&self) -> serde_json::Value {
        let gaps: Vec<_> = self.gaps.iter().map(|gap| gap.as_millis()).collect();
        json!({
            "sent": self.sent,
            "answered": self.answered,
            "gap_ms": gaps.first().copied().unwrap_or(0),
            "gaps_ms": gaps,
            "lost_outside_gap": self.lost_outside,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_silence_is_the_gap_and_what_was_lost_in_it_is_no_loss_beside_it() {
        let ms = Duration::from_millis;
        let answers = [(0, ms(5)), (1, ms(25)), (3, ms(65)), (40, ms(900)), (41, ms(910))];
        let away = Away::read(&answers, 42);
        assert_eq!(away.gaps, [ms(835), ms(40), ms(20)]);
        // Number 2.
        assert_eq!((away.answered, away.lost_outside), (5, 1));
        assert_eq!(Away::read(&[], 7).lost_outside, 7);
    }
}
