//! What could be written at a place of a query: for the shell's completion and the console's search box.
//!
//! The text before the place may be half a query and may be wrong elsewhere: it is read as far as it goes, and nothing is refused.

use super::field::{Field, FieldType, Fields};
use super::lex::{Cursor, Operator};

/// What could stand from `start` to the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suggestions<F> {
    /// The byte where the unfinished part begins.
    pub start: usize,
    /// What it could become, those that begin as it does.
    pub items: Vec<Suggestion>,
    /// Values of this field fit here, too; only whoever has the objects knows them.
    pub values_of: Option<F>,
}

/// One possibility.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suggestion {
    /// What to write.
    pub text: &'static str,
    /// What it means.
    pub about: &'static str,
}

const ALL_SYMBOLS: &[(&str, &str)] = &[
    ("=", "is"),
    ("!=", "is not"),
    ("~", "contains"),
    ("!~", "does not contain"),
    ("<", "is less than"),
    ("<=", "is at most"),
    (">", "is more than"),
    (">=", "is at least"),
    ("in (", "is one of"),
    ("not in (", "is none of"),
];

/// What may come next.
enum Next<F> {
    Term,
    /// Behind a whole comparison.
    Joint,
    Operator(F),
    Value(Option<F>),
}

/// What could be written at byte `place` of `text`; behind its end means at its end.
#[must_use]
pub fn suggest<F: Fields>(text: &str, place: usize) -> Suggestions<F> {
    let mut place = place.min(text.len());
    while !text.is_char_boundary(place) {
        place -= 1;
    }
    let mut cursor = Cursor::new(&text[..place]);
    let mut next = Next::Term;
    loop {
        cursor.skip_space();
        if let Some(start) = step(&mut cursor, &mut next) {
            return offered(&cursor.text[start..], start, &next);
        }
    }
}

/// Reads on; where the unfinished part begins, when the text is over.
fn step<F: Fields>(cursor: &mut Cursor<'_>, next: &mut Next<F>) -> Option<usize> {
    let start = cursor.at;
    if cursor.is_at_end() {
        return Some(start);
    }
    if cursor.take('(') || cursor.take('!') {
        *next = Next::Term;
        return None;
    }
    if cursor.take(')') || cursor.take(',') {
        *next = Next::Joint;
        return None;
    }
    match cursor.quoted() {
        Ok(Some(_)) => *next = Next::Joint,
        // An open quote: a name, of which nothing is known here.
        Err(_) => {
            *next = Next::Value(None);
            return Some(start);
        }
        Ok(None) => return word(cursor, next, start),
    }
    None
}

fn word<F: Fields>(cursor: &mut Cursor<'_>, next: &mut Next<F>, start: usize) -> Option<usize> {
    let word = cursor.word();
    if cursor.is_at_end() {
        return Some(start);
    }
    if ["and", "or", "not"].iter().any(|keyword| word.eq_ignore_ascii_case(keyword)) {
        *next = Next::Term;
        return None;
    }
    let field = F::named(word);
    let behind = *cursor;
    match cursor.operator() {
        Some(operator) => values(cursor, next, (field, operator)),
        None => {
            *cursor = behind;
            cursor.skip_space();
            *next = field.map_or(Next::Joint, Next::Operator);
            // What follows is an operator that has only begun, or the next term.
            let rest = cursor.rest();
            let begun = rest.is_empty() || rest == "!" || is_start_of_list(rest);
            if !begun {
                *next = Next::Joint;
                if rest.starts_with(|c: char| "=!~<>:".contains(c)) {
                    cursor.at += rest.chars().next().map_or(0, char::len_utf8);
                }
            }
            begun.then_some(cursor.at)
        }
    }
}

fn is_start_of_list(rest: &str) -> bool {
    let words: Vec<&str> = rest.split_whitespace().collect();
    matches!(words.as_slice(), ["i" | "in"] | ["n" | "no" | "not"] | ["not", "i" | "in"])
}

fn values<F: Fields>(
    cursor: &mut Cursor<'_>,
    next: &mut Next<F>,
    (field, operator): (Option<F>, Operator),
) -> Option<usize> {
    loop {
        cursor.skip_space();
        let start = cursor.at;
        *next = Next::Value(field);
        let is_over = cursor.value().is_err() || cursor.is_at_end();
        if is_over && (cursor.is_at_end() || cursor.rest().starts_with(['"', '\''])) {
            return Some(start);
        }
        let is_list = matches!(operator, Operator::In | Operator::NotIn);
        if !(is_list && cursor.take(',')) {
            *next = Next::Joint;
            return None;
        }
    }
}

fn offered<F: Fields>(begun: &str, start: usize, next: &Next<F>) -> Suggestions<F> {
    let mut values_of = None;
    let all: Vec<Suggestion> = match next {
        Next::Term => {
            names::<F>().chain(pairs(&[("not", "the opposite"), ("(", "a group")])).collect()
        }
        Next::Joint => {
            pairs(&[("and", "both"), ("or", "one of them")]).chain(names::<F>()).collect()
        }
        Next::Operator(field) => operators(field.field()),
        Next::Value(None) => Vec::new(),
        Next::Value(Some(field)) => {
            values_of = Some(*field);
            words(field.field())
        }
    };
    let begun = begun.to_ascii_lowercase();
    let items = all.into_iter().filter(|item| item.text.starts_with(&begun)).collect();
    Suggestions { start, items, values_of }
}

fn pairs(pairs: &'static [(&'static str, &'static str)]) -> impl Iterator<Item = Suggestion> {
    pairs.iter().map(|(text, about)| Suggestion { text, about })
}

fn names<F: Fields>() -> impl Iterator<Item = Suggestion> {
    let fields = F::all().iter().map(|field| field.field());
    fields.map(|field| Suggestion { text: field.name, about: field.about })
}

fn operators(field: &'static Field) -> Vec<Suggestion> {
    let is_number = matches!(field.field_type, FieldType::Number(_));
    let refused = if is_number { ["~", "!~", "", ""] } else { ["<", "<=", ">", ">="] };
    pairs(ALL_SYMBOLS).filter(|item| !refused.contains(&item.text)).collect()
}

fn words(field: &'static Field) -> Vec<Suggestion> {
    match field.field_type {
        FieldType::Words(words) => {
            words.all().map(|text| Suggestion { text, about: field.about }).collect()
        }
        _ => Vec::new(),
    }
}
