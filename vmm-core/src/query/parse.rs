//! From text to a tree over typed fields.
//!
//! ```text
//!   any  = all { "or" all }
//!   all  = one { ["and"] one }
//!   one  = ("not" | "!") one | "(" any ")" | field operator value | field ["not"] "in" "(" value { "," value } ")" | word | quoted
//! ```

use super::error::QueryError;
use super::expr::{Compare, Expr, Query, Test, What};
use super::field::{FieldType, Fields, Words, nearest};
use super::lex::{Cursor, Operator, TEXT_BYTES_MAX};
use super::unit::Unit;

/// Brackets and `not`s within each other.
pub const DEPTH_MAX: usize = 32;
/// Comparisons in a query.
pub const TERMS_MAX: usize = 64;
/// Values in all lists of a query.
pub const VALUES_MAX: usize = 512;

const TERM: &str = "a name, FIELD=VALUE, \"not\" or \"(\"";
const OF_TEXT: &str = "= != ~ !~ : or in";
const OF_NUMBER: &str = "= != < <= > >= or in";

struct Parser<'a> {
    cursor: Cursor<'a>,
    depth: usize,
    terms: usize,
    values: usize,
}

/// An operator, where it stands, and what follows it.
struct Asked {
    operator: Operator,
    at: usize,
    values: Vec<(usize, String)>,
}

pub(super) fn check_length(text: &str) -> Result<(), QueryError> {
    if text.len() <= TEXT_BYTES_MAX {
        return Ok(());
    }
    Err(QueryError::TooLong { bytes: text.len(), most: TEXT_BYTES_MAX })
}

pub(super) fn field_named<F: Fields>(at: usize, found: &str) -> Result<F, QueryError> {
    F::named(found).ok_or_else(|| {
        let names = || F::all().iter().map(|field| field.field().name);
        let (near, known) = (nearest(found, names()), names().collect::<Vec<_>>().join(", "));
        let found = found.to_owned();
        QueryError::UnknownField { at, found, object: F::OBJECT, near, known }
    })
}

impl<F: Fields> Query<F> {
    /// Reads a query; one of nothing but spaces is for everything.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        check_length(text)?;
        let cursor = Cursor::new(text);
        let mut parser = Parser { cursor, depth: 0, terms: 0, values: 0 };
        parser.cursor.skip_space();
        if parser.cursor.is_at_end() {
            return Ok(Self::everything());
        }
        let expr = parser.any()?;
        parser.cursor.skip_space();
        if !parser.cursor.is_at_end() {
            return Err(parser.cursor.expected("the end, \"and\" or \"or\""));
        }
        Ok(Self::of(expr))
    }
}

impl Parser<'_> {
    fn any<F: Fields>(&mut self) -> Result<Expr<F>, QueryError> {
        let mut parts = vec![self.all()?];
        while self.cursor.keyword("or") {
            parts.push(self.all()?);
        }
        Ok(Expr::any(parts))
    }

    fn all<F: Fields>(&mut self) -> Result<Expr<F>, QueryError> {
        let mut parts = vec![self.one()?];
        loop {
            let mut ahead = self.cursor;
            ahead.skip_space();
            let is_over = ahead.is_at_end() || ahead.rest().starts_with([')', ',']);
            if !self.cursor.keyword("and") && (is_over || ahead.keyword("or")) {
                return Ok(Expr::all(parts));
            }
            parts.push(self.one()?);
        }
    }

    fn one<F: Fields>(&mut self) -> Result<Expr<F>, QueryError> {
        if let Some(text) = self.cursor.quoted()? {
            return self.named(text);
        }
        if self.cursor.take('(') {
            let inner = self.deeper(Self::any)?;
            let closed = self.cursor.take(')');
            return if closed { Ok(inner) } else { Err(self.cursor.expected("\")\"")) };
        }
        if self.cursor.take('!') || self.cursor.keyword("not") {
            return Ok(Expr::Not(Box::new(self.deeper(Self::one)?)));
        }
        self.cursor.skip_space();
        let at = self.cursor.at;
        let word = self.cursor.word();
        if word.is_empty() || word.eq_ignore_ascii_case("and") || word.eq_ignore_ascii_case("or") {
            self.cursor.at = at;
            return Err(self.cursor.expected(TERM));
        }
        self.cursor.skip_space();
        let operator_at = self.cursor.at;
        match self.cursor.operator() {
            None => {
                self.cursor.at = operator_at;
                self.named(word.to_owned())
            }
            Some(operator) => {
                let field: F = field_named(at, word)?;
                let values = self.values(operator)?;
                self.test(field, Asked { operator, at: operator_at, values })
            }
        }
    }

    fn deeper<T>(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<T, QueryError>,
    ) -> Result<T, QueryError> {
        if self.depth == DEPTH_MAX {
            let (at, what) = (self.cursor.at, "brackets and \"not\"s within each other");
            return Err(QueryError::TooMany { at, what, most: DEPTH_MAX });
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn values(&mut self, operator: Operator) -> Result<Vec<(usize, String)>, QueryError> {
        let mut values = vec![self.cursor.value()?];
        if !matches!(operator, Operator::In | Operator::NotIn) {
            return Ok(values);
        }
        while self.cursor.take(',') {
            self.values += 1;
            if self.values > VALUES_MAX {
                let (at, what) = (self.cursor.at, "values in lists");
                return Err(QueryError::TooMany { at, what, most: VALUES_MAX });
            }
            values.push(self.cursor.value()?);
        }
        let closed = self.cursor.take(')');
        if closed { Ok(values) } else { Err(self.cursor.expected("\",\" or \")\"")) }
    }

    /// A word by itself.
    fn named<F: Fields>(&mut self, text: String) -> Result<Expr<F>, QueryError> {
        let at = self.cursor.at;
        self.test(F::NAME, Asked { operator: Operator::Has, at, values: vec![(at, text)] })
    }

    fn test<F: Fields>(&mut self, field: F, asked: Asked) -> Result<Expr<F>, QueryError> {
        self.terms += 1;
        if self.terms > TERMS_MAX {
            let (at, what) = (asked.at, "comparisons");
            return Err(QueryError::TooMany { at, what, most: TERMS_MAX });
        }
        let negated = asked.operator.is_negated();
        let name = field.field().name;
        let what = match field.field().field_type {
            FieldType::Text | FieldType::Texts => texts(name, asked)?,
            FieldType::Path => paths(name, asked)?,
            FieldType::Words(words) => some_words(name, words, asked)?,
            FieldType::Number(unit) => numbers(name, unit, asked)?,
        };
        Ok(Expr::Test(Test { field, negated, what }))
    }
}

fn refused(field: &'static str, asked: &Asked, expected: &'static str) -> QueryError {
    let operator = asked.operator.symbol();
    QueryError::Operator { at: asked.at, field, operator, expected }
}

fn texts(field: &'static str, asked: Asked) -> Result<What, QueryError> {
    match asked.operator {
        Operator::Is | Operator::IsNot | Operator::In | Operator::NotIn => {
            Ok(What::is(asked.values.into_iter().map(|(_, text)| text).collect()))
        }
        Operator::Has | Operator::HasNot | Operator::Colon => {
            let text = asked.values.into_iter().map(|(_, text)| text).collect::<String>();
            Ok(What::has(&text))
        }
        _ => Err(refused(field, &asked, OF_TEXT)),
    }
}

fn paths(field: &'static str, asked: Asked) -> Result<What, QueryError> {
    if matches!(asked.operator, Operator::Has | Operator::HasNot | Operator::Colon) {
        return texts(field, asked);
    }
    for (at, found) in &asked.values {
        if !found.starts_with('/') {
            let (expected, found) = ("a path from the root, such as /prod/web", found.clone());
            return Err(QueryError::WrongType { at: *at, field, found, expected });
        }
    }
    match texts(field, asked)? {
        What::Is(paths) => {
            let trimmed = paths.iter().map(|path| path.trim_end_matches('/').to_owned());
            Ok(What::under(trimmed.collect()))
        }
        other => Ok(other),
    }
}

fn some_words(field: &'static str, words: &Words, asked: Asked) -> Result<What, QueryError> {
    let is_part = match asked.operator {
        Operator::Is | Operator::IsNot | Operator::In | Operator::NotIn => false,
        Operator::Has | Operator::HasNot | Operator::Colon => true,
        _ => return Err(refused(field, &asked, OF_TEXT)),
    };
    let mut mask = 0;
    for (at, found) in asked.values {
        let part = found.to_lowercase();
        let exact = words.mask(&found);
        let parts = || {
            let named = words.all().filter(|word| word.contains(&part) && !part.is_empty());
            named.filter_map(|word| words.mask(word)).reduce(|one, other| one | other)
        };
        let bits = exact.or_else(|| if is_part { parts() } else { None });
        mask |= bits.ok_or_else(|| {
            let (near, known) =
                (nearest(&found, words.all()), words.all().collect::<Vec<_>>().join(", "));
            QueryError::UnknownWord { at, field, found, near, known }
        })?;
    }
    Ok(What::Words(mask))
}

fn numbers(field: &'static str, unit: Unit, asked: Asked) -> Result<What, QueryError> {
    let compare = match asked.operator {
        Operator::Less => Compare::Less,
        Operator::LessOrEqual => Compare::LessOrEqual,
        Operator::More => Compare::More,
        Operator::MoreOrEqual => Compare::MoreOrEqual,
        Operator::Has | Operator::HasNot => return Err(refused(field, &asked, OF_NUMBER)),
        _ => Compare::Is,
    };
    let number = |(at, found): (usize, String)| {
        let expected = unit.expected();
        unit.parse(&found).ok_or(QueryError::WrongType { at, field, found, expected })
    };
    let numbers = asked.values.into_iter().map(number).collect::<Result<Vec<u64>, _>>()?;
    Ok(What::numbers(compare, numbers))
}
