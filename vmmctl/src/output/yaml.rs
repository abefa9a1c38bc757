//! YAML, written so that readers of YAML 1.1 and 1.2 agree on what it says.
//!
//! A string stands without quotes only where nobody could take it for anything else; a number always has the form that both call a
//! number. `no`, `1e3`, `12:30` and `0x1f` are strings here, and are quoted.

use serde_json::{Map, Value};

use super::text::is_hostile;

/// Words that some reader takes for something else than a string.
const TAKEN: &[&str] = &["null", "true", "false", "yes", "no", "on", "off", "y", "n"];

/// One document.
pub(crate) fn yaml(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(fields) if !fields.is_empty() => write_fields(&mut text, fields, 0),
        Value::Array(items) if !items.is_empty() => write_items(&mut text, items, 0),
        scalar => text.push_str(&format!("{}\n", flat(scalar))),
    }
    text
}

fn write_fields(text: &mut String, fields: &Map<String, Value>, depth: usize) {
    for (index, (name, value)) in fields.iter().enumerate() {
        // The first stands behind its item's dash.
        let behind_dash = index == 0 && text.ends_with("- ");
        text.push_str(&if behind_dash { String::new() } else { "  ".repeat(depth) });
        text.push_str(&string(name));
        text.push(':');
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                text.push('\n');
                write_fields(text, inner, depth + 1);
            }
            Value::Array(items) if !items.is_empty() => {
                text.push('\n');
                write_items(text, items, depth);
            }
            scalar => text.push_str(&format!(" {}\n", flat(scalar))),
        }
    }
}

fn write_items(text: &mut String, items: &[Value], depth: usize) {
    for (index, item) in items.iter().enumerate() {
        let behind_dash = index == 0 && text.ends_with("- ");
        text.push_str(&if behind_dash { String::new() } else { "  ".repeat(depth) });
        text.push_str("- ");
        match item {
            Value::Object(fields) if !fields.is_empty() => write_fields(text, fields, depth + 1),
            Value::Array(inner) if !inner.is_empty() => write_items(text, inner, depth + 1),
            scalar => text.push_str(&format!("{}\n", flat(scalar))),
        }
    }
}

/// What takes no line of its own.
fn flat(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number_of(&number.to_string()),
        Value::String(text) => string(text),
        Value::Array(_) => "[]".to_owned(),
        Value::Object(_) => "{}".to_owned(),
    }
}

/// YAML 1.1 knows an exponent only behind a decimal point, and with a sign.
fn number_of(json: &str) -> String {
    let Some((digits, exponent)) = json.split_once(['e', 'E']) else {
        return json.to_owned();
    };
    let point = if digits.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with(['+', '-']) { "" } else { "+" };
    format!("{digits}{point}e{sign}{exponent}")
}

fn string(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { quoted(text) }
}

fn is_plain(text: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ' ');
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '_');
    let is_taken = TAKEN.iter().any(|word| word.eq_ignore_ascii_case(text));
    begins && !text.ends_with(' ') && text.chars().all(inside) && !is_taken
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if !is_hostile(c) && is_printable(c) => quoted.push(c),
            c if u32::from(c) < 0x100 => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if u32::from(c) < 0x1_0000 => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    quoted.push('"');
    quoted
}

/// YAML refuses others unless they are escaped.
fn is_printable(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{1_0000}'..)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_tree_is_lines() {
        let tree = json!([
            {"name": "web", "phase": "Running", "disks": [{"device": "xvda", "ro": false}], "nics": []},
            {"name": "1", "load": null, "spec": {"vcpus": 2, "tags": ["a", "b"]}, "facts": {}},
            [1, [2]],
        ]);
        let expect = "\
- disks:
  - device: xvda
    ro: false
  name: web
  nics: []
  phase: Running
- facts: {}
  load: null
  name: \"1\"
  spec:
    tags:
    - a
    - b
    vcpus: 2
- - 1
  - - 2
";
        assert_eq!(yaml(&tree), expect);
        assert_eq!(yaml(&json!([])), "[]\n");
        assert_eq!(yaml(&json!({})), "{}\n");
        assert_eq!(yaml(&json!("a b")), "a b\n");
    }

    #[test]
    fn what_could_be_taken_for_something_else_is_quoted() {
        for text in [
            "",
            "no",
            "Yes",
            "ON",
            "n",
            "null",
            "~",
            "true",
            "1",
            "1.5",
            "1e3",
            ".5",
            ".inf",
            "0x1f",
            "12:30:45",
            "2026-01-02",
            "-",
            "- a",
            "-a",
            "a: b",
            "a:",
            "a #b",
            "#a",
            "[a]",
            "{a}",
            "*a",
            "&a",
            "!a",
            "|",
            ">",
            "%a",
            "@a",
            "`a",
            "'a'",
            "\"",
            " a",
            "a ",
            "=",
            "<<",
            "---",
            "a\nb",
            "\u{85}",
            "\u{feff}",
            "\u{7f}",
            "\x1b[2J",
            "😀",
            "+1",
            "?",
            "? a",
            ",",
        ] {
            assert!(string(text).starts_with('"'), "{text:?} is {}", string(text));
        }
        for text in ["web-1", "Running", "host not heard", "/srv/a.img", "_x", "nope", "e5"] {
            assert_eq!(string(text), text);
        }
    }

    #[test]
    fn numbers_have_the_form_that_all_readers_know() {
        for (json, expect) in [
            ("1", "1"),
            ("-2.5", "-2.5"),
            ("1e21", "1.0e+21"),
            ("1e-7", "1.0e-7"),
            ("1.5e300", "1.5e+300"),
        ] {
            assert_eq!(number_of(json), expect);
        }
    }

    fn trees() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[a-z0-9:. #~-]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((any::<String>(), inner), 0..5)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn another_reader_reads_what_was_written(tree in trees()) {
            let text = yaml(&tree);
            prop_assert!(!text.chars().any(|c| is_hostile(c) && c != '\n'), "{text:?}");
            let read: Value = serde_yaml_ng::from_str(&text).map_err(|error| {
                TestCaseError::fail(format!("{error} in\n{text}"))
            })?;
            prop_assert_eq!(read, tree);
        }
    }
}
