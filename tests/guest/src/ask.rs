//! Asks a peer over UDP, four times a second, and counts the answers: whether a NIC carries traffic both ways, and how much is lost.
//!
//! The peer runs `echo`. No NIC, no route and no answer are what is measured, not errors.

use std::io::Result;
use std::net::{Ipv4Addr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use crate::tally::Tally;

const PORT: u16 = 7;
const PERIOD: Duration = Duration::from_millis(250);
/// Longer than most answers of an emulated host take.
const ANSWER_WAIT: Duration = Duration::from_millis(500);
const PACKET_BYTES: usize = 512;

pub(crate) fn forever(peer: Ipv4Addr, tally: &Tally) {
    let mut count = 0_u64;
    loop {
        let start = Instant::now();
        count += 1;
        Tally::add(&tally.asked_packets, 1);
        if once(peer, PORT, count).is_ok_and(|answered| answered) {
            Tally::add(&tally.answered_packets, 1);
        }
        thread::sleep(PERIOD.saturating_sub(start.elapsed()));
    }
}

/// A socket a question: the address of a NIC that was plugged in again may be another.
fn once(peer: Ipv4Addr, port: u16, count: u64) -> Result<bool> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(ANSWER_WAIT))?;
    let mut packet = [0_u8; PACKET_BYTES];
    packet[..8].copy_from_slice(&count.to_le_bytes());
    socket.send_to(&packet, (peer, port))?;
    let mut answer = [0; PACKET_BYTES];
    let (size, _) = socket.recv_from(&mut answer)?;
    Ok(size == PACKET_BYTES && answer == packet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_when_it_is_the_question() {
        for (change, expect) in [(0, true), (1, false)] {
            let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let port = peer.local_addr().unwrap().port();
            let answer = thread::spawn(move || {
                let mut packet = [0; PACKET_BYTES];
                let (_, from) = peer.recv_from(&mut packet).unwrap();
                packet[PACKET_BYTES - 1] ^= change;
                peer.send_to(&packet, from).unwrap();
            });
            assert_eq!(once(Ipv4Addr::LOCALHOST, port, 7).unwrap(), expect);
            answer.join().unwrap();
        }
    }
}
