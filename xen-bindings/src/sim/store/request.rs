//! The requests, as both daemons answer them.

use super::MESSAGE_BYTES_MAX;
use std::sync::Arc;

use super::nodes::{Node, Nodes, below, split};
use crate::contract::FlavourRules;
use crate::domid::DomId;
use crate::store::{Permissions, StoreError};

/// Nesting that a path may have; guards the recursion over a subtree.
const DEPTH_MAX: usize = 1600;

/// The largest value that a guest may write.
const GUEST_VALUE_BYTES_MAX: usize = 2048;

#[derive(Clone, Debug)]
pub(crate) enum Request {
    Read { path: String },
    Write { path: String, value: Vec<u8> },
    Directory { path: String },
    Remove { path: String },
    MakeDir { path: String },
    Permissions { path: String },
    SetPermissions { path: String, permissions: Permissions },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Done,
    Value(Vec<u8>),
    Names(Vec<String>),
    Permissions(Permissions),
}

/// What watches fire for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) path: String,
    /// Nodes that went with it when it was removed.
    pub(crate) below: Vec<String>,
}

impl Change {
    fn of(path: &str) -> Self {
        Self { path: path.to_owned(), below: Vec::new() }
    }
}

impl Request {
    pub(crate) fn path(&self) -> &str {
        match self {
            Self::Read { path }
            | Self::Write { path, .. }
            | Self::Directory { path }
            | Self::Remove { path }
            | Self::MakeDir { path }
            | Self::Permissions { path }
            | Self::SetPermissions { path, .. } => path,
        }
    }

    /// Carries the request out; what has changed goes to `changes`.
    pub(crate) fn run(
        &self,
        caller: DomId,
        rules: &FlavourRules,
        nodes: &mut dyn Nodes,
        changes: &mut Vec<Change>,
    ) -> Result<Answer, StoreError> {
        let path = self.path();
        check_path(path, rules)?;
        let mut asker = Asker { caller, rules, nodes, changes };
        match self {
            Self::Read { .. } => Ok(Answer::Value(asker.node(path, false)?.value.clone())),
            Self::Directory { .. } => {
                Ok(Answer::Names(asker.node(path, false)?.children.iter().cloned().collect()))
            }
            Self::Permissions { .. } => {
                Ok(Answer::Permissions(asker.node(path, false)?.permissions.clone()))
            }
            Self::Write { value, .. } => asker.write(path, value),
            Self::MakeDir { .. } => asker.make_dir(path),
            Self::Remove { .. } => asker.remove(path),
            Self::SetPermissions { permissions, .. } => asker.set_permissions(path, permissions),
        }
    }
}

fn check_path(path: &str, rules: &FlavourRules) -> Result<(), StoreError> {
    if path.contains(':') && !rules.colon_in_names {
        return Err(StoreError::Invalid("a colon in a path".into()));
    }
    if path.matches('/').count() > DEPTH_MAX {
        return Err(StoreError::Invalid("a path too deep".into()));
    }
    Ok(())
}

struct Asker<'a> {
    caller: DomId,
    rules: &'a FlavourRules,
    nodes: &'a mut dyn Nodes,
    changes: &'a mut Vec<Change>,
}

impl Asker<'_> {
    fn node(&mut self, path: &str, write: bool) -> Result<Arc<Node>, StoreError> {
        match self.nodes.get(path) {
            Some(node) if node.allows(self.caller, write) => Ok(node),
            Some(_) => Err(StoreError::Access),
            None => Err(self.absent(path)),
        }
    }

    /// Who may not read the parent is not told that a node is missing.
    fn absent(&mut self, path: &str) -> StoreError {
        let mut at = path;
        while let Some((parent, _)) = split(at) {
            if let Some(node) = self.nodes.get(parent) {
                let told = node.allows(self.caller, false);
                return if told { StoreError::NotFound } else { StoreError::Access };
            }
            at = parent;
        }
        StoreError::NotFound
    }

    fn write(&mut self, path: &str, value: &[u8]) -> Result<Answer, StoreError> {
        if path.len() + 1 + value.len() > MESSAGE_BYTES_MAX {
            return Err(StoreError::TooLarge);
        }
        if self.caller == DomId::DOM0 {
            if self.rules.dom0_value_bytes_max.is_some_and(|most| value.len() > most) {
                return Err(StoreError::TooLarge);
            }
        } else if value.len() > GUEST_VALUE_BYTES_MAX {
            return Err(StoreError::Quota);
        }
        if self.nodes.get(path).is_none() {
            self.create(path)?;
        }
        self.node(path, true)?;
        self.nodes.edit(path, &mut |node| node.value = value.to_vec());
        self.changes.push(Change::of(path));
        Ok(Answer::Done)
    }

    fn make_dir(&mut self, path: &str) -> Result<Answer, StoreError> {
        if self.nodes.get(path).is_some() {
            self.node(path, true)?;
            return Ok(Answer::Done);
        }
        self.create(path)?;
        self.changes.push(Change::of(path));
        Ok(Answer::Done)
    }

    /// Makes a node and the parents that are missing. They inherit; but a guest owns what it makes.
    fn create(&mut self, path: &str) -> Result<(), StoreError> {
        let mut missing = vec![path];
        let mut at = path;
        let ancestor = loop {
            let Some((parent, _)) = split(at) else { return Err(StoreError::NotFound) };
            if self.nodes.get(parent).is_some() {
                break self.node(parent, true)?;
            }
            missing.push(parent);
            at = parent;
        };
        let mut permissions = ancestor.permissions.clone();
        drop(ancestor);
        if self.caller != DomId::DOM0 {
            permissions.owner = self.caller;
            if self.nodes.owned(self.caller) + missing.len() > self.rules.guest_nodes_max {
                return Err(StoreError::Quota);
            }
        }
        for path in missing.into_iter().rev() {
            self.nodes.put(path, Node::new(permissions.clone()));
            self.link(path, true);
        }
        Ok(())
    }

    /// Tells the parent about a child that came or went.
    fn link(&mut self, path: &str, present: bool) {
        let Some((parent, name)) = split(path) else { return };
        self.nodes.edit(parent, &mut |node| {
            if present {
                node.children.insert(name.to_owned());
            } else {
                node.children.remove(name);
            }
        });
    }

    fn remove(&mut self, path: &str) -> Result<Answer, StoreError> {
        let Some((parent, _)) = split(path) else {
            return Err(StoreError::Invalid("the root cannot be removed".into()));
        };
        if self.nodes.get(path).is_none() {
            // A missing node is as good as removed, when its parent is there.
            return self.node(parent, false).map(|_| Answer::Done);
        }
        self.node(path, true)?;
        let mut below = Vec::new();
        self.delete_all(path, &mut below);
        self.link(path, false);
        self.changes.push(Change { path: path.to_owned(), below });
        Ok(Answer::Done)
    }

    fn delete_all(&mut self, top: &str, removed: &mut Vec<String>) {
        let mut open = vec![top.to_owned()];
        while let Some(path) = open.pop() {
            if let Some(node) = self.nodes.get(&path) {
                open.extend(node.children.iter().map(|name| below(&path, name)));
            }
            self.nodes.delete(&path);
            if path != top {
                removed.push(path);
            }
        }
    }

    fn set_permissions(
        &mut self,
        path: &str,
        permissions: &Permissions,
    ) -> Result<Answer, StoreError> {
        let owner = self.node(path, true)?.permissions.owner;
        if self.caller != DomId::DOM0 && (owner != self.caller || permissions.owner != owner) {
            return Err(StoreError::Access);
        }
        self.nodes.edit(path, &mut |node| node.permissions = permissions.clone());
        self.changes.push(Change::of(path));
        Ok(Answer::Done)
    }
}
