//! XML, strictly.
//!
//! quick-xml is a fast tokenizer that lets much pass which is no XML: two roots, control
//! characters, unbound prefixes, `]]>` in text, a document type that it skips. Its serde half
//! ignores namespaces and the name of the root. So nothing reaches it that the [`gate`] did not
//! admit, and nothing leaves that the gate would not admit:
//!
//! ```text
//!   bytes ─► gate (well-formed, UTF-8, our subset, limits) ─► Checked ─► reader (root, serde, strict)
//!   value ─► writer (serde, U+FFFD for what XML cannot carry) ─► gate ─► text
//! ```
//!
//! The subset: XML 1.0 with namespaces, no document type, no processing instruction, no CDATA, no
//! comments, names in ASCII. Inside the encryption every element is in one namespace and no
//! attribute has a prefix, because serde would not notice another one.
//!
//! Numbers and booleans have one form each, everywhere: `strict` reads them in serde's place.
//!
//! Failures are typed ([`GateError`], [`ReadError`], [`WriteError`]) and say the byte where a
//! document went wrong. A peer sees none of it, see [`crate::server`].

pub mod gate;
mod lexer;
mod reader;
mod strict;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use lexer::attribute_value as value_of;

pub use gate::{Checked, GateError, Limits, Namespaces, check};
pub use reader::{ReadError, read, read_checked, read_exactly};
pub use strict::{ValueError, ValueForm};
pub use writer::{WriteError, write};
