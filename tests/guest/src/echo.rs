//! UDP echo on port 7: what comes in goes back, so that a peer can measure loss and how long a guest was away.

use std::io::Result;
use std::net::{Ipv4Addr, UdpSocket};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::set_socket_recv_buffer_size_force;

use crate::tally::Tally;

const PORT: u16 = 7;
const PACKET_MAX: usize = 2048;
/// A second of questions takes a quarter of a megabyte of it.
const WAITING_BYTES: usize = 8 << 20;
const RETRY: Duration = Duration::from_secs(1);

pub(crate) fn forever(tally: &Tally) {
    loop {
        // No NIC yet is no reason to stop: the socket is bound to every address, present and to come.
        if let Ok(socket) = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)) {
            // What waits while the guest has no processor is late, and not lost.
            let _ = set_socket_recv_buffer_size_force(&socket, WAITING_BYTES);
            let mut packet = [0; PACKET_MAX];
            while once(&socket, &mut packet, tally).is_ok() {}
        }
        thread::sleep(RETRY);
    }
}

fn once(socket: &UdpSocket, packet: &mut [u8], tally: &Tally) -> Result<()> {
    let (size, peer) = socket.recv_from(packet)?;
    // A packet that cannot go back is lost, which is what the peer measures.
    if socket.send_to(&packet[..size], peer).is_ok() {
        Tally::add(&tally.echoed_packets, 1);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_in_goes_back_to_its_sender() {
        let (guest, peer) = (local(), local());
        peer.send_to(b"hello", guest.local_addr().unwrap()).unwrap();
        let tally = Tally::default();
        once(&guest, &mut [0; PACKET_MAX], &tally).unwrap();
        let mut answer = [0; 16];
        assert_eq!(peer.recv(&mut answer).unwrap(), 5);
        assert_eq!(Tally::of(&tally.echoed_packets), 1);
    }

    fn local() -> UdpSocket {
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
    }
}
