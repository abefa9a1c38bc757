//! From bytes to a value, through the gate.

use serde::de::DeserializeOwned;
use thiserror::Error;

use super::gate::{Checked, GateError, Limits, Namespaces, check};
use super::strict::{Refused, Rest, Strict, ValueError};
use crate::v1::NAMESPACE;

/// Why a document gave no value.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The gate refused it.
    #[error("the document is refused: {0}")]
    Gate(#[from] GateError),
    /// Another document than expected.
    #[error("expected a {expected} document, found {found}")]
    Root {
        /// The root that was asked for.
        expected: &'static str,
        /// The root that stands there.
        found: String,
    },
    /// A number or a boolean is not in its one form, or too large.
    #[error("in {root}, {source}")]
    Value {
        /// The document.
        root: &'static str,
        /// What stands where.
        source: ValueError,
    },
    /// An attribute, element or text that is not known here.
    #[error("in {root}, {name} is not known: check how it is written, or update the older side")]
    Unknown {
        /// The document.
        root: &'static str,
        /// The attribute or element; `$text` for text.
        name: String,
    },
    /// The elements do not fit the type.
    #[error("the content of {root} does not fit: {source}")]
    Content {
        /// The document.
        root: &'static str,
        /// Where it does not.
        source: quick_xml::DeError,
    },
}

/// Reads a document of this protocol whose root is `root`.
///
/// # Errors
/// See [`ReadError`].
pub fn read<T: DeserializeOwned>(bytes: &[u8], root: &'static str) -> Result<T, ReadError> {
    read_checked(&check(bytes, &Limits::INNER, Namespaces::Only(NAMESPACE))?, root)
}

/// As [`read`], for a document that passed the gate with [`Namespaces::Only`] already. What the type does not know is of a newer version,
/// and is ignored.
///
/// # Errors
/// See [`ReadError`].
pub fn read_checked<T: DeserializeOwned>(
    document: &Checked<'_>,
    root: &'static str,
) -> Result<T, ReadError> {
    read_content(document, root, Rest::Ignored)
}

/// As [`read_checked`], but what the type does not know is refused: for whoever acts on what he reads.
///
/// # Errors
/// See [`ReadError`].
pub fn read_exactly<T: DeserializeOwned>(
    document: &Checked<'_>,
    root: &'static str,
) -> Result<T, ReadError> {
    read_content(document, root, Rest::Refused)
}

fn read_content<T: DeserializeOwned>(
    document: &Checked<'_>,
    root: &'static str,
    rest: Rest,
) -> Result<T, ReadError> {
    if document.root != root || document.namespace != NAMESPACE {
        return Err(ReadError::Root { expected: root, found: document.root.to_owned() });
    }
    let refused = Refused::new(rest);
    let mut content = quick_xml::de::Deserializer::from_str(document.text);
    T::deserialize(Strict::new(&mut content, &refused)).map_err(|source| {
        match (refused.value(), refused.unknown()) {
            (Some(source), _) => ReadError::Value { root, source },
            (None, Some(name)) => ReadError::Unknown { root, name },
            (None, None) => ReadError::Content { root, source },
        }
    })
}
