//! Writing to stdout.

use std::io::{ErrorKind, Write as _};

use crate::failure::Failure;

/// A reader that has gone away is no failure.
pub(crate) fn write(bytes: &[u8]) -> Result<(), Failure> {
    write_while_read(bytes).map(|_| ())
}

/// False when the reader has gone away.
pub(crate) fn write_while_read(bytes: &[u8]) -> Result<bool, Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::Local(format!("writing to stdout failed: {error}"))),
    }
}
