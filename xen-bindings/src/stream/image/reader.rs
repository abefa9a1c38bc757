//! An image, a record at a time.

use std::io::Read;

use super::decode::{self, Body};
use super::header::{self, DomainHeader};
use super::kind;
use super::order::Order;
use super::pages::{PAGES_MAX, PageBytes};
use super::record::Record;
use crate::stream::Input;
use crate::stream::error::{Fault, Part, Place, StreamError};
use crate::stream::frame::Head;

/// A record of as many pages as one may have: a word and a page for each.
const PAGE_DATA_BYTES_MAX: u32 = 8 + 1024 * (8 + 4096);
const _: () = assert!(PAGES_MAX == 1024 && size_of::<PageBytes>() == 4096);

/// The most that a reader takes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of the body of a record that is no memory. A context of 128 vCPUs has about 2 MiB, and so has the table of a PV guest's frames for
    /// 512 GiB.
    pub record_bytes_max: u32,
    /// Frames of the guest's are below this. libxc keeps a bit for each up to the highest one that it is told of.
    pub pfn_end: u64,
}

impl Default for Limits {
    fn default() -> Self {
        // 16 TiB, Xen's own limit of a host.
        Self { record_bytes_max: 16 << 20, pfn_end: 1 << 32 }
    }
}

/// Reads an image. Errors end it.
#[derive(Debug)]
pub struct ImageReader<R> {
    input: Input<R>,
    header: DomainHeader,
    limits: Limits,
    order: Order,
    body: Vec<u8>,
    records_skipped: u64,
}

impl<R: Read> ImageReader<R> {
    /// Reads the headers.
    ///
    /// # Errors
    /// For what is no image of version 3.
    pub fn open(mut input: Input<R>, limits: Limits) -> Result<Self, StreamError> {
        let header = header::read(&mut input)?;
        let order = Order::new(header.kind);
        Ok(Self { input, header, limits, order, body: Vec::new(), records_skipped: 0 })
    }

    /// What the headers say.
    #[must_use]
    pub fn header(&self) -> DomainHeader {
        self.header
    }

    /// Records that nobody knows and that may be skipped.
    #[must_use]
    pub fn records_skipped(&self) -> u64 {
        self.records_skipped
    }

    /// Bytes read so far.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.input.offset()
    }

    /// The next record, the end included; `None` behind it.
    ///
    /// # Errors
    /// For a record that is malformed, too long, at the wrong place, or unknown and not to be skipped.
    #[allow(clippy::should_implement_trait, reason = "what it answers borrows from the reader")]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, StreamError> {
        if self.order.has_ended() {
            return Ok(None);
        }
        let head = self.head()?;
        let wrong = |fault| head.place.error(fault);
        self.order.admit(head.number).map_err(wrong)?;
        head.limit(match head.number {
            kind::PAGE_DATA => PAGE_DATA_BYTES_MAX,
            _ => self.limits.record_bytes_max,
        })?;
        head.body(&mut self.input, &mut self.body)?;
        let body = Body { place: head.place, bytes: &self.body };
        let record = decode::record(head.number, body, self.order.width)?;
        match &record {
            Record::PvInfo(width) => self.order.width = Some(*width),
            Record::Pages(pages) => {
                let end = self.limits.pfn_end;
                if let Some(page) = pages.iter().find(|page| page.pfn().0 >= end) {
                    return Err(head.place.field("pfn", page.pfn().0));
                }
            }
            _ => {}
        }
        Ok(Some(record))
    }

    /// The head of the next record that somebody knows.
    fn head(&mut self) -> Result<Head, StreamError> {
        loop {
            let head = Head::read(&mut self.input, Part::ImageRecord)?;
            if kind::name(head.number).is_some() && head.number != kind::TOOLSTACK {
                return Ok(head);
            }
            if !head.is_optional() {
                return Err(head.place.error(Fault::UnknownRecord));
            }
            head.skip(&mut self.input)?;
            self.records_skipped += 1;
        }
    }

    /// What the image is read from, at the byte behind the last record.
    pub fn input(&self) -> &R {
        self.input.get_ref()
    }

    /// What the image was read from, at the byte behind it.
    ///
    /// # Errors
    /// When the end was not reached.
    pub fn into_input(self) -> Result<Input<R>, StreamError> {
        if self.order.has_ended() {
            return Ok(self.input);
        }
        let place = Place { part: Part::RecordHeader, offset: self.input.offset() };
        Err(place.error(Fault::Missing("END")))
    }
}
