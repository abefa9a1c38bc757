//! The parts of a query's text. Which part may come next depends on the one before: behind an operator a value may hold what elsewhere
//! would be an operator, as in `mac:00:16:3e`.

use super::error::QueryError;

/// Bytes of a query.
pub const TEXT_BYTES_MAX: usize = 4096;
/// Letters of what was found that an error shows.
const FOUND_MAX: usize = 24;

/// How a field and a value are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Is,
    IsNot,
    Has,
    HasNot,
    /// As people write who come from Xen Orchestra: contains, and of a number: is.
    Colon,
    Less,
    LessOrEqual,
    More,
    MoreOrEqual,
    In,
    NotIn,
}

/// Longer ones first.
const SYMBOLS: &[(&str, Operator)] = &[
    ("!=", Operator::IsNot),
    ("!~", Operator::HasNot),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::MoreOrEqual),
    ("=", Operator::Is),
    ("~", Operator::Has),
    (":", Operator::Colon),
    ("<", Operator::Less),
    (">", Operator::More),
];

impl Operator {
    pub(super) fn symbol(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::NotIn => "not in",
            other => SYMBOLS.iter().find(|(_, op)| *op == other).map_or("", |(text, _)| text),
        }
    }

    /// It says the opposite.
    pub(super) fn is_negated(self) -> bool {
        matches!(self, Self::IsNot | Self::HasNot | Self::NotIn)
    }
}

/// A place in the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
}

/// What begins an operator.
fn is_symbol(c: char) -> bool {
    matches!(c, '=' | '!' | '~' | '<' | '>' | ':')
}

/// What ends every word and value.
fn is_end(c: char) -> bool {
    c.is_whitespace() || matches!(c, '(' | ')' | ',' | '"' | '\'')
}

/// Whether a text can stand as a value without quotes.
pub(super) fn is_bare(text: &str) -> bool {
    text.chars().next().is_some_and(|first| !is_symbol(first)) && !text.chars().any(is_end)
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.text.len()
    }

    pub(super) fn skip_space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    /// Takes the character if it is next.
    pub(super) fn take(&mut self, wanted: char) -> bool {
        self.skip_space();
        let is_next = self.rest().starts_with(wanted);
        if is_next {
            self.at += wanted.len_utf8();
        }
        is_next
    }

    fn until(&mut self, end: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let part = &rest[..rest.find(end).unwrap_or(rest.len())];
        self.at += part.len();
        part
    }

    /// A field's name, a keyword, or a part of an object's name; empty when none is here.
    pub(super) fn word(&mut self) -> &'a str {
        self.skip_space();
        self.until(|c| is_end(c) || is_symbol(c))
    }

    /// Takes the word, whatever its case, if it is next.
    pub(super) fn keyword(&mut self, wanted: &str) -> bool {
        let mut ahead = *self;
        let is_next = ahead.word().eq_ignore_ascii_case(wanted);
        if is_next {
            *self = ahead;
        }
        is_next
    }

    /// An operator, if one is next. `in` is one only before a list.
    pub(super) fn operator(&mut self) -> Option<Operator> {
        self.skip_space();
        let symbol = SYMBOLS.iter().find(|(symbol, _)| self.rest().starts_with(symbol));
        if let Some((symbol, operator)) = symbol {
            self.at += symbol.len();
            return Some(*operator);
        }
        let mut ahead = *self;
        let operator = if ahead.keyword("not") { Operator::NotIn } else { Operator::In };
        if !(ahead.keyword("in") && ahead.take('(')) {
            return None;
        }
        *self = ahead;
        Some(operator)
    }

    /// A text in quotes, if one is next. A backslash takes the character behind it as it is.
    pub(super) fn quoted(&mut self) -> Result<Option<String>, QueryError> {
        self.skip_space();
        let at = self.at;
        let Some(quote) = self.rest().chars().next().filter(|c| matches!(c, '"' | '\'')) else {
            return Ok(None);
        };
        let (mut text, mut escaped) = (String::new(), false);
        for (place, c) in self.rest().char_indices().skip(1) {
            match c {
                _ if escaped => {
                    text.push(c);
                    escaped = false;
                }
                '\\' => escaped = true,
                _ if c == quote => {
                    self.at += place + c.len_utf8();
                    return Ok(Some(text));
                }
                _ => text.push(c),
            }
        }
        Err(QueryError::OpenQuote { at })
    }

    /// What an operator is followed by, and where it begins.
    pub(super) fn value(&mut self) -> Result<(usize, String), QueryError> {
        self.skip_space();
        let at = self.at;
        if let Some(text) = self.quoted()? {
            return Ok((at, text));
        }
        let starts_with_symbol = self.rest().starts_with(is_symbol);
        let text = if starts_with_symbol { "" } else { self.until(is_end) };
        match text {
            "" => Err(self.expected("a value; write \"\" for the empty text")),
            text => Ok((at, text.to_owned())),
        }
    }

    /// That something else stands here.
    pub(super) fn expected(&self, expected: &'static str) -> QueryError {
        let rest = self.rest().trim_start();
        let at = self.text.len() - rest.len();
        let shown: String =
            rest.chars().take_while(|c| !c.is_whitespace()).take(FOUND_MAX).collect();
        let found = if rest.is_empty() { "the end".to_owned() } else { format!("{shown:?}") };
        QueryError::Expected { at, found, expected }
    }
}
