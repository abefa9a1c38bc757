//! The inner documents.

use super::samples::header;
use super::*;
use crate::envelope::Direction;
use crate::v1::{Done, FaultCode, ListVms, Ping};

fn request() -> Header {
    header(Direction::ClientToServer)
}

fn document() -> String {
    let terms = Terms {
        idempotency_key: Some("key".to_owned()),
        deadline: Some(Duration::from_millis(1500)),
    };
    write_request(&request(), &terms, &Request::Ping(Ping { text: "hi".to_owned() }))
        .unwrap()
        .to_string()
}

#[test]
fn a_request_looks_as_published() {
    assert_eq!(
        document(),
        "<Request xmlns=\"urn:smps-vmm:xvmp:1\" id=\"m-7\" \
         session=\"000102030405060708090a0b0c0d0e0f\" dir=\"c2s\" seq=\"7\" idem=\"key\" \
         deadline-ms=\"1500\"><Ping text=\"hi\"/></Request>"
    );
}

#[test]
fn a_request_survives() {
    let (terms, body) = read_request(document().as_bytes(), &request()).unwrap();
    assert_eq!(terms.idempotency_key.as_deref(), Some("key"));
    assert_eq!(terms.deadline, Some(Duration::from_millis(1500)));
    assert_eq!(body, Request::Ping(Ping { text: "hi".to_owned() }));
    let plain = write_request(&request(), &Terms::default(), &Request::ListVms(ListVms::default()));
    let (terms, body) = read_request(plain.unwrap().as_bytes(), &request()).unwrap();
    assert_eq!((terms, body), (Terms::default(), Request::ListVms(ListVms::default())));
}

#[test]
fn replies_and_faults_survive() {
    let header = header(Direction::ServerToClient);
    for outcome in [
        Ok(Reply::Done(Done {})),
        Ok(Reply::Pong(Ping { text: "<&>\"'".to_owned() })),
        Err(Fault::new(FaultCode::Busy, "later").at("agent h1")),
    ] {
        let document = write_response(&header, &outcome).unwrap();
        assert_eq!(read_response(document.as_bytes(), &header).unwrap(), outcome);
    }
}

#[test]
fn a_field_that_differs_from_the_outer_one_is_noticed() {
    for (from, to) in [
        ("id=\"m-7\"", "id=\"m-8\""),
        ("session=\"0001", "session=\"1001"),
        ("dir=\"c2s\"", "dir=\"s2c\""),
        ("seq=\"7\"", "seq=\"07\""),
        (" seq=\"7\"", ""),
    ] {
        let changed = document().replacen(from, to, 1);
        let error = read_request(changed.as_bytes(), &request()).unwrap_err();
        assert!(matches!(error, MessageError::Elsewhere { .. }), "{from} to {to}: {error}");
    }
}

#[test]
fn other_content_is_refused() {
    let ping = "<Ping text=\"hi\"/>";
    for (from, to) in [
        (ping, ""),
        (ping, "<Ping text=\"hi\"/><Ping text=\"ho\"/>"),
        (ping, "<Ping/>"),
        (ping, "text"),
        ("deadline-ms=\"1500\"", "deadline-ms=\" 1500\""),
        ("deadline-ms=\"1500\"", "deadline-ms=\"-1\""),
        ("idem=\"key\"", "idem=\"\""),
        ("idem=\"key\"", "other=\"key\""),
        ("<Request ", "<Response "),
        ("</Request>", "</Request><!-- -->"),
    ] {
        let changed = document().replace(from, to);
        assert!(read_request(changed.as_bytes(), &request()).is_err(), "{from} to {to}");
    }
}

#[test]
fn an_unknown_verb_is_named() {
    let changed = document().replace("<Ping text=\"hi\"/>", "<Levitate/>");
    let error = read_request(changed.as_bytes(), &request()).unwrap_err();
    assert!(matches!(error, MessageError::Verb { verb } if verb == "Levitate"));
}

#[test]
fn a_part_of_a_request_that_is_not_known_is_refused_and_of_an_answer_passed_over() {
    use super::answers::replies;
    use super::samples::requests;

    let c2s = request();
    for sample in requests() {
        let document = write_request(&c2s, &Terms::default(), &sample).unwrap().to_string();
        let starts: Vec<usize> = document.match_indices('<').map(|(at, _)| at).collect();
        // Behind each name but the root's, and but those of closing tags.
        for at in starts.into_iter().skip(1).filter(|at| !document[at + 1..].starts_with('/')) {
            let end = at + document[at..].find([' ', '/', '>']).unwrap();
            let changed = format!("{} forse=\"true\"{}", &document[..end], &document[end..]);
            let error = read_request(changed.as_bytes(), &c2s).unwrap_err();
            let MessageError::Read(ReadError::Unknown { name, .. }) = error else {
                panic!("{changed}: {error}")
            };
            assert_eq!(name, "forse");
            let declared = format!(
                "{} xmlns=\"urn:smps-vmm:xvmp:1\" xmlns:x=\"urn:x\"{}",
                &document[..end],
                &document[end..]
            );
            assert_eq!(read_request(declared.as_bytes(), &c2s).unwrap().1, sample);
        }
    }
    for (from, to) in [
        ("<ListLabels/>", "<ListLabels>all</ListLabels>"),
        ("<ListLabels/>", "<ListLabels><All/></ListLabels>"),
        ("<ListLabels/>", "all<ListLabels/>"),
    ] {
        let list = Request::ListLabels(crate::v1::ListLabels {});
        let document = write_request(&c2s, &Terms::default(), &list).unwrap().replace(from, to);
        assert!(read_request(document.as_bytes(), &c2s).is_err(), "{document}");
    }
    let s2c = header(Direction::ServerToClient);
    for reply in replies() {
        let document = write_response(&s2c, &Ok(reply.clone())).unwrap().to_string();
        let end = document.rfind("/>").unwrap();
        let changed = format!("{} newer=\"1\"{}", &document[..end], &document[end..]);
        assert_eq!(read_response(changed.as_bytes(), &s2c).unwrap(), Ok(reply));
    }
}
