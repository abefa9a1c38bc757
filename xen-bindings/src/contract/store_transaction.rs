//! Transactions: all or nothing, and who loses a race.

use super::subject::{Case, Outcome, Scratch, Subject, denied, ensure, same, text};
use crate::store::{StoreError, StoreTransaction, transact};

pub(super) const CASES: &[Case] = &[
    Case { name: "a transaction is seen by others once committed and not before", run: commit },
    Case { name: "a transaction that is dropped leaves nothing", run: abort },
    Case { name: "a transaction sees its own writes", run: own_writes },
    Case { name: "what a transaction made and removed was never there", run: made_and_removed },
    Case { name: "of two transactions that read and write one node, one loses", run: race },
    Case { name: "a write from outside makes a transaction lose that read the node", run: outside },
    Case { name: "transactions on different nodes do not disturb each other", run: apart },
    Case { name: "where the daemons differ about conflicts is known", run: differences },
    Case { name: "a transaction that lost is tried again", run: retried },
];

fn is_conflict(error: &StoreError) -> bool {
    *error == StoreError::Conflict
}

fn commit(subject: &Subject) -> Outcome {
    let (scratch, store) = (subject.scratch()?, &subject.xen.store);
    let (old, new) = (scratch.at("old")?, scratch.at("new/deep")?);
    store.write(&old, b"x").map_err(text)?;
    let transaction = store.begin().map_err(text)?;
    transaction.write(&new, b"1").map_err(text)?;
    transaction.remove(&old).map_err(text)?;
    denied("before", store.read(&new), |error| *error == StoreError::NotFound)?;
    same("the old one before", store.read(&old).map_err(text)?, b"x".to_vec())?;
    transaction.commit().map_err(text)?;
    same("after", store.read(&new).map_err(text)?, b"1".to_vec())?;
    denied("the old one after", store.read(&old), |error| *error == StoreError::NotFound)
}

fn abort(subject: &Subject) -> Outcome {
    let (scratch, store) = (subject.scratch()?, &subject.xen.store);
    let transaction = store.begin().map_err(text)?;
    transaction.write(&scratch.at("a/b")?, b"1").map_err(text)?;
    drop(transaction);
    same("what is there", store.directory(&scratch.top).map_err(text)?, Vec::new())
}

fn own_writes(subject: &Subject) -> Outcome {
    let (scratch, store) = (subject.scratch()?, &subject.xen.store);
    let node = scratch.at("a/b")?;
    let transaction = store.begin().map_err(text)?;
    transaction.write(&node, b"1").map_err(text)?;
    same("read", transaction.read(&node).map_err(text)?, b"1".to_vec())?;
    let names = transaction.directory(&scratch.top).map_err(text)?;
    same("directory", names, vec!["a".to_owned()])?;
    transaction.commit().map_err(text)
}

fn made_and_removed(subject: &Subject) -> Outcome {
    let (scratch, store) = (subject.scratch()?, &subject.xen.store);
    let node = scratch.at("a/b")?;
    let transaction = store.begin().map_err(text)?;
    transaction.write(&node, b"1").map_err(text)?;
    transaction.remove(&scratch.at("a")?).map_err(text)?;
    denied("inside", transaction.read(&node), |error| *error == StoreError::NotFound)?;
    transaction.commit().map_err(text)?;
    same("what is there", store.directory(&scratch.top).map_err(text)?, Vec::new())
}

/// Two transactions, open at the same time.
type Pair<'a> = [Box<dyn StoreTransaction + 'a>; 2];

fn pair(subject: &Subject) -> Result<Pair<'_>, String> {
    let begin = || subject.xen.store.begin().map_err(text);
    Ok([begin()?, begin()?])
}

fn race(subject: &Subject) -> Outcome {
    let (scratch, store) = (subject.scratch()?, &subject.xen.store);
    let node = scratch.at("n")?;
    store.write(&node, b"0").map_err(text)?;
    let [first, second] = pair(subject)?;
    for (transaction, value) in [(&first, b"1"), (&second, b"2")] {
        same("read", transaction.read(&node).map_err(text)?, b"0".to_vec())?;
        transaction.write(&node, value).map_err(text)?;
    }
    first.commit().map_err(text)?;
    denied("the second commit", second.commit(), is_conflict)?;
    same("the value", store.read(&node).map_err(text)?, b"1".to_vec())
}

fn outside(subject: &Subject) -> Outcome {
    let (scratch, store) = (subject.scratch()?, &subject.xen.store);
    let (read, written) = (scratch.at("read")?, scratch.at("written")?);
    store.write(&read, b"0").map_err(text)?;
    store.write(&written, b"0").map_err(text)?;
    let transaction = store.begin().map_err(text)?;
    transaction.read(&read).map_err(text)?;
    store.write(&read, b"1").map_err(text)?;
    transaction.write(&written, b"1").map_err(text)?;
    denied("commit", transaction.commit(), is_conflict)?;
    same("the other node", store.read(&written).map_err(text)?, b"0".to_vec())
}

fn apart(subject: &Subject) -> Outcome {
    let (scratch, store) = (subject.scratch()?, &subject.xen.store);
    let nodes = [scratch.at("a/x")?, scratch.at("b/x")?];
    for node in &nodes {
        store.write(node, b"0").map_err(text)?;
    }
    let transactions = pair(subject)?;
    for (transaction, node) in transactions.iter().zip(&nodes) {
        transaction.read(node).map_err(text)?;
        transaction.write(node, b"1").map_err(text)?;
    }
    for transaction in transactions {
        transaction.commit().map_err(text)?;
    }
    for node in &nodes {
        same("the value", store.read(node).map_err(text)?, b"1".to_vec())?;
    }
    Ok(())
}

fn differences(subject: &Subject) -> Outcome {
    let (scratch, rules) = (subject.scratch()?, subject.flavour.rules());
    second_write(subject, &scratch, ["same", "same"], rules.blind_writes_conflict)
        .map_err(|error| format!("blind writes: {error}"))?;
    second_write(subject, &scratch, ["new/1", "new/2"], rules.sibling_creation_conflicts)
        .map_err(|error| format!("siblings: {error}"))?;
    rewrite(subject, &scratch, rules.rewrite_of_same_value_conflicts)
        .map_err(|error| format!("the same value: {error}"))
}

/// Two transactions write one node each; does the second one lose?
fn second_write(
    subject: &Subject,
    scratch: &Scratch<'_>,
    nodes: [&str; 2],
    loses: bool,
) -> Outcome {
    subject.xen.store.write(&scratch.at("same")?, b"0").map_err(text)?;
    subject.xen.store.make_dir(&scratch.at("new")?).map_err(text)?;
    let [first, second] = pair(subject)?;
    first.write(&scratch.at(nodes[0])?, b"1").map_err(text)?;
    second.write(&scratch.at(nodes[1])?, b"2").map_err(text)?;
    first.commit().map_err(text)?;
    expect(second, loses)
}

fn rewrite(subject: &Subject, scratch: &Scratch<'_>, loses: bool) -> Outcome {
    let node = scratch.at("same")?;
    subject.xen.store.write(&node, b"0").map_err(text)?;
    let transaction = subject.xen.store.begin().map_err(text)?;
    transaction.read(&node).map_err(text)?;
    transaction.write(&scratch.at("new/3")?, b"1").map_err(text)?;
    subject.xen.store.write(&node, b"0").map_err(text)?;
    expect(transaction, loses)
}

fn expect(transaction: Box<dyn StoreTransaction + '_>, loses: bool) -> Outcome {
    match (transaction.commit(), loses) {
        (Ok(()), false) | (Err(StoreError::Conflict), true) => Ok(()),
        (outcome, _) => Err(format!("{outcome:?}")),
    }
}

fn retried(subject: &Subject) -> Outcome {
    let (scratch, store) = (subject.scratch()?, &subject.xen.store);
    let node = scratch.at("n")?;
    store.write(&node, b"0").map_err(text)?;
    let mut tries = 0_u32;
    transact(store.as_ref(), |transaction| {
        tries += 1;
        transaction.read(&node)?;
        if tries == 1 {
            store.write(&node, b"1")?;
        }
        transaction.write(&node, b"2")
    })
    .map_err(text)?;
    ensure(tries == 2, format!("{tries} tries"))?;
    same("the value", store.read(&node).map_err(text)?, b"2".to_vec())
}
