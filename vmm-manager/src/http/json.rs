//! JSON as callers write it, and as the wire types' serde has it: names and types are compared with the shape before serde sees them, so
//! that a misspelt field is never passed over.

use serde_json::{Map, Value};
use thiserror::Error;
use vmm_proto::v1::{Reply, Request};

use super::shape::{Form, Part, Shapes, plain_name};

/// What a caller wrote cannot be the fields of this verb.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum FieldError {
    /// It has no such field.
    #[error("{place} is not known here; known are: {known}")]
    Unknown {
        /// With what it stands in.
        place: String,
        /// Those that there are.
        known: String,
    },
    /// It must be there.
    #[error("{place} is missing: it is {expected}")]
    Missing {
        /// With what it stands in.
        place: String,
        /// What it is.
        expected: String,
    },
    /// It is something else.
    #[error("{place} must be {expected}")]
    Type {
        /// With what it stands in.
        place: String,
        /// What it must be.
        expected: String,
    },
}

impl Form {
    /// For people.
    pub(super) fn expected(&self) -> String {
        match self {
            Self::Text => "a text".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Whole(bits) => format!("a whole number of at most {bits} bits"),
            Self::Fraction => "a number".to_owned(),
            Self::Words(words) => format!("one of {}", words.join(", ")),
            Self::Object(name) => format!("an object {name}"),
            Self::Many(each) => format!("a list, each of it {}", each.expected()),
        }
    }

    /// From the text of a path or query.
    pub(super) fn of_text(&self, text: &str) -> Option<Value> {
        match self {
            Self::Text | Self::Words(_) => Some(Value::from(text)),
            Self::Flag => text.parse::<bool>().ok().map(Value::from),
            Self::Whole(_) => {
                let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
                if is_number { text.parse::<u64>().ok().map(Value::from) } else { None }
            }
            Self::Fraction | Self::Object(_) | Self::Many(_) => None,
        }
    }
}

/// The request of these fields.
pub(super) fn request(verb: &str, fields: Map<String, Value>) -> Result<Request, FieldError> {
    let body = object(Shapes::known().request(verb), fields, "")?;
    let whole = Value::Object([(verb.to_owned(), body)].into_iter().collect());
    serde_json::from_value(whole).map_err(|error| FieldError::Type {
        place: verb.to_owned(),
        expected: format!("as its schema says: {error}"),
    })
}

fn object(parts: &[Part], fields: Map<String, Value>, within: &str) -> Result<Value, FieldError> {
    let mut wire = Map::new();
    for (name, value) in fields {
        let place = format!("{within}{name}");
        let part = parts.iter().find(|part| part.plain == name).ok_or_else(|| {
            let known: Vec<&str> = parts.iter().map(|part| part.plain.as_str()).collect();
            FieldError::Unknown { place: place.clone(), known: known.join(", ") }
        })?;
        // Nothing is as good as not said.
        if !value.is_null() {
            wire.insert(part.wire.to_owned(), converted(&part.form, value, &place)?);
        }
    }
    match parts.iter().find(|part| part.required && !wire.contains_key(part.wire)) {
        None => Ok(Value::Object(wire)),
        Some(part) => Err(FieldError::Missing {
            place: format!("{within}{}", part.plain),
            expected: part.form.expected(),
        }),
    }
}

fn converted(form: &Form, value: Value, place: &str) -> Result<Value, FieldError> {
    let fits = match (form, &value) {
        (Form::Text, Value::String(_)) | (Form::Flag, Value::Bool(_)) => true,
        (Form::Whole(bits), Value::Number(number)) => {
            number.as_u64().is_some_and(|number| *bits >= 64 || number >> bits == 0)
        }
        (Form::Fraction, Value::Number(_)) => true,
        (Form::Words(words), Value::String(word)) => words.contains(&word.as_str()),
        (Form::Object(_), Value::Object(_)) | (Form::Many(_), Value::Array(_)) => true,
        _ => false,
    };
    if !fits {
        return Err(FieldError::Type { place: place.to_owned(), expected: form.expected() });
    }
    match (form, value) {
        (Form::Object(name), Value::Object(fields)) => {
            object(Shapes::known().object(name), fields, &format!("{place}."))
        }
        (Form::Many(each), Value::Array(items)) => {
            let item = |(index, item)| converted(each, item, &format!("{place}[{index}]"));
            items.into_iter().enumerate().map(item).collect()
        }
        (_, value) => Ok(value),
    }
}

/// The name of a reply, and its fields as callers read them.
pub(super) fn reply(reply: &Reply) -> Result<(String, Value), serde_json::Error> {
    match serde_json::to_value(reply)? {
        Value::Object(whole) => {
            let one = whole.into_iter().next();
            Ok(one.map_or_else(|| (String::new(), Value::Null), |(name, body)| (name, plain(body))))
        }
        other => Ok((String::new(), plain(other))),
    }
}

/// Any wire value as callers read it.
pub(super) fn plain(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let field = |(name, value): (String, Value)| (plain_name(&name), plain(value));
            Value::Object(fields.into_iter().map(field).collect())
        }
        Value::Array(items) => items.into_iter().map(plain).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use vmm_proto::v1;

    use super::*;

    fn fields(value: Value) -> Map<String, Value> {
        value.as_object().expect("an object").clone()
    }

    #[test]
    fn fields_become_the_request_that_they_are() {
        let disk = json!({"path": "/d", "device": "xvda", "read_only": false});
        let attach = json!({"vm": "web", "wait_ms_max": 5, "disk": disk});
        let expect = v1::AttachDisk {
            vm: "web".into(),
            wait_ms_max: 5,
            disk: v1::Disk { path: "/d".into(), device: "xvda".into(), read_only: false },
        };
        assert_eq!(request("AttachDisk", fields(attach)), Ok(Request::AttachDisk(expect)));
        let label = json!({"vm": "web", "notes": null, "add": [{"name": "a"}, {"name": "b"}]});
        let Ok(Request::LabelVm(label)) = request("LabelVm", fields(label)) else { panic!() };
        assert_eq!((label.add.len(), label.notes), (2, None));
    }

    #[test]
    fn what_is_no_field_of_it_is_named_with_its_place() {
        let check = |verb: &str, value: Value, expect: &str| {
            let error = request(verb, fields(value)).expect_err(expect).to_string();
            assert!(error.contains(expect), "{error}");
        };
        check("StartVm", json!({}), "vm is missing");
        check("StartVm", json!({"vm": null}), "vm is missing");
        check("StartVm", json!({"vm": 7}), "vm must be a text");
        check("StartVm", json!({"vm": "a", "wm": "b"}), "wm is not known here; known are: vm");
        check("SetVcpus", json!({"vm": "a", "vcpus": -1}), "vcpus must be a whole number");
        check("SetVcpus", json!({"vm": "a", "vcpus": 4_294_967_296_u64}), "at most 32 bits");
        check("SetVcpus", json!({"vm": "a", "vcpus": 1.5}), "vcpus must be");
        check("LabelVm", json!({"vm": "a", "add": [{"nam": "x"}]}), "add[0].nam is not known");
        check("CreateVm", json!({"dry_run": true, "spec": {"kind": "Box"}}), "one of Pvh, Pv");
    }
}
