//! What is wrong between us and a server: every certificate, name and clock, one by one, where a call says only where it stopped.
//!
//! ```text
//!   our credentials ─► TCP ─► TLS that accepts any certificate and looks at it ─► does the server accept ours? ─► clocks ─► a session
//! ```
//!
//! [`examine`] always gives a list of [`Finding`]s: it goes on as far as it can, and what cannot be looked at is not in the list. The probing
//! connection trusts nobody and sends nothing but a question for health; the last step is an ordinary call, with every check.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::{DATE, HOST};
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::{CallError, CallOptions, Client, ClientOptions, explain};
use crate::clock::WallClock;
use crate::credentials::{Credentials, Identity};
use crate::endpoint::{HEALTH_PATH, TLS_TIMEOUT};
use crate::enrolment::pin_of;
use crate::principal::Principal;
use crate::tls;
use crate::transport::{BoxedStream, Connector};
use crate::v1;

/// Clocks that differ by more make certificates of today not yet valid.
const SKEW_MAX: Duration = Duration::from_secs(120);
const DAY: u64 = 86_400;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// It is as it should be.
    pub is_good: bool,
    /// What was seen.
    pub seen: String,
    /// What to do; empty when it is good.
    pub advice: String,
}

fn good(seen: impl Into<String>) -> Finding {
    Finding { is_good: true, seen: seen.into(), advice: String::new() }
}

fn bad(seen: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { is_good: false, seen: seen.into(), advice: advice.into() }
}

/// Looks at everything between these credentials and the server behind `connector`; `expected` is whom we mean to reach, if that is known.
pub async fn examine(
    connector: Arc<dyn Connector>,
    own: Arc<Credentials>,
    expected: Option<Principal>,
    clock: Arc<dyn WallClock>,
) -> Vec<Finding> {
    let mut findings = ours(&own, clock.now());
    let probe = Probe { connector: connector.as_ref(), own: &own, clock: &clock };
    let Some(shown) = probe.connect(&mut findings).await else { return findings };
    let found = theirs(&shown, &own, expected.as_ref(), clock.now(), &mut findings);
    probe.compare_clocks(&mut findings).await;
    if let Some(server) = found {
        findings.push(call(connector, own, server, clock).await);
    }
    findings
}

/// Our own certificate.
fn ours(own: &Credentials, now: Duration) -> Vec<Finding> {
    let identity = own.identity();
    let mut findings = vec![validity("our certificate", identity, now)];
    if tls::check_signed(own).is_err() {
        findings.push(bad(
            "our certificate was not signed by the authority in our ca.pem",
            "the files are of two pools: join anew",
        ));
    }
    findings
}

fn validity(whose: &str, identity: &Identity, now: Duration) -> Finding {
    let who = &identity.principal;
    let renew = match who.role {
        crate::principal::Role::Agent => "let it join anew: `vmm-manager invite host NAME`",
        crate::principal::Role::Manager => "start the manager: it renews its own",
        _ => "join anew: `vmm-manager invite user NAME`",
    };
    if now < identity.not_before {
        let ahead = (identity.not_before - now).as_secs();
        return bad(
            format!("{whose}, of {who}, begins {ahead} s from now by this machine's clock"),
            "set the clocks of both machines",
        );
    }
    if now > identity.not_after {
        let days = (now - identity.not_after).as_secs() / DAY;
        return bad(
            format!("{whose}, of {who}, ended {days} days ago by this machine's clock"),
            format!("if the clock is right, {renew}"),
        );
    }
    let days = (identity.not_after - now).as_secs() / DAY;
    good(format!("{whose} is of {who}, good for {days} more days"))
}

/// What the server showed.
fn theirs(
    shown: &[u8],
    own: &Credentials,
    expected: Option<&Principal>,
    now: Duration,
    findings: &mut Vec<Finding>,
) -> Option<Principal> {
    let identity = match Identity::of(shown) {
        Ok(identity) => identity,
        Err(error) => {
            findings.push(bad(
                format!("what answers there is no server of a pool: {error}"),
                "check address and port; a proxy may stand in between",
            ));
            return None;
        }
    };
    findings.push(validity("the server's certificate", &identity, now));
    let is_ours = tls::check_signed_by(&CertificateDer::from(shown.to_vec()), own.authority());
    findings.push(match is_ours {
        Ok(()) => good("the server is of our pool"),
        Err(error) => bad(
            format!("the server's certificate was not signed by our authority ({error})"),
            format!(
                "it is of another pool, or the authority was made anew: join the right one. Ours has the key {}",
                hex(&pin_of(own.authority()).unwrap_or_default())
            ),
        ),
    });
    if let Some(expected) = expected.filter(|expected| **expected != identity.principal) {
        findings.push(bad(
            format!("we mean {expected}, and {} answers", identity.principal),
            "check the address, or which host's credentials lie there",
        ));
    }
    Some(identity.principal)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Probe<'a> {
    connector: &'a dyn Connector,
    own: &'a Credentials,
    clock: &'a Arc<dyn WallClock>,
}

impl Probe<'_> {
    /// Connects and shows our certificate; the server's, when it came so far.
    async fn connect(&self, findings: &mut Vec<Finding>) -> Option<Vec<u8>> {
        let address = self.connector.address();
        let stream = match timeout(TLS_TIMEOUT, self.connector.connect()).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                findings
                    .push(bad(format!("no connection to {address}: {error}"), unreachable(&error)));
                return None;
            }
            Err(_) => {
                let advice = "a firewall in between, or a machine that is down";
                findings.push(bad(format!("no connection to {address} in time"), advice));
                return None;
            }
        };
        findings.push(good(format!("{address} takes connections")));
        let (shown, outcome) = self.ask(stream, Some(self.own)).await;
        match (&shown, outcome) {
            (_, Ok((group, _))) => {
                findings.push(good(format!("TLS 1.3 stands, its keys agreed on by {group}, and the server takes our certificate")));
            }
            (Some(_), Err(reason)) => findings.push(bad(
                format!("the server does not take our certificate: {reason}"),
                "its log says why: another pool, a certificate that ended, or clocks that differ",
            )),
            (None, Err(reason)) => findings.push(bad(
                format!("no TLS 1.3 with {address}: {reason}"),
                "check the port; TLS 1.2 and proxies that end TLS are not spoken with",
            )),
        }
        shown
    }

    /// What the server's clock says, also to who shows no certificate.
    async fn compare_clocks(&self, findings: &mut Vec<Finding>) {
        let Ok(Ok(stream)) = timeout(TLS_TIMEOUT, self.connector.connect()).await else { return };
        let (_, Ok((_, Some(theirs)))) = self.ask(stream, None).await else { return };
        let ours = self.clock.now();
        let skew = ours.max(theirs).saturating_sub(ours.min(theirs));
        let (amount, which) = (skew.as_secs(), if theirs > ours { "ahead of" } else { "behind" });
        findings.push(if skew <= SKEW_MAX {
            good("the clocks of both machines agree")
        } else {
            bad(
                format!("the server's clock is {amount} s {which} ours"),
                "set both: certificates that begin today are not valid on the one that is behind",
            )
        });
    }

    /// The server's certificate, and its answer to a question for health: the key exchange, and its date.
    async fn ask(
        &self,
        stream: BoxedStream,
        own: Option<&Credentials>,
    ) -> (Option<Vec<u8>>, Result<(String, Option<Duration>), String>) {
        let config = match tls::probe_client_config(own, Arc::clone(self.clock)) {
            Ok(config) => config,
            Err(error) => return (None, Err(error.to_string())),
        };
        let handshake = TlsConnector::from(config).connect(tls::server_name(), stream);
        let stream = match timeout(TLS_TIMEOUT, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return (None, Err(explain(&error))),
            Err(_) => return (None, Err(io::Error::from(io::ErrorKind::TimedOut).to_string())),
        };
        let state = stream.get_ref().1;
        let shown = state.peer_certificates().and_then(<[_]>::first).map(|c| c.to_vec());
        let group = state
            .negotiated_key_exchange_group()
            .map_or_else(|| "?".to_owned(), |group| format!("{:?}", group.name()));
        let asked = timeout(TLS_TIMEOUT, ask_health(stream)).await;
        let asked = asked.unwrap_or_else(|_| Err("it does not answer".to_owned()));
        (shown, asked.map(|date| (group, date)))
    }
}

fn unreachable(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "nothing listens there: start it, or check the port",
        io::ErrorKind::TimedOut => "a firewall in between, or a machine that is down",
        _ => "check the address and its name, and the way to it",
    }
}

/// The date of the answer, if it has one.
async fn ask_health(stream: TlsStream<BoxedStream>) -> Result<Option<Duration>, String> {
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| explain(&error))?;
    let driver = tokio::spawn(connection);
    let request = Request::get(HEALTH_PATH)
        .header(HOST, "xvmp.invalid")
        .body(Empty::<Bytes>::new())
        .expect("a constant request line");
    let answer = sender.send_request(request).await.map_err(|error| explain(&error));
    driver.abort();
    let answer = answer?;
    if !answer.status().is_success() {
        return Err(format!("it answered {}", answer.status()));
    }
    let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok());
    Ok(date
        .and_then(|date| httpdate::parse_http_date(date).ok())
        .and_then(|date| date.duration_since(std::time::UNIX_EPOCH).ok()))
}

/// An ordinary call. That the server denies it shows both layers as well as an answer does.
async fn call(
    connector: Arc<dyn Connector>,
    own: Arc<Credentials>,
    server: Principal,
    clock: Arc<dyn WallClock>,
) -> Finding {
    let client = Client::new(own, server, connector, ClientOptions::new(clock));
    let ping = v1::Request::Ping(v1::Ping { text: "doctor".to_owned() });
    match client.call(ping, CallOptions::default()).await {
        Ok(_) => good("a request went through both layers"),
        Err(CallError::Fault(fault)) => {
            good(format!("a request went through both layers, and was answered: {fault}"))
        }
        Err(error) => bad(format!("no request comes through: {error}"), "see the other findings"),
    }
}
