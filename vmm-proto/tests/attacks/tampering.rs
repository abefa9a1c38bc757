//! Changed bytes: every one of them is refused, with the same answer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use vmm_proto::endpoint::OPEN_PATH;
use vmm_proto::principal::Principal;

use crate::peer::{Link, Peer, Session, between, open_session, with_value};
use crate::support::{Pool, SERVER};

/// Bad tags that a session survives.
const BAD_TAG_COUNT: usize = 7;

async fn lab() -> (Pool, Peer, Link) {
    let pool = Pool::new();
    drop(pool.serve_as(&Principal::agent(SERVER)).task);
    let peer = Peer::new(&pool, &Principal::manager("m"));
    let link = peer.link(&pool).await;
    (pool, peer, link)
}

/// Sends the changed messages, as many in a session as it survives. Each is refused, and the session then still takes the unchanged
/// one: so none of them was refused because the session had ended.
async fn all_refused(
    (_, peer, link): &(Pool, Peer, Link),
    message: impl Fn(&Session) -> String,
    changes: &[Change],
) {
    for changes in changes.chunks(BAD_TAG_COUNT) {
        let session = peer.session(link).await;
        let good = message(&session);
        for (what, change) in changes {
            let bad = change(&good);
            assert_ne!(bad, good, "{what}: the test changed nothing");
            link.rpc(bad).await.assert_refused(what);
        }
        assert!(link.rpc(good).await.is_ok());
    }
}

type Change = (String, Box<dyn Fn(&str) -> String>);

fn change(what: impl Into<String>, change: impl Fn(&str) -> String + 'static) -> Change {
    (what.into(), Box::new(change))
}

#[tokio::test(start_paused = true)]
async fn every_flipped_bit_of_iv_ciphertext_and_tag_is_refused() {
    let lab = lab().await;
    let mut length = 0;
    with_value(&lab.1.session(&lab.2).await.ping(), |bytes| length = bytes.len());
    let flip = |bit: usize| {
        change(format!("bit {bit}"), move |good| {
            with_value(good, |bytes| bytes[bit / 8] ^= 1 << (bit % 8))
        })
    };
    let changes: Vec<Change> = (0..length * 8).map(flip).collect();
    assert!(changes.len() > (12 + 16) * 8 + 100);
    all_refused(&lab, Session::ping, &changes).await;
}

#[tokio::test(start_paused = true)]
async fn a_tag_of_no_other_length_is_taken() {
    let lab = lab().await;
    let shorter = (0..16).map(|bytes| {
        change(format!("a tag of {bytes} bytes"), move |good| {
            with_value(good, |value| value.truncate(value.len() - 16 + bytes))
        })
    });
    let alone = (0..28).map(|bytes| {
        change(format!("{bytes} bytes in all"), move |good| {
            with_value(good, |value| value.truncate(bytes))
        })
    });
    let longer = [1, 16].map(|bytes| {
        change(format!("{bytes} bytes more"), move |good| {
            with_value(good, |value| value.resize(value.len() + bytes, 0))
        })
    });
    let changes: Vec<Change> = shorter.chain(alone).chain(longer).collect();
    all_refused(&lab, Session::ping, &changes).await;
}

/// Another letter or digit in the same place.
fn other(byte: u8) -> char {
    match byte {
        b'0'..=b'8' | b'a'..=b'e' => char::from(byte + 1),
        b'9' => '1',
        b'f' => 'a',
        _ => 'z',
    }
}

#[tokio::test(start_paused = true)]
async fn a_header_with_any_field_changed_missing_or_doubled_is_refused() {
    let lab = lab().await;
    let example = lab.1.session(&lab.2).await.ping();
    let start = &example[..example.find('>').unwrap()];
    let mut changes = Vec::new();
    for field in ["version", "session", "dir", "seq", "id"] {
        let value = between(start, &format!(" {field}=\""), "\"");
        let attribute = move |good: &str| {
            format!(" {field}=\"{}\"", between(good, &format!(" {field}=\""), "\""))
        };
        for at in 0..value.len() {
            changes.push(change(format!("character {at} of {field}"), move |good| {
                let old = attribute(good);
                let mut new = old.clone();
                let at = at + field.len() + 3;
                new.replace_range(at..=at, &other(old.as_bytes()[at]).to_string());
                // Also where it stands again, so that the key decides and no comparison.
                let key_name = between(good, "<ds:KeyName>", "</ds:KeyName>").to_owned();
                let good = good.replacen(&old, &new, 1);
                let get = |field: &str| between(&good, &format!(" {field}=\""), "\"").to_owned();
                let again = format!("{}/{}/{}", get("session"), get("dir"), get("seq"));
                good.replacen(&key_name, &again, 1)
            }));
        }
        let edit = |what: &str, new: fn(&str, &str) -> String| {
            change(format!("{field} {what}"), move |good| {
                let old = attribute(good);
                good.replacen(&old, &new(&old, field), 1)
            })
        };
        changes.extend([
            edit("missing", |_, _| String::new()),
            edit("twice", |old, _| old.repeat(2)),
            edit("empty", |_, field| format!(" {field}=\"\"")),
            edit("in upper case", |old, field| old.replacen(field, &field.to_uppercase(), 1)),
            edit("in a namespace", |old, _| old.replacen(' ', " v:", 1)),
            edit("with a space", |old, _| old.replacen("=\"", "=\" ", 1)),
            edit("with a space behind", |old, _| format!("{} \"", &old[..old.len() - 1])),
            edit("with another beside it", |old, _| format!("{old} x=\"1\"")),
        ]);
    }
    all_refused(&lab, Session::ping, &changes).await;
}

/// Everything that XML Encryption and XML Signature know and this protocol does not.
const FOREIGN: &[&str] = &[
    "<xenc:EncryptedKey xmlns:xenc=\"http://www.w3.org/2001/04/xmlenc#\"/>",
    "<xenc:AgreementMethod xmlns:xenc=\"http://www.w3.org/2001/04/xmlenc#\" Algorithm=\"http://www.w3.org/2009/xmlenc11#ECDH-ES\"/>",
    "<xenc:CipherReference xmlns:xenc=\"http://www.w3.org/2001/04/xmlenc#\" URI=\"http://127.0.0.1:1/\"/>",
    "<xenc:CipherData xmlns:xenc=\"http://www.w3.org/2001/04/xmlenc#\"><xenc:CipherReference URI=\"#x\"/></xenc:CipherData>",
    "<xenc:EncryptedData xmlns:xenc=\"http://www.w3.org/2001/04/xmlenc#\"/>",
    "<xenc:EncryptionProperties xmlns:xenc=\"http://www.w3.org/2001/04/xmlenc#\"/>",
    "<xenc:EncryptionMethod xmlns:xenc=\"http://www.w3.org/2001/04/xmlenc#\" Algorithm=\"http://www.w3.org/2009/xmlenc11#aes256-gcm\"/>",
    "<xenc:Transforms xmlns:xenc=\"http://www.w3.org/2001/04/xmlenc#\"/>",
    "<xenc:KeySize xmlns:xenc=\"http://www.w3.org/2001/04/xmlenc#\">128</xenc:KeySize>",
    "<xenc11:DerivedKey xmlns:xenc11=\"http://www.w3.org/2009/xmlenc11#\"/>",
    "<ds:RetrievalMethod xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\" URI=\"#x\"/>",
    "<ds:Transforms xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"><ds:Transform Algorithm=\"http://www.w3.org/TR/1999/REC-xslt-19991116\"/></ds:Transforms>",
    "<ds:Signature xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"/>",
    "<ds:KeyInfo xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"/>",
    "<ds:KeyName xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\">x</ds:KeyName>",
    "<ds:X509Data xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"/>",
    "<xi:include xmlns:xi=\"http://www.w3.org/2001/XInclude\" href=\"file:///etc/passwd\"/>",
];

#[tokio::test(start_paused = true)]
async fn no_foreign_element_is_taken_anywhere() {
    let lab = lab().await;
    let tags = lab.1.session(&lab.2).await.ping().matches('<').count();
    let mut changes = Vec::new();
    for element in FOREIGN {
        for tag in 0..tags {
            changes.push(change(format!("{element} before tag {tag}"), move |good| {
                let at = good.match_indices('<').nth(tag).unwrap().0;
                format!("{}{element}{}", &good[..at], &good[at..])
            }));
        }
        changes
            .push(change(format!("{element} at the end"), move |good| format!("{good}{element}")));
    }
    all_refused(&lab, Session::ping, &changes).await;
}

#[tokio::test(start_paused = true)]
async fn no_other_algorithm_is_spoken() {
    const OURS: &str = "http://www.w3.org/2009/xmlenc11#aes256-gcm";
    let lab = lab().await;
    let algorithms = [
        "http://www.w3.org/2001/04/xmlenc#aes256-cbc",
        "http://www.w3.org/2001/04/xmlenc#aes128-cbc",
        "http://www.w3.org/2001/04/xmlenc#tripledes-cbc",
        "http://www.w3.org/2001/04/xmlenc#aes256-gcm",
        "http://www.w3.org/2009/xmlenc11#aes128-gcm",
        "http://www.w3.org/2009/xmlenc11#aes192-gcm",
        "http://www.w3.org/2001/04/xmlenc#rsa-1_5",
        "http://www.w3.org/2009/xmlenc11#AES256-GCM",
        "http://www.w3.org/2009/xmlenc11#aes256-gcm ",
        "aes256-gcm",
        "",
    ];
    let mut changes: Vec<Change> = algorithms
        .map(|other| change(format!("{other:?}"), move |good| good.replace(OURS, other)))
        .into();
    for (from, to) in [
        (" Algorithm=\"", " x=\"\" Algorithm=\""),
        (" Algorithm=\"", " algorithm=\""),
        (" Algorithm=\"", " xenc:Algorithm=\""),
        ("aes256-gcm\"/>", "aes256-gcm\"><x xmlns=\"u:x\"/></xenc:EncryptionMethod>"),
        ("aes256-gcm\"/>", "aes256-gcm\">12</xenc:EncryptionMethod>"),
        ("xmlenc#Element\"", "xmlenc#Content\""),
        ("xmlenc#Element\"", "xmlenc#EncryptedKey\""),
        ("xmlenc#Element\"", "xmlenc#Element\" MimeType=\"text/xml\""),
        (
            "xmlenc#Element\"",
            "xmlenc#Element\" Encoding=\"http://www.w3.org/2000/09/xmldsig#base64\"",
        ),
        ("xmlenc#Element\"", "xmlenc#Element\" Id=\"x\""),
        (
            "xmlns:xenc=\"http://www.w3.org/2001/04/xmlenc#\"",
            "xmlns:xenc=\"http://www.w3.org/2009/xmlenc11#\"",
        ),
    ] {
        changes.push(change(to, move |good| good.replacen(from, to, 1)));
    }
    all_refused(&lab, Session::ping, &changes).await;
}

#[tokio::test(start_paused = true)]
async fn a_document_cut_at_any_byte_is_refused() {
    let (_pool, peer, link) = lab().await;
    let session = peer.session(&link).await;
    let message = session.ping();
    for at in 0..message.len() {
        link.rpc(message[..at].to_owned()).await.assert_refused(&format!("cut at {at}"));
    }
    assert!(link.rpc(message).await.is_ok());
    let (_, hello) = peer.start(&link.server);
    for at in 0..hello.len() {
        let answer = link.post(OPEN_PATH, hello[..at].to_owned()).await;
        answer.assert_refused(&format!("a first message cut at {at}"));
    }
    assert!(link.post(OPEN_PATH, hello).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_first_message_with_any_bit_flipped_opens_no_session() {
    let (_pool, peer, link) = lab().await;
    let (_, hello) = peer.start(&link.server);
    let message = STANDARD.decode(between(&hello, "<Noise>", "</Noise>")).unwrap();
    for bit in 0..message.len() * 8 {
        let mut changed = message.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        // X25519 ignores the highest bit of a point; the hash of the handshake does not.
        let answer = link.post(OPEN_PATH, open_session(&changed)).await;
        answer.assert_refused(&format!("bit {bit}"));
    }
    assert!(link.post(OPEN_PATH, open_session(&message)).await.is_ok());
}
