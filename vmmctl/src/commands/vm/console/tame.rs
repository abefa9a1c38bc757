//! A guest's console on a person's terminal: its text, without what would drive the terminal.
//!
//! Escape sequences (colours, cursor moves, titles, the clipboard) are left out whole; other control characters are a `?`, lines and
//! tabs stay. A sequence may be cut by a chunk of the stream, and so may a character of UTF-8; one that never ends, ends with its line.

use crate::output::is_hostile;

/// What a sequence may be long. A guest that died inside one does not hide what comes later.
const SEQUENCE_MAX: usize = 256;

/// Where in the stream we are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Text,
    /// Behind an escape character.
    Escape,
    /// In parameters, up to a letter.
    Control,
    /// In a text for the terminal, such as a title, up to its end.
    String,
}

/// Tames a stream, chunk by chunk.
#[derive(Debug, Default)]
pub(super) struct Tamer {
    place: Place,
    /// Characters of the sequence that we are in.
    length: usize,
    /// The beginning of a character whose rest has not come.
    partial: Vec<u8>,
}

impl Tamer {
    /// The text of this chunk.
    pub(super) fn tame(&mut self, bytes: &[u8]) -> String {
        let mut all = std::mem::take(&mut self.partial);
        all.extend_from_slice(bytes);
        let whole = whole_characters(&all);
        self.partial = all.split_off(whole);
        let text = String::from_utf8_lossy(&all);
        text.chars().filter_map(|c| self.take(c)).collect()
    }

    fn take(&mut self, c: char) -> Option<char> {
        self.length += 1;
        if c == '\n' || (self.place != Place::Text && self.length > SEQUENCE_MAX) {
            self.place = Place::Text;
        }
        let (place, shown) = match (self.place, c) {
            (_, '\x1b') => (Place::Escape, None),
            (Place::Text, c) => text(c),
            (Place::Escape, '[') => (Place::Control, None),
            (Place::Escape, ']' | 'P' | 'X' | '^' | '_') => (Place::String, None),
            // Such as the choice of a character set: one more follows.
            (Place::Escape, ' '..='/') => (Place::Escape, None),
            (Place::Escape, _) => (Place::Text, None),
            (Place::Control, '@'..='~') => (Place::Text, None),
            (Place::Control, _) => (Place::Control, None),
            (Place::String, '\x07' | '\u{9c}') => (Place::Text, None),
            (Place::String, _) => (Place::String, None),
        };
        if self.place != place {
            self.length = 0;
        }
        self.place = place;
        shown
    }
}

fn text(c: char) -> (Place, Option<char>) {
    match c {
        '\n' | '\t' => (Place::Text, Some(c)),
        '\r' => (Place::Text, None),
        '\u{9b}' => (Place::Control, None),
        '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => (Place::String, None),
        c if is_hostile(c) => (Place::Text, Some('?')),
        c => (Place::Text, Some(c)),
    }
}

/// How many bytes there are before a character that is cut at the end.
fn whole_characters(bytes: &[u8]) -> usize {
    let end = bytes.utf8_chunks().last().map(|chunk| chunk.invalid()).unwrap_or_default();
    let is_cut = std::str::from_utf8(end).is_err_and(|error| error.error_len().is_none());
    if is_cut { bytes.len() - end.len() } else { bytes.len() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(chunks: &[&[u8]], expect: &str) {
        let mut tamer = Tamer::default();
        let text: String = chunks.iter().map(|chunk| tamer.tame(chunk)).collect();
        assert_eq!(text, expect, "{chunks:?}");
    }

    #[test]
    fn a_guest_does_not_drive_the_terminal() {
        check(&[b"a\r\n\x1b[2Jb\tc\xff\n"], "a\nb\tc\u{fffd}\n");
        check(&[b"[\x1b[0;32m  OK  \x1b[0m] Started"], "[  OK  ] Started");
        check(&[b"\x1b]0;title\x07x"], "x");
        check(&[b"\x1b]52;c;cm0=\x1b\\x"], "x");
        check(&[b"\x1b(Bx\x1bcy\x1bPq\x1b\\z"], "xyz");
        check(&["\u{9b}2Jx\u{9d}0;t\u{9c}y\u{202e}z".as_bytes()], "xy?z");
        check(&[b"\x07\x08\x00"], "???");
    }

    #[test]
    fn sequences_and_characters_may_be_cut() {
        check(&[b"a\x1b", b"[3", b"1mb"], "ab");
        check(&["gr\u{f6}".as_bytes().split_at(3).0, &[0xb6], b"\xc3\x9fe"], "gr\u{f6}\u{df}e");
        check(&[&[0xe6], &[0x97], &[0xa5]], "\u{65e5}");
    }

    #[test]
    fn a_sequence_that_never_ends_hides_no_other_line() {
        check(&[b"\x1b]0;oops\nnext"], "\nnext");
        let long = [b"\x1b]".as_slice(), &[b'x'; 2 * SEQUENCE_MAX]].concat();
        let mut tamer = Tamer::default();
        assert!(!tamer.tame(&long).is_empty());
    }

    proptest! {
        #[test]
        fn nothing_that_a_guest_writes_drives_the_terminal(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8)) {
            let mut tamer = Tamer::default();
            let text: String = chunks.iter().map(|chunk| tamer.tame(chunk)).collect();
            prop_assert!(!text.chars().any(|c| is_hostile(c) && c != '\n' && c != '\t'), "{:?}", text);
        }

        #[test]
        fn chunks_make_no_difference(bytes in prop::collection::vec(any::<u8>(), 0..80), at in 0_usize..80) {
            let (before, after) = bytes.split_at(at.min(bytes.len()));
            let (mut one, mut two) = (Tamer::default(), Tamer::default());
            let whole = one.tame(&[&bytes[..], b"\n"].concat());
            let parts = two.tame(before) + &two.tame(&[after, b"\n"].concat());
            prop_assert_eq!(whole, parts);
        }

        #[test]
        fn plain_text_stays(text in "[ -~\n\t\u{c0}-\u{ff}]*") {
            prop_assert_eq!(Tamer::default().tame(text.as_bytes()), text);
        }
    }
}
