//! Where a page ended, as text that callers give back.
//!
//! `base64url(JSON)` of the order and the last row's keys. It says nothing that the caller has not seen, and a changed one only begins
//! elsewhere; one of another order is refused, because its keys would mean other fields.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use vmm_core::query::{Bound, Fields, Key, Sort};
use vmm_proto::v1::{Fault, FaultCode};

#[derive(Serialize, Deserialize)]
struct Cursor {
    sort: String,
    keys: Vec<Form>,
    tie: [u8; 16],
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Form {
    Missing,
    Text(String),
    Number(u64),
}

pub(super) fn write<F: Fields>(sort: &Sort<F>, bound: Bound) -> String {
    let form = |key| match key {
        Key::Missing => Form::Missing,
        Key::Text(text) => Form::Text(text),
        Key::Number(number) => Form::Number(number),
    };
    let keys = bound.keys.into_iter().map(form).collect();
    let cursor = Cursor { sort: sort.to_string(), keys, tie: bound.tie };
    let json = serde_json::to_vec(&cursor).expect("texts and numbers have a form in JSON");
    URL_SAFE_NO_PAD.encode(json)
}

pub(super) fn read<F: Fields>(sort: &Sort<F>, text: &str) -> Result<Bound, Fault> {
    let bad = |message: &str| Fault::new(FaultCode::BadRequest, message);
    let json = URL_SAFE_NO_PAD.decode(text).ok();
    let cursor: Option<Cursor> = json.and_then(|json| serde_json::from_slice(&json).ok());
    let cursor = cursor.ok_or_else(|| {
        bad("after: this is no end of a page; give back the \"next\" of the page before as it is")
    })?;
    if cursor.sort != sort.to_string() {
        return Err(bad(
            "after: that page was in another order; ask with the same sort, or begin anew",
        ));
    }
    let key = |form| match form {
        Form::Missing => Key::Missing,
        Form::Text(text) => Key::Text(text),
        Form::Number(number) => Key::Number(number),
    };
    Ok(Bound { keys: cursor.keys.into_iter().map(key).collect(), tie: cursor.tie })
}

/// Behind everything of this name.
pub(super) fn behind_name(name: &str) -> Bound {
    Bound { keys: vec![Key::Text(name.to_owned())], tie: [0xff; 16] }
}

#[cfg(test)]
mod tests {
    use vmm_core::query::VmField;

    use super::*;

    #[test]
    fn a_cursor_survives_and_is_good_for_its_own_order_alone() {
        let sort = Sort::<VmField>::parse("-cpu,name,host").unwrap();
        let keys = vec![Key::Number(7), Key::Text("a\"é".into()), Key::Missing];
        let bound = Bound { keys, tie: [9; 16] };
        let text = write(&sort, bound.clone());
        assert_eq!(read(&sort, &text), Ok(bound));
        let other = Sort::<VmField>::parse("cpu,name,host").unwrap();
        for (sort, text) in [(&other, text.as_str()), (&sort, "web"), (&sort, ""), (&sort, "e30")] {
            assert_eq!(read(sort, text).unwrap_err().code, FaultCode::BadRequest, "{text}");
        }
    }
}
