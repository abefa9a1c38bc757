//! What tools in a guest do for its toolstack: say in xenstore how much memory is free.
//!
//! Never fails: a line to xenstore that breaks is made anew.

use std::fs;
use std::io::{Error, ErrorKind, Result};
use std::thread;
use std::time::Duration;

use crate::report::field;
use crate::xenbus::Xenbus;

const NODE: &str = "data/meminfo_free";
const PERIOD: Duration = Duration::from_secs(2);

pub(crate) fn forever() {
    loop {
        // It moves, and its line to xenstore is another one there.
        let _ = tell();
        thread::sleep(PERIOD);
    }
}

/// What could be had without taking anything from anybody, page cache included.
fn tell() -> Result<()> {
    let memory = fs::read_to_string("/proc/meminfo")?;
    let free = field(&memory, "MemAvailable:");
    let free = free.ok_or_else(|| Error::new(ErrorKind::InvalidData, "no MemAvailable"))?;
    Xenbus::open()?.write(NODE, free.to_string().as_bytes()).map(drop)
}
