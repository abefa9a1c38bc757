//! What can be wrong with a query: the byte where, what was expected there, and the nearest known name.

use thiserror::Error;

/// Why a query or an order is refused. `at` counts bytes from 0.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum QueryError {
    /// Too much text.
    #[error("a query of {bytes} bytes is refused: {most} at most")]
    TooLong {
        /// What it has.
        bytes: usize,
        /// What it may have.
        most: usize,
    },
    /// Too many of something.
    #[error("at byte {at}: more than {most} {what}; ask in several queries")]
    TooMany {
        /// Where the first too many stands.
        at: usize,
        /// Of what.
        what: &'static str,
        /// How many there may be.
        most: usize,
    },
    /// Something else should stand here.
    #[error("at byte {at}: {found} is not {expected}")]
    Expected {
        /// Where.
        at: usize,
        /// What stands there.
        found: String,
        /// What could.
        expected: &'static str,
    },
    /// A text in quotes does not end.
    #[error("at byte {at}: this quote is not closed")]
    OpenQuote {
        /// Where it begins.
        at: usize,
    },
    /// No such field.
    #[error("at byte {at}: {object} has no field {found:?}{}; known are: {known}", meant(*near))]
    UnknownField {
        /// Where.
        at: usize,
        /// What was written.
        found: String,
        /// The kind of object.
        object: &'static str,
        /// What was probably meant.
        near: Option<&'static str>,
        /// All of them.
        known: String,
    },
    /// This cannot be asked of that field.
    #[error("at byte {at}: {field} cannot be asked with {operator}; use {expected}")]
    Operator {
        /// Where.
        at: usize,
        /// The field.
        field: &'static str,
        /// What was written.
        operator: &'static str,
        /// What may be.
        expected: &'static str,
    },
    /// A value of another type.
    #[error("at byte {at}: {found:?} is no value of {field}: it takes {expected}")]
    WrongType {
        /// Where.
        at: usize,
        /// The field.
        field: &'static str,
        /// What was written.
        found: String,
        /// What may be.
        expected: &'static str,
    },
    /// No word of the list.
    #[error("at byte {at}: {field} is never {found:?}{}; it is one of: {known}", meant(*near))]
    UnknownWord {
        /// Where.
        at: usize,
        /// The field.
        field: &'static str,
        /// What was written.
        found: String,
        /// What was probably meant.
        near: Option<&'static str>,
        /// All of them.
        known: String,
    },
    /// Of several values none is the first.
    #[error("at byte {at}: {field} has several values, nothing can be put in order by it")]
    NoOrder {
        /// Where.
        at: usize,
        /// The field.
        field: &'static str,
    },
}

impl QueryError {
    /// Where, in bytes from the start.
    #[must_use]
    pub fn at(&self) -> usize {
        match self {
            Self::TooLong { most, .. } => *most,
            Self::TooMany { at, .. }
            | Self::Expected { at, .. }
            | Self::OpenQuote { at }
            | Self::UnknownField { at, .. }
            | Self::Operator { at, .. }
            | Self::WrongType { at, .. }
            | Self::UnknownWord { at, .. }
            | Self::NoOrder { at, .. } => *at,
        }
    }
}

fn meant(near: Option<&'static str>) -> String {
    near.map_or_else(String::new, |near| format!("; did you mean {near}?"))
}
