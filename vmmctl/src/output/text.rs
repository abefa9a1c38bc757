//! Text that others wrote, made harmless; and how wide it is.
//!
//! Names, reasons and messages come from guests, hosts and other users. None of them may drive a terminal: control characters and
//! those that turn the direction of text around are shown as escapes, such as `\x1b`.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// What a cut text ends with.
const MORE: char = '…';

/// Could this drive a terminal, or show text in another order than it is written?
pub(crate) fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// On one line, with escapes for whatever is hostile.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, is_hostile)
}

/// The same, but lines stay lines and tabs stay tabs.
pub(crate) fn visible_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| is_hostile(c) && c != '\n' && c != '\t')
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            c if !is_escaped(c) => shown.push(c),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            c if u32::from(c) < 0x100 => shown.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => shown.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
        }
    }
    Cow::Owned(shown)
}

/// How many columns it takes on a terminal.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// At most so wide; what is cut ends with a mark that says so.
pub(crate) fn cut(text: &str, width_max: usize) -> Cow<'_, str> {
    if width(text) <= width_max {
        return Cow::Borrowed(text);
    }
    let room = width_max.saturating_sub(1);
    let mut shown = String::new();
    let mut taken = 0;
    for c in text.chars() {
        taken += c.width().unwrap_or(0);
        if taken > room {
            break;
        }
        shown.push(c);
    }
    shown.push(MORE);
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_could_drive_a_terminal_is_seen_instead() {
        for (text, expect) in [
            ("web-1", "web-1"),
            ("größe 10 µs", "größe 10 µs"),
            ("\x1b[2Jgone", "\\x1b[2Jgone"),
            ("a\nb\tc\r", "a\\nb\\tc\\r"),
            ("\u{9b}31m", "\\x9b31m"),
            ("\u{7f}", "\\x7f"),
            ("abc\u{202e}gpj.exe", "abc\\u{202e}gpj.exe"),
            ("a\u{200b}b", "a\\u{200b}b"),
        ] {
            assert_eq!(visible(text), expect);
        }
        assert_eq!(visible_lines("a\n\tb\x1b]0;x\x07"), "a\n\tb\\x1b]0;x\\x07");
    }

    #[test]
    fn a_cut_text_says_so_and_counts_wide_characters_twice() {
        for (text, width_max, expect) in [
            ("running", 7, "running"),
            ("running", 6, "runni…"),
            ("running", 1, "…"),
            ("日本語", 6, "日本語"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("", 0, ""),
        ] {
            assert_eq!(cut(text, width_max), expect, "{text} in {width_max}");
        }
    }

    proptest! {
        #[test]
        fn no_text_at_all_drives_a_terminal(text in any::<String>()) {
            let shown = visible(&text).into_owned();
            prop_assert!(!shown.contains(is_hostile), "{shown:?}");
            prop_assert!(!visible_lines(&text).chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
        }

        #[test]
        fn a_cut_text_fits(text in "\\PC*", width_max in 1_usize..40) {
            let text = visible(&text);
            prop_assert!(width(&cut(&text, width_max)) <= width_max);
        }
    }
}
