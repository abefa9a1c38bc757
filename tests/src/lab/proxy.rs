//! A TCP proxy that records every byte in both directions.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use anyhow::Result;

/// Recorded at most; enough for a day of the lab, and a bound.
const RECORD_BYTES_MAX: usize = 64 << 20;

/// A proxy; its threads end with the connections.
pub struct Proxy {
    address: String,
    record: Arc<Mutex<Vec<u8>>>,
}

impl Proxy {
    /// Listens on a free port and passes everything on to `target`.
    ///
    /// # Errors
    /// No port could be bound.
    pub fn start(target: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let record = Arc::new(Mutex::new(Vec::new()));
        let (target, kept) = (target.to_owned(), Arc::clone(&record));
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if let Ok(far) = TcpStream::connect(&target) {
                    let _ = join(&near, &far, &kept);
                }
            }
        });
        Ok(Self { address, record })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Everything that went through, both directions.
    #[must_use]
    pub fn recorded(&self) -> Vec<u8> {
        self.record.lock().map(|bytes| bytes.clone()).unwrap_or_default()
    }
}

fn join(near: &TcpStream, far: &TcpStream, record: &Arc<Mutex<Vec<u8>>>) -> Result<()> {
    for (from, to) in [(near, far), (far, near)] {
        let (from, to, record) = (from.try_clone()?, to.try_clone()?, Arc::clone(record));
        std::thread::spawn(move || copy(from, to, &record));
    }
    Ok(())
}

fn copy(mut from: TcpStream, mut to: TcpStream, record: &Mutex<Vec<u8>>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if let Ok(mut bytes) = record.lock()
            && bytes.len() + count <= RECORD_BYTES_MAX
        {
            bytes.extend_from_slice(&buffer[..count]);
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
