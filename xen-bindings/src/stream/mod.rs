//! Xen's migration streams, read and written in safe code.
//!
//! ```text
//!   xl's save file     xl::Header          48 bytes, then the domain's configuration as JSON
//!    └─ libxl stream   libxl::Reader       "LibxlFmt", records; one of them says: libxc's image follows
//!        └─ image      image::ImageReader  two headers, then records: static data, pages, the machine's state, END
//! ```
//!
//! A [`GuestImage`](crate::GuestImage) reads and writes the innermost of the three, `xl save` all of them. Each layer has a reader and a writer; readers
//! take an [`Input`], which counts bytes for errors, give it back when they are done, and never read a byte too many:
//!
//! ```
//! use xen_bindings::stream::{Input, Output, image, libxl, xl};
//! # fn copy(from: impl std::io::Read, to: impl std::io::Write) -> Result<(), xen_bindings::stream::StreamError> {
//! let (mut input, mut output) = (Input::new(from), Output::new(to));
//! xl::Header::read(&mut input)?.write(&mut output)?;
//! let mut reader = libxl::Reader::open(input)?.into_image(image::Limits::default())?;
//! let mut writer = libxl::Writer::begin(output)?.into_image(reader.header())?;
//! while let Some(record) = reader.next()? {
//!     writer.write(&record)?;
//! }
//! libxl::Reader::resume(reader.into_input()?).expect_end()?;
//! libxl::Writer::resume(writer.into_output()?).end()?;
//! # Ok(())
//! # }
//! ```
//!
//! What is ours alone (encodings of pages, what a balloon gave back) has no place in here: Xen's receiver skips a record that is
//! marked optional, reports success, and the guest breaks later and in silence. So private records are not even expressible; a proxy
//! before the receiver turns what is ours into what Xen knows.
//!
//! # How it fails
//!
//! With a [`StreamError`]: which part, at which byte, and what is wrong with it. A reader takes a length for true only after it has
//! compared it with a limit, and allocates as bytes come in, so that a stream of eight bytes cannot cost more than a page. Unknown
//! records that must be understood, records at the wrong place, reserved bits and padding that are not zero are all refused: there is
//! no half understood guest. After an error a reader or writer is of no further use.

mod error;
mod frame;
pub mod image;
mod input;
pub mod libxl;
mod output;
pub mod xl;

pub use error::{Fault, Part, StreamError};
pub use input::Input;
pub use output::Output;
