//! Nodes, values and permissions.

use super::subject::{Case, Outcome, Subject, denied, ensure, path, same, text};
use crate::domid::DomId;
use crate::evtchn::Port;
use crate::frame::Gfn;
use crate::store::{Access, Permissions, StoreError};

pub(super) const CASES: &[Case] = &[
    Case { name: "a value is read as it was written, any bytes at all", run: values },
    Case { name: "a write makes the parents that are missing", run: parents },
    Case { name: "a missing node is answered as such", run: missing },
    Case { name: "removing takes all below and forgives a missing node", run: remove },
    Case { name: "a directory made twice keeps its value", run: make_dir },
    Case { name: "permissions are kept and inherited", run: permissions },
    Case { name: "a directory too long for one message is read whole", run: long_directory },
    Case { name: "a value too large for a message is refused and does no harm", run: too_large },
    Case { name: "what the daemon allows in names is known", run: names },
    Case { name: "a domain that does not exist cannot be introduced", run: introduce_nobody },
];

fn not_found(error: &StoreError) -> bool {
    *error == StoreError::NotFound
}

fn values(subject: &Subject) -> Outcome {
    let (scratch, store) = (subject.scratch()?, &subject.xen.store);
    let node = scratch.at("value")?;
    let all_bytes: Vec<u8> = (0..=255).collect();
    for value in [&b""[..], b"1", b"a\0b", &all_bytes, &[0xff; 2048]] {
        store.write(&node, value).map_err(text)?;
        same("the value", store.read(&node).map_err(text)?, value.to_vec())?;
    }
    Ok(())
}

fn parents(subject: &Subject) -> Outcome {
    let (scratch, store) = (subject.scratch()?, &subject.xen.store);
    store.write(&scratch.at("a/b/c")?, b"x").map_err(text)?;
    same("a", store.directory(&scratch.at("a")?).map_err(text)?, vec!["b".to_owned()])?;
    same("a's value", store.read(&scratch.at("a")?).map_err(text)?, Vec::new())?;
    store.write(&scratch.at("a/b/d")?, b"y").map_err(text)?;
    let mut names = store.directory(&scratch.at("a/b")?).map_err(text)?;
    names.sort_unstable();
    same("a/b", names, vec!["c".to_owned(), "d".to_owned()])?;
    same("c", store.directory(&scratch.at("a/b/c")?).map_err(text)?, Vec::new())
}

fn missing(subject: &Subject) -> Outcome {
    let (scratch, store) = (subject.scratch()?, &subject.xen.store);
    for node in [scratch.at("none")?, scratch.at("none/below")?] {
        denied("read", store.read(&node), not_found)?;
        denied("directory", store.directory(&node), not_found)?;
        denied("permissions", store.permissions(&node), not_found)?;
        let closed = Permissions::owned_by(DomId::DOM0);
        denied("set_permissions", store.set_permissions(&node, &closed), not_found)?;
    }
    Ok(())
}

fn remove(subject: &Subject) -> Outcome {
    let (scratch, store) = (subject.scratch()?, &subject.xen.store);
    store.write(&scratch.at("a/b/c/d")?, b"x").map_err(text)?;
    store.write(&scratch.at("ab")?, b"y").map_err(text)?;
    store.remove(&scratch.at("a")?).map_err(text)?;
    for gone in ["a", "a/b", "a/b/c/d"] {
        denied(gone, store.read(&scratch.at(gone)?), not_found)?;
    }
    same("its neighbour", store.read(&scratch.at("ab")?).map_err(text)?, b"y".to_vec())?;
    store.remove(&scratch.at("a")?).map_err(|error| format!("a missing node: {error}"))?;
    denied("a missing parent", store.remove(&scratch.at("no/where")?), not_found)?;
    same("left", store.directory(&scratch.top).map_err(text)?, vec!["ab".to_owned()])
}

fn make_dir(subject: &Subject) -> Outcome {
    let (scratch, store) = (subject.scratch()?, &subject.xen.store);
    let node = scratch.at("x/y")?;
    store.make_dir(&node).map_err(text)?;
    same("its value", store.read(&node).map_err(text)?, Vec::new())?;
    store.write(&node, b"kept").map_err(text)?;
    store.make_dir(&node).map_err(text)?;
    same("its value after the second time", store.read(&node).map_err(text)?, b"kept".to_vec())
}

fn permissions(subject: &Subject) -> Outcome {
    let (scratch, store) = (subject.scratch()?, &subject.xen.store);
    // xenstored drops grants for domains that do not exist.
    let (guest, _) = subject.create(1)?;
    let node = scratch.at("p")?;
    store.write(&node, b"").map_err(text)?;
    let wanted = Permissions { owner: DomId::DOM0, others: Access::Read, grants: Vec::new() }
        .grant(guest.domid, Access::Both);
    for permissions in [wanted, Permissions::owned_by(DomId::DOM0)] {
        store.set_permissions(&node, &permissions).map_err(text)?;
        same("the node", store.permissions(&node).map_err(text)?, permissions.clone())?;
        let child = scratch.at("p/child")?;
        store.remove(&child).map_err(text)?;
        store.write(&child, b"").map_err(text)?;
        same("its child", store.permissions(&child).map_err(text)?, permissions)?;
    }
    Ok(())
}

fn long_directory(subject: &Subject) -> Outcome {
    const CHILDREN: usize = 500;
    let (scratch, store) = (subject.scratch()?, &subject.xen.store);
    let filler = "n".repeat(100);
    let mut expect = Vec::new();
    for index in 0..CHILDREN {
        let name = format!("{filler}-{index:03}");
        store.write(&scratch.at(&name)?, b"").map_err(text)?;
        expect.push(name);
    }
    let mut names = store.directory(&scratch.top).map_err(text)?;
    names.sort_unstable();
    ensure(names == expect, format!("{} names instead of {CHILDREN}", names.len()))
}

fn too_large(subject: &Subject) -> Outcome {
    let (scratch, store) = (subject.scratch()?, &subject.xen.store);
    let node = scratch.at("large")?;
    store.write(&node, b"small").map_err(text)?;
    let is_too_large = |error: &StoreError| *error == StoreError::TooLarge;
    denied("5000 bytes", store.write(&node, &[b'x'; 5000]), is_too_large)?;
    let value = vec![b'x'; 3000];
    match subject.flavour.rules().dom0_value_bytes_max {
        Some(most) if most < value.len() => {
            denied("3000 bytes", store.write(&node, &value), is_too_large)?;
            same("the old value", store.read(&node).map_err(text)?, b"small".to_vec())
        }
        _ => {
            store.write(&node, &value).map_err(text)?;
            same("3000 bytes", store.read(&node).map_err(text)?, value)
        }
    }
}

fn names(subject: &Subject) -> Outcome {
    let (scratch, store) = (subject.scratch()?, &subject.xen.store);
    store.write(&scratch.at("A-z_0@9")?, b"x").map_err(text)?;
    for bad in ["relative", "/vmm-contract/", "/vmm-contract//x", "/vmm-contract/a b", ""] {
        ensure(path(bad).is_err(), format!("{bad:?} is taken for a path"))?;
    }
    let colon = store.write(&scratch.at("a:b")?, b"x");
    if subject.flavour.rules().colon_in_names {
        colon.map_err(text)
    } else {
        denied("a colon", colon, |error| matches!(error, StoreError::Invalid(_)))
    }
}

fn introduce_nobody(subject: &Subject) -> Outcome {
    let (store, id) = (&subject.xen.store, Subject::nobody());
    denied("introduce", store.introduce(id, Gfn(0x1000), Port(1)), |_| true)?;
    same("introduced", store.is_introduced(id).map_err(text)?, false)?;
    same("dom0", store.is_introduced(DomId::DOM0).map_err(text)?, true)?;
    denied("release", store.release(id), |_| true)
}
