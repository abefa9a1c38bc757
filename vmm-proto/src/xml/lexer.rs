//! The letters of XML: characters, names, references, and a cursor over them.

/// Longest decimal or hexadecimal digits of a character reference.
const REFERENCE_DIGITS_MAX: usize = 7;

/// A place in a document.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Cursor<'a> {
        Cursor { text, at: 0 }
    }

    pub(super) fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.text.len()
    }

    /// Steps over `expected` if it is next.
    pub(super) fn take(&mut self, expected: &str) -> bool {
        let found = self.rest().starts_with(expected);
        if found {
            self.at += expected.len();
        }
        found
    }

    /// Steps over what comes before the first of `stop`, or over everything.
    pub(super) fn take_until(&mut self, stop: char) -> &'a str {
        let rest = self.rest();
        let length = rest.find(stop).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    /// Steps over white space; says whether there was any.
    pub(super) fn take_space(&mut self) -> bool {
        let rest = self.rest();
        let length = rest.bytes().take_while(|b| is_space(*b)).count();
        self.at += length;
        length > 0
    }

    /// Steps over an ASCII NCName.
    pub(super) fn take_ncname(&mut self) -> Option<&'a str> {
        let rest = self.rest();
        let length = rest.bytes().take_while(|b| is_name(*b)).count();
        let name = rest.get(..length)?;
        let first = name.bytes().next()?;
        if !(first.is_ascii_alphabetic() || first == b'_') {
            return None;
        }
        self.at += length;
        Some(name)
    }
}

pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// Whether XML 1.0 can carry the character at all.
pub(super) fn is_legal(c: char) -> bool {
    match c {
        '\t' | '\n' | '\r' => true,
        '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => false,
        _ => true,
    }
}

/// Where the first character is that XML cannot carry. Nearly all text is far from one, so whole blocks of bytes are looked at first.
pub(super) fn find_illegal(text: &str) -> Option<usize> {
    const BLOCK_BYTES: usize = 64;
    // Control characters, and the byte that U+FFFE and U+FFFF begin with.
    let may_be = |b: u8| (b < b' ' && !is_space(b)) || b == 0xef;
    let blocks = text.as_bytes().chunks(BLOCK_BYTES);
    let suspects = blocks.map(|block| block.iter().fold(false, |found, b| found | may_be(*b)));
    let first = suspects.enumerate().find_map(|(index, found)| found.then_some(index))?;
    let mut start = first * BLOCK_BYTES;
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let rest = text.get(start..)?;
    rest.char_indices().find(|(_, c)| !is_legal(*c)).map(|(at, _)| start + at)
}

/// Where the first reference goes wrong.
pub(super) fn find_bad_reference(text: &str) -> Option<usize> {
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| rest.find('&')) {
        at += found;
        match reference(text.get(at..).unwrap_or_default()) {
            Some((_, length)) => at += length,
            None => return Some(at),
        }
    }
    None
}

/// The character that a reference at the start of `text` stands for, and the reference's length.
pub(super) fn reference(text: &str) -> Option<(char, usize)> {
    let name = text.strip_prefix('&')?;
    let name = name.get(..name.bytes().take(REFERENCE_DIGITS_MAX + 3).position(|b| b == b';')?)?;
    let character = match name {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "apos" => '\'',
        "quot" => '"',
        _ => numeric(name.strip_prefix('#')?)?,
    };
    Some((character, name.len() + 2))
}

fn numeric(digits: &str) -> Option<char> {
    let (digits, radix) = match digits.strip_prefix('x') {
        Some(digits) => (digits, 16),
        None => (digits, 10),
    };
    let valid = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    if !valid || digits.len() > REFERENCE_DIGITS_MAX {
        return None;
    }
    let character = char::from_u32(u32::from_str_radix(digits, radix).ok()?)?;
    is_legal(character).then_some(character)
}

/// The value of an attribute as XML defines it: references resolved, literal white space made
/// spaces. The text was checked before; a bad reference stays as it is.
pub(crate) fn attribute_value(raw: &str) -> String {
    let mut value = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(c) = rest.chars().next() {
        let (c, length) = match c {
            '&' => reference(rest).unwrap_or((c, 1)),
            '\t' | '\n' | '\r' => (' ', 1),
            _ => (c, c.len_utf8()),
        };
        value.push(c);
        rest = rest.get(length..).unwrap_or_default();
    }
    value
}
