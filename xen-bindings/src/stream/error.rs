//! What is wrong with a stream, and where.

use std::fmt;
use std::io;

use super::{image, libxl};

/// A part of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// xl's header and the configuration behind it.
    XlHeader,
    /// libxl's header.
    LibxlHeader,
    /// A record of libxl's, by its number.
    LibxlRecord(u32),
    /// libxc's first header.
    ImageHeader,
    /// libxc's second header.
    DomainHeader,
    /// A record of libxc's, by its number.
    ImageRecord(u32),
    /// The eight bytes before a record.
    RecordHeader,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::XlHeader => f.write_str("xl's header"),
            Self::LibxlHeader => f.write_str("libxl's header"),
            Self::ImageHeader => f.write_str("the image header"),
            Self::DomainHeader => f.write_str("the domain header"),
            Self::RecordHeader => f.write_str("a record's header"),
            Self::LibxlRecord(number) => named(f, libxl::name(*number), *number),
            Self::ImageRecord(number) => named(f, image::name(*number), *number),
        }
    }
}

fn named(f: &mut fmt::Formatter<'_>, name: Option<&str>, number: u32) -> fmt::Result {
    match name {
        Some(name) => write!(f, "record {name}"),
        None => write!(f, "record {number:#x}"),
    }
}

/// What is wrong with a part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The bytes end.
    #[error("the stream ends within it")]
    Truncated,
    /// Whatever the stream comes from has failed.
    #[error("cannot be read: {}", io::Error::from_raw_os_error(*errno))]
    Unreadable {
        /// 0 when there was none.
        errno: i32,
    },
    /// Whatever the stream goes to has failed.
    #[error("cannot be written: {}", io::Error::from_raw_os_error(*errno))]
    Unwritable {
        /// 0 when there was none.
        errno: i32,
    },
    /// A field says what none may say.
    #[error("{field} is {value:#x}")]
    Field {
        /// Its name in Xen's documents.
        field: &'static str,
        /// What it says.
        value: u64,
    },
    /// Its length does not fit its contents.
    #[error("it has {length} bytes; {expect}")]
    Length {
        /// Of its body.
        length: u64,
        /// What its length must be.
        expect: &'static str,
    },
    /// Longer than any that is written.
    #[error("it has {length} bytes, {limit} at most")]
    TooLong {
        /// As it says.
        length: u64,
        /// The most that is taken.
        limit: u64,
    },
    /// The bytes up to the next multiple of eight must be zero.
    #[error("its padding is not zero")]
    Padding,
    /// A record that we do not know and that must not be skipped.
    #[error("it must be understood and is not known")]
    UnknownRecord,
    /// Text that is none.
    #[error("its text is not UTF-8, or does not end where it should")]
    Text,
    /// A record where it may not stand.
    #[error("it must not stand {0}")]
    Misplaced(&'static str),
    /// The end, and something never came.
    #[error("the stream comes to its end without {0}")]
    Missing(&'static str),
}

/// A stream that cannot be read, or cannot be written like that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{part} at byte {offset}: {fault}")]
pub struct StreamError {
    /// What it is about.
    pub part: Part,
    /// Where that part begins, from the stream's first byte.
    pub offset: u64,
    /// What is wrong.
    pub fault: Fault,
}

/// A part and where it begins: what an error is made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) part: Part,
    pub(super) offset: u64,
}

impl Place {
    pub(super) fn error(self, fault: Fault) -> StreamError {
        StreamError { part: self.part, offset: self.offset, fault }
    }

    pub(super) fn field(self, field: &'static str, value: impl Into<u64>) -> StreamError {
        self.error(Fault::Field { field, value: value.into() })
    }

    /// Fails unless the field has just this value.
    pub(super) fn expect<T: Into<u64> + PartialEq>(
        self,
        field: &'static str,
        value: T,
        expected: T,
    ) -> Result<(), StreamError> {
        if value == expected { Ok(()) } else { Err(self.field(field, value)) }
    }
}
