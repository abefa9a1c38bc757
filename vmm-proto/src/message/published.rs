//! The published schema and golden messages of what is inside the encryption. The schema and our reader agree on what may be missing
//! and what may stand twice, at every attribute and element of every verb and reply.

use std::collections::BTreeSet;

use super::answers::replies;
use super::samples::{header, requests};
use super::wire::variants;
use super::*;
use crate::envelope::Direction;
use crate::published::{
    Changed, assert_golden, golden_names, valid, with_each_attribute,
    without_and_with_twice_each_element, without_each_attribute,
};
use crate::v1::{
    BulkOperation, DecisionKind, EventAction, FaultCode, GroupKind, GuestKind, HostHealth,
    MigrationActivity, MigrationRole, MigrationStage, MigrationVerdict, ObjectKind, PhaseStatus,
    Ping, Progress, Rebalance, TargetKind, TaskState, VmPhase, verb,
};

/// These equal the outer header's, whatever the schema says of their form.
const HEADER: &[&str] = &["id", "re", "session", "dir", "seq"];

/// Where the schema knows what our reader leaves to the conversion behind it: ids, paths, names of devices.
const READ_LATER: &[&str] = &[
    "affinity",
    "affinity-soft",
    "authority",
    "bridge",
    "certificate",
    "data",
    "device",
    "group",
    "host",
    "mac",
    "migration",
    "name",
    "path",
    "pool",
    "restore-from",
    "saved-path",
    "signing-request",
    "site",
    "task",
    "vm",
];

/// Name and text of a full sample of each request.
fn asked() -> Vec<(String, String)> {
    let header = header(Direction::ClientToServer);
    let sample = |request: &Request| {
        let idempotency_key = verb(request).mutating.then(|| "once-0001".to_owned());
        let terms = Terms { idempotency_key, deadline: Some(Duration::from_secs(30)) };
        let document = write_request(&header, &terms, request).expect("written");
        (verb(request).name.to_owned(), document.to_string())
    };
    requests().iter().map(sample).collect()
}

/// Name and text of a full sample of each answer.
fn answered() -> Vec<(String, String)> {
    let header = header(Direction::ServerToClient);
    let fault = Fault::new(FaultCode::UnknownVm, "there is no VM web").at("manager");
    let sample = |outcome| {
        let document = write_response(&header, &outcome).expect("written").to_string();
        let name = xml::check(document.as_bytes(), &Limits::INNER, Namespaces::Any);
        (name.expect("admitted").first_child.expect("a reply").to_owned(), document)
    };
    replies().into_iter().map(Ok).chain([Err(fault)]).map(sample).collect()
}

fn is_read(document: &str) -> bool {
    if document.starts_with("<Request ") {
        read_request(document.as_bytes(), &header(Direction::ClientToServer)).is_ok()
    } else {
        read_response(document.as_bytes(), &header(Direction::ServerToClient)).is_ok()
    }
}

fn samples() -> Vec<String> {
    asked().into_iter().chain(answered()).map(|(_, document)| document).collect()
}

/// What a guest may choose: its console, the reason of its end, names that it writes into xenstore.
const CHOSEN_BY_GUESTS: &[&str] = &[
    "\u{0}\u{1}\u{8}\u{b}\u{1f}",
    "\u{fffe}\u{ffff}\u{feff}",
    "\"/><Done/><Pong text=\"",
    "'\"<&>]]>",
    "&#0;&#x0;&lol;&amp",
    "<!-- --><![CDATA[ ]]><?xml version='1.1'?>",
    "\r\n\t \u{85}\u{2028}",
    "xmlns:v='urn:other' v:text=",
    "\u{1F980}\u{10ffff}\u{202e}",
];

#[test]
fn what_a_guest_chooses_makes_no_document_ill_formed() {
    let header = header(Direction::ServerToClient);
    let answers = |text: &str| {
        let fault = Fault::new(FaultCode::HostFailed, text).at(text);
        [Ok(Reply::Pong(Ping { text: text.to_owned() })), Err(fault)]
    };
    let cannot = |c| matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{1f}' | '\u{fffe}' | '\u{ffff}');
    let mut documents = Vec::new();
    for text in CHOSEN_BY_GUESTS {
        let carried = answers(&text.replace(cannot, "\u{fffd}"));
        for (outcome, carried) in answers(text).iter().zip(carried) {
            let document = write_response(&header, outcome).expect("written").to_string();
            assert_eq!(read_response(document.as_bytes(), &header).expect("read"), carried);
            documents.push(document);
        }
    }
    assert!(valid(&documents).iter().all(|valid| *valid), "{documents:?}");
}

#[test]
fn the_golden_messages_are_what_we_write() {
    for (room, samples) in [("request", asked()), ("response", answered())] {
        for (name, document) in &samples {
            assert_golden(&format!("{room}/{name}"), document);
        }
        let names: BTreeSet<String> = samples.into_iter().map(|(name, _)| name).collect();
        assert_eq!(golden_names(room), names);
    }
}

#[test]
fn the_schema_and_the_reader_agree_on_what_may_be_missing_and_what_may_stand_twice() {
    let mut changed = Vec::new();
    for document in samples() {
        changed.extend(without_each_attribute(&document));
        changed.extend(without_and_with_twice_each_element(&document));
    }
    let documents: Vec<String> = changed.iter().map(|c| c.document.clone()).collect();
    let mut refused = 0;
    for (Changed { how, document }, valid) in changed.iter().zip(valid(&documents)) {
        assert_eq!(valid, is_read(document), "{how}: in the schema, by the reader\n{document}");
        refused += usize::from(!valid);
    }
    assert!(refused > 300 && changed.len() - refused > 100, "{refused} of {}", changed.len());
}

/// Other words where there is a list of them, text where a number stands.
#[test]
fn what_the_schema_admits_is_read() {
    let mut stricter = BTreeSet::new();
    for value in ["Levitate it", "", "-1", "99999999999999999999"] {
        let changed: Vec<(String, String)> =
            samples().iter().flat_map(|document| with_each_attribute(document, value)).collect();
        let documents: Vec<String> = changed.iter().map(|(_, document)| document.clone()).collect();
        for ((name, document), valid) in changed.into_iter().zip(valid(&documents)) {
            match (valid, is_read(&document)) {
                _ if HEADER.contains(&name.as_str()) => {}
                (true, read) => assert!(read, "{name} of {value:?}\n{document}"),
                (false, true) => drop(stricter.insert(name)),
                (false, false) => {}
            }
        }
    }
    let stricter: Vec<&str> = stricter.iter().map(String::as_str).collect();
    assert_eq!(stricter, READ_LATER);
}

/// A sample has one word of each list; the schema has all of them.
#[test]
fn every_word_of_each_list_is_in_the_schema() {
    let samples = samples();
    for (attribute, words) in [
        ("phase", variants::<VmPhase>()),
        ("code", variants::<FaultCode>()),
        ("health", variants::<HostHealth>()),
        ("state", variants::<TaskState>()),
        ("stage", variants::<MigrationStage>()),
        ("activity", variants::<MigrationActivity>()),
        ("role", variants::<MigrationRole>()),
        ("verdict", variants::<MigrationVerdict>()),
        ("status", variants::<PhaseStatus>()),
        ("question", variants::<DecisionKind>()),
        ("target-kind", variants::<TargetKind>()),
        ("operation", variants::<BulkOperation>()),
        ("kind", variants::<GuestKind>()),
        ("rule", variants::<GroupKind>()),
        ("rebalance", variants::<Rebalance>()),
        ("progress", variants::<Progress>()),
        ("object", variants::<ObjectKind>()),
        ("crash", variants::<EventAction>()),
    ] {
        let changed: Vec<String> = words
            .iter()
            .flat_map(|word| {
                samples.iter().flat_map(move |sample| with_each_attribute(sample, word))
            })
            .filter_map(|(name, document)| (name == attribute).then_some(document))
            .collect();
        assert!(changed.len() >= words.len(), "a sample with {attribute}");
        for (document, valid) in changed.iter().zip(valid(&changed)) {
            assert!(valid && is_read(document), "{attribute}: {document}");
        }
    }
}
