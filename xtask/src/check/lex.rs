//! Rust sources with comments, strings and characters blanked, so that a word found in the rest is code. Lines stay where they were.
//!
//! It is no parser: a file that does not compile may come out wrong, and clippy will have said so.

/// The code of a source file, the rest replaced by spaces.
pub(crate) fn code_of(source: &str) -> String {
    let mut rest = source;
    let mut code = String::with_capacity(source.len());
    let mut after_word = false;
    while let Some(first) = rest.chars().next() {
        let length = match skipped(rest, after_word) {
            0 => {
                code.push(first);
                after_word = first.is_alphanumeric() || first == '_';
                rest = &rest[first.len_utf8()..];
                continue;
            }
            length => length,
        };
        let (blank, more) = rest.split_at(length);
        code.extend(blank.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        after_word = false;
        rest = more;
    }
    code
}

/// How much of the start is no code.
fn skipped(rest: &str, after_word: bool) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    if !after_word {
        for prefix in ["r", "br", "cr"] {
            if let Some(length) = raw_string(rest, prefix) {
                return length;
            }
        }
    }
    if rest.starts_with('"') {
        return quoted(rest, '"');
    }
    if rest.starts_with('\'') { character(rest) } else { 0 }
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn raw_string(rest: &str, prefix: &str) -> Option<usize> {
    let after = rest.strip_prefix(prefix)?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let body = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let start = prefix.len() + hashes + 1;
    Some(body.find(&end).map_or(rest.len(), |at| start + at + end.len()))
}

fn quoted(rest: &str, mark: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if !escaped && c == mark {
            return at + 1;
        }
        escaped = !escaped && c == '\\';
    }
    rest.len()
}

/// A character is closed after one character or an escape; a lifetime is not closed and is code.
fn character(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => quoted(rest, '\''),
        Some(_) => match chars.next() {
            Some((at, '\'')) => at + 1,
            _ => 0,
        },
        None => 0,
    }
}

/// The numbers of the lines of `code` where `word` stands by itself, counted from 1.
pub(crate) fn lines_with_word(code: &str, word: &str) -> Vec<usize> {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    let has = |line: &str| {
        line.match_indices(word).any(|(at, _)| {
            !line[..at].ends_with(part_of_word)
                && !line[at + word.len()..].starts_with(part_of_word)
        })
    };
    code.lines().zip(1..).filter(|(line, _)| has(line)).map(|(_, number)| number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, expect: &[usize]) {
        assert_eq!(lines_with_word(&code_of(source), "unsafe"), expect, "{source}");
    }

    #[test]
    fn only_code_counts() {
        check("fn f() { unsafe { g() } }", &[1]);
        check("// unsafe\n/* unsafe /* unsafe */ unsafe */\nunsafe fn f() {}", &[3]);
        check("let a = \"unsafe \\\" unsafe\"; let b = r#\"unsafe \" unsafe\"#;", &[]);
        check("let c = '\"'; unsafe {} let d = '\\''; let e = \"unsafe\";", &[1]);
        check("fn f<'a>(x: &'a str) { unsafe {} }", &[1]);
        check("#![deny(unsafe_code, unsafe_op_in_unsafe_fn)]", &[]);
        check("let s = b\"unsafe\"; let r = br\"unsafe\"; bar\"\n\"", &[]);
    }
}
