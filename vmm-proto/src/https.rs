//! TLS for an HTTPS edge: for browsers and scripts, which hold no credentials of the pool.
//!
//! One-sided TLS 1.3 with a certificate that *they* trust, from files that whoever runs the server provides. It has nothing to do with the
//! pool's authority, and nothing that comes over it passes for XVMP: who calls must be found out by what is inside.
//!
//! Fails when a file cannot be read, when others may read the key, and when the two do not belong together.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::tls::{ALPN_HTTP1, VERSIONS, provider};

/// Rights of everybody else on a file.
const MODE_OF_OTHERS: u32 = 0o007;

/// Why the files cannot be used.
#[derive(Debug, Error)]
pub enum HttpsError {
    /// It cannot be read.
    #[error("{} cannot be read: check that it is there and belongs to the user who runs the manager", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It holds no PEM of that kind.
    #[error("{} holds no {what} in PEM", path.display())]
    Form {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// Everybody may read the key.
    #[error("{} may be read by everybody: `chmod o= {}`", path.display(), path.display())]
    Open {
        /// Which.
        path: PathBuf,
    },
    /// They are refused together.
    #[error("certificate and key are refused: {0}")]
    Refused(#[source] rustls::Error),
}

/// Speaks TLS with who connects.
#[derive(Clone)]
pub struct HttpsAcceptor(TlsAcceptor);

impl HttpsAcceptor {
    /// From a certificate chain, the own one first, and its key, both PEM.
    ///
    /// # Errors
    /// See [`HttpsError`].
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, HttpsError> {
        let (chain, own) = (read(certificate)?, read(key)?);
        let mode = std::fs::metadata(key)
            .map_err(|source| HttpsError::Read { path: key.to_owned(), source })?
            .permissions()
            .mode();
        if mode & MODE_OF_OTHERS != 0 {
            return Err(HttpsError::Open { path: key.to_owned() });
        }
        let form = |path: &Path, what| HttpsError::Form { path: path.to_owned(), what };
        let chain = CertificateDer::pem_slice_iter(&chain).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|_| form(certificate, "certificate"))?;
        if chain.is_empty() {
            return Err(form(certificate, "certificate"));
        }
        let own = PrivateKeyDer::from_pem_slice(&own).map_err(|_| form(key, "private key"))?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)
            .and_then(|config| config.with_no_client_auth().with_single_cert(chain, own))
            .map_err(HttpsError::Refused)?;
        config.alpn_protocols = vec![ALPN_HTTP1.to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// The stream inside TLS.
    ///
    /// # Errors
    /// The handshake failed.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.0.accept(stream).await
    }
}

fn read(path: &Path) -> Result<Vec<u8>, HttpsError> {
    std::fs::read(path).map_err(|source| HttpsError::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    /// A certificate for a name, and its key, in files.
    fn files(directory: &Path) -> (PathBuf, PathBuf) {
        let key = rcgen::KeyPair::generate().unwrap();
        let own = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        let (chain, file) = (directory.join("cert.pem"), directory.join("key.pem"));
        std::fs::write(&chain, own.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(&file, key.serialize_pem()).unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        (chain, file)
    }

    #[tokio::test]
    async fn who_trusts_the_certificate_is_spoken_with() {
        use rustls::pki_types::ServerName;
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let directory = tempfile::tempdir().unwrap();
        let (chain, key) = files(directory.path());
        let acceptor = HttpsAcceptor::load(&chain, &key).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(stream).await.unwrap();
            stream.write_all(b"hello").await.unwrap();
            stream.shutdown().await.unwrap();
        });
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&chain).unwrap()).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let mut text = String::new();
        let mut stream = connector.connect(name, stream).await.unwrap();
        stream.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "hello");
        server.await.unwrap();
    }

    #[test]
    fn files_that_belong_together_are_taken_and_others_are_named() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (chain, key) = files(one.path());
        let (_, other) = files(two.path());
        assert!(HttpsAcceptor::load(&chain, &key).is_ok());
        let check = |chain: &Path, key: &Path, expect: &str| {
            let error = HttpsAcceptor::load(chain, key).err().expect("refused").to_string();
            assert!(error.contains(expect), "{error}");
        };
        check(&chain, &other, "refused");
        check(&key, &key, "no certificate");
        check(&chain, &chain, "may be read by everybody");
        check(&one.path().join("none"), &key, "cannot be read");
        std::fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
        check(&chain, &key, "chmod o=");
    }
}
