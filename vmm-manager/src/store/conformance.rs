//! What any [`KeyValue`] must do, as tests that know nothing of what is behind it.
//!
//! Whoever brings another database implements [`Subject`] for it and calls [`conforms`]; nothing here changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::kv::{
    Change, Condition, Key, KeyValue, KvError, LeaseId, Operation, Range, Revision, Row,
    Transaction, get,
};
use crate::agents::BoxFuture;

const LIFE: Duration = Duration::from_secs(10);

/// A database under test.
pub(super) trait Subject: Sync {
    /// An empty store.
    fn fresh(&self) -> BoxFuture<'_, Arc<dyn KeyValue>>;
    /// Its time.
    fn now(&self) -> Duration;
    /// Lets time pass, and leases with it.
    fn pass<'a>(&'a self, kv: &'a dyn KeyValue, time: Duration) -> BoxFuture<'a, ()>;
}

/// All of it.
pub(super) async fn conforms(subject: &dyn Subject) {
    what_was_put_is_read_in_order_and_in_pages(subject).await;
    a_transaction_is_all_or_nothing(subject).await;
    a_transaction_that_changes_nothing_has_no_revision(subject).await;
    a_row_is_changed_only_at_the_revision_that_was_seen(subject).await;
    one_of_many_who_want_the_same_row_gets_it(subject).await;
    a_watch_tells_each_change_of_its_rows_once_and_in_order(subject).await;
    a_watch_that_is_too_far_behind_is_told_to_read_again(subject).await;
    rows_go_with_their_lease(subject).await;
    a_lease_that_is_kept_lives_on(subject).await;
    a_row_that_was_put_anew_without_its_lease_stays(subject).await;
    what_is_closed_refuses_everything(subject).await;
    any_series_of_transactions_agrees_with_a_map(subject).await;
}

fn key(text: &str) -> Key {
    text.as_bytes().to_vec()
}

fn put(at: &str, value: &str) -> (Key, Operation) {
    (key(at), Operation::Put { value: value.as_bytes().to_vec(), lease: None })
}

fn put_leased(at: &str, lease: LeaseId) -> (Key, Operation) {
    (key(at), Operation::Put { value: Vec::new(), lease: Some(lease) })
}

fn delete(at: &str) -> (Key, Operation) {
    (key(at), Operation::Delete)
}

async fn commit(
    kv: &dyn KeyValue,
    conditions: Vec<Condition>,
    operations: Vec<(Key, Operation)>,
) -> Result<Revision, KvError> {
    kv.commit(Transaction { conditions, operations }).await
}

async fn done(kv: &dyn KeyValue, operations: Vec<(Key, Operation)>) -> Revision {
    commit(kv, vec![], operations).await.expect("committed")
}

/// Keys and values of a prefix, read in pages of this size.
async fn read(kv: &dyn KeyValue, prefix: &str, count_max: usize) -> Vec<(String, String)> {
    let mut range = Range::of(prefix.as_bytes(), count_max);
    let mut all = Vec::new();
    loop {
        let page = kv.range(range.clone()).await.expect("read");
        assert!(page.rows.len() <= count_max && (!page.more || page.rows.len() == count_max));
        range.after = page.rows.last().map(|row| row.key.clone());
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        all.extend(page.rows.iter().map(|row| (text(&row.key), text(&row.value))));
        if !page.more {
            return all;
        }
    }
}

async fn keys(kv: &dyn KeyValue, prefix: &str) -> Vec<String> {
    read(kv, prefix, 100).await.into_iter().map(|(key, _)| key).collect()
}

async fn what_was_put_is_read_in_order_and_in_pages(subject: &dyn Subject) {
    let kv = subject.fresh().await;
    assert_eq!(keys(&*kv, "").await, [""; 0]);
    done(&*kv, ["/b/2", "/a", "/b/10", "/b", "/c", "/b/1"].map(|at| put(at, at)).into()).await;
    for count in 1..8 {
        let read = read(&*kv, "/b/", count).await;
        assert_eq!(read, ["/b/1", "/b/10", "/b/2"].map(|at| (at.into(), at.into())), "{count}");
    }
    assert_eq!(keys(&*kv, "").await, ["/a", "/b", "/b/1", "/b/10", "/b/2", "/c"]);
    assert_eq!(get(&*kv, b"/b").await.expect("read").expect("there").value, b"/b");
    assert_eq!(get(&*kv, b"/b/").await.expect("read"), None, "the beginning of a key is no key");
    done(&*kv, vec![put("/b", "other"), delete("/a")]).await;
    assert_eq!(get(&*kv, b"/b").await.expect("read").expect("there").value, b"other");
    assert_eq!(get(&*kv, b"/a").await.expect("read"), None);
}

async fn a_transaction_is_all_or_nothing(subject: &dyn Subject) {
    let kv = subject.fresh().await;
    let before = done(&*kv, vec![put("/a", "1")]).await;
    let both = || vec![put("/a", "2"), put("/b", "2")];
    let absent = commit(&*kv, vec![Condition::Absent(key("/a"))], both()).await;
    assert!(matches!(absent, Err(KvError::Conflict { key }) if key == "/a"));
    let holds = Condition::At(key("/a"), before);
    let not_there = Condition::At(key("/b"), before);
    let one_of_two = commit(&*kv, vec![holds, not_there], both()).await;
    assert!(matches!(one_of_two, Err(KvError::Conflict { key }) if key == "/b"));
    let twice = commit(&*kv, vec![], vec![put("/a", "2"), delete("/a")]).await;
    assert!(matches!(twice, Err(KvError::Twice { .. })));
    let many = (0..=kv.operations_max()).map(|n| put(&format!("/{n}"), "")).collect();
    assert!(matches!(commit(&*kv, vec![], many).await, Err(KvError::TooLarge { .. })));
    let gone = commit(&*kv, vec![], vec![put("/b", "2"), put_leased("/a", LeaseId(99))]).await;
    assert!(matches!(gone, Err(KvError::LeaseGone { lease: LeaseId(99) })));
    assert_eq!(read(&*kv, "", 9).await, [("/a".into(), "1".into())], "nothing of them was done");
    let after = done(&*kv, both()).await;
    assert_eq!(after.0, before.0 + 1, "what was refused has no revision");
}

async fn a_transaction_that_changes_nothing_has_no_revision(subject: &dyn Subject) {
    let kv = subject.fresh().await;
    let before = done(&*kv, vec![put("/a", "1")]).await;
    assert_eq!(done(&*kv, vec![]).await, before);
    assert_eq!(done(&*kv, vec![delete("/none")]).await, before);
    let same = done(&*kv, vec![put("/a", "1")]).await;
    assert_eq!(same.0, before.0 + 1, "a put is a change, whatever it puts");
}

async fn a_row_is_changed_only_at_the_revision_that_was_seen(subject: &dyn Subject) {
    let kv = subject.fresh().await;
    let absent = vec![Condition::Absent(key("/a"))];
    let first = commit(&*kv, absent, vec![put("/a", "1")]).await.expect("it was not there");
    let other = done(&*kv, vec![put("/b", "1")]).await;
    let row = get(&*kv, b"/a").await.expect("read").expect("there");
    let expected = Row { key: key("/a"), value: b"1".to_vec(), revision: first, lease: None };
    assert_eq!(row, expected, "another row's change is none of it");
    let seen = |revision| vec![Condition::At(key("/a"), revision)];
    assert!(commit(&*kv, seen(other), vec![put("/a", "2")]).await.is_err());
    let second = commit(&*kv, seen(first), vec![put("/a", "2")]).await.expect("as it was seen");
    assert!(commit(&*kv, seen(first), vec![put("/a", "3")]).await.is_err());
    assert_eq!(get(&*kv, b"/a").await.expect("read").expect("there").revision, second);
    commit(&*kv, seen(second), vec![delete("/a")]).await.expect("as it was seen");
    assert!(commit(&*kv, seen(second), vec![put("/a", "3")]).await.is_err(), "it has gone");
}

async fn one_of_many_who_want_the_same_row_gets_it(subject: &dyn Subject) {
    let kv = subject.fresh().await;
    let wants = (0..8).map(|n: usize| {
        let kv = Arc::clone(&kv);
        tokio::spawn(async move {
            let mine = put("/one", &n.to_string());
            commit(&*kv, vec![Condition::Absent(key("/one"))], vec![mine]).await.is_ok()
        })
    });
    let mut got = 0;
    for want in wants.collect::<Vec<_>>() {
        got += usize::from(want.await.expect("no panic"));
    }
    assert_eq!(got, 1);
}

async fn a_watch_tells_each_change_of_its_rows_once_and_in_order(subject: &dyn Subject) {
    let kv = subject.fresh().await;
    let start = done(&*kv, vec![put("/w/old", "0")]).await;
    let mut watch = kv.watch(key("/w/"), start).expect("watched");
    let first = done(&*kv, vec![put("/w/b", "1"), put("/x", "1"), put("/w/a", "1")]).await;
    done(&*kv, vec![put("/x", "2")]).await;
    let second = done(&*kv, vec![delete("/w/a"), delete("/w/none")]).await;
    let change = |revision, rows: &[(&str, Option<&str>)]| {
        let value = |value: &str| value.as_bytes().into();
        let rows = rows.iter().map(|(at, is)| (key(at), is.map(value))).collect();
        Change { revision, rows }
    };
    let expected = [
        change(first, &[("/w/a", Some("1")), ("/w/b", Some("1"))]),
        change(second, &[("/w/a", None)]),
    ];
    for expected in &expected {
        assert_eq!(watch.next().await.expect("a change"), *expected);
    }
    let (next, third) = tokio::join!(watch.next(), done(&*kv, vec![put("/w/c", "3")]));
    assert_eq!(next.expect("waited for"), change(third, &[("/w/c", Some("3"))]));
    let mut later = kv.watch(key("/w/"), first).expect("from the middle");
    assert_eq!(later.next().await.expect("a change"), expected[1]);
}

async fn a_watch_that_is_too_far_behind_is_told_to_read_again(subject: &dyn Subject) {
    let kv = subject.fresh().await;
    let start = done(&*kv, vec![put("/w", "0")]).await;
    let mut slow = kv.watch(key("/w"), start).expect("watched");
    let last = loop {
        let rows = (0..kv.operations_max().min(1000)).map(|n| put(&format!("/{n}"), "x"));
        let last = done(&*kv, rows.collect()).await;
        match kv.watch(key("/w"), start) {
            Ok(_) => {}
            Err(KvError::Compacted { forgotten }) => {
                assert!(start < forgotten && forgotten <= last);
                break last;
            }
            Err(other) => panic!("{other}"),
        }
    };
    assert!(matches!(slow.next().await, Err(KvError::Compacted { .. })));
    let mut anew = kv.watch(key("/w"), last).expect("from what was read");
    let revision = done(&*kv, vec![put("/w", "1")]).await;
    assert_eq!(anew.next().await.expect("a change").revision, revision);
}

async fn rows_go_with_their_lease(subject: &dyn Subject) {
    let kv = subject.fresh().await;
    let short = kv.grant(LIFE, subject.now()).await.expect("granted");
    let long = kv.grant(LIFE * 3, subject.now()).await.expect("granted");
    assert_ne!(short, long);
    let rows = vec![put_leased("/a", short), put_leased("/b", long), put("/c", "")];
    let start = done(&*kv, rows).await;
    done(&*kv, vec![put_leased("/d", short)]).await;
    let mut watch = kv.watch(key("/a"), start).expect("watched");
    assert_eq!(get(&*kv, b"/a").await.expect("read").expect("there").lease, Some(short));
    subject.pass(&*kv, LIFE / 2).await;
    assert_eq!(keys(&*kv, "").await, ["/a", "/b", "/c", "/d"]);
    subject.pass(&*kv, LIFE).await;
    assert_eq!(keys(&*kv, "").await, ["/b", "/c"]);
    assert_eq!(watch.next().await.expect("told").rows, [(key("/a"), None)]);
    let late = commit(&*kv, vec![], vec![put_leased("/a", short)]).await;
    assert!(matches!(late, Err(KvError::LeaseGone { lease }) if lease == short));
    kv.revoke(long).await.expect("ended early");
    kv.revoke(long).await.expect("and again: it has ended");
    assert_eq!(keys(&*kv, "").await, ["/c"]);
}

async fn a_lease_that_is_kept_lives_on(subject: &dyn Subject) {
    let kv = subject.fresh().await;
    let lease = kv.grant(LIFE, subject.now()).await.expect("granted");
    done(&*kv, vec![put_leased("/a", lease)]).await;
    for _ in 0..3 {
        subject.pass(&*kv, LIFE * 3 / 4).await;
        kv.keep_alive(lease, subject.now()).await.expect("alive");
    }
    assert_eq!(keys(&*kv, "").await, ["/a"]);
    subject.pass(&*kv, LIFE * 2).await;
    let late = kv.keep_alive(lease, subject.now()).await;
    assert!(matches!(late, Err(KvError::LeaseGone { .. })));
    assert_eq!(keys(&*kv, "").await, [""; 0]);
}

async fn a_row_that_was_put_anew_without_its_lease_stays(subject: &dyn Subject) {
    let kv = subject.fresh().await;
    let first = kv.grant(LIFE, subject.now()).await.expect("granted");
    let second = kv.grant(LIFE * 3, subject.now()).await.expect("granted");
    let rows = ["/free", "/gone", "/other"].map(|at| put_leased(at, first));
    done(&*kv, rows.into()).await;
    done(&*kv, vec![put("/free", "1"), delete("/gone"), put_leased("/other", second)]).await;
    done(&*kv, vec![put("/gone", "1")]).await;
    kv.revoke(first).await.expect("ended");
    assert_eq!(keys(&*kv, "").await, ["/free", "/gone", "/other"]);
    kv.revoke(second).await.expect("ended");
    assert_eq!(keys(&*kv, "").await, ["/free", "/gone"]);
}

async fn what_is_closed_refuses_everything(subject: &dyn Subject) {
    let kv = subject.fresh().await;
    let start = done(&*kv, vec![put("/a", "1")]).await;
    kv.close().await;
    assert!(matches!(kv.range(Range::of(b"", 1)).await, Err(KvError::Closed)));
    assert!(matches!(commit(&*kv, vec![], vec![put("/a", "2")]).await, Err(KvError::Closed)));
    assert!(matches!(kv.watch(key("/"), start), Err(KvError::Closed)));
    assert!(matches!(kv.grant(LIFE, subject.now()).await, Err(KvError::Closed)));
    kv.close().await;
}

/// What a transaction of the series is.
#[derive(Clone, Debug)]
struct Step {
    /// `Some(true)`: must be there at the revision that is known; `Some(false)`: must not be there.
    conditions: BTreeMap<u8, bool>,
    operations: BTreeMap<u8, Option<u8>>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let conditions = proptest::collection::btree_map(0_u8..5, any::<bool>(), 0..2);
    let operations = proptest::collection::btree_map(0_u8..5, any::<Option<u8>>(), 0..4);
    let step = (conditions, operations)
        .prop_map(|(conditions, operations)| Step { conditions, operations });
    proptest::collection::vec(step, 1..30)
}

async fn any_series_of_transactions_agrees_with_a_map(subject: &dyn Subject) {
    let mut runner = TestRunner::deterministic();
    for _ in 0..20 {
        let series = steps().new_tree(&mut runner).expect("a series").current();
        let kv = subject.fresh().await;
        let mut model: BTreeMap<u8, (u8, Revision)> = BTreeMap::new();
        let mut revision = kv.range(Range::of(b"", 1)).await.expect("read").revision;
        for step in series {
            let name = |n: &u8| key(&format!("/{n}"));
            let condition = |(n, there): (&u8, &bool)| match (there, model.get(n)) {
                (true, Some((_, at))) => Condition::At(name(n), *at),
                (true, None) => Condition::At(name(n), revision),
                (false, _) => Condition::Absent(name(n)),
            };
            let conditions = step.conditions.iter().map(condition).collect();
            let operation = |(n, value): (&u8, &Option<u8>)| match value {
                Some(value) => put(&format!("/{n}"), &value.to_string()),
                None => delete(&format!("/{n}")),
            };
            let operations = step.operations.iter().map(operation).collect();
            let outcome = commit(&*kv, conditions, operations).await;
            let holds = step.conditions.iter().all(|(n, there)| model.contains_key(n) == *there);
            assert_eq!(outcome.is_ok(), holds, "{step:?}");
            if let Ok(now) = outcome {
                for (n, value) in step.operations {
                    match value {
                        Some(value) => drop(model.insert(n, (value, now))),
                        None => drop(model.remove(&n)),
                    }
                }
                revision = now;
            }
            let expected: Vec<(String, String)> =
                model.iter().map(|(n, (value, _))| (format!("/{n}"), value.to_string())).collect();
            assert_eq!(read(&*kv, "", 2).await, expected);
        }
    }
}
