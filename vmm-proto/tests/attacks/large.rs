//! Requests that are too large, and documents that are made to cost.

use hyper::StatusCode;
use vmm_proto::endpoint::{BODY_BYTES_MAX, OPEN_BYTES_MAX, OPEN_PATH, RPC_PATH};

use crate::http::{head, lab, statuses};

fn chunked(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in body.chunks(60_000) {
        out.extend(format!("{:x}\r\n", part.len()).into_bytes());
        out.extend(part);
        out.extend(b"\r\n");
    }
    out.extend(b"0\r\n\r\n");
    out
}

#[tokio::test(start_paused = true)]
async fn a_body_over_the_limit_is_refused_with_and_without_its_length() {
    let lab = lab();
    for (path, limit) in [(OPEN_PATH, OPEN_BYTES_MAX), (RPC_PATH, BODY_BYTES_MAX)] {
        for (bytes, expected) in [(limit, "400"), (limit + 1, "413")] {
            let body = vec![b' '; bytes];
            let known = head(path, &format!("Content-Length: {bytes}\r\nConnection: close\r\n"));
            let known = [known.as_bytes(), &body].concat();
            let unknown = head(path, "Transfer-Encoding: chunked\r\nConnection: close\r\n");
            let unknown = [unknown.into_bytes(), chunked(&body)].concat();
            for (what, request) in [("known", known), ("unknown", unknown)] {
                let answer = lab.raw(&request).await;
                assert_eq!(statuses(&answer), [expected], "{path}, {bytes} bytes, {what}");
            }
        }
        // Said to be too large: refused although nothing comes.
        let announced = head(path, &format!("Content-Length: {}\r\n", 1_u64 << 40));
        assert_eq!(statuses(&lab.raw(announced.as_bytes()).await), ["413"], "{path}");
    }
}

/// A document around `<Ping>` with something large in it.
fn large(what: &str, amount: usize) -> String {
    let x = "x".repeat(amount);
    match what {
        "depth" => format!("{}{}", "<a>".repeat(amount - 1), "</a>".repeat(amount - 1)),
        "elements" => "<a/>".repeat(amount - 1),
        "attributes" => {
            let attributes: String = (0..amount).map(|n| format!(" a{n}=\"\"")).collect();
            format!("<Ping{attributes}/>")
        }
        "namespaces" => {
            let declared: String = (0..amount).map(|n| format!(" xmlns:a{n}=\"u:{n}\"")).collect();
            format!("<Ping{declared}/>")
        }
        "attribute bytes" => format!("<Ping text=\"{x}\"/>"),
        "text bytes" => format!("<Ping text=\"\">{x}</Ping>"),
        "name bytes" => format!("<{x}/>"),
        _ => unreachable!("a limit"),
    }
}

#[tokio::test(start_paused = true)]
async fn every_limit_inside_the_encryption_holds_and_its_fault_says_which() {
    let lab = lab();
    let link = lab.peer.link(&lab.pool).await;
    let session = lab.peer.session(&link).await;
    for (what, limit) in [
        ("depth", 32),
        ("elements", 200_000),
        ("attributes", 32),
        ("namespaces", 8),
        ("attribute bytes", 256 << 10),
        ("text bytes", 1 << 20),
        ("name bytes", 128),
    ] {
        for (amount, is_over) in [(limit, false), (limit + 1, true)] {
            let answer = link.rpc(session.request(&large(what, amount))).await;
            let answer = session.open(&answer.body).unwrap();
            let says = format!("over the limit of {what}");
            assert_eq!(answer.contains(&says), is_over, "{amount} {what}: {:.300}", answer);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn hostile_documents_around_the_encryption_are_refused_and_cost_little() {
    let lab = lab();
    let link = lab.peer.link(&lab.pool).await;
    let session = lab.peer.session(&link).await;
    let good = session.ping();
    let entities =
        "<!DOCTYPE a [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">]>";
    let external = "<!DOCTYPE a SYSTEM \"http://127.0.0.1:1/a.dtd\">";
    for (what, bad) in [
        ("entities", format!("{entities}{good}")),
        ("an external subset", format!("{external}{good}")),
        ("a comment", good.replacen("<xenc:CipherData>", "<!-- --><xenc:CipherData>", 1)),
        ("an instruction", format!("<?xml-stylesheet href=\"x\"?>{good}")),
        (
            "CDATA",
            good.replacen("Value>", "Value><![CDATA[", 1).replacen(
                "</xenc:CipherV",
                "]]></xenc:CipherV",
                1,
            ),
        ),
        ("UTF-16", format!("<?xml version=\"1.0\" encoding=\"utf-16\"?>{good}")),
        ("a byte order mark", format!("\u{feff}{good}")),
        ("version 1.1", format!("<?xml version=\"1.1\"?>{good}")),
        ("two roots", good.repeat(2)),
        ("depth", "<a>".repeat(1 << 20)),
        ("many attributes", format!("<a {}", "b=\"\" ".repeat(1 << 20))),
        (
            "many namespaces",
            format!(
                "<a {}/>",
                (0..100_000).map(|n| format!("xmlns:a{n}=\"u:{n}\" ")).collect::<String>()
            ),
        ),
        ("a long name", format!("<{}/>", "a".repeat(8 << 20))),
        (
            "many references",
            good.replacen("Value>", &format!("Value>{}", "&#9;".repeat(1 << 20)), 1)
                .replacen("id=\"m", "id=\"n", 1),
        ),
        ("an unknown entity", good.replacen("Value>", "Value>&x;", 1)),
    ] {
        assert_ne!(bad, good, "{what}");
        let answer = link.rpc(bad).await;
        match answer.status {
            StatusCode::PAYLOAD_TOO_LARGE => assert_eq!(what, "a long name"),
            _ => answer.assert_refused(what),
        }
    }
    assert!(link.rpc(good).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_header_of_http_1_1_is_read_only_so_far() {
    let lab = lab();
    let long = format!("X-Long: {}\r\n", "x".repeat(1 << 20));
    let many: String = (0..1000).map(|number| format!("X-{number}: x\r\n")).collect();
    for (what, more) in [("one", long), ("many", many)] {
        let answer = lab.raw(head(RPC_PATH, &more).as_bytes()).await;
        assert_eq!(statuses(&answer), ["431"], "{what}");
    }
    let path = format!("/{}", "x".repeat(1 << 20));
    let answer = lab.raw(head(&path, "").as_bytes()).await;
    assert!(statuses(&answer).iter().all(|status| status.starts_with('4')), "a long path");
}
