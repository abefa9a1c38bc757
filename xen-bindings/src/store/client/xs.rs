//! The traits of xenstore-rs, for code that is written against them.
//!
//! xenstore-rs defines transactions as traits and implements none; this client does.

use std::io;

use xenstore_rs::{Xs, XsTransaction, XsTransactionSpan};

use super::super::{StoreError, StoreOps, StorePath};
use super::ops::Scoped;
use super::{Client, Transaction};

/// Both implement [`Xs`] in the same words; a blanket implementation of a foreign trait is not allowed.
macro_rules! implement_xs {
    ($type:ty) => {
        impl Xs for $type {
            fn directory(&self, path: &str) -> io::Result<Vec<Box<str>>> {
                directory(self, path)
            }

            fn read(&self, path: &str) -> io::Result<Box<str>> {
                read(self, path)
            }

            fn write(&self, path: &str, data: &str) -> io::Result<()> {
                StoreOps::write(self, &parse(path)?, data.as_bytes()).map_err(to_io)
            }

            fn rm(&self, path: &str) -> io::Result<()> {
                StoreOps::remove(self, &parse(path)?).map_err(to_io)
            }
        }
    };
}

implement_xs!(Client);
implement_xs!(Transaction);

impl XsTransaction for Client {
    type Span = Transaction;

    fn transaction(&self) -> io::Result<Transaction> {
        Client::transaction(self).map_err(to_io)
    }
}

impl XsTransactionSpan for Transaction {
    fn commit(self) -> io::Result<()> {
        self.finish().map_err(to_io)
    }
}

fn directory(store: &impl Scoped, path: &str) -> io::Result<Vec<Box<str>>> {
    let names = StoreOps::directory(store, &parse(path)?).map_err(to_io)?;
    Ok(names.into_iter().map(String::into_boxed_str).collect())
}

fn read(store: &impl Scoped, path: &str) -> io::Result<Box<str>> {
    let value = StoreOps::read(store, &parse(path)?).map_err(to_io)?;
    let text = String::from_utf8(value)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(text.into_boxed_str())
}

fn parse(path: &str) -> io::Result<StorePath> {
    StorePath::new(path).map_err(to_io)
}

/// The kinds that xenstore-rs's own client answers.
fn to_io(error: StoreError) -> io::Error {
    let kind = match &error {
        StoreError::NotFound => io::ErrorKind::NotFound,
        StoreError::Exists | StoreError::Busy(_) => io::ErrorKind::AlreadyExists,
        StoreError::Access => io::ErrorKind::PermissionDenied,
        StoreError::Invalid(_) => io::ErrorKind::InvalidInput,
        StoreError::TooLarge => io::ErrorKind::InvalidData,
        StoreError::Quota => io::ErrorKind::OutOfMemory,
        StoreError::Conflict => io::ErrorKind::WouldBlock,
        StoreError::Disconnected(_) => io::ErrorKind::NotConnected,
        StoreError::Other(_) => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
