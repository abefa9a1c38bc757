//! A pool in one process: an authority, credentials, a service that echoes, a memory network.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use vmm_proto::client::{Client, ClientOptions, Connector};
use vmm_proto::clock::{TokioClock, WallClock};
use vmm_proto::credentials::{CertificateAuthority, Credentials, LiveCredentials};
use vmm_proto::principal::Principal;
use vmm_proto::server::{Caller, ServeError, Server, ServerOptions, Service};
use vmm_proto::transport::memory::MemoryNetwork;
use vmm_proto::v1::{Done, Fault, FaultCode, ListVms, Ping, Reply, Request};

/// Some day in 2026.
pub(crate) const TODAY: Duration = Duration::from_secs(1_790_000_000);

pub(crate) const SERVER: &str = "h1";

pub(crate) struct Pool {
    pub(crate) authority: CertificateAuthority,
    pub(crate) network: MemoryNetwork,
    pub(crate) clock: Arc<dyn WallClock>,
    pub(crate) service: Arc<Echo>,
}

pub(crate) struct Running {
    pub(crate) stop: CancellationToken,
    pub(crate) task: JoinHandle<Result<(), ServeError>>,
}

impl Pool {
    pub(crate) fn new() -> Pool {
        Pool {
            authority: CertificateAuthority::create(TODAY).unwrap(),
            network: MemoryNetwork::new(),
            clock: Arc::new(TokioClock::starting_at(TODAY)),
            service: Arc::new(Echo::default()),
        }
    }

    pub(crate) fn issue(&self, principal: &Principal) -> Arc<Credentials> {
        Arc::new(self.authority.issue(principal, self.clock.now()).unwrap())
    }

    pub(crate) fn options(&self) -> ServerOptions {
        ServerOptions::new(self.clock.clone())
    }

    pub(crate) fn serve_as(&self, principal: &Principal) -> Running {
        self.serve(self.issue(principal), self.options())
    }

    pub(crate) fn serve(
        &self,
        credentials: impl Into<LiveCredentials>,
        options: ServerOptions,
    ) -> Running {
        let stop = CancellationToken::new();
        let server = Server::new(credentials, self.service.clone(), options);
        let task = tokio::spawn(server.serve(self.network.listener(SERVER), stop.clone()));
        Running { stop, task }
    }

    pub(crate) fn client(&self, credentials: Arc<Credentials>) -> Client {
        self.client_over(credentials, Arc::new(self.network.connector(SERVER)))
    }

    pub(crate) fn client_over(
        &self,
        credentials: Arc<Credentials>,
        connector: Arc<dyn Connector>,
    ) -> Client {
        let options = ClientOptions::new(self.clock.clone());
        Client::new(credentials, Principal::agent(SERVER), connector, options)
    }
}

/// Echoes pings. Some texts ask for trouble.
#[derive(Default)]
pub(crate) struct Echo {
    pub(crate) calls: AtomicUsize,
    pub(crate) callers: Mutex<Vec<Caller>>,
}

impl Service for Echo {
    fn call(&self, caller: Caller, request: Request) -> BoxFuture<'_, Result<Reply, Fault>> {
        async move {
            self.callers.lock().unwrap().push(caller);
            let result = match request {
                Request::Ping(Ping { text }) => match text.as_str() {
                    "panic" => panic!("as asked"),
                    "fault" => Err(Fault::new(FaultCode::BadState, "as asked")),
                    "slow" => {
                        tokio::time::sleep(Duration::from_secs(3)).await;
                        Ok(Reply::Done(Done {}))
                    }
                    "for ever" => std::future::pending().await,
                    _ => Ok(Reply::Pong(Ping { text })),
                },
                _ => Ok(Reply::Done(Done {})),
            };
            self.calls.fetch_add(1, Ordering::SeqCst);
            result
        }
        .boxed()
    }
}

pub(crate) fn ping(text: impl Into<String>) -> Request {
    Request::Ping(Ping { text: text.into() })
}

pub(crate) fn pong(text: impl Into<String>) -> Reply {
    Reply::Pong(Ping { text: text.into() })
}

pub(crate) fn list_vms() -> Request {
    Request::ListVms(ListVms::default())
}
