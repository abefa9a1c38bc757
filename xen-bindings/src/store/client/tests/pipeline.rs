//! Many nodes in a row.

use std::io::{ErrorKind, Read};

use super::super::connection::WINDOW_REQUESTS_MAX;
use super::*;
use crate::domid::DomId;
use crate::store::{NodeWrite, Permissions};

fn nodes(count: usize) -> Vec<NodeWrite> {
    let node = |index| NodeWrite {
        path: path(&format!("/n/{index}")),
        value: format!("value {index}").into_bytes(),
        permissions: (index == 0).then(|| Permissions::owned_by(DomId::DOM0)),
    };
    (0..count).map(node).collect()
}

/// Opens transaction 42 for the test's client.
fn begin(daemon: &mut Daemon) {
    let request = daemon.expect(Kind::TransactionStart, b"\0");
    daemon.reply(&request, b"42\0");
}

#[test]
fn all_nodes_are_sent_before_the_first_reply_and_in_order() {
    let (client, daemon) = client(|daemon| {
        begin(daemon);
        let requests = [
            daemon.expect(Kind::Write, b"/n/0\0value 0"),
            daemon.expect(Kind::SetPermissions, b"/n/0\0n0\0"),
            daemon.expect(Kind::Write, b"/n/1\0value 1"),
        ];
        for request in &requests {
            assert_eq!(request.tx_id, 42);
            daemon.reply(request, b"OK\0");
        }
        let request = daemon.expect(Kind::TransactionEnd, b"T\0");
        daemon.reply(&request, b"OK\0");
    });
    let transaction = client.begin().unwrap();
    transaction.write_nodes(&nodes(2)).unwrap();
    transaction.commit().unwrap();
    assert_eq!((client.requests(), client.requests_sent()), (5, Some(5)));
    daemon.join().unwrap();
}

#[test]
fn the_first_refusal_is_the_answer_and_the_other_replies_confuse_nobody() {
    let (client, daemon) = client(|daemon| {
        begin(daemon);
        let requests = [0; 4].map(|_| daemon.next());
        daemon.reply(&requests[0], b"OK\0");
        daemon.refuse(&requests[1], b"ENOSPC\0");
        daemon.refuse(&requests[2], b"EACCES\0");
        daemon.reply(&requests[3], b"OK\0");
        daemon.expect(Kind::TransactionEnd, b"F\0");
        let request = daemon.expect(Kind::Read, b"/a\0");
        daemon.reply(&request, b"still alive");
    });
    let transaction = client.begin().unwrap();
    assert_eq!(transaction.write_nodes(&nodes(3)), Err(StoreError::Quota));
    drop(transaction);
    assert_eq!(StoreOps::read(&client, &path("/a")).unwrap(), b"still alive");
    daemon.join().unwrap();
}

#[test]
fn no_more_than_a_window_is_under_way() {
    let (client, daemon) = client(|daemon| {
        begin(daemon);
        let window: Vec<_> = (0..WINDOW_REQUESTS_MAX).map(|_| daemon.next()).collect();
        daemon.stream().set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let early = daemon.stream().read(&mut [0]);
        assert_eq!(early.map_err(|error| error.kind()), Err(ErrorKind::WouldBlock));
        daemon.stream().set_read_timeout(None).unwrap();
        for request in &window {
            daemon.reply(request, b"OK\0");
        }
        // The permissions of the first node are a request too.
        for _ in 0..2 {
            let request = daemon.next();
            daemon.reply(&request, b"OK\0");
        }
        daemon.expect(Kind::TransactionEnd, b"F\0");
    });
    let transaction = client.begin().unwrap();
    transaction.write_nodes(&nodes(WINDOW_REQUESTS_MAX + 1)).unwrap();
    drop(transaction);
    daemon.join().unwrap();
}

#[test]
fn long_values_share_a_window_by_their_bytes() {
    let (client, daemon) = client(|daemon| {
        begin(daemon);
        for _ in 0..100 {
            let request = daemon.next();
            daemon.reply(&request, b"OK\0");
        }
        daemon.expect(Kind::TransactionEnd, b"F\0");
    });
    let mut nodes = nodes(100);
    for node in &mut nodes {
        (node.value, node.permissions) = (vec![7; 4000], None);
    }
    let transaction = client.begin().unwrap();
    transaction.write_nodes(&nodes).unwrap();
    drop(transaction);
    daemon.join().unwrap();
}

#[test]
fn nothing_of_a_window_is_sent_when_one_value_is_too_long() {
    let (client, daemon) = client(|daemon| {
        begin(daemon);
        daemon.expect(Kind::TransactionEnd, b"F\0");
    });
    let mut nodes = nodes(2);
    nodes[1].value = vec![0; 4096];
    let transaction = client.begin().unwrap();
    assert_eq!(transaction.write_nodes(&nodes), Err(StoreError::TooLarge));
    drop(transaction);
    daemon.join().unwrap();
}

#[test]
fn a_daemon_that_dies_in_the_middle_fails_the_pipeline() {
    let (client, daemon) = client(|daemon| {
        begin(daemon);
        let request = daemon.next();
        daemon.reply(&request, b"OK\0");
    });
    let transaction = client.begin().unwrap();
    let answer = transaction.write_nodes(&nodes(3));
    assert!(matches!(answer, Err(StoreError::Disconnected(_))), "{answer:?}");
    drop(transaction);
    daemon.join().unwrap();
}
