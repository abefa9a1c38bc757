//! Wire types to and from the types of `vmm-core`. Every refusal is a typed fault.

pub mod batch;
mod device;
mod host;
pub mod placement;
pub mod plan;
mod policy;
mod stats;
mod vm;

use std::str::FromStr;

use crate::v1::{Fault, FaultCode};

/// An id out of a request.
///
/// # Errors
/// `BadRequest` when the text is not a uuid.
pub fn parse_id<T: FromStr>(what: &str, text: &str) -> Result<T, Fault> {
    text.parse().map_err(|_| {
        Fault::new(
            FaultCode::BadRequest,
            format!("{what} {text:?} is not a uuid; look it up with `vmmctl {what} list`"),
        )
    })
}
