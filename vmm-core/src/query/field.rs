//! What can be asked for: fields with their types, and rows that have them.

use std::fmt::Debug;

use super::unit::Unit;

/// A field of a kind of object.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    /// As it is written in queries.
    pub name: &'static str,
    /// What its values are.
    pub field_type: FieldType,
    /// For people.
    pub about: &'static str,
}

/// What a field's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// One text, or none.
    Text,
    /// Any number of texts.
    Texts,
    /// A place in a tree, such as `/prod/web`; it is below each place that it begins with.
    Path,
    /// One word of a list, or none.
    Words(&'static Words),
    /// A number of this unit, or none.
    Number(Unit),
}

/// A closed list of words. A row holds a word's place in the list as a number.
#[derive(Debug, PartialEq, Eq)]
pub struct Words {
    /// At most 64.
    pub words: &'static [&'static str],
    /// Names for several of them, or other names of one.
    pub groups: &'static [(&'static str, &'static [&'static str])],
}

impl Words {
    /// A bit for the word, or a bit for each word of the group; none when it is neither.
    #[must_use]
    pub fn mask(&self, word: &str) -> Option<u64> {
        let place =
            |word: &str| self.words.iter().position(|known| known.eq_ignore_ascii_case(word));
        if let Some(place) = place(word) {
            return Some(1 << place);
        }
        let (_, of) = self.groups.iter().find(|(name, _)| name.eq_ignore_ascii_case(word))?;
        Some(of.iter().filter_map(|word| place(word)).fold(0, |mask, place| mask | 1 << place))
    }

    /// All that can be written.
    pub fn all(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.words.iter().copied().chain(self.groups.iter().map(|(name, _)| *name))
    }
}

/// The fields of one kind of object.
pub trait Fields: Copy + Eq + Debug + 'static {
    /// The kind, for people: `a VM`.
    const OBJECT: &'static str;
    /// The field that a word by itself is looked for in.
    const NAME: Self;

    /// Every field, as they are to be listed.
    fn all() -> &'static [Self];

    /// What is known of this one.
    fn field(self) -> &'static Field;

    /// The field of this name.
    #[must_use]
    fn named(name: &str) -> Option<Self> {
        Self::all().iter().copied().find(|field| field.field().name.eq_ignore_ascii_case(name))
    }
}

/// One value of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// It has none.
    Missing,
    /// Of [`FieldType::Text`] and [`FieldType::Path`].
    Text(&'a str),
    /// Of [`FieldType::Number`] in its unit, and of [`FieldType::Words`] the place of the word.
    Number(u64),
}

impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(text: Option<&'a str>) -> Self {
        text.map_or(Self::Missing, Self::Text)
    }
}

impl From<Option<u64>> for Value<'_> {
    fn from(number: Option<u64>) -> Self {
        number.map_or(Self::Missing, Self::Number)
    }
}

/// A row: something that has the fields.
pub trait Record {
    /// Which fields.
    type Field: Fields;

    /// The one value of a field; of [`FieldType::Texts`], missing.
    fn value(&self, field: Self::Field) -> Value<'_>;

    /// Whether a text of a [`FieldType::Texts`] passes.
    fn any(&self, field: Self::Field, test: &mut dyn FnMut(&str) -> bool) -> bool;

    /// What no other row has: it decides the order of rows that are alike.
    fn tie(&self) -> [u8; 16];
}

/// The known name that was probably meant.
pub(super) fn nearest(
    found: &str,
    known: impl Iterator<Item = &'static str>,
) -> Option<&'static str> {
    /// Letters that may be wrong, missing or too many.
    const MISTAKES_MAX: usize = 2;
    /// Nobody means a known name with so long a word.
    const LETTERS_MAX: usize = 32;
    let found = found.to_lowercase();
    if found.is_empty() || found.chars().count() > LETTERS_MAX {
        return None;
    }
    let mistakes = |name: &'static str| {
        let begins = found.len() > 1 && name.starts_with(&found);
        (if begins { 1 } else { distance(&found, name) }, name)
    };
    let (mistakes, name) = known.map(mistakes).min()?;
    (mistakes <= MISTAKES_MAX && mistakes < name.len()).then_some(name)
}

/// Levenshtein's.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, letter) in (1..).zip(one.chars()) {
        let mut diagonal = std::mem::replace(&mut row[0], line);
        for (place, same) in other.iter().enumerate() {
            let change = diagonal + usize::from(*same != letter);
            diagonal = row[place + 1];
            row[place + 1] = change.min(diagonal + 1).min(row[place] + 1);
        }
    }
    row[other.len()]
}
