//! What is published beside the text of the protocol, held to the code: golden messages, and schemas that an independent validator
//! (`xmllint`) reads.
//!
//! They lie under `docs/schema`, one folder a version. The rooms that write the documents test theirs with what stands here.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use quick_xml::Reader;
use quick_xml::events::Event;

/// Set to `write`, it makes the golden messages what is written now. For a change of the protocol that is meant.
const REWRITE: &str = "XVMP_GOLDEN";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema/xvmp-1.0")
}

fn golden() -> PathBuf {
    folder().join("golden")
}

/// The golden message of this name is what we write now.
pub(crate) fn assert_golden(name: &str, document: &str) {
    let (file, document) = (golden().join(format!("{name}.xml")), format!("{document}\n"));
    if std::env::var(REWRITE).is_ok_and(|value| value == "write") {
        fs::create_dir_all(file.parent().expect("a folder")).unwrap();
        fs::write(&file, &document).unwrap();
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(kept, document, "{}: if this change is meant, {REWRITE}=write", file.display());
}

/// The names of the golden messages in a folder.
pub(crate) fn golden_names(folder: &str) -> BTreeSet<String> {
    let files = fs::read_dir(golden().join(folder)).expect("golden messages");
    let names = files.map(|file| file.expect("a file").file_name().into_string().expect("UTF-8"));
    names.filter_map(|name| Some(name.strip_suffix(".xml")?.to_owned())).collect()
}

/// Which of the documents the published schema admits.
pub(crate) fn valid(documents: &[String]) -> Vec<bool> {
    let directory = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..documents.len()).map(|index| format!("{index}.xml")).collect();
    for (name, document) in names.iter().zip(documents) {
        fs::write(directory.path().join(name), document).unwrap();
    }
    let said = xmllint(directory.path(), &names);
    let said: BTreeSet<&str> = said.lines().collect();
    let verdict = |name: &String| {
        let admitted = said.contains(format!("{name} validates").as_str());
        let refused = said.contains(format!("{name} fails to validate").as_str());
        assert!(admitted != refused, "xmllint says nothing of {name}: {said:?}");
        admitted
    };
    names.iter().map(verdict).collect()
}

#[allow(clippy::disallowed_methods, reason = "a validator from outside, in a test only")]
fn xmllint(directory: &Path, files: &[String]) -> String {
    let output = Command::new("xmllint")
        .args(["--noout", "--nonet", "--schema"])
        .arg(folder().join("xvmp.xsd"))
        .args(files)
        .current_dir(directory)
        .output()
        .unwrap_or_else(|error| {
            panic!("xmllint cannot be run ({error}): install the Debian package libxml2-utils, or let `cargo xtask test --install` do it")
        });
    String::from_utf8(output.stderr).expect("UTF-8")
}

/// A document that was changed in one place.
pub(crate) struct Changed {
    /// What was done to it.
    pub(crate) how: String,
    pub(crate) document: String,
}

/// Each attribute taken away, the declarations of namespaces left.
pub(crate) fn without_each_attribute(document: &str) -> Vec<Changed> {
    let attributes = attributes(document).into_iter();
    let without = attributes.map(|attribute| Changed {
        how: format!("without {}", attribute.name),
        document: [&document[..attribute.start], &document[attribute.end..]].concat(),
    });
    without.collect()
}

/// Each attribute's value replaced.
pub(crate) fn with_each_attribute(document: &str, value: &str) -> Vec<(String, String)> {
    let attributes = attributes(document).into_iter();
    let replaced = attributes.map(|Attribute { name, start, end }| {
        let written = format!(" {name}=\"{value}\"");
        let document = [&document[..start], &written, &document[end..]].concat();
        (name, document)
    });
    replaced.collect()
}

/// Each element inside the root taken away, and each doubled.
pub(crate) fn without_and_with_twice_each_element(document: &str) -> Vec<Changed> {
    let mut changed = Vec::new();
    for (start, end) in elements(document) {
        let element = &document[start..end];
        for (how, times) in [("without", 0), ("twice", 2)] {
            let document = [&document[..start], &element.repeat(times), &document[end..]].concat();
            changed.push(Changed { how: format!("{how} {element}"), document });
        }
    }
    changed
}

/// An attribute with the space before it.
struct Attribute {
    name: String,
    start: usize,
    end: usize,
}

/// As our writer puts them: one space, double quotes.
fn attributes(document: &str) -> Vec<Attribute> {
    let mut attributes = Vec::new();
    let mut at = 0;
    while let Some(found) = document[at..].find("=\"") {
        let equals = at + found;
        let start = document[..equals].rfind(' ').expect("a space");
        let value = equals + 2;
        let end = value + document[value..].find('"').expect("a closing quote") + 1;
        let name = document[start + 1..equals].to_owned();
        if !name.starts_with("xmlns") {
            attributes.push(Attribute { name, start, end });
        }
        at = end;
    }
    attributes
}

/// Where each element inside the root begins and ends.
fn elements(document: &str) -> Vec<(usize, usize)> {
    let mut reader = Reader::from_str(document);
    let (mut open, mut found) = (Vec::new(), Vec::new());
    loop {
        let before = position(&reader);
        match reader.read_event().expect("well-formed") {
            Event::Start(_) => open.push(before),
            Event::Empty(_) => found.push((before, position(&reader))),
            Event::End(_) => found.push((open.pop().expect("its start"), position(&reader))),
            Event::Eof => break,
            _ => {}
        }
    }
    found.retain(|(start, _)| *start > 0);
    found
}

fn position(reader: &Reader<&[u8]>) -> usize {
    usize::try_from(reader.buffer_position()).expect("a document in memory")
}

#[test]
fn every_golden_message_is_valid() {
    let mut documents = Vec::new();
    for room in ["", "request", "response"] {
        for name in golden_names(room) {
            let file = golden().join(room).join(format!("{name}.xml"));
            documents.push((file.clone(), fs::read_to_string(file).unwrap()));
        }
    }
    assert!(documents.len() > 50, "{} golden messages", documents.len());
    let texts: Vec<String> = documents.iter().map(|(_, text)| text.clone()).collect();
    for ((file, _), valid) in documents.iter().zip(valid(&texts)) {
        assert!(valid, "xmllint --schema docs/schema/xvmp-1.0/xvmp.xsd {}", file.display());
    }
}

#[test]
fn a_document_of_another_kind_is_not_valid() {
    let documents = [
        "<Levitate xmlns=\"urn:smps-vmm:xvmp:1\"/>",
        "<Spec xmlns=\"urn:smps-vmm:xvmp:1\"/>",
        "<Request xmlns=\"urn:smps-vmm:xvmp:2\"/>",
        "<Hello min-minor=\"0\" max-minor=\"0\"/>",
    ];
    assert_eq!(valid(&documents.map(str::to_owned)), [false; 4]);
}
