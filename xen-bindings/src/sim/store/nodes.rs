//! Nodes by path. Each knows its children's names, so that making a child changes the parent, as in xenstored's database.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::domid::DomId;
use crate::store::{Access, Permissions};

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Vec<u8>,
    pub(crate) permissions: Permissions,
    pub(crate) children: BTreeSet<String>,
    /// When it was written last; set by the tree.
    pub(crate) generation: u64,
}

impl Node {
    pub(crate) fn new(permissions: Permissions) -> Self {
        Self { value: Vec::new(), permissions, children: BTreeSet::new(), generation: 0 }
    }

    pub(crate) fn allows(&self, caller: DomId, write: bool) -> bool {
        if caller == DomId::DOM0 || caller == self.permissions.owner {
            return true;
        }
        let named = self.permissions.grants.iter().find(|(domid, _)| *domid == caller);
        match named.map_or(self.permissions.others, |(_, access)| *access) {
            Access::None => false,
            Access::Read => !write,
            Access::Write => write,
            Access::Both => true,
        }
    }
}

/// Where a request looks and writes: the tree itself, or a transaction's view of it.
pub(crate) trait Nodes {
    fn get(&mut self, path: &str) -> Option<Arc<Node>>;
    /// Makes a node.
    fn put(&mut self, path: &str, node: Node);
    /// Changes a node in place, when it is there. Its children may be many: it is not copied.
    fn edit(&mut self, path: &str, change: &mut dyn FnMut(&mut Node));
    fn delete(&mut self, path: &str);
    /// How many nodes a domain owns.
    fn owned(&self, domid: DomId) -> usize;
}

#[derive(Debug)]
pub(crate) struct Tree {
    nodes: BTreeMap<String, Arc<Node>>,
    generation: u64,
    owned: BTreeMap<u16, usize>,
}

impl Tree {
    pub(crate) fn new(root: Node) -> Self {
        let nodes = BTreeMap::from([("/".to_owned(), Arc::new(root))]);
        Self { nodes, generation: 1, owned: BTreeMap::from([(0, 1)]) }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Looks without being a request.
    pub(crate) fn peek(&self, path: &str) -> Option<&Arc<Node>> {
        self.nodes.get(path)
    }

    pub(crate) fn generation_of(&self, path: &str) -> Option<u64> {
        self.peek(path).map(|node| node.generation)
    }

    /// What a domain owns, without what lies below.
    pub(crate) fn topmost_of(&self, domid: DomId) -> Vec<String> {
        let mut topmost: Vec<String> = Vec::new();
        // A parent comes before what is below it, though other nodes may stand between them.
        for (path, _) in self.nodes.iter().filter(|(_, node)| node.permissions.owner == domid) {
            let is_below = |top: &String| {
                path.strip_prefix(top.as_str()).is_some_and(|rest| rest.starts_with('/'))
            };
            if !topmost.iter().any(is_below) {
                topmost.push(path.clone());
            }
        }
        topmost
    }

    /// Takes back what was granted to a domain.
    pub(crate) fn revoke(&mut self, domid: DomId) {
        let granted = |node: &Node| node.permissions.grants.iter().any(|(to, _)| *to == domid);
        let paths: Vec<String> =
            self.nodes.iter().filter(|(_, n)| granted(n)).map(|(path, _)| path.clone()).collect();
        for path in paths {
            self.edit(&path, &mut |node| node.permissions.grants.retain(|(to, _)| *to != domid));
        }
    }

    fn forget_owner(&mut self, old: Option<Arc<Node>>) {
        let count = old.and_then(|node| self.owned.get_mut(&node.permissions.owner.get()));
        if let Some(count) = count {
            *count = count.saturating_sub(1);
        }
    }

    #[cfg(test)]
    pub(crate) fn check(&self) {
        let mut owned: BTreeMap<u16, usize> = BTreeMap::new();
        for (path, node) in &self.nodes {
            *owned.entry(node.permissions.owner.get()).or_default() += 1;
            for child in &node.children {
                assert!(self.nodes.contains_key(&below(path, child)), "{path} lost {child}");
            }
            if let Some((parent, name)) = split(path) {
                assert!(self.nodes[parent].children.contains(name), "{path} is an orphan");
            }
        }
        let counted: BTreeMap<u16, usize> =
            self.owned.iter().filter(|(_, n)| **n > 0).map(|(d, n)| (*d, *n)).collect();
        assert_eq!(owned, counted);
    }
}

impl Nodes for Tree {
    fn get(&mut self, path: &str) -> Option<Arc<Node>> {
        self.nodes.get(path).cloned()
    }

    fn put(&mut self, path: &str, mut node: Node) {
        self.generation += 1;
        node.generation = self.generation;
        *self.owned.entry(node.permissions.owner.get()).or_default() += 1;
        let old = self.nodes.insert(path.to_owned(), Arc::new(node));
        self.forget_owner(old);
    }

    fn edit(&mut self, path: &str, change: &mut dyn FnMut(&mut Node)) {
        let Some(node) = self.nodes.get_mut(path) else { return };
        self.generation += 1;
        let node = Arc::make_mut(node);
        let before = node.permissions.owner.get();
        change(node);
        node.generation = self.generation;
        let after = node.permissions.owner.get();
        if before != after {
            *self.owned.entry(after).or_default() += 1;
            if let Some(count) = self.owned.get_mut(&before) {
                *count = count.saturating_sub(1);
            }
        }
    }

    fn delete(&mut self, path: &str) {
        self.generation += 1;
        let old = self.nodes.remove(path);
        self.forget_owner(old);
    }

    fn owned(&self, domid: DomId) -> usize {
        self.owned.get(&domid.get()).copied().unwrap_or(0)
    }
}

/// Parent and name; `None` for the root.
pub(crate) fn split(path: &str) -> Option<(&str, &str)> {
    let (parent, name) = path.rsplit_once('/')?;
    if name.is_empty() {
        return None;
    }
    Some((if parent.is_empty() { "/" } else { parent }, name))
}

pub(crate) fn below(path: &str, name: &str) -> String {
    if path == "/" { format!("/{name}") } else { format!("{path}/{name}") }
}
