//! Watches: a reason to look again.

use std::sync::Arc;
use std::time::Duration;

use super::subject::{Case, Outcome, Subject, denied, ensure, same, text};
use crate::store::{StoreError, WatchSink};

/// Long enough for an event that should not come.
const QUIET: Duration = Duration::from_millis(300);

pub(super) const CASES: &[Case] = &[
    Case { name: "a watch fires once when it is registered", run: registration },
    Case { name: "a watch fires for its node and all below, and no other", run: below },
    Case { name: "a watch that was dropped is silent", run: dropped },
    Case { name: "a watch fires for a transaction when it commits", run: committed },
    Case { name: "a watch fires when its node or a parent is removed", run: removed },
    Case { name: "a name that is no path cannot be watched", run: bad_names },
];

fn registration(subject: &Subject) -> Outcome {
    let scratch = subject.scratch()?;
    let missing = scratch.at("missing")?;
    for path in [scratch.top.as_str(), missing.as_str(), "@releaseDomain", "@introduceDomain"] {
        let listener = subject.listen(path)?;
        listener.hears(subject, path)?;
        (subject.wait)(QUIET);
        same("events", listener.heard(), vec![path.to_owned()])?;
    }
    Ok(())
}

fn below(subject: &Subject) -> Outcome {
    let (scratch, store) = (subject.scratch()?, &subject.xen.store);
    let top = scratch.at("top")?;
    let listener = subject.listen(top.as_str())?;
    listener.hears(subject, top.as_str())?;
    listener.forget();
    store.write(&scratch.at("topmost")?, b"x").map_err(text)?;
    store.write(&scratch.at("top/a/b")?, b"x").map_err(text)?;
    listener.hears(subject, scratch.at("top/a/b")?.as_str())?;
    (subject.wait)(QUIET);
    let stranger = |path: &String| path != top.as_str() && !path.starts_with("/vmm-contract/top/");
    let strangers: Vec<String> = listener.heard().into_iter().filter(stranger).collect();
    same("events for other nodes", strangers, Vec::new())?;
    listener.forget();
    store.read(&scratch.at("top/a/b")?).map_err(text)?;
    (subject.wait)(QUIET);
    same("events for a read", listener.heard(), Vec::new())
}

fn dropped(subject: &Subject) -> Outcome {
    let (scratch, store) = (subject.scratch()?, &subject.xen.store);
    let node = scratch.at("n")?;
    let mut listener = subject.listen(node.as_str())?;
    listener.hears(subject, node.as_str())?;
    listener.stop();
    listener.forget();
    store.write(&node, b"x").map_err(text)?;
    (subject.wait)(QUIET);
    same("events", listener.heard(), Vec::new())
}

fn committed(subject: &Subject) -> Outcome {
    let (scratch, store) = (subject.scratch()?, &subject.xen.store);
    let (node, other) = (scratch.at("n")?, scratch.at("m")?);
    let listener = subject.listen(scratch.top.as_str())?;
    listener.hears(subject, scratch.top.as_str())?;
    listener.forget();
    let transaction = store.begin().map_err(text)?;
    transaction.write(&node, b"x").map_err(text)?;
    transaction.write(&other, b"x").map_err(text)?;
    (subject.wait)(QUIET);
    same("events before the commit", listener.heard(), Vec::new())?;
    transaction.commit().map_err(text)?;
    listener.hears(subject, node.as_str())?;
    listener.hears(subject, other.as_str())
}

fn removed(subject: &Subject) -> Outcome {
    let (scratch, store) = (subject.scratch()?, &subject.xen.store);
    let deep = scratch.at("a/b")?;
    store.write(&deep, b"x").map_err(text)?;
    let (high, low) = (subject.listen(scratch.top.as_str())?, subject.listen(deep.as_str())?);
    high.hears(subject, scratch.top.as_str())?;
    low.hears(subject, deep.as_str())?;
    high.forget();
    low.forget();
    store.remove(&scratch.at("a")?).map_err(text)?;
    high.hears(subject, scratch.at("a")?.as_str())?;
    subject.until("the watch below fires", Duration::from_secs(5), || Ok(!low.heard().is_empty()))
}

fn bad_names(subject: &Subject) -> Outcome {
    for name in ["@noSuchThing", "/a//b", ""] {
        let sink: WatchSink = Arc::new(|_: &str| {});
        let refused = subject.xen.store.watch(name, sink);
        denied(name, refused, |error| matches!(error, StoreError::Invalid(_)))?;
    }
    ensure(subject.xen.store.read(&subject.scratch()?.top).is_ok(), "the store is gone")
}
