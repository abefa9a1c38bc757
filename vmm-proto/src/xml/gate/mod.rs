//! The strict gate: what passes is well-formed, namespace-well-formed, and small enough.
//!
//! One pass over the text, no allocation per character: [`check`] walks prolog, tags and text
//! (`tag` has what stands between `<` and `>`), keeps the open elements and the namespace
//! bindings in force, and stops at the first thing that is wrong. Nothing is decoded here except
//! the attributes of the root, which readers need before they decide how to read on.

mod error;
mod limits;
mod tag;

pub use error::{GateError, GateReason};
pub use limits::{Limits, Namespaces};

use super::lexer::{Cursor, find_bad_reference, find_illegal, is_space};
use tag::{QName, quoted};

/// A document that passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked<'a> {
    /// The whole document.
    pub text: &'a str,
    /// Local name of the root.
    pub root: &'a str,
    /// Namespace of the root.
    pub namespace: String,
    /// Attributes of the root that are no namespace declarations, by name as written.
    pub attributes: Vec<(&'a str, String)>,
    /// Local name of the first element inside the root.
    pub first_child: Option<&'a str>,
}

impl Checked<'_> {
    /// An attribute of the root.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
    }
}

/// Checks a document.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check<'a>(
    bytes: &'a [u8],
    limits: &Limits,
    namespaces: Namespaces<'_>,
) -> Result<Checked<'a>, GateError> {
    let at = |at, reason| GateError { at, reason };
    if bytes.len() > limits.document_bytes {
        return Err(at(limits.document_bytes, GateReason::Limit("document bytes")));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| at(error.valid_up_to(), GateReason::Encoding))?;
    if let Some(place) = find_illegal(text) {
        return Err(at(place, GateReason::Character));
    }
    let mut gate = Gate {
        cursor: Cursor::new(text),
        limits,
        only: match namespaces {
            Namespaces::Any => None,
            Namespaces::Only(namespace) => Some(namespace),
        },
        open: Vec::new(),
        bindings: Vec::new(),
        element_count: 0,
        checked: None,
    };
    gate.document().map_err(|reason| at(gate.cursor.at, reason))?;
    gate.checked.ok_or(at(text.len(), GateReason::NoRoot))
}

/// An element that is open.
struct Open<'a> {
    name: QName<'a>,
    /// Namespace declarations in force around it.
    outer_bindings: usize,
}

struct Gate<'a, 'b> {
    cursor: Cursor<'a>,
    limits: &'b Limits,
    only: Option<&'b str>,
    open: Vec<Open<'a>>,
    /// Prefix (empty: the default) and namespace.
    bindings: Vec<(&'a str, &'a str)>,
    element_count: usize,
    checked: Option<Checked<'a>>,
}

impl<'a> Gate<'a, '_> {
    fn document(&mut self) -> Result<(), GateReason> {
        self.declaration()?;
        while !self.cursor.is_at_end() {
            if !self.cursor.rest().starts_with('<') {
                self.text()?;
            } else if self.cursor.rest().starts_with("</") {
                self.end_tag()?;
            } else if let Some(reason) = forbidden(self.cursor.rest()) {
                return Err(reason);
            } else {
                self.start_tag()?;
            }
        }
        if self.open.is_empty() { Ok(()) } else { Err(GateReason::Unclosed) }
    }

    /// `<?xml version="1.0" encoding="utf-8"?>`, the encoding optional.
    fn declaration(&mut self) -> Result<(), GateReason> {
        let mut cursor = self.cursor;
        if !(cursor.take("<?xml") && cursor.take_space()) {
            return Ok(());
        }
        let refuse = GateReason::Declaration;
        if declared(&mut cursor, "version").ok_or(refuse)? != "1.0" {
            return Err(refuse);
        }
        if cursor.take_space() && !cursor.rest().starts_with("?>") {
            let encoding = declared(&mut cursor, "encoding").ok_or(refuse)?;
            if !encoding.eq_ignore_ascii_case("utf-8") {
                return Err(refuse);
            }
            cursor.take_space();
        }
        if !cursor.take("?>") {
            return Err(refuse);
        }
        self.cursor = cursor;
        Ok(())
    }

    fn text(&mut self) -> Result<(), GateReason> {
        let mut cursor = self.cursor;
        let text = cursor.take_until('<');
        if self.open.is_empty() {
            if !text.bytes().all(is_space) {
                return Err(GateReason::OutsideRoot);
            }
        } else if text.len() > self.limits.text_bytes {
            return Err(GateReason::Limit("text bytes"));
        } else if text.contains("]]>") {
            return Err(GateReason::CDataEnd);
        } else if let Some(at) = find_bad_reference(text) {
            self.cursor.at += at;
            return Err(GateReason::Reference);
        }
        self.cursor = cursor;
        Ok(())
    }

    fn end_tag(&mut self) -> Result<(), GateReason> {
        let mut cursor = self.cursor;
        cursor.take("</");
        let name = self.name(&mut cursor)?;
        cursor.take_space();
        if !cursor.take(">") {
            return Err(GateReason::Tag);
        }
        let open = self.open.pop().ok_or(GateReason::EndTag)?;
        if open.name.written != name.written {
            return Err(GateReason::EndTag);
        }
        self.bindings.truncate(open.outer_bindings);
        self.cursor = cursor;
        Ok(())
    }

    fn start_tag(&mut self) -> Result<(), GateReason> {
        if self.open.is_empty() && self.checked.is_some() {
            return Err(GateReason::OutsideRoot);
        }
        let mut cursor = self.cursor;
        cursor.take("<");
        let name = self.name(&mut cursor)?;
        let attributes = self.attributes(&mut cursor)?;
        let is_empty = cursor.take("/");
        if !cursor.take(">") {
            return Err(GateReason::Tag);
        }
        self.element_count += 1;
        if self.element_count > self.limits.element_count {
            return Err(GateReason::Limit("elements"));
        }
        if self.open.len() >= self.limits.depth {
            return Err(GateReason::Limit("depth"));
        }
        let outer_bindings = self.bindings.len();
        self.bind(&attributes)?;
        self.check_names(name, &attributes)?;
        self.note(name, &attributes)?;
        if is_empty {
            self.bindings.truncate(outer_bindings);
        } else {
            self.open.push(Open { name, outer_bindings });
        }
        self.cursor = cursor;
        Ok(())
    }
}

fn forbidden(rest: &str) -> Option<GateReason> {
    match rest {
        _ if rest.starts_with("<?") => Some(GateReason::Instruction),
        _ if rest.starts_with("<!--") => Some(GateReason::Comment),
        _ if rest.starts_with("<![CDATA[") => Some(GateReason::CData),
        _ if rest.starts_with("<!") => Some(GateReason::DocumentType),
        _ => None,
    }
}

fn declared<'a>(cursor: &mut Cursor<'a>, name: &str) -> Option<&'a str> {
    if !cursor.take(name) {
        return None;
    }
    quoted(cursor)
}
