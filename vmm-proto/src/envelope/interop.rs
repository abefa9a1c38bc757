//! Another implementation reads what we write, and we what it writes: `xmlsec1` of Debian.

use std::path::Path;
use std::process::Command;

use super::*;

const PLAINTEXT: &str =
    "<Request xmlns=\"urn:smps-vmm:xvmp:1\" id=\"m-7\"><Ping text=\"&lt;a\"/></Request>";

fn key() -> DirectionKey {
    DirectionKey::derive(&[7; 32], Direction::ClientToServer, &[9; 32])
}

fn header() -> Header {
    Header {
        session: "000102030405060708090a0b0c0d0e0f".to_owned(),
        direction: Direction::ClientToServer,
        seq: 7,
        id: "m-7".to_owned(),
    }
}

/// Runs xmlsec1 with the message's key; returns its output if it succeeded.
#[allow(clippy::disallowed_methods, reason = "a peer from outside, in a test only")]
fn xmlsec1(directory: &Path, action: &str, arguments: &[&str]) -> Option<String> {
    let key_file = directory.join("key.bin");
    std::fs::write(&key_file, key().message_key(&header()).as_slice()).unwrap();
    let output = Command::new("xmlsec1")
        .args([action, &format!("--aeskey:{}", header().key_name())])
        .arg(&key_file)
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap_or_else(|error| {
            panic!("xmlsec1 cannot be run ({error}): install the Debian package xmlsec1, or let `cargo xtask test --install` do it")
        });
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

#[test]
fn xmlsec1_reads_what_we_seal() {
    let directory = tempfile::tempdir().unwrap();
    let document = seal(&key(), &header(), PLAINTEXT.as_bytes()).unwrap();
    std::fs::write(directory.path().join("sealed.xml"), &document).unwrap();
    let output = xmlsec1(directory.path(), "--decrypt", &["sealed.xml"]).unwrap();
    assert!(output.contains(PLAINTEXT), "{output}");
}

#[test]
fn xmlsec1_refuses_what_was_altered() {
    let directory = tempfile::tempdir().unwrap();
    let document = seal(&key(), &header(), PLAINTEXT.as_bytes()).unwrap();
    let document = String::from_utf8(document).unwrap();
    let at = document.find("<xenc:CipherValue>").unwrap() + 60;
    let other = if document.as_bytes()[at] == b'A' { "B" } else { "A" };
    let altered = format!("{}{other}{}", &document[..at], &document[at + 1..]);
    std::fs::write(directory.path().join("sealed.xml"), altered).unwrap();
    assert_eq!(xmlsec1(directory.path(), "--decrypt", &["sealed.xml"]), None);
}

#[test]
fn we_read_what_xmlsec1_encrypts() {
    let directory = tempfile::tempdir().unwrap();
    let document = String::from_utf8(seal(&key(), &header(), b"").unwrap()).unwrap();
    let (start, end) =
        (document.find("<xenc:EncryptedData").unwrap(), document.find("</v:Message>").unwrap());
    let value = document.find("<xenc:CipherValue>").unwrap();
    let data = document.find("</xenc:CipherData>").unwrap();
    let template =
        format!("{}<xenc:CipherValue/>{}", &document[start..value], &document[data..end]);
    std::fs::write(directory.path().join("template.xml"), template).unwrap();
    std::fs::write(directory.path().join("plain.xml"), PLAINTEXT).unwrap();
    let arguments = ["--xml-data", "plain.xml", "template.xml"];
    let output = xmlsec1(directory.path(), "--encrypt", &arguments).unwrap();
    let encrypted = &output[output.find("<xenc:EncryptedData").unwrap()..];
    let message = format!("{}{encrypted}{}", &document[..start], &document[end..]);
    let sealed = Sealed::parse(message.as_bytes()).unwrap();
    assert_eq!(sealed.header(), &header());
    let plaintext = sealed.open(&key()).unwrap();
    assert_eq!(std::str::from_utf8(&plaintext).unwrap(), PLAINTEXT);
}
