//! Requests that are not as HTTP should be.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use hyper::{Method, Request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Duration, timeout};
use vmm_proto::endpoint::{CONTENT_TYPE as XVMP, HEALTH_PATH, OPEN_PATH, RPC_PATH};
use vmm_proto::principal::Principal;
use vmm_proto::server::BAD_MESSAGE;

use crate::peer::{H1, Link, Peer};
use crate::support::{Pool, SERVER};

pub(crate) struct Lab {
    pub(crate) pool: Pool,
    pub(crate) peer: Peer,
}

pub(crate) fn lab() -> Lab {
    let pool = Pool::new();
    drop(pool.serve_as(&Principal::agent(SERVER)).task);
    let peer = Peer::new(&pool, &Principal::manager("m"));
    Lab { pool, peer }
}

impl Lab {
    /// Writes bytes after TLS and reads until the server has nothing more to say.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.peer.tls(&self.pool, H1).await;
        let limit = Duration::from_secs(120);
        // A server that has refused reads no further.
        let _ = timeout(limit, async {
            stream.write_all(bytes).await?;
            stream.flush().await
        })
        .await;
        let mut answer = Vec::new();
        let _ = timeout(limit, stream.read_to_end(&mut answer)).await;
        String::from_utf8(answer).unwrap()
    }
}

pub(crate) fn statuses(answer: &str) -> Vec<&str> {
    answer.match_indices("HTTP/1.1 ").map(|(at, start)| &answer[at + start.len()..][..3]).collect()
}

pub(crate) fn head(path: &str, more: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {XVMP}\r\n{more}\r\n")
}

async fn status(link: &Link, method: &Method, path: &str, headers: &[(&str, &str)]) -> u16 {
    let mut request = Request::builder().method(method).uri(format!("https://x{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    link.send(request.body(Full::<Bytes>::default()).unwrap()).await.status.as_u16()
}

#[tokio::test(start_paused = true)]
async fn other_methods_paths_types_and_encodings_get_a_status_and_no_more() {
    let lab = lab();
    let link = lab.peer.link(&lab.pool).await;
    let (ours, encoding) = ((CONTENT_TYPE.as_str(), XVMP), CONTENT_ENCODING.as_str());
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PROPFIND"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        for path in [RPC_PATH, OPEN_PATH] {
            assert_eq!(status(&link, &method, path, &[ours]).await, 405, "{method} {path}");
        }
        let expected = if method == Method::GET { 200 } else { 405 };
        assert_eq!(status(&link, &method, HEALTH_PATH, &[]).await, expected, "{method}");
    }
    assert_eq!(status(&link, &Method::POST, HEALTH_PATH, &[ours]).await, 405);
    for path in [
        "/",
        "/xvmp/1/rpc/",
        "//xvmp/1/rpc",
        "/xvmp/1/../1/rpc",
        "/xvmp/1/%72pc",
        "/XVMP/1/RPC",
        "/xvmp/0/rpc",
        "/xvmp/1",
        "/xvmp/1/rpc;x",
        "/xvmp/1/rpc?x=1",
        "/xvmp/1/rpc?",
    ] {
        assert_eq!(status(&link, &Method::POST, path, &[ours]).await, 404, "{path}");
    }
    for kind in [
        "",
        "text/xml",
        "application/xml",
        "application/vnd.smps-vmm.xvmp+xml",
        "application/vnd.smps-vmm.xvmp+xml; charset=utf-8",
        "Application/vnd.smps-vmm.xvmp+xml;charset=utf-8",
    ] {
        let headers = [(CONTENT_TYPE.as_str(), kind)];
        assert_eq!(status(&link, &Method::POST, RPC_PATH, &headers).await, 415, "{kind}");
    }
    assert_eq!(status(&link, &Method::POST, RPC_PATH, &[]).await, 415, "no type");
    for two in [[ours, ours], [ours, (CONTENT_TYPE.as_str(), "text/xml")]] {
        assert_eq!(status(&link, &Method::POST, RPC_PATH, &two).await, 415, "two types");
    }
    for coding in ["gzip", "deflate", "br", "zstd", "identity", ""] {
        assert_eq!(
            status(&link, &Method::POST, RPC_PATH, &[ours, (encoding, coding)]).await,
            415,
            "{coding}"
        );
    }
    assert_eq!(lab.pool.service.calls.load(Ordering::SeqCst), 0);
}

/// A second request within the body of the first: nobody may see it as one.
#[tokio::test(start_paused = true)]
async fn no_second_request_is_smuggled_within_a_first() {
    let lab = lab();
    let smuggled = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let length = smuggled.len();
    let chunk = format!("{length:x}\r\n{smuggled}\r\n0\r\n\r\n");
    for (what, headers, body) in [
        (
            "both lengths, chunked",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n".to_owned(),
            chunk.clone(),
        ),
        (
            "both lengths, the other order",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n".to_owned(),
            chunk.clone(),
        ),
        (
            "two lengths",
            format!("Content-Length: 0\r\nContent-Length: {length}\r\n"),
            smuggled.to_owned(),
        ),
        ("two lengths in one", format!("Content-Length: 0, {length}\r\n"), smuggled.to_owned()),
        ("a signed length", format!("Content-Length: +{length}\r\n"), smuggled.to_owned()),
        (
            "a length in hexadecimal",
            format!("Content-Length: 0x{length:x}\r\n"),
            smuggled.to_owned(),
        ),
        ("a negative length", "Content-Length: -1\r\n".to_owned(), smuggled.to_owned()),
        (
            "a length with a space before the colon",
            format!("Content-Length : {length}\r\n"),
            smuggled.to_owned(),
        ),
        (
            "a coding with a space before the colon",
            "Transfer-Encoding : chunked\r\n".to_owned(),
            chunk.clone(),
        ),
        ("a coding that is none", "Transfer-Encoding: xchunked\r\n".to_owned(), chunk.clone()),
        (
            "chunked and something after",
            "Transfer-Encoding: chunked, identity\r\n".to_owned(),
            chunk.clone(),
        ),
        ("a folded line", "Transfer-Encoding:\r\n chunked\r\n".to_owned(), chunk.clone()),
        (
            "a chunk's length too large",
            "Transfer-Encoding: chunked\r\n".to_owned(),
            format!("10000000000000000\r\n{smuggled}"),
        ),
        (
            "a chunk's length signed",
            "Transfer-Encoding: chunked\r\n".to_owned(),
            format!("+{chunk}"),
        ),
        (
            "a chunk's length as 0x",
            "Transfer-Encoding: chunked\r\n".to_owned(),
            format!("0x{chunk}"),
        ),
        ("a null byte", "X-A: a\0b\r\nContent-Length: 0\r\n".to_owned(), smuggled.to_owned()),
        ("a bare carriage return", "X-A: a\rContent-Length: 0\r\n".to_owned(), smuggled.to_owned()),
    ] {
        let answer = lab.raw(format!("{}{body}", head(RPC_PATH, &headers)).as_bytes()).await;
        let statuses = statuses(&answer);
        assert!(statuses.len() <= 1, "{what}: {answer}");
        assert!(statuses.iter().all(|status| status.starts_with('4')), "{what}: {answer}");
        assert!(!answer.contains("200 OK"), "{what}: {answer}");
    }
    assert_eq!(lab.pool.service.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn refusals_over_http_1_1_are_the_same_bytes() {
    let lab = lab();
    let link = lab.peer.link(&lab.pool).await;
    let session = lab.peer.session(&link).await;
    let (good, unsent) = (session.ping(), session.ping());
    assert!(link.rpc(good.clone()).await.is_ok());
    let flipped = crate::peer::with_value(&unsent, |bytes| bytes[14] ^= 1);
    let unknown = unsent.replace(&session.id, &"0".repeat(32));
    let mut answers = Vec::new();
    for body in ["", "x", &good, &flipped, &unknown, &unsent[..99]] {
        let more = format!("Content-Length: {}\r\nConnection: close\r\n", body.len());
        let answer = lab.raw(format!("{}{body}", head(RPC_PATH, &more)).as_bytes()).await;
        let without_date = answer.lines().filter(|line| !line.starts_with("date: "));
        answers.push(without_date.collect::<Vec<_>>().join("\n"));
    }
    assert!(answers[0].starts_with("HTTP/1.1 400") && answers[0].ends_with(BAD_MESSAGE));
    for answer in &answers {
        assert_eq!(answer, &answers[0]);
    }
    assert!(link.rpc(unsent).await.is_ok());
}
