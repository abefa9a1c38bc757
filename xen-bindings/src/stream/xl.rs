//! The header that `xl save` puts before libxl's stream, with the domain's configuration in it.
//!
//! ```text
//!   magic 32 │ byte order 4 │ mandatory flags 4 │ optional flags 4 │ length 4 │ length of the configuration 4 │ configuration │ …
//! ```
//!
//! The configuration is what `libxl_domain_config_to_json` makes, with a NUL behind it. What this module does with it is carry it: whose
//! words those are, [`GuestImage`](crate::GuestImage) need not know.

use std::io::{Read, Write};

use super::error::{Fault, Part, StreamError};
use super::{Input, Output};

const MAGIC: &[u8; 32] = b"Xen saved domain, xl format\n \0 \r";
const BYTE_ORDER: u32 = 0x0102_0304;
/// The configuration is JSON, not xl's own syntax.
const JSON: u32 = 1 << 0;
/// libxl's stream has version 2.
const STREAM_V2: u32 = 1 << 1;
/// A configuration has some KiB.
const DATA_BYTES_MAX: u32 = 1 << 20;

/// What the header says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The domain's configuration as libxl writes it, in JSON. `xl save` can leave it out.
    pub config: Option<String>,
}

impl Header {
    /// Reads it, and leaves libxl's stream to be read.
    ///
    /// # Errors
    /// For what was not saved by an `xl` of Xen 4.6 or newer on such a machine, or has flags that must be understood.
    pub fn read<R: Read>(input: &mut Input<R>) -> Result<Self, StreamError> {
        let place = input.here(Part::XlHeader);
        let magic: [u8; 32] = input.array(place)?;
        if &magic != MAGIC {
            let begin = magic.first_chunk().map_or(0, |word| u64::from_be_bytes(*word));
            return Err(place.field("magic", begin));
        }
        place.expect("byte order", u32::from_le_bytes(input.array(place)?), BYTE_ORDER)?;
        let flags = u32::from_le_bytes(input.array(place)?);
        place.expect("mandatory flags", flags | JSON, JSON | STREAM_V2)?;
        let _optional = u32::from_le_bytes(input.array(place)?);
        let length = u32::from_le_bytes(input.array(place)?);
        if length > DATA_BYTES_MAX {
            let (length, limit) = (length.into(), DATA_BYTES_MAX.into());
            return Err(place.error(Fault::TooLong { length, limit }));
        }
        let mut data = Vec::new();
        input.fill(place, length.into(), &mut data)?;
        let config = config(&data).map_err(|fault| place.error(fault))?;
        if config.is_some() && flags & JSON == 0 {
            return Err(place.field("mandatory flags", flags));
        }
        Ok(Self { config })
    }

    /// Writes it. libxl's stream comes next.
    ///
    /// # Errors
    /// For a configuration with a NUL in it or of more than 1 MiB; when it cannot be written.
    pub fn write<W: Write>(&self, output: &mut Output<W>) -> Result<(), StreamError> {
        let place = output.here(Part::XlHeader);
        let mut config = self.config.clone().unwrap_or_default().into_bytes();
        if config.contains(&0) {
            return Err(place.error(Fault::Text));
        }
        let mut flags = STREAM_V2;
        if !config.is_empty() {
            config.push(0);
            flags |= JSON;
        }
        let length = config.len() as u64 + 4;
        let (Ok(bytes), true) = (u32::try_from(config.len()), length <= DATA_BYTES_MAX.into())
        else {
            return Err(place.error(Fault::TooLong { length, limit: DATA_BYTES_MAX.into() }));
        };
        let mut header = MAGIC.to_vec();
        for word in [BYTE_ORDER, flags, 0, bytes + 4, bytes] {
            header.extend(word.to_le_bytes());
        }
        header.extend(config);
        output.all(place, &header)
    }
}

/// What is behind the configuration is for readers who know more.
fn config(data: &[u8]) -> Result<Option<String>, Fault> {
    let Some((length, rest)) = data.split_first_chunk() else {
        // `xl` takes a header without any.
        let length = data.len() as u64;
        let fault = Fault::Length { length, expect: "which end within a length" };
        return if data.is_empty() { Ok(None) } else { Err(fault) };
    };
    let length = u32::from_le_bytes(*length);
    let text = usize::try_from(length).ok().and_then(|length| rest.get(..length));
    let text =
        text.ok_or(Fault::Field { field: "length of the configuration", value: length.into() })?;
    if text.is_empty() {
        return Ok(None);
    }
    let text = text.strip_suffix(&[0]).ok_or(Fault::Text)?;
    if text.contains(&0) {
        return Err(Fault::Text);
    }
    let text = std::str::from_utf8(text).map_err(|_| Fault::Text)?;
    Ok((!text.is_empty()).then(|| text.to_owned()))
}
