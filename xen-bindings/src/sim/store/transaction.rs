//! Transactions: a view over the tree, and the two ways of finding a conflict.
//!
//! The C daemon remembers the generation of each node when it was touched first, and compares. oxenstored keeps requests and
//! answers, and carries them out again on the present tree; another answer is a conflict.
//!
//! The view is not a snapshot: a node that was not touched yet shows what others commit meanwhile, as in the C daemon.
//! oxenstored would show the old value and then lose the race; so here such a read dooms the transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::nodes::{Node, Nodes, Tree};
use super::request::{Answer, Change, Request};
use crate::contract::{FlavourRules, StoreFlavour};
use crate::domid::DomId;
use crate::store::StoreError;

#[derive(Clone, Debug)]
struct Touched {
    /// The tree's generation of this node when it was touched first; `None`: it was not there.
    first_seen: Option<u64>,
    /// As the transaction sees it.
    node: Option<Arc<Node>>,
    modified: bool,
}

#[derive(Debug)]
pub(super) struct Transaction {
    began: u64,
    touched: BTreeMap<String, Touched>,
    log: Vec<(Request, Result<Answer, StoreError>)>,
    changes: Vec<Change>,
    /// It read a node that had been changed since it began.
    stale: bool,
}

struct View<'a> {
    tree: &'a Tree,
    touched: &'a mut BTreeMap<String, Touched>,
}

impl View<'_> {
    fn touch(&mut self, path: &str) -> &mut Touched {
        let tree = self.tree;
        self.touched.entry(path.to_owned()).or_insert_with(|| Touched {
            first_seen: tree.generation_of(path),
            node: tree.peek(path).cloned(),
            modified: false,
        })
    }
}

impl Nodes for View<'_> {
    fn get(&mut self, path: &str) -> Option<Arc<Node>> {
        self.touch(path).node.clone()
    }

    fn put(&mut self, path: &str, node: Node) {
        let touched = self.touch(path);
        touched.node = Some(Arc::new(node));
        touched.modified = true;
    }

    fn edit(&mut self, path: &str, change: &mut dyn FnMut(&mut Node)) {
        let touched = self.touch(path);
        if let Some(node) = &mut touched.node {
            change(Arc::make_mut(node));
            touched.modified = true;
        }
    }

    fn delete(&mut self, path: &str) {
        let touched = self.touch(path);
        touched.node = None;
        touched.modified = true;
    }

    fn owned(&self, domid: DomId) -> usize {
        self.tree.owned(domid)
    }
}

impl Transaction {
    pub(super) fn new(began: u64) -> Self {
        Self { began, touched: BTreeMap::new(), log: Vec::new(), changes: Vec::new(), stale: false }
    }

    pub(super) fn ask(
        &mut self,
        tree: &Tree,
        rules: &FlavourRules,
        request: Request,
    ) -> Result<Answer, StoreError> {
        let reads = matches!(
            request,
            Request::Read { .. } | Request::Directory { .. } | Request::Permissions { .. }
        );
        let path = request.path();
        if reads && !self.touched.contains_key(path) {
            self.stale |= tree.generation_of(path).is_some_and(|written| written > self.began);
        }
        let mut view = View { tree, touched: &mut self.touched };
        let answer = request.run(DomId::DOM0, rules, &mut view, &mut self.changes);
        self.log.push((request, answer.clone()));
        answer
    }

    pub(super) fn commit(
        self,
        tree: &mut Tree,
        rules: &FlavourRules,
        flavour: StoreFlavour,
    ) -> Result<Vec<Change>, StoreError> {
        let (touched, changes) = match flavour {
            StoreFlavour::C => {
                let same =
                    |(path, t): (&String, &Touched)| tree.generation_of(path) == t.first_seen;
                if !self.touched.iter().all(same) {
                    return Err(StoreError::Conflict);
                }
                (self.touched, once_each(self.changes))
            }
            StoreFlavour::Ocaml if self.stale => return Err(StoreError::Conflict),
            StoreFlavour::Ocaml => replay(&self.log, tree, rules)?,
        };
        for (path, touched) in touched.into_iter().filter(|(_, touched)| touched.modified) {
            match touched.node {
                Some(node) => tree.put(&path, node.as_ref().clone()),
                // Made and removed within the transaction, when the tree never had it.
                None if touched.first_seen.is_none() => {}
                None => tree.delete(&path),
            }
        }
        Ok(changes)
    }
}

/// The C daemon tells of a node that a transaction changed twice only once.
fn once_each(changes: Vec<Change>) -> Vec<Change> {
    let mut told = BTreeSet::new();
    changes.into_iter().filter(|change| told.insert(change.path.clone())).collect()
}

type Replayed = (BTreeMap<String, Touched>, Vec<Change>);

fn replay(
    log: &[(Request, Result<Answer, StoreError>)],
    tree: &Tree,
    rules: &FlavourRules,
) -> Result<Replayed, StoreError> {
    let mut touched = BTreeMap::new();
    let mut changes = Vec::new();
    for (request, answer) in log {
        let mut view = View { tree, touched: &mut touched };
        if request.run(DomId::DOM0, rules, &mut view, &mut changes) != *answer {
            return Err(StoreError::Conflict);
        }
    }
    Ok((touched, changes))
}
