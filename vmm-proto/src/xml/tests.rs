//! The gate, line by line; the reader and writer behind it.

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::gate::{GateReason, Limits, Namespaces, check};
use super::{read, write};
use crate::v1::NAMESPACE;

fn admit(document: &str) -> Result<(), GateReason> {
    check(document.as_bytes(), &Limits::INNER, Namespaces::Any)
        .map(|_| ())
        .map_err(|error| error.reason)
}

#[test]
fn well_formed_documents_pass() {
    for document in [
        "<a/>",
        "<a></a>",
        "<a ></a >",
        "<a\n b = 'c'\td=\"e\"/>",
        " <a/>\n",
        "<?xml version=\"1.0\"?><a/>",
        "<?xml version='1.0' encoding='UTF-8' ?>\n<a/>",
        "<a>&lt;&gt;&amp;&apos;&quot;&#10;&#x1F980;</a>",
        "<a>]] > ]></a>",
        "<a b=']]>'/>",
        "<a b='\"'/>",
        "<p:a xmlns:p='urn:p' p:b='1' b='2'><p:c/></p:a>",
        "<a xmlns='urn:a'><b xmlns=''/></a>",
        "<a xml:space='preserve'/>",
        "<a>Ä\u{1F980}\u{fffd}\u{7f}\u{85}</a>",
        "<a.b-c_1/>",
    ] {
        assert_eq!(admit(document), Ok(()), "{document}");
    }
}

/// What is no XML, or not our subset of it.
const REFUSED: &[(&str, GateReason)] = &[
    ("", GateReason::NoRoot),
    ("   ", GateReason::NoRoot),
    ("text", GateReason::OutsideRoot),
    ("<a/>text", GateReason::OutsideRoot),
    ("<a/><b/>", GateReason::OutsideRoot),
    ("<a/>&#32;", GateReason::OutsideRoot),
    ("\u{feff}<a/>", GateReason::OutsideRoot),
    ("<a>", GateReason::Unclosed),
    ("<a><b></a></b>", GateReason::EndTag),
    ("</a>", GateReason::EndTag),
    ("<a></b>", GateReason::EndTag),
    ("<p:a xmlns:p='u' xmlns:q='u'></q:a>", GateReason::EndTag),
    ("<a", GateReason::Tag),
    ("<a b='1'c='2'/>", GateReason::Tag),
    ("<a / >", GateReason::Tag),
    ("<a//>", GateReason::Tag),
    ("< a/>", GateReason::Name),
    ("<1a/>", GateReason::Name),
    ("<:a/>", GateReason::Name),
    ("<a:/>", GateReason::Name),
    ("<a:b:c xmlns:a='u'/>", GateReason::Tag),
    ("<\u{e4}/>", GateReason::Name),
    ("<a b/>", GateReason::Attribute),
    ("<a b=c/>", GateReason::Attribute),
    ("<a b='c/>", GateReason::Attribute),
    ("<a b='<'/>", GateReason::Attribute),
    ("<a b='1' b='2'/>", GateReason::DuplicateAttribute),
    ("<a xmlns:p='u' xmlns:q='u' p:b='' q:b=''/>", GateReason::DuplicateAttribute),
    ("<a xmlns='u' xmlns='v'/>", GateReason::DuplicateAttribute),
    ("<p:a/>", GateReason::Prefix),
    ("<a p:b=''/>", GateReason::Prefix),
    ("<a><b xmlns:p='u'/><p:c/></a>", GateReason::Prefix),
    ("<a xmlns:p=''/>", GateReason::Prefix),
    ("<a xmlns:xml='urn:other'/>", GateReason::Prefix),
    ("<a xmlns:xmlns='urn:other'/>", GateReason::Prefix),
    ("<a xmlns:p='http://www.w3.org/2000/xmlns/'/>", GateReason::Prefix),
    ("<xmlns:a/>", GateReason::Prefix),
    ("<a xmlns='a&amp;b'/>", GateReason::Namespace),
    ("<a>&nbsp;</a>", GateReason::Reference),
    ("<a>&lt</a>", GateReason::Reference),
    ("<a>&</a>", GateReason::Reference),
    ("<a>& b;</a>", GateReason::Reference),
    ("<a>&#0;</a>", GateReason::Reference),
    ("<a>&#1;</a>", GateReason::Reference),
    ("<a>&#xD800;</a>", GateReason::Reference),
    ("<a>&#xFFFE;</a>", GateReason::Reference),
    ("<a>&#x110000;</a>", GateReason::Reference),
    ("<a>&#+10;</a>", GateReason::Reference),
    ("<a>&#X41;</a>", GateReason::Reference),
    ("<a>&#;</a>", GateReason::Reference),
    ("<a>&#00000000065;</a>", GateReason::Reference),
    ("<a b='&lol;'/>", GateReason::Reference),
    ("<a>]]></a>", GateReason::CDataEnd),
    ("<a>\u{1}</a>", GateReason::Character),
    ("<a>\0</a>", GateReason::Character),
    ("<a b='\u{ffff}'/>", GateReason::Character),
    ("<a><!-- comment --></a>", GateReason::Comment),
    ("<!-- comment --><a/>", GateReason::Comment),
    ("<a><![CDATA[x]]></a>", GateReason::CData),
    ("<a><?php ?></a>", GateReason::Instruction),
    ("<?xml-stylesheet href='x'?><a/>", GateReason::Instruction),
    (" <?xml version='1.0'?><a/>", GateReason::Instruction),
    ("<a/><?xml version='1.0'?>", GateReason::Instruction),
    ("<?xml version='1.1'?><a/>", GateReason::Declaration),
    ("<?xml encoding='utf-8'?><a/>", GateReason::Declaration),
    ("<?xml version='1.0' encoding='latin1'?><a/>", GateReason::Declaration),
    ("<?xml version='1.0' standalone='yes'?><a/>", GateReason::Declaration),
    ("<?xml version='1.0'encoding='utf-8'?><a/>", GateReason::Declaration),
    ("<!DOCTYPE a><a/>", GateReason::DocumentType),
    ("<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a>&x;</a>", GateReason::DocumentType),
    ("<!DOCTYPE l [<!ENTITY a 'lol'><!ENTITY b '&a;&a;&a;'>]><l>&b;</l>", GateReason::DocumentType),
    ("<!ELEMENT a EMPTY><a/>", GateReason::DocumentType),
];

#[test]
fn what_is_no_xml_or_not_our_subset_is_refused() {
    for (document, reason) in REFUSED {
        assert_eq!(admit(document), Err(*reason), "{document:?}");
    }
}

#[test]
fn other_encodings_are_refused() {
    for bytes in [
        b"<a>\xff</a>".as_slice(),
        b"\xfe\xff\0<\0a\0/\0>",
        b"<a>\xc0\xbc</a>",
        b"<a>\xed\xa0\x80</a>",
    ] {
        let error = check(bytes, &Limits::INNER, Namespaces::Any).unwrap_err();
        assert_eq!(error.reason, GateReason::Encoding);
    }
}

#[test]
fn limits_are_inclusive() {
    let limits = Limits {
        document_bytes: 400,
        depth: 3,
        element_count: 5,
        attribute_count: 3,
        namespace_count: 1,
        attribute_bytes: 8,
        text_bytes: 10,
        name_bytes: 7,
    };
    let long = "x".repeat(401);
    for (document, expected) in [
        ("<a><b><c/></b></a>", None),
        ("<a><b><c><d/></c></b></a>", Some("depth")),
        ("<a><b/><b/><b/><b/></a>", None),
        ("<a><b/><b/><b/><b/><b/></a>", Some("elements")),
        ("<a b='' c='' d=''/>", None),
        ("<a b='' c='' d='' e=''/>", Some("attributes")),
        ("<a xmlns:p='u' xmlns:q='v'/>", Some("namespaces")),
        ("<a b='12345678'/>", None),
        ("<a b='123456789'/>", Some("attribute bytes")),
        ("<a>1234567890</a>", None),
        ("<a>12345678901</a>", Some("text bytes")),
        ("<abcdefg/>", None),
        ("<abcdefgh/>", Some("name bytes")),
        (long.as_str(), Some("document bytes")),
    ] {
        let result = check(document.as_bytes(), &limits, Namespaces::Any);
        let result = result.map(|_| ()).map_err(|error| error.reason);
        assert_eq!(result, expected.map_or(Ok(()), |what| Err(GateReason::Limit(what))));
    }
}

#[test]
fn inside_the_encryption_there_is_one_namespace() {
    let only = |document: &str| {
        check(document.as_bytes(), &Limits::INNER, Namespaces::Only("urn:a")).map(|_| ())
    };
    only("<a xmlns='urn:a'><b c='d'/></a>").unwrap();
    only("<p:a xmlns:p='urn:a'><p:b/></p:a>").unwrap();
    for document in [
        "<a/>",
        "<a xmlns='urn:b'/>",
        "<a xmlns='urn:a' xmlns:e='urn:evil'><e:b/></a>",
        "<a xmlns='urn:a'><b xmlns='urn:evil'/></a>",
        "<a xmlns='urn:a' xmlns:i='http://www.w3.org/2001/XMLSchema-instance' i:nil='true'/>",
        "<a xmlns='urn:a' xml:lang='en'/>",
    ] {
        assert_eq!(only(document).unwrap_err().reason, GateReason::Namespace, "{document}");
    }
}

#[test]
fn hostile_sizes_cost_little() {
    let start = std::time::Instant::now();
    let deep = "<a>".repeat(1_000_000);
    assert_eq!(admit(&deep), Err(GateReason::Limit("depth")));
    let attributes: String = (0..300_000).map(|n| format!(" a{n}=''")).collect();
    assert_eq!(admit(&format!("<a{attributes}/>")), Err(GateReason::Limit("attributes")));
    let references = "&amp;".repeat(200_000);
    assert_eq!(admit(&format!("<a>{references}</a>")), Ok(()));
    let ampersands = "&".repeat(1_000_000);
    assert_eq!(admit(&format!("<a>{ampersands}</a>")), Err(GateReason::Reference));
    assert!(start.elapsed().as_secs() < 10);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Note {
    #[serde(rename = "@xmlns", default)]
    xmlns: String,
    #[serde(rename = "@title")]
    title: String,
    #[serde(rename = "Text")]
    text: String,
}

fn note(title: &str, text: &str) -> Note {
    Note { xmlns: NAMESPACE.to_owned(), title: title.to_owned(), text: text.to_owned() }
}

#[test]
fn another_root_is_refused() {
    let document = write(&note("t", "x"), "Note").unwrap();
    assert!(read::<Note>(document.as_bytes(), "Other").is_err());
}

#[test]
fn what_cannot_be_written_within_the_limits_is_an_error() {
    assert!(write(&note("t", &"x".repeat(2 << 20)), "Note").is_err());
}

#[test]
fn white_space_survives() {
    for text in ["", " ", "\n", " a ", "\r\n\t", "a\rb"] {
        let document = write(&note(text, text), "Note").unwrap();
        let read: Note = read(document.as_bytes(), "Note").unwrap();
        assert_eq!((read.title.as_str(), read.text.as_str()), (text, text));
    }
}

fn replaced(text: &str) -> String {
    text.chars().map(|c| if super::lexer::is_legal(c) { c } else { '\u{fffd}' }).collect()
}

proptest! {
    #[test]
    fn every_attribute_survives(title in any::<String>()) {
        let document = write(&note(&title, ""), "Note").unwrap();
        let read: Note = read(document.as_bytes(), "Note").unwrap();
        prop_assert_eq!(read.title, replaced(&title));
    }

    #[test]
    fn every_text_survives(text in any::<String>()) {
        let document = write(&note("", &text), "Note").unwrap();
        let read: Note = read(document.as_bytes(), "Note").unwrap();
        let expected = replaced(&text);
        prop_assert_eq!(read.text, expected);
    }

    #[test]
    fn what_xml_cannot_carry_is_found_where_it_stands(
        before in "[a\u{ef}\u{fffd}\n]{0,140}", odd in "[a\u{0}\u{1f}\u{fffe}\u{ffff}]", after in "[a\u{1}\u{ff5e}]{0,80}",
    ) {
        let text = [before, odd, after].concat();
        let expected = text.char_indices().find(|(_, c)| !super::lexer::is_legal(*c)).map(|(at, _)| at);
        prop_assert_eq!(super::lexer::find_illegal(&text), expected);
    }

    #[test]
    fn the_gate_never_panics_on_bytes(bytes in any::<Vec<u8>>()) {
        let _ = check(&bytes, &Limits::INNER, Namespaces::Any);
    }

    #[test]
    fn the_gate_never_panics_on_what_looks_like_xml(
        parts in proptest::collection::vec(
            prop::sample::select(vec![
                "<", ">", "/", "</a>", "<a", "<a>", " b='", "'", "\"", "=", "&", "&lt;", "&#x", ";",
                "<!", "<!--", "-->", "<![CDATA[", "]]>", "<?xml ", "?>", "xmlns:p='u'", "p:", "Ä",
                " ", "\n", "1", "<a xmlns='u'>", "<p:a/>", "version='1.0'", "\u{1F980}",
            ]),
            0..24,
        ),
    ) {
        let text = parts.concat();
        if check(text.as_bytes(), &Limits::INNER, Namespaces::Any).is_ok() {
            // What the gate admits, quick-xml reads to its end.
            let mut reader = quick_xml::NsReader::from_str(&text);
            loop {
                match reader.read_event() {
                    Ok(quick_xml::events::Event::Eof) => break,
                    Ok(_) => {}
                    Err(error) => prop_assert!(false, "{text:?}: {error}"),
                }
            }
        }
    }
}
