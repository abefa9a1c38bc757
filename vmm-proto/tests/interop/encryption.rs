//! XML Encryption with three libraries: each opens what we seal, at every size, refuses it altered, and we open what it encrypts.

use std::fs;
use std::path::Path;

use hkdf::Hkdf;
use sha2::{Digest as _, Sha256};
use vmm_proto::envelope::{Direction, DirectionKey, Header, Sealed, seal};

use crate::peer::{between, with_value};
use crate::programs::{command, python, run, santuario};

/// Where blocks begin and end, and one that is large.
const SIZES: [usize; 6] = [1, 15, 16, 17, 64 << 10, 4 << 20];

/// The name of the case that was altered.
const ALTERED: &str = "altered";

const SPLIT: [u8; 32] = [0x5a; 32];
const HASH: [u8; 32] = [0xa5; 32];

fn key() -> DirectionKey {
    DirectionKey::derive(&SPLIT, Direction::ClientToServer, &HASH)
}

fn header(size: usize) -> Header {
    Header {
        session: "00112233445566778899aabbccddeeff".to_owned(),
        direction: Direction::ClientToServer,
        seq: u64::try_from(size).unwrap(),
        id: format!("m-{size}"),
    }
}

fn prefixed(part: &[u8]) -> Vec<u8> {
    [&u32::try_from(part.len()).unwrap().to_be_bytes(), part].concat()
}

fn expand(key: &[u8], info: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 32];
    Hkdf::<Sha256>::from_prk(key).unwrap().expand(info, &mut out).unwrap();
    out
}

/// Section 5 of docs/protocol.md, a second time.
fn message_key(header: &Header) -> Vec<u8> {
    let parts = [b"xvmp1 rpc", b"c2s".as_slice(), b"aes256-gcm", &HASH];
    let direction = expand(&SPLIT, &parts.map(prefixed).concat());
    let fields = [
        prefixed(header.session.as_bytes()),
        prefixed(b"c2s"),
        header.seq.to_be_bytes().to_vec(),
        prefixed(header.id.as_bytes()),
        prefixed(b"POST"),
        prefixed(b"/xvmp/1/rpc"),
        prefixed(b"application/vnd.smps-vmm.xvmp+xml;charset=utf-8"),
    ];
    expand(&direction, &[b"xvmp1 msg\0", Sha256::digest(fields.concat()).as_slice()].concat())
}

fn key_name(header: &Header) -> String {
    format!("{}/c2s/{}", header.session, header.seq)
}

/// An element of that many bytes, if there is one so short.
fn plaintext(size: usize) -> String {
    match size.checked_sub("<a></a>".len()) {
        Some(rest) => format!("<a>{}</a>", "x".repeat(rest)),
        None => "x".repeat(size),
    }
}

fn sealed(size: usize) -> String {
    let text = plaintext(size);
    let document = seal(&key(), &header(size), text.as_bytes()).unwrap();
    let document = String::from_utf8(document).unwrap();
    match text.starts_with('<') {
        true => document,
        // Libraries would look for an element.
        false => document.replace(" Type=\"http://www.w3.org/2001/04/xmlenc#Element\"", ""),
    }
}

fn write_case(directory: &Path, name: &str, size: usize, document: &str) {
    let write = |kind: &str, bytes: &[u8]| {
        fs::write(directory.join(format!("{name}.{kind}")), bytes).unwrap();
    };
    write("key", &message_key(&header(size)));
    write("name", key_name(&header(size)).as_bytes());
    write("plain", plaintext(size).as_bytes());
    write("sealed", document.as_bytes());
}

/// What a peer opened: the bytes themselves, or the message with the element where the encryption was.
fn inside(opened: &[u8]) -> String {
    let text = std::str::from_utf8(opened).unwrap();
    match text.find("<v:Message") {
        Some(at) => {
            let (_, rest) = text[at..].split_once('>').unwrap();
            rest.rsplit_once("</v:Message>").unwrap().0.to_owned()
        }
        None => text.to_owned(),
    }
}

/// The peer's `EncryptedData` in a message of ours, opened.
fn open(size: usize, encrypted: &str) -> String {
    let ours = String::from_utf8(seal(&key(), &header(size), b"").unwrap()).unwrap();
    let start = &ours[..ours.find("<xenc:EncryptedData").unwrap()];
    let data = &encrypted[encrypted.find("<xenc:EncryptedData").unwrap()..];
    let message = format!("{start}{}</v:Message>", data.trim_end());
    let opened = Sealed::parse(message.as_bytes()).unwrap().open(&key()).unwrap();
    String::from_utf8(opened.to_vec()).unwrap()
}

/// All cases with one peer, which `work`s on a directory.
fn exchange(work: impl FnOnce(&Path)) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    for size in SIZES {
        write_case(path, &size.to_string(), size, &sealed(size));
    }
    let altered = with_value(&sealed(17), |bytes| *bytes.last_mut().unwrap() ^= 1);
    write_case(path, ALTERED, 17, &altered);
    work(path);
    let read = |name: &str, kind: &str| fs::read(path.join(format!("{name}.{kind}")));
    for size in SIZES {
        let name = size.to_string();
        let opened = inside(&read(&name, "opened").expect("the peer opened what we sealed"));
        assert!(opened == plaintext(size), "{size} bytes of ours, opened by the peer");
        let encrypted = String::from_utf8(read(&name, "encrypted").unwrap()).unwrap();
        assert!(open(size, &encrypted) == plaintext(size), "{size} bytes of the peer's");
    }
    assert!(read(ALTERED, "opened").is_err(), "the peer opened what was altered");
}

#[test]
fn xmlsec_of_python_and_we_read_each_other() {
    exchange(|directory| {
        let (is_done, _) = run(python("xml_encryption.py").arg(directory));
        assert!(is_done);
    });
}

#[test]
fn apache_santuario_and_we_read_each_other() {
    exchange(|directory| {
        let (is_done, _) = run(santuario().arg(directory));
        assert!(is_done);
    });
}

#[test]
fn xmlsec1_and_we_read_each_other() {
    exchange(|directory| {
        let xmlsec1 = |name: &str, action: &str, arguments: &[&str]| {
            let key_name = fs::read_to_string(directory.join(format!("{name}.name"))).unwrap();
            let mut command = command("xmlsec1");
            command.args([action, &format!("--aeskey:{key_name}"), &format!("{name}.key")]);
            run(command.args(arguments).current_dir(directory))
        };
        for name in SIZES.map(|size| size.to_string()).iter().map(String::as_str).chain([ALTERED]) {
            let path = |kind: &str| directory.join(format!("{name}.{kind}"));
            let (is_open, opened) = xmlsec1(name, "--decrypt", &[&format!("{name}.sealed")]);
            if is_open {
                fs::write(path("opened"), opened).unwrap();
            }
            let document = fs::read_to_string(path("sealed")).unwrap();
            let data = between(&document, "<xenc:CipherValue>", "</xenc:CipherValue>");
            let template = document.replace(data, "");
            fs::write(path("template"), template).unwrap();
            let arguments =
                ["--binary-data", &format!("{name}.plain"), &format!("{name}.template")];
            let (is_encrypted, encrypted) = xmlsec1(name, "--encrypt", &arguments);
            assert!(is_encrypted);
            let encrypted = String::from_utf8(encrypted).unwrap();
            let end = encrypted.rfind("</v:Message>").unwrap();
            fs::write(path("encrypted"), &encrypted[..end]).unwrap();
        }
    });
}
