//! The tree of a query: asked of a row, and written as text again.

use std::fmt;

use super::field::{FieldType, Fields, Record, Value};
use super::lex::is_bare;

/// Which objects are wanted. Compiled once, asked for each row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query<F> {
    /// Everything, when there is none.
    expr: Option<Expr<F>>,
}

/// A part of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expr<F> {
    /// Two or more, none of which is one of these itself.
    All(Vec<Expr<F>>),
    /// Likewise.
    Any(Vec<Expr<F>>),
    Not(Box<Expr<F>>),
    Test(Test<F>),
}

/// One comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Test<F> {
    pub(super) field: F,
    pub(super) negated: bool,
    pub(super) what: What,
}

/// What a value is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// One of these texts; in order, each once.
    Is(Vec<String>),
    /// Contains this, which is in lower case.
    Has(String),
    /// One of these places or below it; without a slash at the end, so that the root is empty.
    Under(Vec<String>),
    /// A word whose bit is set.
    Words(u64),
    /// Compares so with this.
    Number(Compare, u64),
    /// One of these; in order, each once, two or more.
    Numbers(Vec<u64>),
}

/// How numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compare {
    Is,
    Less,
    LessOrEqual,
    More,
    MoreOrEqual,
}

impl Compare {
    fn holds(self, one: u64, other: u64) -> bool {
        match self {
            Self::Is => one == other,
            Self::Less => one < other,
            Self::LessOrEqual => one <= other,
            Self::More => one > other,
            Self::MoreOrEqual => one >= other,
        }
    }
}

fn sorted<T: Ord>(mut values: Vec<T>) -> Vec<T> {
    values.sort();
    values.dedup();
    values
}

impl What {
    pub(super) fn is(texts: Vec<String>) -> Self {
        Self::Is(sorted(texts))
    }

    pub(super) fn has(text: &str) -> Self {
        Self::Has(text.chars().flat_map(char::to_lowercase).collect())
    }

    pub(super) fn under(places: Vec<String>) -> Self {
        Self::Under(sorted(places))
    }

    pub(super) fn numbers(compare: Compare, numbers: Vec<u64>) -> Self {
        match sorted(numbers).as_slice() {
            [one] => Self::Number(compare, *one),
            several => Self::Numbers(several.to_vec()),
        }
    }

    fn holds_for_text(&self, text: &str) -> bool {
        match self {
            Self::Is(texts) => texts.iter().any(|one| one == text),
            Self::Has(part) => contains(text, part),
            Self::Under(places) => places.iter().any(|place| is_under(text, place)),
            Self::Words(_) | Self::Number(..) | Self::Numbers(_) => false,
        }
    }

    fn holds_for_number(&self, number: u64) -> bool {
        match self {
            Self::Words(mask) => {
                u32::try_from(number).ok().and_then(|bit| mask.checked_shr(bit)).unwrap_or(0) & 1
                    == 1
            }
            Self::Number(compare, other) => compare.holds(number, *other),
            Self::Numbers(numbers) => numbers.binary_search(&number).is_ok(),
            Self::Is(_) | Self::Has(_) | Self::Under(_) => false,
        }
    }
}

/// Whatever the case; `part` is in lower case.
fn contains(text: &str, part: &str) -> bool {
    if text.is_ascii() {
        let (text, part) = (text.as_bytes(), part.as_bytes());
        return part.is_empty()
            || text.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part));
    }
    let begins = |text: &str| {
        let mut lower = text.chars().flat_map(char::to_lowercase);
        part.chars().all(|c| lower.next() == Some(c))
    };
    part.is_empty() || text.char_indices().any(|(at, _)| begins(&text[at..]))
}

fn is_under(text: &str, place: &str) -> bool {
    text.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl<F: Fields> Test<F> {
    fn holds<R: Record<Field = F>>(&self, row: &R) -> bool {
        let holds = match (self.field.field().field_type, row.value(self.field)) {
            (FieldType::Texts, _) => {
                row.any(self.field, &mut |text| self.what.holds_for_text(text))
            }
            (_, Value::Text(text)) => self.what.holds_for_text(text),
            (_, Value::Number(number)) => self.what.holds_for_number(number),
            (_, Value::Missing) => self.what.holds_for_text(""),
        };
        holds != self.negated
    }
}

impl<F: Fields> Expr<F> {
    /// One part stands for itself; a list within a list of the same kind is taken apart.
    pub(super) fn all(parts: Vec<Self>) -> Self {
        let apart = |part| match part {
            Self::All(parts) => parts,
            other => vec![other],
        };
        Self::joined(parts.into_iter().flat_map(apart).collect(), Self::All)
    }

    /// Likewise.
    pub(super) fn any(parts: Vec<Self>) -> Self {
        let apart = |part| match part {
            Self::Any(parts) => parts,
            other => vec![other],
        };
        Self::joined(parts.into_iter().flat_map(apart).collect(), Self::Any)
    }

    fn joined(mut parts: Vec<Self>, join: fn(Vec<Self>) -> Self) -> Self {
        match parts.pop() {
            Some(only) if parts.is_empty() => only,
            Some(last) => {
                parts.push(last);
                join(parts)
            }
            None => join(parts),
        }
    }

    fn holds<R: Record<Field = F>>(&self, row: &R) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(row)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(row)),
            Self::Not(part) => !part.holds(row),
            Self::Test(test) => test.holds(row),
        }
    }
}

impl<F: Fields> Query<F> {
    /// All objects.
    #[must_use]
    pub fn everything() -> Self {
        Self { expr: None }
    }

    pub(super) fn of(expr: Expr<F>) -> Self {
        Self { expr: Some(expr) }
    }

    /// Is it for all objects?
    #[must_use]
    pub fn is_for_everything(&self) -> bool {
        self.expr.is_none()
    }

    /// Is the row wanted?
    pub fn matches<R: Record<Field = F>>(&self, row: &R) -> bool {
        self.expr.as_ref().is_none_or(|expr| expr.holds(row))
    }
}

/// As [`Query::parse`] reads it, into the same query.
impl<F: Fields> fmt::Display for Query<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expr.as_ref().map_or(Ok(()), |expr| expr.fmt(f))
    }
}

impl<F: Fields> fmt::Display for Expr<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (parts, word) = match self {
            Self::All(parts) => (parts, " and "),
            Self::Any(parts) => (parts, " or "),
            Self::Not(part) => return write!(f, "not {}", Inner(part)),
            Self::Test(test) => return test.fmt(f),
        };
        for (place, part) in parts.iter().enumerate() {
            write!(f, "{}{}", if place == 0 { "" } else { word }, Inner(part))?;
        }
        Ok(())
    }
}

/// A part of another one: in brackets where it would be read as something else.
struct Inner<'a, F>(&'a Expr<F>);

impl<F: Fields> fmt::Display for Inner<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Expr::All(_) | Expr::Any(_) => write!(f, "({})", self.0),
            other => other.fmt(f),
        }
    }
}

impl<F: Fields> fmt::Display for Test<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = self.field.field();
        let not = if self.negated { "!" } else { "" };
        match (&self.what, field.field_type) {
            (What::Is(texts), _) => self.list(f, texts.iter().map(|text| quoted(text))),
            (What::Has(part), _) => write!(f, "{}{not}~{}", field.name, quoted(part)),
            (What::Under(places), _) => {
                let shown =
                    |place: &String| if place.is_empty() { "/".into() } else { quoted(place) };
                self.list(f, places.iter().map(shown))
            }
            (What::Words(mask), FieldType::Words(words)) => {
                let set = |place: &usize| {
                    mask.checked_shr(u32::try_from(*place).unwrap_or(64)).unwrap_or(0) & 1 == 1
                };
                let places = (0..words.words.len()).filter(set);
                self.list(
                    f,
                    places
                        .filter_map(|place| words.words.get(place))
                        .map(|word| (*word).to_owned()),
                )
            }
            (What::Number(compare, number), FieldType::Number(unit)) => {
                let symbol = match (compare, self.negated) {
                    (Compare::Is, false) => "=",
                    (Compare::Is, true) => "!=",
                    (Compare::Less, _) => "<",
                    (Compare::LessOrEqual, _) => "<=",
                    (Compare::More, _) => ">",
                    (Compare::MoreOrEqual, _) => ">=",
                };
                write!(f, "{}{symbol}{}", field.name, unit.format(*number))
            }
            (What::Numbers(numbers), FieldType::Number(unit)) => {
                self.list(f, numbers.iter().map(|number| unit.format(*number)))
            }
            // The parser makes no others.
            _ => Ok(()),
        }
    }
}

impl<F: Fields> Test<F> {
    fn list(
        &self,
        f: &mut fmt::Formatter<'_>,
        values: impl Iterator<Item = String>,
    ) -> fmt::Result {
        let (name, values) = (self.field.field().name, values.collect::<Vec<_>>());
        match (values.as_slice(), self.negated) {
            ([one], false) => write!(f, "{name}={one}"),
            ([one], true) => write!(f, "{name}!={one}"),
            (several, false) => write!(f, "{name} in ({})", several.join(", ")),
            (several, true) => write!(f, "{name} not in ({})", several.join(", ")),
        }
    }
}

fn quoted(text: &str) -> String {
    if is_bare(text) {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
