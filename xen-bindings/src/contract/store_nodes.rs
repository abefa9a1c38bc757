//! Many nodes in one transaction.

use super::subject::{Case, Outcome, Subject, denied, ensure, path, same, text};
use crate::domid::DomId;
use crate::store::{Access, NodeWrite, Permissions, StoreError};

/// About a domain with a few devices, several times over.
const MANY: usize = 300;

pub(super) const CASES: &[Case] = &[
    Case { name: "many nodes are there at once, with their permissions, or not at all", run: many },
    Case { name: "nodes are written in order, and the last word counts", run: ordered },
    Case { name: "a node that is refused is told and spoils the rest", run: refused_node },
    Case { name: "many nodes that lose a race leave nothing", run: conflict },
];

fn node(path: crate::StorePath, value: &[u8]) -> NodeWrite {
    NodeWrite { path, value: value.to_vec(), permissions: None }
}

fn many(subject: &Subject) -> Outcome {
    let (scratch, store) = (subject.scratch()?, &subject.xen.store);
    let (guest, _) = subject.create(1)?;
    let open = Permissions::owned_by(DomId::DOM0).grant(guest.domid, Access::Read);
    let mut nodes = vec![node(scratch.at("top")?, b"")];
    nodes[0].permissions = Some(open.clone());
    for index in 0..MANY {
        let value = index.to_string();
        nodes.push(node(scratch.at(&format!("top/{}/{index}", index % 7))?, value.as_bytes()));
    }
    let transaction = store.begin().map_err(text)?;
    transaction.write_nodes(&nodes).map_err(text)?;
    let inside = transaction.read(&scratch.at("top/1/1")?).map_err(text)?;
    same("inside", inside, b"1".to_vec())?;
    same("before the commit", store.directory(&scratch.top).map_err(text)?, Vec::new())?;
    transaction.commit().map_err(text)?;
    for (index, node) in nodes.iter().enumerate() {
        let value = store.read(&node.path).map_err(|error| format!("node {index}: {error}"))?;
        same("a value", value, node.value.clone())?;
        let permissions = store.permissions(&node.path).map_err(text)?;
        same("inherited permissions", permissions, open.clone())?;
    }
    Ok(())
}

fn ordered(subject: &Subject) -> Outcome {
    let (scratch, store) = (subject.scratch()?, &subject.xen.store);
    let at = scratch.at("n")?;
    let closed = Permissions::owned_by(DomId::DOM0);
    let read = Permissions { others: Access::Read, ..closed.clone() };
    let write = |value: &[u8], permissions| NodeWrite { permissions, ..node(at.clone(), value) };
    let transaction = store.begin().map_err(text)?;
    transaction
        .write_nodes(&[
            write(b"1", Some(read.clone())),
            write(b"2", Some(closed)),
            write(b"3", None),
        ])
        .map_err(text)?;
    transaction.write_nodes(&[]).map_err(|error| format!("no nodes: {error}"))?;
    transaction.write_nodes(&[write(b"4", Some(read.clone()))]).map_err(text)?;
    transaction.commit().map_err(text)?;
    same("its value", store.read(&at).map_err(text)?, b"4".to_vec())?;
    same("its permissions", store.permissions(&at).map_err(text)?, read)
}

/// What is refused, and how.
type Expect = fn(&StoreError) -> bool;

fn refused_node(subject: &Subject) -> Outcome {
    let (scratch, store) = (subject.scratch()?, &subject.xen.store);
    let is_too_large = |error: &StoreError| *error == StoreError::TooLarge;
    let is_invalid = |error: &StoreError| matches!(error, StoreError::Invalid(_));
    let large = node(scratch.at("large")?, &[b'x'; 5000]);
    let mut cases: Vec<(NodeWrite, Expect)> = vec![(large, is_too_large)];
    if !subject.flavour.rules().colon_in_names {
        cases.push((node(path("/vmm-contract/a:b")?, b"x"), is_invalid));
    }
    for (bad, expect) in cases {
        let mut nodes = Vec::new();
        for index in 0..20 {
            nodes.push(node(scratch.at(&format!("good/{index}"))?, b"x"));
        }
        nodes.insert(10, bad);
        let transaction = store.begin().map_err(text)?;
        denied("all of them", transaction.write_nodes(&nodes), expect)?;
        drop(transaction);
        same("what is there", store.directory(&scratch.top).map_err(text)?, Vec::new())?;
        // The connection is as good as before.
        store.write(&scratch.at("after")?, b"x").map_err(text)?;
        same("after", store.read(&scratch.at("after")?).map_err(text)?, b"x".to_vec())?;
        store.remove(&scratch.at("after")?).map_err(text)?;
    }
    Ok(())
}

fn conflict(subject: &Subject) -> Outcome {
    let (scratch, store) = (subject.scratch()?, &subject.xen.store);
    let watched = scratch.at("watched")?;
    store.write(&watched, b"0").map_err(text)?;
    let transaction = store.begin().map_err(text)?;
    transaction.read(&watched).map_err(text)?;
    transaction
        .write_nodes(&[node(scratch.at("a/b")?, b"1"), node(watched.clone(), b"1")])
        .map_err(text)?;
    store.write(&watched, b"2").map_err(text)?;
    denied("commit", transaction.commit(), |error| *error == StoreError::Conflict)?;
    let names = store.directory(&scratch.top).map_err(text)?;
    ensure(names == ["watched"], format!("{names:?} are there"))?;
    same("the node of the race", store.read(&watched).map_err(text)?, b"2".to_vec())
}
