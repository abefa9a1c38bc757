//! Each number and boolean of each message has one form; another form is a fault that names the place.

use super::answers::replies;
use super::samples::{header, requests};
use super::*;
use crate::envelope::Direction;
use crate::xml::{ValueError, ValueForm};

/// Text, whatever it looks like in the samples.
const TEXTS: &[&str] = &["cursor", "affinity-soft", "xen-version", "agent-version"];

/// Where a value stands in a document.
struct Place {
    field: String,
    start: usize,
    end: usize,
}

/// The attributes behind the header's.
fn attributes(document: &str) -> Vec<Place> {
    let body = document.find("><").expect("a body") + 1;
    let mut places = Vec::new();
    let mut at = body;
    while let Some(found) = document[at..].find("=\"") {
        let (equals, start) = (at + found, at + found + 2);
        let end = start + document[start..].find('"').expect("a closing quote");
        let field = document[..equals].rsplit(' ').next().expect("a name").to_owned();
        places.push(Place { field, start, end });
        at = end + 1;
    }
    places
}

/// Writes each of `others` in place of each value that looks like `kind`, and gives what reading it says.
fn with_other_forms<T>(
    documents: &[String],
    looks: fn(&str) -> bool,
    others: fn(&str) -> Vec<String>,
    read: impl Fn(&str) -> Result<T, MessageError>,
) -> usize {
    let mut count = 0;
    for document in documents {
        for Place { field, start, end } in attributes(document) {
            let value = &document[start..end];
            if TEXTS.contains(&field.as_str()) || !looks(value) {
                continue;
            }
            for other in others(value) {
                let changed = [&document[..start], other.as_str(), &document[end..]].concat();
                match read(&changed) {
                    Err(MessageError::Read(ReadError::Value { source, .. })) => {
                        assert_eq!((&source.field, &source.written), (&field, &other));
                    }
                    Err(error) => panic!("{field} of {other:?}: {error}"),
                    Ok(_) => panic!("{field} of {other:?} is read"),
                }
                count += 1;
            }
        }
    }
    count
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

fn other_numbers(number: &str) -> Vec<String> {
    let forms =
        ["", " {}", "{} ", "+{}", "0{}", "{}e0", "0x{}", "{}.", ".{}", "{}_", "--{}", "inf", "NaN"];
    forms.iter().map(|form| form.replace("{}", number)).collect()
}

fn is_boolean(text: &str) -> bool {
    matches!(text, "true" | "false")
}

fn other_booleans(boolean: &str) -> Vec<String> {
    let forms = ["", "0", "1", "True", "FALSE", "yes", " {}", "{} "];
    forms.iter().map(|form| form.replace("{}", boolean)).collect()
}

#[test]
fn each_value_of_each_message_has_one_form() {
    let (c2s, s2c) = (header(Direction::ClientToServer), header(Direction::ServerToClient));
    let asked: Vec<String> = requests()
        .iter()
        .map(|request| {
            write_request(&c2s, &Terms::default(), request).expect("written").to_string()
        })
        .collect();
    let answered: Vec<String> = replies()
        .into_iter()
        .map(|reply| write_response(&s2c, &Ok(reply)).expect("written").to_string())
        .collect();
    let ask = |document: &str| read_request(document.as_bytes(), &c2s);
    let answer = |document: &str| read_response(document.as_bytes(), &s2c);
    assert!(with_other_forms(&asked, is_number, other_numbers, ask) > 500);
    assert!(with_other_forms(&asked, is_boolean, other_booleans, ask) > 50);
    assert!(with_other_forms(&answered, is_number, other_numbers, answer) > 500);
    assert!(with_other_forms(&answered, is_boolean, other_booleans, answer) > 50);
}

#[test]
fn numbers_are_read_to_their_limits_and_no_further() {
    let c2s = header(Direction::ClientToServer);
    let size = |size: &str| {
        let sample = requests().into_iter().find(|r| matches!(r, Request::ResizeDisk(_)));
        let document = write_request(&c2s, &Terms::default(), &sample.expect("a sample"));
        let document = document.expect("written").replace("\"1073741824\"", &format!("\"{size}\""));
        read_request(document.as_bytes(), &c2s)
    };
    for good in ["0", "1", "10", "18446744073709551615"] {
        let Request::ResizeDisk(resize) = size(good).expect(good).1 else { panic!("a ResizeDisk") };
        assert_eq!(resize.size_bytes.to_string(), good);
    }
    for bad in ["18446744073709551616", "-1", "-0", "00", "1.0", "\u{661}"] {
        let error = size(bad).expect_err(bad);
        let expected = ValueError {
            field: "size-bytes".to_owned(),
            written: bad.to_owned(),
            form: ValueForm::Whole("64 bits"),
        };
        let MessageError::Read(ReadError::Value { source, .. }) = error else { panic!("{error}") };
        assert_eq!(source, expected);
    }
}

#[test]
fn fractions_may_be_negative_and_have_many_digits() {
    let s2c = header(Direction::ServerToClient);
    let cost = |cost: &str| {
        let sample = replies().into_iter().find(|reply| matches!(reply, Reply::Placement(_)));
        let document = write_response(&s2c, &Ok(sample.expect("a sample"))).expect("written");
        let document = document.replace("cost-cpu=\"0.25\"", &format!("cost-cpu=\"{cost}\""));
        match read_response(document.as_bytes(), &s2c).expect("read") {
            Ok(Reply::Placement(placement)) => placement.candidates[0].cost_cpu,
            other => panic!("{other:?}"),
        }
    };
    for value in [0.0, -0.0, 1.0, -2.5, 1e-7, 1e20, 0.1 + 0.2, f64::MIN_POSITIVE] {
        assert!(cost(&value.to_string()).to_bits() == value.to_bits(), "{value}");
    }
}
