//! `vmm-manager run`.

use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use vmm_manager::enrolment::{Enrolment, Invitations};
use vmm_manager::http::{Edge, HttpOptions, Tokens};
use vmm_manager::{Env, Manager, StoreLocation};
use vmm_proto::client::{Connector, TcpConnector};
use vmm_proto::clock::{SystemClock, WallClock as _};
use vmm_proto::credentials::{CertificateAuthority, CredentialsError, LiveCredentials};
use vmm_proto::enrolment::Registrar;
use vmm_proto::server::{Server, ServerOptions, Service, TcpListenerAdapter};

use super::file::{Config, Http, Layout};

pub(super) fn run(directory: &Path) -> Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let layout = Layout::of(directory);
    let config = layout.read()?;
    let credentials = LiveCredentials::load(&layout.credentials)?;
    let authority = authority(&layout)?;
    renew_expired(&credentials, authority.as_ref())?;
    let invitations = Invitations::of(layout.invitations);
    let tokens = Tokens::of(layout.tokens);
    let enrolment = authority.map(|authority| Enrolment::new(authority, Some(invitations)));
    let runtime = tokio::runtime::Runtime::new().context("starting the runtime")?;
    runtime.block_on(serve(config, tokens, credentials, enrolment))
}

/// A manager that was down for long comes back with a certificate that nobody accepts any more; with the authority's key it makes a new one.
fn renew_expired(
    credentials: &LiveCredentials,
    enrolment: Option<&CertificateAuthority>,
) -> Result<()> {
    let now = SystemClock.now();
    if now <= credentials.current().not_after() {
        return Ok(());
    }
    let Some(authority) = enrolment else {
        bail!(
            "the manager's credentials have expired, and its authority's key is not here: renew them with `vmm-manager issue manager` where it is"
        );
    };
    credentials.replace(authority.issue(credentials.principal(), now)?)?;
    tracing::warn!("the manager's credentials had expired and were renewed");
    Ok(())
}

/// None where the authority's key is kept elsewhere.
fn authority(layout: &Layout) -> Result<Option<CertificateAuthority>> {
    match CertificateAuthority::load(&layout.authority) {
        Ok(authority) => Ok(Some(authority)),
        Err(CredentialsError::Missing { path }) => {
            tracing::warn!(path = %path.display(), "without the authority's key nobody can join and no certificate is renewed");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

async fn serve(
    config: Config,
    tokens: Tokens,
    credentials: LiveCredentials,
    enrolment: Option<Enrolment>,
) -> Result<()> {
    let env = Env {
        random: Arc::new(random),
        clock: Arc::new(SystemClock),
        dial: Arc::new(|address: &str| Arc::new(TcpConnector::new(address)) as Arc<dyn Connector>),
    };
    let store = StoreLocation::File(config.store);
    let manager = Manager::open(config.manager, store, credentials.clone(), enrolment, env).await?;
    let listener = TcpListener::bind(config.listen).await;
    let listener = listener.with_context(|| format!("listening on {}", config.listen))?;
    tracing::info!(listen = %config.listen, "the manager is up");
    let stop = CancellationToken::new();
    let mut options = ServerOptions::new(Arc::new(SystemClock));
    options.registrar = Some(Arc::clone(&manager) as Arc<dyn Registrar>);
    let service: Arc<Manager> = Arc::clone(&manager);
    let server = Server::new(credentials, service, options);
    let edge = edge(config.http, tokens, &manager, &stop).await?;
    let serving = tokio::spawn(server.serve(TcpListenerAdapter(listener), stop.clone()));
    let running = tokio::spawn(manager.run(stop.clone()));
    let offering = tokio::spawn(async move {
        if let Some(edge) = edge {
            edge.serve().await;
        }
    });
    let ended = wait_for_end(serving, &stop).await;
    stop.cancel();
    offering.await.context("the JSON API failed")?;
    running.await.context("the manager's loops failed")?;
    tracing::info!("the manager has ended");
    ended
}

/// The JSON API, when the configuration has it.
async fn edge(
    http: Option<Http>,
    tokens: Tokens,
    manager: &Arc<Manager>,
    stop: &CancellationToken,
) -> Result<Option<Edge>> {
    let Some(Http { listen, names, tls }) = http else { return Ok(None) };
    let options = HttpOptions { listen, names, tls, tokens, clock: Arc::new(SystemClock) };
    let edge = Edge::bind(options, Arc::clone(manager) as Arc<dyn Service>, stop.clone()).await?;
    tracing::info!(listen = %edge.address(), "the JSON API is up");
    Ok(Some(edge))
}

async fn wait_for_end(
    mut serving: tokio::task::JoinHandle<Result<(), vmm_proto::server::ServeError>>,
    stop: &CancellationToken,
) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    tokio::select! {
        ended = &mut serving => return Ok(ended.context("the server failed")??),
        _ = terminate.recv() => {}
        interrupt = tokio::signal::ctrl_c() => interrupt.context("listening for SIGINT")?,
    }
    tracing::info!("ending: requests under way may finish");
    stop.cancel();
    Ok(serving.await.context("the server failed")??)
}

/// Ids must not repeat: a system that gives no random bytes cannot run a manager.
fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}
