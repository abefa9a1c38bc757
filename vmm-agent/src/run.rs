//! What both binaries do once they have chosen a backend: credentials, agent, listener, signals.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use vmm_proto::bulk::BulkService;
use vmm_proto::clock::SystemClock;
use vmm_proto::credentials::LiveCredentials;
use vmm_proto::server::{Server, ServerOptions, TcpListenerAdapter};
use xen_bindings::Store;

use crate::env::Peers;
use crate::{Agent, AgentConfig, Backend, Blocking, Env};

/// Log filter when `RUST_LOG` says nothing.
const LOG_DEFAULT: &str = "info";

/// Writes the log to standard error.
pub fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| LOG_DEFAULT.into());
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .with_writer(std::io::stderr)
        .init();
}

/// Runs the agent until SIGINT or SIGTERM. Guests run on.
///
/// # Errors
/// The credentials, the state directory, the hypervisor or the address cannot be used, or xenstored is gone; the error says which.
pub async fn run(config: AgentConfig, backend: Backend) -> anyhow::Result<()> {
    let credentials = LiveCredentials::load(&config.credentials).context(
        "no credentials: `vmm-manager invite host NAME` prints the command that gets them",
    )?;
    let listen = config.listen;
    let listener =
        TcpListener::bind(listen).await.with_context(|| format!("cannot listen at {listen}"))?;
    let peers = Some(Peers::tcp(credentials.clone()));
    let env = Env { blocking: Blocking::Pool, random: Arc::new(random), peers };
    let (name, kind) = (config.name.clone(), backend.name);
    let gone = store_gone(backend.xen.store.clone());
    let agent = Agent::start(config, backend, env).await?;
    let stop = CancellationToken::new();
    let bulk: Arc<dyn BulkService> = agent.clone();
    let options = ServerOptions { bulk: Some(bulk), ..ServerOptions::new(Arc::new(SystemClock)) };
    let server = Server::new(credentials, agent.clone(), options);
    // One line on standard output, for whoever waits until the agent can be called.
    println!(
        "agent {name} ({kind}) host {} listens at {}",
        agent.host_id(),
        listener.local_addr()?
    );
    let serving = server.serve(TcpListenerAdapter(listener), stop.clone());
    tokio::pin!(serving);
    tokio::select! {
        outcome = &mut serving => return Ok(outcome?),
        outcome = told_to_stop() => outcome?,
        // Nothing can be taken back without it, so the agent ends as if it were killed; the next one waits for a xenstored.
        reason = gone => anyhow::bail!("xenstored is gone: {reason}"),
    }
    tracing::info!("stopping; guests run on");
    stop.cancel();
    agent.stop().await;
    Ok(serving.await?)
}

async fn told_to_stop() -> std::io::Result<()> {
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// The reason, once there is one.
async fn store_gone(store: Arc<dyn Store>) -> String {
    let (tell, told) = oneshot::channel();
    store.on_gone(Box::new(move |reason| drop(tell.send(reason.to_owned()))));
    match told.await {
        Ok(reason) => reason,
        // A simulated one does not go.
        Err(_) => std::future::pending().await,
    }
}

fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("Linux has had randomness since it booted");
    bytes
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use xen_bindings::sim::{SimConfig, SimMachine};
    use xen_bindings::store::client::Client;

    use super::*;

    #[tokio::test]
    async fn a_xenstored_that_goes_or_is_gone_is_noticed() {
        for late in [false, true] {
            let (ours, daemon) = UnixStream::pair().unwrap();
            let client = Client::over(ours, Duration::from_secs(10)).unwrap();
            if late {
                daemon.shutdown(std::net::Shutdown::Both).unwrap();
                assert!(client.is_introduced(xen_bindings::DomId::DOM0).is_err());
            }
            let gone = tokio::spawn(store_gone(Arc::new(client)));
            tokio::task::yield_now().await;
            assert!(late || !gone.is_finished());
            drop(daemon);
            assert_ne!(gone.await.unwrap(), "");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_simulated_one_does_not_go() {
        let machine = SimMachine::new(SimConfig::default(), Arc::new(|| Duration::ZERO));
        let gone = store_gone(machine.xen().store);
        assert!(tokio::time::timeout(Duration::from_secs(3600), gone).await.is_err());
    }
}
