//! From a value to text that the gate admits.
//!
//! Names that a guest chose may hold characters which no XML 1.0 document can carry, not even as a
//! reference. They become U+FFFD. Nothing else is changed, and the gate has the last word.

use serde::Serialize;
use thiserror::Error;

use super::gate::{GateError, Limits, Namespaces, check};
use super::lexer::is_legal;
use crate::v1::NAMESPACE;

/// Why a value cannot be written.
#[derive(Debug, Error)]
pub enum WriteError {
    /// serde cannot express the value in XML.
    #[error("this value has no form in XML: {0}")]
    Form(#[from] quick_xml::SeError),
    /// The document would be refused by whoever reads it; most likely it is too large.
    #[error("the document would be refused by its reader, send less at once: {0}")]
    Gate(#[from] GateError),
}

/// Writes a document whose root is `root`. The value declares the namespace on its root.
///
/// # Errors
/// See [`WriteError`].
pub fn write<T: Serialize>(value: &T, root: &str) -> Result<String, WriteError> {
    let mut text = quick_xml::se::to_string_with_root(root, value)?;
    if !text.chars().all(is_legal) {
        text = text.chars().map(|c| if is_legal(c) { c } else { '\u{fffd}' }).collect();
    }
    check(text.as_bytes(), &Limits::INNER, Namespaces::Only(NAMESPACE))?;
    Ok(text)
}
