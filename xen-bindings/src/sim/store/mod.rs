//! xenstored: the tree, who is connected, transactions and watches.
//!
//! Every request is made by a domain, and permissions hold: a guest that the toolstack gave too little gets `EACCES`, here as
//! there. dom0 may do everything.

mod nodes;
mod request;
mod traits;
mod transaction;
mod watch;

use std::collections::{BTreeMap, BTreeSet};

use crate::contract::{FlavourRules, StoreFlavour};
use crate::domid::DomId;
use crate::store::{Access, Permissions, StoreError, WatchSink};

use nodes::{Node, Tree};
use request::{Answer, Change, Request};
use transaction::Transaction;
use watch::Watches;

/// A message's payload: path, a zero byte, value.
pub(super) const MESSAGE_BYTES_MAX: usize = 4096;
/// Transactions that are open at once.
const TRANSACTIONS_MAX: usize = 1024;

pub(crate) struct StoreModel {
    tree: Tree,
    rules: FlavourRules,
    flavour: StoreFlavour,
    transactions: BTreeMap<u64, Transaction>,
    transaction_next: u64,
    watches: Watches,
    introduced: BTreeSet<u16>,
    /// Domains whose shutdown was told.
    shutdowns_told: BTreeSet<u16>,
    /// Paths that changed since the simulator looked last.
    changes: Vec<String>,
}

impl StoreModel {
    pub(crate) fn new(flavour: StoreFlavour) -> Self {
        let open = Permissions { owner: DomId::DOM0, others: Access::Read, grants: Vec::new() };
        let mut model = Self {
            tree: Tree::new(Node::new(Permissions::owned_by(DomId::DOM0))),
            rules: flavour.rules(),
            flavour,
            transactions: BTreeMap::new(),
            transaction_next: 1,
            watches: Watches::default(),
            introduced: BTreeSet::from([0]),
            shutdowns_told: BTreeSet::new(),
            changes: Vec::new(),
        };
        for (path, value) in [
            ("/tool/xenstored", ""),
            ("/vm", ""),
            ("/local/domain/0/name", "Domain-0"),
            ("/local/domain/0/domid", "0"),
        ] {
            model.write_str(DomId::DOM0, path, value);
        }
        let all_read = Request::SetPermissions { path: "/".into(), permissions: open };
        // The root exists and dom0 may do everything.
        let _ = model.ask(DomId::DOM0, &all_read);
        model.changes.clear();
        model
    }

    /// One request outside of transactions.
    pub(crate) fn ask(&mut self, caller: DomId, request: &Request) -> Result<Answer, StoreError> {
        let mut changes = Vec::new();
        let answer = request.run(caller, &self.rules, &mut self.tree, &mut changes);
        if answer.is_ok() {
            self.publish(changes);
        }
        answer
    }

    fn publish(&mut self, changes: Vec<Change>) {
        for change in changes {
            self.watches.fire(&change);
            self.changes.push(change.path);
        }
    }

    pub(crate) fn take_changes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.changes)
    }

    pub(crate) fn next_notification(&mut self) -> Option<(WatchSink, String)> {
        self.watches.next_notification()
    }

    pub(crate) fn watch(&mut self, path: &str, sink: WatchSink) -> u64 {
        self.watches.add(path, sink)
    }

    pub(crate) fn unwatch(&mut self, id: u64) -> Option<WatchSink> {
        self.watches.remove(id)
    }

    pub(crate) fn fire_special(&mut self, name: &str) {
        self.watches.fire(&Change { path: name.to_owned(), below: Vec::new() });
    }

    pub(crate) fn begin(&mut self) -> Result<u64, StoreError> {
        if self.transactions.len() >= TRANSACTIONS_MAX {
            return Err(StoreError::Quota);
        }
        let id = self.transaction_next;
        self.transaction_next += 1;
        self.transactions.insert(id, Transaction::new(self.tree.generation()));
        Ok(id)
    }

    /// One request of dom0 inside a transaction.
    pub(crate) fn ask_in(&mut self, id: u64, request: Request) -> Result<Answer, StoreError> {
        let transaction = self.transactions.get_mut(&id).ok_or(StoreError::NotFound)?;
        transaction.ask(&self.tree, &self.rules, request)
    }

    pub(crate) fn commit(&mut self, id: u64) -> Result<(), StoreError> {
        let transaction = self.transactions.remove(&id).ok_or(StoreError::NotFound)?;
        let changes = transaction.commit(&mut self.tree, &self.rules, self.flavour)?;
        self.publish(changes);
        Ok(())
    }

    pub(crate) fn abort(&mut self, id: u64) {
        self.transactions.remove(&id);
    }

    pub(crate) fn is_introduced(&self, domid: DomId) -> bool {
        self.introduced.contains(&domid.get())
    }

    pub(crate) fn introduce(&mut self, domid: DomId) {
        if self.introduced.insert(domid.get()) {
            self.fire_special("@introduceDomain");
        }
    }

    pub(crate) fn release(&mut self, domid: DomId) -> Result<(), StoreError> {
        if domid == DomId::DOM0 || !self.introduced.remove(&domid.get()) {
            return Err(StoreError::NotFound);
        }
        self.shutdowns_told.remove(&domid.get());
        self.fire_special("@releaseDomain");
        Ok(())
    }

    /// A domain has shut down. The C daemon tells it once, until it hears that the domain goes on.
    pub(crate) fn shut_down(&mut self, domid: DomId) {
        if !self.is_introduced(domid) {
            return;
        }
        let first = self.shutdowns_told.insert(domid.get());
        if first || !self.rules.resume_needed_for_news {
            self.fire_special("@releaseDomain");
        }
    }

    pub(crate) fn resume(&mut self, domid: DomId) -> Result<(), StoreError> {
        let refused = || StoreError::Invalid(format!("domain {domid} cannot be resumed"));
        match (self.flavour, self.is_introduced(domid)) {
            (StoreFlavour::C, _) if domid == DomId::DOM0 => return Err(refused()),
            (StoreFlavour::C, false) => return Err(StoreError::NotFound),
            (StoreFlavour::Ocaml, false) => return Err(refused()),
            (_, true) => {}
        }
        self.shutdowns_told.remove(&domid.get());
        Ok(())
    }

    /// The domain is dead: it is let go, the nodes that it owned are removed, and nothing is granted to it any more.
    pub(crate) fn domain_died(&mut self, domid: DomId) {
        // One that was never connected is none of xenstored's business.
        if !self.is_introduced(domid) {
            return;
        }
        let mut changes = Vec::new();
        for path in self.tree.topmost_of(domid) {
            // It is there, and dom0 may do everything.
            let _ = Request::Remove { path }.run(
                DomId::DOM0,
                &self.rules,
                &mut self.tree,
                &mut changes,
            );
        }
        self.tree.revoke(domid);
        if self.rules.watches_told_of_dead_guests_nodes {
            self.publish(changes);
        }
        // It was introduced.
        let _ = self.release(domid);
    }

    /// For guests and backends: a value as text.
    pub(crate) fn read_str(&mut self, caller: DomId, path: &str) -> Option<String> {
        match self.ask(caller, &Request::Read { path: path.to_owned() }) {
            Ok(Answer::Value(value)) => Some(String::from_utf8_lossy(&value).into_owned()),
            _ => None,
        }
    }

    /// For guests and backends. True when it was written or was there already; an unchanged value is left alone.
    pub(crate) fn write_str(&mut self, caller: DomId, path: &str, value: &str) -> bool {
        self.read_str(caller, path).is_some_and(|old| old == value)
            || self.write_bytes(caller, path, value.as_bytes())
    }

    pub(crate) fn write_bytes(&mut self, caller: DomId, path: &str, value: &[u8]) -> bool {
        let request = Request::Write { path: path.to_owned(), value: value.to_vec() };
        self.ask(caller, &request).is_ok()
    }

    /// For guests: a node that cannot be removed stays.
    pub(crate) fn remove(&mut self, caller: DomId, path: &str) {
        let _ = self.ask(caller, &Request::Remove { path: path.to_owned() });
    }

    /// For guests and backends: children, none when there is no such node.
    pub(crate) fn children(&mut self, caller: DomId, path: &str) -> Vec<String> {
        match self.ask(caller, &Request::Directory { path: path.to_owned() }) {
            Ok(Answer::Names(names)) => names,
            _ => Vec::new(),
        }
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.tree.peek(path).is_some()
    }

    #[cfg(test)]
    pub(crate) fn check(&self) {
        self.tree.check();
    }
}
