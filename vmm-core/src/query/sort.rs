//! The order of a list, and the place in it where a page ended.
//!
//! Rows that are alike in all keys are in order of their ids, so that each row has one place, and pages neither repeat nor leave out a
//! row that stays as it is. What a row does not have comes last, whichever way.

use std::cmp::Ordering;
use std::fmt;

use super::error::QueryError;
use super::field::{FieldType, Fields, Record, Value};
use super::lex::TEXT_BYTES_MAX;
use super::parse::{check_length, field_named};

/// Keys of an order.
pub const KEYS_MAX: usize = 4;

/// The order of a list: `name`, or `-cpu,name`, where a minus puts the largest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sort<F> {
    keys: Vec<(F, Direction)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

/// The value of one key of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// It has none.
    Missing,
    /// A text or a path.
    Text(String),
    /// A number, or a word's place in its list.
    Number(u64),
}

/// Where a page ended: the last row's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// One a key of the order.
    pub keys: Vec<Key>,
    /// What no other row has.
    pub tie: [u8; 16],
}

impl<F: Fields> Sort<F> {
    /// By name.
    #[must_use]
    pub fn by_name() -> Self {
        Self { keys: vec![(F::NAME, Direction::Up)] }
    }

    /// Reads an order; of nothing but spaces, the one by name.
    ///
    /// # Errors
    /// An unknown field, one that has no order, or too many.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        check_length(text)?;
        if text.trim().is_empty() {
            return Ok(Self::by_name());
        }
        let (mut keys, mut at) = (Vec::new(), 0);
        for part in text.split(',') {
            let place = at + (part.len() - part.trim_start().len());
            at += part.len() + 1;
            if keys.len() == KEYS_MAX {
                return Err(QueryError::TooMany { at: place, what: "keys", most: KEYS_MAX });
            }
            keys.push(key(part.trim(), place)?);
        }
        Ok(Self { keys })
    }

    /// Which of two rows comes first; never equal for two rows.
    pub fn compare<R: Record<Field = F>>(&self, one: &R, other: &R) -> Ordering {
        let by_key = |(field, direction): &(F, Direction)| {
            ordered(one.value(*field), other.value(*field), *direction)
        };
        let first = self.keys.iter().map(by_key).find(|order| order.is_ne());
        first.unwrap_or_else(|| one.tie().cmp(&other.tie()))
    }

    /// Where a page ends that ends with this row.
    pub fn bound<R: Record<Field = F>>(&self, row: &R) -> Bound {
        let key = |(field, _): &(F, Direction)| match row.value(*field) {
            Value::Missing => Key::Missing,
            Value::Text(text) => Key::Text(text.to_owned()),
            Value::Number(number) => Key::Number(number),
        };
        Bound { keys: self.keys.iter().map(key).collect(), tie: row.tie() }
    }

    /// Does the row come behind the end of a page? One of another order ends nothing.
    pub fn is_behind<R: Record<Field = F>>(&self, row: &R, bound: &Bound) -> bool {
        let by_key = |((field, direction), key): (&(F, Direction), &Key)| {
            ordered(row.value(*field), key.value(), *direction)
        };
        let first = self.keys.iter().zip(&bound.keys).map(by_key).find(|order| order.is_ne());
        first.unwrap_or_else(|| row.tie().cmp(&bound.tie)).is_gt()
    }
}

impl Key {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Missing => Value::Missing,
            Self::Text(text) => Value::Text(text),
            Self::Number(number) => Value::Number(*number),
        }
    }
}

fn key<F: Fields>(text: &str, at: usize) -> Result<(F, Direction), QueryError> {
    let (name, direction) = match text.strip_prefix('-') {
        Some(name) => (name, Direction::Down),
        None => (text, Direction::Up),
    };
    let at = at + (text.len() - name.len());
    let field: F = field_named(at, &name[..name.len().min(TEXT_BYTES_MAX)])?;
    if field.field().field_type == FieldType::Texts {
        return Err(QueryError::NoOrder { at, field: field.field().name });
    }
    Ok((field, direction))
}

fn ordered(one: Value<'_>, other: Value<'_>, direction: Direction) -> Ordering {
    let order = match (one, other) {
        (Value::Text(one), Value::Text(other)) => one.cmp(other),
        (Value::Number(one), Value::Number(other)) => one.cmp(&other),
        // Nothing is last in both directions.
        (one, other) => return rank(one).cmp(&rank(other)),
    };
    match direction {
        Direction::Up => order,
        Direction::Down => order.reverse(),
    }
}

fn rank(value: Value<'_>) -> u8 {
    match value {
        Value::Number(_) => 0,
        Value::Text(_) => 1,
        Value::Missing => 2,
    }
}

/// As [`Sort::parse`] reads it.
impl<F: Fields> fmt::Display for Sort<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (field, direction)) in self.keys.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            let minus = if *direction == Direction::Down { "-" } else { "" };
            write!(f, "{comma}{minus}{}", field.field().name)?;
        }
        Ok(())
    }
}
