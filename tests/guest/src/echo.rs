//! UDP echo on port 7: what comes in goes back, so that a peer can measure loss and how long a guest was away.

use std::net::{Ipv4Addr, UdpSocket};
use std::thread;
use std::time::Duration;

use crate::tally::Tally;

const PORT: u16 = 7;
const PACKET_MAX: usize = 2048;
const RETRY: Duration = Duration::from_secs(1);

pub(crate) fn forever(tally: &Tally) {
    let mut packet = [0; PACKET_MAX];
    loop {
        // No NIC yet is no reason to stop: the socket is bound to every address, present and to come.
        let Ok(socket) = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)) else {
            thread::sleep(RETRY);
            continue;
        };
        while let Ok((size, peer)) = socket.recv_from(&mut packet) {
            // A packet that cannot go back is lost, which is what the peer measures.
            if socket.send_to(&packet[..size], peer).is_ok() {
                Tally::add(&tally.echoed_packets, 1);
            }
        }
    }
}
