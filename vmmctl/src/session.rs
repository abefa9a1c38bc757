//! The connection to the manager, for one command.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use vmm_proto::client::{CallOptions, Client, ClientOptions, TcpConnector};
use vmm_proto::clock::SystemClock;
use vmm_proto::credentials::Credentials;
use vmm_proto::principal::Principal;
use vmm_proto::v1::{Fault, FaultCode, Reply, Request, verb};

use crate::args::Global;
use crate::failure::Failure;
use crate::output::Format;

/// The id of the manager's principal.
const MANAGER_ID: &str = "manager";
/// How long the manager may take for what it answers at once.
const CALL_DEADLINE: Duration = Duration::from_secs(20);

/// What a command works with.
pub(crate) struct Session {
    client: Client,
    pub(crate) format: Format,
    /// How long a guest or a task may take.
    pub(crate) timeout: Duration,
}

impl Session {
    pub(crate) fn new(global: &Global) -> Result<Self, Failure> {
        let directory = match &global.credentials {
            Some(directory) => directory.clone(),
            None => default_credentials()?,
        };
        let credentials = load(&directory)?;
        let client = Client::new(
            Arc::new(credentials),
            Principal::manager(MANAGER_ID),
            Arc::new(TcpConnector::new(global.manager.clone())),
            ClientOptions::new(Arc::new(SystemClock)),
        );
        Ok(Self { client, format: global.output, timeout: Duration::from_secs(global.timeout) })
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

fn default_credentials() -> Result<PathBuf, Failure> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    home.map(|home| home.join(".config/vmmctl")).ok_or_else(|| {
        Failure::Usage("name the directory of your credentials with --credentials".into())
    })
}

fn load(directory: &Path) -> Result<Credentials, Failure> {
    Credentials::load(directory).map_err(|error| {
        let hint = "your operator makes them with `vmm-manager issue operator NAME`; name their directory with --credentials";
        Failure::Usage(format!("no credentials: {error}. {hint}"))
    })
}

fn new_key() -> Result<String, Failure> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::Local(format!("the system gives no random bytes: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
