//! Operations on nodes, the same on the tree and inside a transaction.

use super::super::{NodeWrite, Permissions, StoreError, StoreOps, StorePath};
use super::connection::Connection;
use super::perms;
use super::wire::{self, Kind, Request};

/// How often a long directory is read from its start again because it changed meanwhile.
const DIRECTORY_RESTARTS_MAX: u32 = 64;
/// Parts of one directory; at 4 KiB each far more than any quota allows.
const DIRECTORY_PARTS_MAX: u32 = 4096;

/// Where an operation happens.
pub(super) struct Scope<'a> {
    pub(super) connection: &'a Connection,
    pub(super) tx_id: u32,
}

/// The client and its transactions.
pub(super) trait Scoped: Send + Sync {
    fn scope(&self) -> Scope<'_>;
}

impl<T: Scoped> StoreOps for T {
    fn read(&self, path: &StorePath) -> Result<Vec<u8>, StoreError> {
        self.scope().request(Kind::Read, &wire::strings(&[path.as_str()]))
    }

    fn write(&self, path: &StorePath, value: &[u8]) -> Result<(), StoreError> {
        self.scope().request(Kind::Write, &write_payload(path, value))?;
        Ok(())
    }

    fn directory(&self, path: &StorePath) -> Result<Vec<String>, StoreError> {
        self.scope().directory(path)
    }

    fn remove(&self, path: &StorePath) -> Result<(), StoreError> {
        self.scope().request(Kind::Remove, &wire::strings(&[path.as_str()]))?;
        Ok(())
    }

    fn make_dir(&self, path: &StorePath) -> Result<(), StoreError> {
        self.scope().request(Kind::MakeDir, &wire::strings(&[path.as_str()]))?;
        Ok(())
    }

    fn permissions(&self, path: &StorePath) -> Result<Permissions, StoreError> {
        let payload = wire::strings(&[path.as_str()]);
        perms::decode(&self.scope().request(Kind::GetPermissions, &payload)?)
    }

    fn set_permissions(
        &self,
        path: &StorePath,
        permissions: &Permissions,
    ) -> Result<(), StoreError> {
        self.scope().request(Kind::SetPermissions, &permissions_payload(path, permissions))?;
        Ok(())
    }
}

/// The requests that write nodes, in order.
pub(super) fn node_requests(nodes: &[NodeWrite]) -> Vec<Request> {
    let mut requests = Vec::with_capacity(2 * nodes.len());
    for node in nodes {
        let payload = write_payload(&node.path, &node.value);
        requests.push(Request { kind: Kind::Write, payload });
        if let Some(permissions) = &node.permissions {
            let payload = permissions_payload(&node.path, permissions);
            requests.push(Request { kind: Kind::SetPermissions, payload });
        }
    }
    requests
}

fn write_payload(path: &StorePath, value: &[u8]) -> Vec<u8> {
    let mut payload = wire::strings(&[path.as_str()]);
    // No NUL after the value: it may hold any bytes.
    payload.extend_from_slice(value);
    payload
}

fn permissions_payload(path: &StorePath, permissions: &Permissions) -> Vec<u8> {
    let mut payload = wire::strings(&[path.as_str()]);
    payload.extend_from_slice(&perms::encode(permissions));
    payload
}

/// One reply to DIRECTORY_PART.
struct Part {
    generation: Vec<u8>,
    names: Vec<u8>,
}

impl Scope<'_> {
    fn request(&self, kind: Kind, payload: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.connection.request(kind, self.tx_id, payload)
    }

    fn directory(&self, path: &StorePath) -> Result<Vec<String>, StoreError> {
        match self.request(Kind::Directory, &wire::strings(&[path.as_str()])) {
            Ok(payload) => wire::list(&payload),
            Err(StoreError::TooLarge) => self.long_directory(path),
            Err(error) => Err(error),
        }
    }

    /// A directory that does not fit one message, from its start again whenever its generation changes.
    fn long_directory(&self, path: &StorePath) -> Result<Vec<String>, StoreError> {
        for _ in 0..=DIRECTORY_RESTARTS_MAX {
            if let Some(names) = self.parts(path)? {
                return wire::list(&names);
            }
        }
        Err(StoreError::Busy(format!("{path} changes all the time")))
    }

    /// All parts, or `None` when the directory changed between two of them.
    fn parts(&self, path: &StorePath) -> Result<Option<Vec<u8>>, StoreError> {
        let first = self.part(path, 0)?;
        let (generation, mut names) = (first.generation, first.names);
        for _ in 0..DIRECTORY_PARTS_MAX {
            if let Some(complete) = without_end_mark(&names) {
                return Ok(Some(complete.to_vec()));
            }
            let part = self.part(path, names.len())?;
            if part.generation != generation {
                return Ok(None);
            }
            if part.names.is_empty() {
                return Err(StoreError::Other("an empty part of a directory".into()));
            }
            names.extend_from_slice(&part.names);
        }
        Err(StoreError::Other("a directory without an end".into()))
    }

    fn part(&self, path: &StorePath, offset: usize) -> Result<Part, StoreError> {
        let payload = wire::strings(&[path.as_str(), &offset.to_string()]);
        let reply = self.request(Kind::DirectoryPart, &payload)?;
        let mut fields = reply.splitn(2, |byte| *byte == 0);
        match (fields.next(), fields.next()) {
            (Some(generation), Some(names)) => {
                Ok(Part { generation: generation.to_vec(), names: names.to_vec() })
            }
            _ => Err(StoreError::Other("a part of a directory without a generation".into())),
        }
    }
}

/// The last part ends in an empty name: a NUL alone, or a second one after the last name's.
fn without_end_mark(names: &[u8]) -> Option<&[u8]> {
    match names {
        [0] => Some(&[]),
        [complete @ .., 0] if complete.ends_with(&[0]) => Some(complete),
        _ => None,
    }
}
