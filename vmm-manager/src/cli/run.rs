//! `vmm-manager run`.

use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use vmm_manager::{Env, Manager, StoreLocation};
use vmm_proto::client::{Connector, TcpConnector};
use vmm_proto::clock::{SystemClock, WallClock as _};
use vmm_proto::credentials::Credentials;
use vmm_proto::server::{Server, ServerOptions, TcpListenerAdapter};

use super::file::{Config, Layout};

/// From then on the log asks for new credentials.
const EXPIRY_WARNING: Duration = Duration::from_secs(7 * 86_400);

pub(super) fn run(directory: &Path) -> Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let layout = Layout::of(directory);
    let config = layout.read()?;
    let credentials = Credentials::load(&layout.credentials)?;
    check_expiry(&credentials)?;
    let runtime = tokio::runtime::Runtime::new().context("starting the runtime")?;
    runtime.block_on(serve(config, Arc::new(credentials)))
}

fn check_expiry(credentials: &Credentials) -> Result<()> {
    let left = credentials.not_after().checked_sub(SystemClock.now());
    let Some(left) = left else {
        bail!(
            "the manager's credentials have expired: renew them with `vmm-manager issue manager`"
        );
    };
    if left < EXPIRY_WARNING {
        tracing::warn!(
            days = left.as_secs() / 86_400,
            "the manager's credentials expire soon: renew them with `vmm-manager issue manager` and restart"
        );
    }
    Ok(())
}

async fn serve(config: Config, credentials: Arc<Credentials>) -> Result<()> {
    let env = Env {
        random: Arc::new(random),
        clock: Arc::new(SystemClock),
        dial: Arc::new(|address: &str| Arc::new(TcpConnector::new(address)) as Arc<dyn Connector>),
    };
    let store = StoreLocation::File(config.store);
    let manager = Manager::open(config.manager, store, Arc::clone(&credentials), env).await?;
    let listener = TcpListener::bind(config.listen).await;
    let listener = listener.with_context(|| format!("listening on {}", config.listen))?;
    tracing::info!(listen = %config.listen, "the manager is up");
    let stop = CancellationToken::new();
    let options = ServerOptions::new(Arc::new(SystemClock));
    let service: Arc<Manager> = Arc::clone(&manager);
    let server = Server::new(credentials, service, options);
    let serving = tokio::spawn(server.serve(TcpListenerAdapter(listener), stop.clone()));
    let running = tokio::spawn(manager.run(stop.clone()));
    let ended = wait_for_end(serving, &stop).await;
    stop.cancel();
    running.await.context("the manager's loops failed")?;
    tracing::info!("the manager has ended");
    ended
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
