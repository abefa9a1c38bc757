//! What stands between `<` and `>`: names, attributes, namespaces.

use super::{Checked, Gate, GateReason};
use crate::xml::lexer::{Cursor, attribute_value, find_bad_reference, is_space};

const XML_NAMESPACE: &str = "http://www.w3.org/XML/1998/namespace";
const XMLNS_NAMESPACE: &str = "http://www.w3.org/2000/xmlns/";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct QName<'a> {
    /// Empty for none.
    pub(super) prefix: &'a str,
    pub(super) local: &'a str,
    pub(super) written: &'a str,
}

pub(super) struct Attribute<'a> {
    name: QName<'a>,
    raw: &'a str,
}

impl Attribute<'_> {
    fn is_declaration(&self) -> bool {
        self.name.prefix == "xmlns" || self.name.written == "xmlns"
    }
}

impl<'a> Gate<'a, '_> {
    pub(super) fn name(&self, cursor: &mut Cursor<'a>) -> Result<QName<'a>, GateReason> {
        let start = cursor.at;
        let first = cursor.take_ncname().ok_or(GateReason::Name)?;
        let (prefix, local) = match cursor.take(":") {
            true => (first, cursor.take_ncname().ok_or(GateReason::Name)?),
            false => ("", first),
        };
        let written = cursor.text.get(start..cursor.at).unwrap_or_default();
        if written.len() > self.limits.name_bytes {
            return Err(GateReason::Limit("name bytes"));
        }
        Ok(QName { prefix, local, written })
    }

    pub(super) fn attributes(
        &self,
        cursor: &mut Cursor<'a>,
    ) -> Result<Vec<Attribute<'a>>, GateReason> {
        let mut attributes = Vec::new();
        while cursor.take_space() && !cursor.rest().starts_with(['/', '>']) {
            if attributes.len() >= self.limits.attribute_count {
                return Err(GateReason::Limit("attributes"));
            }
            let name = self.name(cursor)?;
            let raw = quoted(cursor).ok_or(GateReason::Attribute)?;
            if raw.len() > self.limits.attribute_bytes {
                return Err(GateReason::Limit("attribute bytes"));
            }
            if raw.contains('<') {
                return Err(GateReason::Attribute);
            }
            if find_bad_reference(raw).is_some() {
                return Err(GateReason::Reference);
            }
            attributes.push(Attribute { name, raw });
        }
        Ok(attributes)
    }

    pub(super) fn bind(&mut self, attributes: &[Attribute<'a>]) -> Result<(), GateReason> {
        let declarations = attributes.iter().filter(|a| a.is_declaration());
        if declarations.clone().count() > self.limits.namespace_count {
            return Err(GateReason::Limit("namespaces"));
        }
        for Attribute { name, raw } in declarations {
            let prefix = if name.prefix.is_empty() { "" } else { name.local };
            let reserved = [XML_NAMESPACE, XMLNS_NAMESPACE].contains(raw);
            let unbinds = raw.is_empty() && !prefix.is_empty();
            if reserved || unbinds || ["xml", "xmlns"].contains(&prefix) {
                return Err(GateReason::Prefix);
            }
            if raw.contains('&') || raw.bytes().any(is_space) {
                return Err(GateReason::Namespace);
            }
            self.bindings.push((prefix, raw));
        }
        Ok(())
    }

    pub(super) fn check_names(
        &self,
        name: QName<'a>,
        attributes: &[Attribute<'a>],
    ) -> Result<(), GateReason> {
        let namespace = self.namespace(name.prefix)?;
        if self.only.is_some_and(|only| only != namespace) {
            return Err(GateReason::Namespace);
        }
        for (index, attribute) in attributes.iter().enumerate() {
            let expanded = self.expanded(attribute)?;
            // Equal names have equal local parts; few attributes of one element do.
            let alike =
                attributes.iter().take(index).filter(|a| a.name.local == attribute.name.local);
            for other in alike {
                if self.expanded(other)? == expanded {
                    return Err(GateReason::DuplicateAttribute);
                }
            }
        }
        Ok(())
    }

    /// Namespace and local name of an attribute.
    fn expanded(&self, attribute: &Attribute<'a>) -> Result<(&'a str, &'a str), GateReason> {
        let QName { prefix, local, written } = attribute.name;
        match prefix {
            _ if attribute.is_declaration() => Ok((XMLNS_NAMESPACE, written)),
            "" => Ok(("", local)),
            _ if self.only.is_some() => Err(GateReason::Namespace),
            _ => Ok((self.namespace(prefix)?, local)),
        }
    }

    fn namespace(&self, prefix: &str) -> Result<&'a str, GateReason> {
        if prefix == "xml" {
            return Ok(XML_NAMESPACE);
        }
        match self.bindings.iter().rev().find(|(bound, _)| *bound == prefix) {
            Some((_, namespace)) => Ok(namespace),
            None if prefix.is_empty() => Ok(""),
            None => Err(GateReason::Prefix),
        }
    }

    /// Keeps what readers want to know of the root.
    pub(super) fn note(
        &mut self,
        name: QName<'a>,
        attributes: &[Attribute<'a>],
    ) -> Result<(), GateReason> {
        let namespace = self.namespace(name.prefix)?;
        if let Some(checked) = &mut self.checked {
            if self.open.len() == 1 {
                checked.first_child.get_or_insert(name.local);
            }
            return Ok(());
        }
        let own = attributes.iter().filter(|attribute| !attribute.is_declaration());
        self.checked = Some(Checked {
            text: self.cursor.text,
            root: name.local,
            namespace: namespace.to_owned(),
            attributes: own.map(|a| (a.name.written, attribute_value(a.raw))).collect(),
            first_child: None,
        });
        Ok(())
    }
}

/// `= "value"`, in either quotes, with space allowed around the sign.
pub(super) fn quoted<'a>(cursor: &mut Cursor<'a>) -> Option<&'a str> {
    cursor.take_space();
    if !cursor.take("=") {
        return None;
    }
    cursor.take_space();
    let quote = if cursor.take("\"") {
        '"'
    } else if cursor.take("'") {
        '\''
    } else {
        return None;
    };
    let value = cursor.take_until(quote);
    cursor.take(if quote == '"' { "\"" } else { "'" }).then_some(value)
}
