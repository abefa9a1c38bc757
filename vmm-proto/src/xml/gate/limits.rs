//! How large a document may be, and what it may use.

/// How large a document may be. Every number is inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole document.
    pub document_bytes: usize,
    /// Elements inside each other.
    pub depth: usize,
    /// Elements in all.
    pub element_count: usize,
    /// Attributes of one element, namespace declarations included.
    pub attribute_count: usize,
    /// Namespace declarations of one element.
    pub namespace_count: usize,
    /// Bytes of one attribute's value as written.
    pub attribute_bytes: usize,
    /// Bytes of one run of text as written.
    pub text_bytes: usize,
    /// Bytes of one name with its prefix.
    pub name_bytes: usize,
}

impl Limits {
    /// For what stands inside the encryption.
    pub const INNER: Limits = Limits {
        document_bytes: 8 << 20,
        depth: 32,
        element_count: 200_000,
        attribute_count: 32,
        namespace_count: 8,
        attribute_bytes: 256 << 10,
        text_bytes: 1 << 20,
        name_bytes: 128,
    };

    /// For the message around it: few elements, and one text nearly as large as the document.
    pub const OUTER: Limits =
        Limits { depth: 8, element_count: 32, text_bytes: 8 << 20, ..Limits::INNER };
}

/// Which namespaces a document may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespaces<'a> {
    /// Any; whoever reads on must look.
    Any,
    /// Every element is in this one, and no attribute has a prefix.
    Only(&'a str),
}
