//! A pull decoder for the few elements of the outer document. The gate ran before.

use quick_xml::NsReader;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;

use super::EnvelopeError;
use crate::xml::value_of;

/// An element that was just opened.
pub(super) struct Element {
    namespace: String,
    local: String,
    attributes: Vec<(String, String)>,
}

impl Element {
    pub(super) fn is(&self, namespace: &str, local: &str) -> bool {
        self.namespace == namespace && self.local == local
    }

    /// The element is this one and has no attribute.
    pub(super) fn expect(&self, namespace: &str, local: &'static str) -> Result<(), EnvelopeError> {
        if !self.is(namespace, local) || !self.attributes.is_empty() {
            return Err(EnvelopeError::Shape { expected: local });
        }
        Ok(())
    }
}

pub(super) struct Decoder<'a> {
    reader: NsReader<&'a [u8]>,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(text: &'a str) -> Decoder<'a> {
        let mut reader = NsReader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        Decoder { reader }
    }

    /// The next thing is this element; returns its attributes.
    pub(super) fn open(
        &mut self,
        namespace: &str,
        local: &'static str,
    ) -> Result<Vec<(String, String)>, EnvelopeError> {
        let element = self.open_any()?;
        if !element.is(namespace, local) {
            return Err(EnvelopeError::Shape { expected: local });
        }
        Ok(element.attributes)
    }

    /// The next thing is an element.
    pub(super) fn open_any(&mut self) -> Result<Element, EnvelopeError> {
        let expected = || EnvelopeError::Shape { expected: "an element" };
        loop {
            let (namespace, event) = self.reader.read_resolved_event().map_err(|_| expected())?;
            match event {
                Event::Decl(_) => {}
                Event::Text(text) if is_blank(&text) => {}
                Event::Start(start) => {
                    let ResolveResult::Bound(namespace) = namespace else {
                        return Err(expected());
                    };
                    let namespace = namespace.into_inner().to_owned();
                    let local = start.local_name().into_inner().to_owned();
                    return Ok(Element { namespace, local, attributes: attributes(&start)? });
                }
                _ => return Err(expected()),
            }
        }
    }

    /// The next thing is the end of the open element.
    pub(super) fn close(&mut self) -> Result<(), EnvelopeError> {
        loop {
            match self.reader.read_event() {
                Ok(Event::Text(text)) if is_blank(&text) => {}
                Ok(Event::End(_)) => return Ok(()),
                _ => return Err(EnvelopeError::Shape { expected: "the end of an element" }),
            }
        }
    }

    /// The open element holds text and ends.
    pub(super) fn text(&mut self) -> Result<String, EnvelopeError> {
        let mut text = String::new();
        loop {
            match self.reader.read_event() {
                Ok(Event::Text(part)) => text.push_str(&part),
                Ok(Event::GeneralRef(name)) => text.push_str(&value_of(&format!("&{};", &*name))),
                Ok(Event::End(_)) => return Ok(text),
                _ => return Err(EnvelopeError::Shape { expected: "only text" }),
            }
        }
    }
}

fn is_blank(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n'))
}

fn attributes(start: &BytesStart<'_>) -> Result<Vec<(String, String)>, EnvelopeError> {
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|_| EnvelopeError::Shape { expected: "attributes" })?;
        let name = attribute.key.into_inner();
        if name != "xmlns" && !name.starts_with("xmlns:") {
            attributes.push((name.to_owned(), value_of(&attribute.value)));
        }
    }
    Ok(attributes)
}
