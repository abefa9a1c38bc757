//! An image, written a record at a time.

use std::io::Write;
use std::iter;

use super::decode::{self, Body};
use super::encode;
use super::header::{self, DomainHeader};
use super::kind;
use super::order::Order;
use super::pages::{self, PageBytes, Pages};
use super::record::Record;
use crate::stream::Output;
use crate::stream::error::{Fault, Part, Place, StreamError};
use crate::stream::frame;

/// Writes an image. It refuses what a reader would refuse, before a byte of it is written.
#[derive(Debug)]
pub struct ImageWriter<W> {
    output: Output<W>,
    order: Order,
}

impl<W: Write> ImageWriter<W> {
    /// Writes the headers.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn begin(mut output: Output<W>, header: DomainHeader) -> Result<Self, StreamError> {
        header::write(&mut output, header)?;
        Ok(Self { output, order: Order::new(header.kind) })
    }

    /// Bytes written so far.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.output.offset()
    }

    /// What the image is written to, with all records so far.
    pub fn written(&self) -> &W {
        self.output.get_ref()
    }

    /// Writes one record. Pages go out as they lie, in one vectored write.
    ///
    /// # Errors
    /// For a record at the wrong place or one that no reader takes, such as one of no pages; when it cannot be written.
    pub fn write(&mut self, record: &Record<'_>) -> Result<(), StreamError> {
        let number = record.number();
        let place = self.output.here(Part::ImageRecord(number));
        match record {
            Record::Pages(pages) => self.pages(place, pages),
            _ => {
                let bytes = encode::body(record);
                let body = Body { place, bytes: &bytes };
                let checked = decode::record(number, body, self.order.width)?;
                self.order.admit(number).map_err(|fault| place.error(fault))?;
                if let Record::PvInfo(width) = checked {
                    self.order.width = Some(width);
                }
                frame::write(&mut self.output, place, number, [bytes.as_slice()])
            }
        }
    }

    fn pages(&mut self, place: Place, pages: &Pages<'_>) -> Result<(), StreamError> {
        let number = kind::PAGE_DATA;
        if pages.is_empty() {
            return Err(place.field("count of pages", 0_u32));
        }
        self.order.admit(number).map_err(|fault| place.error(fault))?;
        let count = pages.len() as u64;
        let words = iter::once(count).chain(pages.iter().map(pages::word));
        let head: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        let contents = pages.iter().filter_map(|page| page.bytes()).map(PageBytes::as_slice);
        frame::write(&mut self.output, place, number, iter::once(head.as_slice()).chain(contents))
    }

    /// What the image was written to, behind its end.
    ///
    /// # Errors
    /// When the end was not written.
    pub fn into_output(self) -> Result<Output<W>, StreamError> {
        if self.order.has_ended() {
            return Ok(self.output);
        }
        let place = Place { part: Part::RecordHeader, offset: self.output.offset() };
        Err(place.error(Fault::Missing("END")))
    }
}
