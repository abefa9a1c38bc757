//! The applicant's side.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use thiserror::Error;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::documents::{self, JoinRequest};
use super::{JoinToken, handshake};
use crate::client::explain;
use crate::clock::WallClock;
use crate::credentials::{Credentials, CredentialsError, Identity, NewKeys};
use crate::endpoint::{self, JOIN_PATH, OPEN_BYTES_MAX, TLS_TIMEOUT};
use crate::tls;
use crate::transport::{BoxedStream, Connector};
use crate::v1::Fault;

/// Why nobody was admitted.
#[derive(Debug, Error)]
pub enum JoinError {
    /// Nobody answers there.
    #[error("connecting to the manager at {address} failed: {source}; check address and firewall")]
    Connect {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Not the manager that the token is of, or no TLS.
    #[error("TLS with the manager at {address} failed: {reason}")]
    Tls {
        /// Where.
        address: String,
        /// Why.
        reason: String,
    },
    /// The manager says no, and does not say why to somebody whom it does not know.
    #[error(
        "the manager refused the token: it is unknown, used by somebody else, or too old; its log says which. Make a new one with `vmm-manager invite`"
    )]
    Refused,
    /// The manager knows the token and says no.
    #[error("{0}")]
    Fault(Fault),
    /// What came back cannot be used.
    #[error("the manager's answer cannot be used: {reason}")]
    Answer {
        /// Why.
        reason: String,
    },
    /// Keys or credentials cannot be made or kept.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

/// Joins a pool: makes keys, has them signed, and writes the credentials into `directory`. When it is cut off anywhere, the same call
/// again goes on.
///
/// # Errors
/// See [`JoinError`]. The directory holds either what it held before, or the whole credentials.
pub async fn join(
    connector: &dyn Connector,
    token: &JoinToken,
    directory: &Path,
    address: Option<&str>,
    clock: Arc<dyn WallClock>,
) -> Result<Credentials, JoinError> {
    let keys = NewKeys::kept(directory)?;
    let credentials = apply(connector, token, keys, address, clock).await?;
    credentials.save(directory)?;
    NewKeys::forget(directory)?;
    Ok(credentials)
}

async fn apply(
    connector: &dyn Connector,
    token: &JoinToken,
    keys: NewKeys,
    address: Option<&str>,
    clock: Arc<dyn WallClock>,
) -> Result<Credentials, JoinError> {
    let unusable =
        |reason: &dyn std::fmt::Display| JoinError::Answer { reason: reason.to_string() };
    let stream = secure(connector, token, clock).await?;
    let [certificate, authority] =
        certificates(&stream).ok_or_else(|| unusable(&"no certificates"))?;
    let server = Identity::of(&certificate).map_err(|error| unusable(&error))?;
    let prologue = handshake::prologue(&server.principal, &certificate, token.id());
    let psk = token.psk();
    let mut state = handshake::initiate(keys.inner_key(), &server.inner_key, &psk, &prologue)
        .map_err(|error| unusable(&error))?;
    let request = JoinRequest::new(&keys.signing_request()?, address);
    let request = request.write().map_err(|error| unusable(&error))?;
    let message = handshake::write(&mut state, &request).map_err(|error| unusable(&error))?;
    let document = documents::write_join(token.id(), &message).map_err(|error| unusable(&error))?;
    let answer = post(stream, connector.address(), document).await?;
    let message = documents::read_joined(&answer).ok_or_else(|| unusable(&"no Joined document"))?;
    let payload = handshake::read(&mut state, &message).map_err(|error| unusable(&error))?;
    match documents::read_outcome(&payload) {
        Some(Ok(signed)) => Ok(keys.with(CertificateDer::from(signed), authority)?),
        Some(Err(fault)) => Err(JoinError::Fault(fault)),
        None => Err(unusable(&"neither Admitted nor Denied")),
    }
}

async fn secure(
    connector: &dyn Connector,
    token: &JoinToken,
    clock: Arc<dyn WallClock>,
) -> Result<TlsStream<BoxedStream>, JoinError> {
    let address = connector.address();
    let stream = timeout(TLS_TIMEOUT, connector.connect())
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(|source| JoinError::Connect { address: address.clone(), source })?;
    let failed = |reason: String| JoinError::Tls { address: address.clone(), reason };
    let config = tls::join_client_config(*token.pin(), clock).map_err(|e| failed(e.to_string()))?;
    timeout(TLS_TIMEOUT, TlsConnector::from(config).connect(tls::server_name(), stream))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(|error| failed(explain(&error)))
}

/// The server's and its authority's: TLS has compared the second one with the pin.
fn certificates(stream: &TlsStream<BoxedStream>) -> Option<[CertificateDer<'static>; 2]> {
    let shown = stream.get_ref().1.peer_certificates()?;
    Some([shown.first()?.clone().into_owned(), shown.last()?.clone().into_owned()])
}

async fn post(
    stream: TlsStream<BoxedStream>,
    address: String,
    document: String,
) -> Result<Bytes, JoinError> {
    let broken = |reason: String| JoinError::Tls { address: address.clone(), reason };
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(explain(&error)))?;
    let driver = tokio::spawn(connection);
    let request = Request::post(JOIN_PATH)
        .header(HOST, "xvmp.invalid")
        .header(CONTENT_TYPE, endpoint::CONTENT_TYPE)
        .body(Full::new(Bytes::from(document)))
        .expect("a constant request line");
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|e| broken(explain(&e)))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::BAD_REQUEST => return Err(JoinError::Refused),
            status => return Err(broken(format!("it answered {status}"))),
        }
        let body = Limited::new(response.into_body(), OPEN_BYTES_MAX).collect().await;
        Ok(body.map_err(|error| broken(error.to_string()))?.to_bytes())
    };
    let answer = timeout(endpoint::BODY_TIMEOUT, exchange)
        .await
        .unwrap_or_else(|_| Err(broken("it does not answer".to_owned())));
    driver.abort();
    answer
}
