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

/// A whole new set, on its way into its directory.
const NEXT: &str = "next";
/// One that is being written.
const NEXT_UNFINISHED: &str = "next.unfinished";

const PEM_COLUMNS: usize = 64;

pub(super) fn make_directory(path: &Path) -> Result<(), CredentialsError> {
    let result = DirBuilder::new().recursive(true).mode(0o700).create(path);
    result.map_err(|source| CredentialsError::Write { path: path.to_owned(), source })
}

/// Whoever reads or replaces the set does so alone; the lock ends with the value.
pub(super) fn lock(directory: &Path) -> Result<File, CredentialsError> {
    let locked = File::open(directory).and_then(|file| file.lock().map(|()| file));
    locked.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => CredentialsError::Missing { path: directory.to_owned() },
        _ => CredentialsError::Read { path: directory.to_owned(), source },
    })
}

/// Writes a new set beside the old one, and moves it into the directory once it is whole.
pub(super) fn replace(
    directory: &Path,
    write_all: impl FnOnce(&Path) -> Result<(), CredentialsError>,
) -> Result<(), CredentialsError> {
    let unfinished = directory.join(NEXT_UNFINISHED);
    let failed = |source| CredentialsError::Write { path: unfinished.clone(), source };
    match fs::remove_dir_all(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    make_directory(&unfinished)?;
    write_all(&unfinished)?;
    sync(&unfinished).map_err(failed)?;
    fs::rename(&unfinished, directory.join(NEXT)).map_err(failed)?;
    sync(directory).map_err(failed)?;
    finish_replacement(directory)
}

/// Moves a whole set that is waiting into its place. Does nothing when there is none.
pub(super) fn finish_replacement(directory: &Path) -> Result<(), CredentialsError> {
    let next = directory.join(NEXT);
    let entries = match fs::read_dir(&next) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(CredentialsError::Read { path: next, source }),
    };
    let moved = (|| {
        for entry in entries {
            let entry = entry?;
            fs::rename(entry.path(), directory.join(entry.file_name()))?;
        }
        fs::remove_dir(&next)?;
        sync(directory)
    })();
    moved.map_err(|source| CredentialsError::Write { path: next, source })
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
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
