//! Why a document did not pass.

use thiserror::Error;

/// Why a document did not pass, and at which byte.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("byte {at}: {reason}")]
pub struct GateError {
    /// Offset of the byte.
    pub at: usize,
    /// What is wrong there.
    pub reason: GateReason,
}

/// What is wrong with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum GateReason {
    #[error("the document is not UTF-8")]
    Encoding,
    #[error("a character that XML cannot carry")]
    Character,
    #[error("only version 1.0 with encoding utf-8 may be declared")]
    Declaration,
    #[error("no document type is allowed")]
    DocumentType,
    #[error("no processing instruction is allowed")]
    Instruction,
    #[error("no comment is allowed")]
    Comment,
    #[error("no CDATA section is allowed")]
    CData,
    #[error("something stands outside the one root element")]
    OutsideRoot,
    #[error("the root element is missing")]
    NoRoot,
    #[error("an element is not closed")]
    Unclosed,
    #[error("this end tag does not close the open element")]
    EndTag,
    #[error("not a name in ASCII")]
    Name,
    #[error("not a well-formed tag")]
    Tag,
    #[error("not a well-formed attribute")]
    Attribute,
    #[error("an attribute stands twice")]
    DuplicateAttribute,
    #[error("a prefix that is not bound, or may not be bound so")]
    Prefix,
    #[error("a namespace that may not stand here")]
    Namespace,
    #[error("a reference to no predefined entity or legal character")]
    Reference,
    #[error("`]]>` in text")]
    CDataEnd,
    #[error("over the limit of {0}")]
    Limit(&'static str),
}
