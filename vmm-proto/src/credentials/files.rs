//! The files of a credentials directory.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::{CredentialsError, INNER_KEY_BYTES};

pub(super) const CA: &str = "ca.pem";
pub(super) const CA_KEY: &str = "ca-key.pem";
pub(super) const CERTIFICATE: &str = "cert.pem";
pub(super) const KEY: &str = "key.pem";
pub(super) const INNER_KEY: &str = "inner.key";

const PEM_COLUMNS: usize = 64;

pub(super) fn make_directory(path: &Path) -> Result<(), CredentialsError> {
    let result = DirBuilder::new().recursive(true).mode(0o700).create(path);
    result.map_err(|source| CredentialsError::Write { path: path.to_owned(), source })
}

pub(super) fn read_certificate(path: &Path) -> Result<CertificateDer<'static>, CredentialsError> {
    let text = read(path)?;
    CertificateDer::from_pem_slice(&text)
        .map_err(|_| CredentialsError::Format { path: path.to_owned(), expected: "certificate" })
}

pub(super) fn read_key(path: &Path) -> Result<Zeroizing<Vec<u8>>, CredentialsError> {
    let text = read(path)?;
    let key = PrivatePkcs8KeyDer::from_pem_slice(&text).map_err(|_| CredentialsError::Format {
        path: path.to_owned(),
        expected: "private key in PKCS#8",
    })?;
    Ok(Zeroizing::new(key.secret_pkcs8_der().to_vec()))
}

pub(super) fn read_inner_key(
    path: &Path,
) -> Result<Zeroizing<[u8; INNER_KEY_BYTES]>, CredentialsError> {
    let text = read(path)?;
    let error = || CredentialsError::Format {
        path: path.to_owned(),
        expected: "X25519 key, 32 bytes in base64",
    };
    let bytes = STANDARD.decode(text.trim_ascii()).map(Zeroizing::new).map_err(|_| error())?;
    let key = <[u8; INNER_KEY_BYTES]>::try_from(bytes.as_slice()).map_err(|_| error())?;
    Ok(Zeroizing::new(key))
}

pub(super) fn write_certificate(
    path: &Path,
    certificate: &CertificateDer<'_>,
) -> Result<(), CredentialsError> {
    write(path, pem("CERTIFICATE", certificate).as_bytes())
}

pub(super) fn write_key(path: &Path, key: &[u8]) -> Result<(), CredentialsError> {
    write(path, pem("PRIVATE KEY", key).as_bytes())
}

pub(super) fn write_inner_key(
    path: &Path,
    key: &[u8; INNER_KEY_BYTES],
) -> Result<(), CredentialsError> {
    let mut text = Zeroizing::new(STANDARD.encode(key));
    text.push('\n');
    write(path, text.as_bytes())
}

fn pem(label: &str, der: &[u8]) -> Zeroizing<String> {
    let body = Zeroizing::new(STANDARD.encode(der));
    let mut text = Zeroizing::new(format!("-----BEGIN {label}-----\n"));
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(PEM_COLUMNS.min(rest.len()));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, CredentialsError> {
    fs::read(path).map(Zeroizing::new).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => CredentialsError::Missing { path: path.to_owned() },
        _ => CredentialsError::Read { path: path.to_owned(), source },
    })
}

/// Writes beside the file and renames, so that a reader sees the old file or the new one.
fn write(path: &Path, bytes: &[u8]) -> Result<(), CredentialsError> {
    let beside = path.with_extension("new");
    let result = (|| {
        let _ = fs::remove_file(&beside);
        let mut file: File =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    })();
    result.map_err(|source| CredentialsError::Write { path: path.to_owned(), source })
}
