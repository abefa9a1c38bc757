//! CSV as RFC 4180 says: CRLF ends a line; what holds a comma, a quote or an end of line stands in quotes, and a quote in it twice.

use serde_json::Value;

/// One record, with its end.
pub(crate) fn record(fields: impl IntoIterator<Item = String>) -> String {
    let fields: Vec<String> = fields.into_iter().map(|text| field(&text)).collect();
    // A line with nothing on it would be no record to most readers.
    if fields.len() == 1 && fields[0].is_empty() {
        return "\"\"\r\n".to_owned();
    }
    fields.join(",") + "\r\n"
}

/// A plain value; missing is empty.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn field(text: &str) -> String {
    let is_bare = !text.contains(['"', ',', '\r', '\n'])
        && !text.starts_with([' ', '\t'])
        && !text.ends_with([' ', '\t']);
    if is_bare { text.to_owned() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn check(fields: &[&str], expect: &str) {
        assert_eq!(record(fields.iter().map(|text| (*text).to_owned())), expect);
    }

    #[test]
    fn only_what_needs_quotes_has_them() {
        check(&["web", "2", ""], "web,2,\r\n");
        check(&["a,b", "say \"x\"", "two\nlines"], "\"a,b\",\"say \"\"x\"\"\",\"two\nlines\"\r\n");
        check(&[" a", "b "], "\" a\",\"b \"\r\n");
        check(&[""], "\"\"\r\n");
        let values = [json!(null), json!("x"), json!(7), json!(1.5), json!(true)];
        assert_eq!(values.each_ref().map(text), ["", "x", "7", "1.5", "true"]);
    }

    /// A reader of RFC 4180, as short as it can be.
    fn read(text: &str) -> Vec<Vec<String>> {
        let (mut records, mut fields, mut field) = (Vec::new(), Vec::new(), String::new());
        let mut chars = text.chars().peekable();
        let mut is_quoted = false;
        while let Some(c) = chars.next() {
            match c {
                '"' if is_quoted && chars.peek() == Some(&'"') => {
                    field.push('"');
                    chars.next();
                }
                '"' => is_quoted = !is_quoted,
                ',' if !is_quoted => fields.push(std::mem::take(&mut field)),
                '\r' if !is_quoted && chars.peek() == Some(&'\n') => {
                    chars.next();
                    fields.push(std::mem::take(&mut field));
                    records.push(std::mem::take(&mut fields));
                }
                c => field.push(c),
            }
        }
        records
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(records in prop::collection::vec(prop::collection::vec(any::<String>(), 1..5), 0..5)) {
            let text: String = records.iter().cloned().map(record).collect();
            prop_assert_eq!(read(&text), records);
        }
    }
}
