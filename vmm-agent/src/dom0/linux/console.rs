//! Terminals of xenconsoled, through rustix and tokio.

use std::io;
use std::path::Path;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rustix::fs::{Mode, OFlags};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use xen_bindings::DomId;

use super::LinuxDom0;
use crate::dom0::{ConsoleSource, Consoles, Dom0Error};

/// Bytes read from a terminal at once.
const CONSOLE_CHUNK: usize = 4096;
/// The longest last words that are waited for.
const REST_BYTES_MAX: usize = 1 << 20;

impl Consoles for LinuxDom0 {
    fn open_console(&self, _: DomId, tty: &str) -> Result<Box<dyn ConsoleSource>, Dom0Error> {
        let open = || -> io::Result<TtyConsole> {
            let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let terminal = rustix::fs::open(tty, flags, Mode::empty())?;
            // Else the terminal echoes what it prints back to the guest as input.
            let mut modes = tcgetattr(&terminal)?;
            modes.make_raw();
            tcsetattr(&terminal, OptionalActions::Now, &modes)?;
            Ok(TtyConsole { terminal: Receiver::from_owned_fd_unchecked(terminal)? })
        };
        match open() {
            Ok(console) => Ok(Box::new(console)),
            Err(error) => Err(Dom0Error::io("open the console", Path::new(tty), &error)),
        }
    }
}

/// The terminal of xenconsoled's, raw and non-blocking. To tokio it is one end of a pipe: something to be read when it is ready.
struct TtyConsole {
    terminal: Receiver,
}

impl ConsoleSource for TtyConsole {
    fn read(&mut self) -> BoxFuture<'_, Vec<u8>> {
        async {
            let mut chunk = [0; CONSOLE_CHUNK];
            loop {
                match self.terminal.read(&mut chunk).await {
                    Ok(count) => return chunk.iter().take(count).copied().collect(),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    // EIO: xenconsoled has closed its end.
                    Err(_) => return Vec::new(),
                }
            }
        }
        .boxed()
    }

    fn rest(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        let mut chunk = [0; CONSOLE_CHUNK];
        while text.len() < REST_BYTES_MAX {
            match self.terminal.try_read(&mut chunk) {
                Ok(count @ 1..) => text.extend(chunk.iter().take(count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_terminal_is_read_raw_until_its_other_end_closes() {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let tty = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let domid = DomId::new(1).unwrap();
        let mut console = LinuxDom0::default().open_console(domid, &tty).unwrap();
        let mut master = File::from(master);
        master.write_all(b"boot\r\n\x03").unwrap();
        assert_eq!(console.read().await, b"boot\r\n\x03");
        master.write_all(b"panic").unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(console.rest(), b"panic");
        drop(master);
        assert_eq!(console.read().await, b"");
    }
}
