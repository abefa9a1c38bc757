//! The query language of lists: which objects are wanted, and in which order.
//!
//! ```text
//!   status=running and host=h1 and tag~web and cpu>80%          web folder=/prod not status=paused
//!        │
//!   Query::parse ──► a tree over typed fields ──► matches(&record), once a row, without allocation
//!        │
//!        └─► QueryError: the byte, what was expected, the nearest known name
//! ```
//!
//! | written | means |
//! |---|---|
//! | `web`, `"two words"` | the name contains it |
//! | `field=x`, `field!=x` | is, is not; of several values (tags): one of them is, none is |
//! | `field~x`, `field!~x`, `field:x` | contains, does not, whatever the case |
//! | `field<x` `<=` `>` `>=` | numbers: `4`, `2GiB`, `80%`, `10MB/s`, `1h30m` |
//! | `field in (a, b)`, `field not in (a, b)` | is one of them, is none |
//! | `a and b`, `a b`, `a or b`, `not a`, `!a`, `( … )` | `and` binds closer than `or` |
//!
//! A folder is the folder and what is below it. What an object does not have equals the empty text and is neither less nor more than
//! anything; `not`, `!=`, `!~` and `not in` say exactly the opposite of what stands without them.
//!
//! The language knows no object: a kind of object is an enum that is [`Fields`], a row is a [`Record`]. The catalogue of the pool's objects
//! is in [`VmField`] and its like. Text, depth, terms and keys have named limits, so that a query from anywhere costs little.

mod catalogue;
mod error;
mod expr;
mod field;
mod lex;
mod parse;
mod sort;
mod suggest;
mod unit;

pub use catalogue::{GroupField, HostField, PoolField, SiteField, TaskField, VmField};
pub use error::QueryError;
pub use expr::Query;
pub use field::{Field, FieldType, Fields, Record, Value, Words};
pub use lex::TEXT_BYTES_MAX;
pub use parse::{DEPTH_MAX, TERMS_MAX, VALUES_MAX};
pub use sort::{Bound, KEYS_MAX, Key, Sort};
pub use suggest::{Suggestion, Suggestions, suggest};
pub use unit::Unit;

#[cfg(test)]
mod tests;
