//! The connection to the manager, for one command.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use vmm_proto::client::{CallOptions, Client, ClientOptions, TcpConnector};
use vmm_proto::clock::{SystemClock, WallClock as _};
use vmm_proto::credentials::{CertificateDer, CredentialsError, LiveCredentials, NewKeys};
use vmm_proto::principal::Principal;
use vmm_proto::v1::{Certificate, Fault, FaultCode, RenewCertificate, Reply, Request, verb};

use crate::args::Global;
use crate::failure::Failure;
use crate::output::{Look, visible_lines};

/// The id of the manager's principal.
pub(crate) const MANAGER_ID: &str = "manager";
/// How long the manager may take for what it answers at once.
const CALL_DEADLINE: Duration = Duration::from_secs(20);

/// What a command works with.
pub(crate) struct Session {
    client: Client,
    credentials: LiveCredentials,
    /// How answers look.
    pub(crate) look: Look,
    /// How long a guest or a task may take.
    pub(crate) timeout: Duration,
}

impl Session {
    pub(crate) fn new(global: &Global) -> Result<Self, Failure> {
        let credentials = load(&credentials_directory(global)?)?;
        let client = Client::new(
            credentials.clone(),
            Principal::manager(MANAGER_ID),
            Arc::new(TcpConnector::new(global.manager.clone())),
            ClientOptions::new(Arc::new(SystemClock)),
        );
        Ok(Self {
            client,
            credentials,
            look: global.look(),
            timeout: Duration::from_secs(global.timeout),
        })
    }

    /// Has new keys signed when half of the certificate's time is over. The command goes on when that fails: there is time to try again.
    pub(crate) async fn renew_when_due(&self) {
        let current = self.credentials.current();
        if !current.identity().is_due(SystemClock.now()) {
            return;
        }
        if let Err(error) = self.renew(current.authority()).await {
            let error = error.to_string();
            eprintln!(
                "vmmctl: your credentials end soon and could not be renewed: {}",
                visible_lines(&error)
            );
        }
    }

    async fn renew(&self, authority: &[u8]) -> Result<(), Failure> {
        let failed = |error: CredentialsError| Failure::Local(error.to_string());
        let keys = NewKeys::generate().map_err(failed)?;
        let signing_request = STANDARD.encode(keys.signing_request().map_err(failed)?);
        let request = Request::RenewCertificate(RenewCertificate { signing_request });
        let reply = self.call(request).await?;
        let Reply::Certificate(Certificate { certificate, .. }) = &reply else {
            return Err(unexpected(&reply));
        };
        let der = STANDARD.decode(certificate).map_err(|_| unexpected(&reply))?;
        let (new, authority) =
            (CertificateDer::from(der), CertificateDer::from(authority.to_vec()));
        self.credentials.replace(keys.with(new, authority).map_err(failed)?).map_err(failed)
    }

    /// The timeout, as requests carry it.
    pub(crate) fn timeout_ms(&self) -> u64 {
        u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX)
    }

    /// Asks once. A change carries a key of its own, so that a broken connection does not do it twice.
    pub(crate) async fn call(&self, request: Request) -> Result<Reply, Failure> {
        let idempotency_key = verb(&request).mutating.then(new_key).transpose()?;
        let options = CallOptions { deadline: Some(CALL_DEADLINE), idempotency_key };
        Ok(self.client.call(request, options).await?)
    }
}

/// The manager answered with something else than the protocol says.
pub(crate) fn unexpected(reply: &Reply) -> Failure {
    let message = format!("the manager answered with something unexpected: {reply:?}");
    Failure::Fault(Fault::new(FaultCode::Internal, message))
}

/// Where the credentials are, or will be.
pub(crate) fn credentials_directory(global: &Global) -> Result<PathBuf, Failure> {
    global.credentials.clone().map_or_else(default_credentials, Ok)
}

fn default_credentials() -> Result<PathBuf, Failure> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    home.map(|home| home.join(".config/vmmctl")).ok_or_else(|| {
        Failure::Usage("name the directory of your credentials with --credentials".into())
    })
}

fn load(directory: &Path) -> Result<LiveCredentials, Failure> {
    LiveCredentials::load(directory).map_err(|error| {
        let hint = "your pool's operator prints the command that makes them with `vmm-manager invite user NAME`; name their directory with --credentials";
        Failure::Usage(format!("no credentials: {error}. {hint}"))
    })
}

fn new_key() -> Result<String, Failure> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::Local(format!("the system gives no random bytes: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
