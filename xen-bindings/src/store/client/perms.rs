//! Permissions on the wire: `n0`, `r5`, … The first entry names the owner and says what all others may do.

use super::super::{Access, Permissions, StoreError};
use super::wire;
use crate::domid::DomId;

pub(super) fn encode(permissions: &Permissions) -> Vec<u8> {
    let owner = entry(permissions.others, permissions.owner);
    let grants = permissions.grants.iter().map(|(domid, access)| entry(*access, *domid));
    wire::strings(&std::iter::once(owner).chain(grants).collect::<Vec<_>>())
}

pub(super) fn decode(payload: &[u8]) -> Result<Permissions, StoreError> {
    let entries = wire::list(payload)?;
    let mut entries = entries.iter().map(|text| parse(text));
    let (owner, others) = entries.next().ok_or_else(|| unknown("no permissions"))??;
    Ok(Permissions { owner, others, grants: entries.collect::<Result<_, _>>()? })
}

fn entry(access: Access, domid: DomId) -> String {
    let letter = match access {
        Access::None => 'n',
        Access::Read => 'r',
        Access::Write => 'w',
        Access::Both => 'b',
    };
    format!("{letter}{domid}")
}

fn parse(text: &str) -> Result<(DomId, Access), StoreError> {
    let access = match text.bytes().next() {
        Some(b'n') => Access::None,
        Some(b'r') => Access::Read,
        Some(b'w') => Access::Write,
        Some(b'b') => Access::Both,
        _ => return Err(unknown(text)),
    };
    let domid = text[1..].parse().ok().and_then(|raw| DomId::new(raw).ok());
    Ok((domid.ok_or_else(|| unknown(text))?, access))
}

fn unknown(text: &str) -> StoreError {
    StoreError::Other(format!("permissions {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_survive_the_way_there_and_back() {
        let five = DomId::new(5).expect("valid");
        for (permissions, wire) in [
            (Permissions::owned_by(DomId::DOM0), &b"n0\0"[..]),
            (Permissions::owned_by(DomId::DOM0).grant(five, Access::Read), b"n0\0r5\0"),
            (
                Permissions {
                    owner: five,
                    others: Access::Both,
                    grants: vec![(five, Access::Write)],
                },
                b"b5\0w5\0",
            ),
        ] {
            assert_eq!(encode(&permissions), wire);
            assert_eq!(decode(wire), Ok(permissions));
        }
    }

    #[test]
    fn what_is_no_permission_is_an_error() {
        for wire in [&b""[..], b"\0", b"x0\0", b"r\0", b"r99999\0", b"\xff1\0", b"r-1\0"] {
            assert!(decode(wire).is_err(), "{wire:?}");
        }
    }
}
