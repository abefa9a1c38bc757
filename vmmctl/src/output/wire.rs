//! Answers as programs get them: the wire's own names in snake_case, lists as arrays. This shape is a contract.

use serde::Serialize;
use serde_json::Value;

use super::text::is_hostile;
use crate::failure::Failure;

/// The answer as a tree.
pub(crate) fn value<T: Serialize + ?Sized>(answer: &T) -> Result<Value, Failure> {
    serde_json::to_value(answer).map(plain).map_err(failed)
}

/// On several lines, and with an end of line.
pub(crate) fn json(value: &Value) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value).map_err(failed)?;
    Ok(harmless(text) + "\n")
}

/// On one line, without an end of line.
pub(crate) fn json_line(value: &Value) -> Result<String, Failure> {
    serde_json::to_string(value).map(harmless).map_err(failed)
}

fn failed(error: serde_json::Error) -> Failure {
    Failure::Local(format!("the answer has no form in JSON: {error}"))
}

/// JSON lets control characters above ASCII stand as they are, which a terminal obeys. Only strings hold any, so that an escape means the same.
fn harmless(text: String) -> String {
    let is_escaped = |c: char| is_hostile(c) && c != '\n';
    if !text.contains(is_escaped) {
        return text;
    }
    let escape = |c: char| {
        if is_escaped(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() }
    };
    text.chars().map(escape).collect()
}

/// `@vm-count` is `vm_count`, `Facts` is `facts`.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (snake(&name), plain(value))).collect()
        }
        Value::Array(items) => items.into_iter().map(plain).collect(),
        other => other,
    }
}

fn snake(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 2);
    for c in name.trim_start_matches('@').chars() {
        match c {
            '-' => snake.push('_'),
            c if c.is_ascii_uppercase() => {
                if !snake.is_empty() {
                    snake.push('_');
                }
                snake.push(c.to_ascii_lowercase());
            }
            c => snake.push(c),
        }
    }
    snake
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vmm_proto::v1;

    use super::*;

    #[test]
    fn json_has_the_wires_names_in_snake_case() {
        let host = v1::Host {
            host: "id".into(),
            name: "a".into(),
            address: "a:1".into(),
            health: v1::HostHealth::Up,
            heard_ms_ago: None,
            maintenance: false,
            vm_count: 2,
            memory_reserved_kib: 1,
            cpu_reserved_milli: 1,
            disk_reserved_bytes_per_s: 1,
            facts: Some(v1::HostFacts::default()),
            pool: "default".into(),
            site: "default".into(),
            notes: String::new(),
            tags: Vec::new(),
            load: None,
        };
        let text = json(&value(&[host]).expect("a value")).expect("JSON");
        for name in
            ["\"vm_count\": 2", "\"memory_reserved_kib\"", "\"facts\": {", "\"xen_version\""]
        {
            assert!(text.contains(name), "{name} in {text}");
        }
        assert!(!text.contains('@') && !text.contains("heard_ms_ago"));
    }

    proptest! {
        #[test]
        fn harmless_json_means_the_same(text in any::<String>()) {
            let value = Value::from(text);
            let line = json_line(&value).expect("JSON");
            prop_assert!(!line.contains(is_hostile), "{line:?}");
            prop_assert_eq!(serde_json::from_str::<Value>(&line).expect("JSON"), value);
        }
    }
}
