//! The client against a daemon that each test plays itself.

mod daemon;
mod pipeline;

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use xenstore_rs::{Xs, XsTransaction, XsTransactionSpan};

use self::daemon::Daemon;
use super::wire::Kind;
use super::*;
use crate::store::{StoreOps, StorePath};

const PATIENCE: Duration = Duration::from_secs(10);

/// A client whose daemon runs `script` and then hangs up.
fn client(script: impl FnOnce(&mut Daemon) + Send + 'static) -> (Client, JoinHandle<()>) {
    client_with(PATIENCE, script)
}

fn client_with(
    patience: Duration,
    script: impl FnOnce(&mut Daemon) + Send + 'static,
) -> (Client, JoinHandle<()>) {
    let (ours, theirs) = UnixStream::pair().expect("a socket pair");
    let daemon = thread::spawn(move || script(&mut Daemon::new(theirs)));
    (Client::over(ours, patience).expect("a client"), daemon)
}

fn path(text: &str) -> StorePath {
    StorePath::new(text).expect("valid")
}

/// A sink that puts paths into a channel.
fn sink() -> (WatchSink, Receiver<String>) {
    let (sender, receiver) = channel();
    let sender = Mutex::new(sender);
    let sink = move |path: &str| drop(sender.lock().unwrap().send(path.to_owned()));
    (Arc::new(sink), receiver)
}

#[test]
fn replies_reach_their_callers_in_any_order() {
    let (client, daemon) = client(|daemon| {
        let (first, second) = (daemon.next(), daemon.next());
        for request in [second, first] {
            let path = request.payload.clone();
            daemon.reply(&request, &path);
        }
    });
    thread::scope(|scope| {
        for name in ["/one", "/two"] {
            let client = &client;
            scope.spawn(move || {
                let answer = StoreOps::read(client, &path(name)).expect("a reply");
                assert_eq!(answer, [name.as_bytes(), b"\0"].concat());
            });
        }
    });
    daemon.join().unwrap();
}

#[test]
fn a_long_directory_is_read_in_parts_and_again_when_it_changes() {
    let (client, daemon) = client(|daemon| {
        let request = daemon.expect(Kind::Directory, b"/d\0");
        daemon.refuse(&request, b"E2BIG\0");
        for (offset, reply) in
            [("0", &b"7\0old\0"[..]), ("4", b"8\0er\0\0"), ("0", b"8\0one\0"), ("4", b"8\0two\0\0")]
        {
            let asked = wire::strings(&["/d", offset]);
            let request = daemon.expect(Kind::DirectoryPart, &asked);
            daemon.reply(&request, reply);
        }
    });
    assert_eq!(StoreOps::directory(&client, &path("/d")).unwrap(), ["one", "two"]);
    daemon.join().unwrap();
}

#[test]
fn a_directory_may_be_empty_whole_or_in_parts() {
    let (client, daemon) = client(|daemon| {
        let request = daemon.next();
        daemon.reply(&request, b"");
        let request = daemon.next();
        daemon.refuse(&request, b"E2BIG\0");
        let request = daemon.next();
        daemon.reply(&request, b"1\0\0");
    });
    for _ in 0..2 {
        assert!(StoreOps::directory(&client, &path("/d")).unwrap().is_empty());
    }
    daemon.join().unwrap();
}

#[test]
fn an_event_before_the_reply_reaches_the_sink() {
    let (client, daemon) = client(|daemon| {
        let request = daemon.expect(Kind::Watch, b"/a\0w1\0");
        daemon.fire(b"/a\0w1\0");
        daemon.reply(&request, b"OK\0");
        daemon.expect(Kind::Unwatch, b"/a\0w1\0");
        // Under way while the client unregistered: nobody's any more.
        daemon.fire(b"/a/late\0w1\0");
        let request = daemon.expect(Kind::Read, b"/b\0");
        daemon.reply(&request, b"still alive");
    });
    let (sink, events) = sink();
    let watch = client.watch("/a", sink).expect("a watch");
    assert_eq!(events.recv_timeout(PATIENCE).as_deref(), Ok("/a"));
    drop(watch);
    assert_eq!(StoreOps::read(&client, &path("/b")).unwrap(), b"still alive");
    assert!(events.try_recv().is_err());
    daemon.join().unwrap();
}

#[test]
fn a_watch_dropped_by_its_own_sink_does_not_block() {
    let (client, daemon) = client(|daemon| {
        let request = daemon.next();
        daemon.reply(&request, b"OK\0");
        daemon.fire(b"/a\0w1\0");
        daemon.expect(Kind::Unwatch, b"/a\0w1\0");
    });
    let own = Arc::new(Mutex::new(None));
    let for_sink = own.clone();
    let guard = own.lock().unwrap();
    let sink = move |_: &str| drop(for_sink.lock().unwrap().take());
    let watch = client.watch("/a", Arc::new(sink)).expect("a watch");
    let mut guard = guard;
    *guard = Some(watch);
    drop(guard);
    daemon.join().unwrap();
}

#[test]
fn only_paths_and_known_names_are_watched() {
    let (client, daemon) = client(|_| ());
    for name in ["relative", "@other", "/a//b", ""] {
        let (sink, _events) = sink();
        let refused = client.watch(name, sink).err();
        assert!(matches!(refused, Some(StoreError::Invalid(_))), "{name:?}: {refused:?}");
    }
    daemon.join().unwrap();
}

#[test]
fn a_dead_daemon_fails_pending_and_later_calls() {
    let (client, daemon) = client(|daemon| drop(daemon.next()));
    for _ in 0..2 {
        let answer = StoreOps::read(&client, &path("/a"));
        assert!(matches!(answer, Err(StoreError::Disconnected(_))), "{answer:?}");
    }
    daemon.join().unwrap();
}

#[test]
fn a_sink_that_panics_ends_the_connection() {
    let (client, daemon) = client(|daemon| {
        let request = daemon.next();
        daemon.reply(&request, b"OK\0");
        daemon.next();
        daemon.fire(b"/a\0w1\0");
    });
    let sink = |_: &str| std::panic::resume_unwind(Box::new("a bug in a sink"));
    let _watch = client.watch("/a", Arc::new(sink)).expect("a watch");
    let answer = StoreOps::read(&client, &path("/b"));
    assert!(matches!(answer, Err(StoreError::Disconnected(_))), "{answer:?}");
    daemon.join().unwrap();
}

#[test]
fn a_silent_daemon_fails_the_call_and_its_late_reply_confuses_nobody() {
    let (client, daemon) = client_with(Duration::from_millis(50), |daemon| {
        let (late, next) = (daemon.next(), daemon.next());
        daemon.reply(&late, b"late");
        daemon.reply(&next, b"next");
    });
    let answer = StoreOps::read(&client, &path("/late"));
    assert!(matches!(answer, Err(StoreError::Disconnected(_))), "{answer:?}");
    assert_eq!(StoreOps::read(&client, &path("/next")).unwrap(), b"next");
    daemon.join().unwrap();
}

#[test]
fn an_oversized_reply_ends_the_connection() {
    let (client, daemon) = client(|daemon| {
        let request = daemon.next();
        let header = [request.kind, request.req_id, 0, u32::MAX].map(u32::to_ne_bytes);
        daemon.stream().write_all(header.as_flattened()).unwrap();
    });
    let answer = StoreOps::read(&client, &path("/a"));
    assert!(matches!(answer, Err(StoreError::Disconnected(_))), "{answer:?}");
    daemon.join().unwrap();
}

#[test]
fn an_oversized_request_is_refused_before_it_is_sent() {
    let (client, daemon) = client(|daemon| {
        let request = daemon.expect(Kind::Read, b"/a\0");
        daemon.reply(&request, b"");
    });
    let refused = StoreOps::write(&client, &path("/a"), &[0; 4096]);
    assert_eq!(refused, Err(StoreError::TooLarge));
    assert_eq!(StoreOps::read(&client, &path("/a")).unwrap(), b"");
    daemon.join().unwrap();
}

#[test]
fn errors_by_name_become_kinds() {
    let expected = [
        (&b"ENOENT\0"[..], StoreError::NotFound),
        (b"EACCES\0", StoreError::Access),
        (b"EAGAIN\0", StoreError::Conflict),
        (b"ENOSPC\0", StoreError::Quota),
        (b"EWHAT\0", StoreError::Other("EWHAT".into())),
    ];
    let names: Vec<_> = expected.iter().map(|(name, _)| *name).collect();
    let (client, daemon) = client(move |daemon| {
        for name in names {
            let request = daemon.next();
            daemon.refuse(&request, name);
        }
    });
    for (_, error) in expected {
        assert_eq!(StoreOps::read(&client, &path("/a")), Err(error));
    }
    daemon.join().unwrap();
}

#[test]
fn a_transaction_carries_its_id_and_ends_once() {
    let (client, daemon) = client(|daemon| {
        for end in [b"T\0", b"F\0"] {
            let request = daemon.expect(Kind::TransactionStart, b"\0");
            daemon.reply(&request, b"42\0");
            let request = daemon.expect(Kind::Write, b"/a\0value");
            assert_eq!(request.tx_id, 42);
            daemon.reply(&request, b"OK\0");
            let request = daemon.expect(Kind::TransactionEnd, end);
            assert_eq!(request.tx_id, 42);
            daemon.refuse(&request, b"EAGAIN\0");
        }
    });
    let transaction = client.begin().unwrap();
    transaction.write(&path("/a"), b"value").unwrap();
    assert_eq!(transaction.commit(), Err(StoreError::Conflict));
    let transaction = client.begin().unwrap();
    transaction.write(&path("/a"), b"value").unwrap();
    drop(transaction);
    daemon.join().unwrap();
}

/// Written against xenstore-rs's traits alone.
fn rename<S: XsTransaction>(store: &S, to: &str) -> std::io::Result<()>
where
    S::Span: XsTransactionSpan,
{
    let span = XsTransaction::transaction(store)?;
    if Xs::read(&span, "/name")?.as_ref() != to {
        Xs::write(&span, "/name", to)?;
    }
    span.commit()
}

#[test]
fn code_for_xenstore_rs_runs_on_this_client() {
    let (client, daemon) = client(|daemon| {
        for (kind, payload, reply) in [
            (Kind::TransactionStart, &b"\0"[..], &b"1\0"[..]),
            (Kind::Read, b"/name\0", b"old"),
            (Kind::Write, b"/name\0new", b"OK\0"),
            (Kind::TransactionEnd, b"T\0", b"OK\0"),
        ] {
            let request = daemon.expect(kind, payload);
            daemon.reply(&request, reply);
        }
    });
    rename(&client, "new").unwrap();
    daemon.join().unwrap();
}
