//! Renews certificates when half of their time is over: the manager's own, and those of the hosts that are heard.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use vmm_core::host::Health;
use vmm_core::id::HostId;
use vmm_proto::credentials::Identity;
use vmm_proto::principal::Principal;
use vmm_proto::v1::{InstallCertificate, PrepareKeys, Reply, Request, ShowCertificate};

use crate::agents::AgentCall;
use crate::app::App;
use crate::enrolment::Office;

/// How often it is looked. A certificate is due for days before it ends.
const LOOK: Duration = Duration::from_secs(3600);
/// The first look, when the hosts had time to be heard.
const LOOK_FIRST: Duration = Duration::from_secs(60);
const CALL_WAIT: Duration = Duration::from_secs(10);

/// Runs until the manager stops. What fails is tried again at the next look.
pub(crate) async fn renew(app: &Arc<App>) {
    let Some(office) = app.office.as_deref().filter(|office| office.can_sign()) else { return };
    let mut pause = LOOK_FIRST;
    loop {
        tokio::select! {
            () = app.stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = LOOK;
        renew_own(office);
        for (host, name) in heard(app) {
            if let Err(error) = renew_agent(app, office, host, &name).await {
                tracing::warn!(host = name, error = %format!("{error:#}"), "its certificate was not renewed; tried again in an hour");
            }
        }
    }
}

fn renew_own(office: &Office) {
    if !office.credentials.current().identity().is_due(office.clock.now()) {
        return;
    }
    match office.renew_own() {
        Ok(()) => tracing::info!("the manager's certificate was renewed"),
        Err(error) => tracing::error!(%error, "the manager's certificate was not renewed"),
    }
}

fn heard(app: &App) -> Vec<(HostId, String)> {
    let (state, now) = (app.lock(), tokio::time::Instant::now());
    let up = state.hosts.values().filter(|host| host.health(now) == Health::Up);
    up.map(|host| (host.record.id, host.record.name.clone())).collect()
}

async fn renew_agent(app: &App, office: &Office, host: HostId, name: &str) -> Result<()> {
    let shown = ask(app, host, Request::ShowCertificate(ShowCertificate {}), None).await?;
    let Reply::Certificate(shown) = shown else { bail!("it shows no certificate") };
    let shown = STANDARD.decode(shown.certificate).context("what it shows is no base64")?;
    if !Identity::of(&shown).context("what it shows")?.is_due(office.clock.now()) {
        return Ok(());
    }
    let asked = ask(app, host, Request::PrepareKeys(PrepareKeys {}), None).await?;
    let Reply::SigningRequest(asked) = asked else { bail!("it prepared no keys") };
    let signed = office.sign(&asked.signing_request, &Principal::agent(name))?;
    let key = format!("certificate {}", app.new_task_id());
    let install = InstallCertificate { certificate: signed.certificate };
    ask(app, host, Request::InstallCertificate(install), Some(key)).await?;
    tracing::info!(host = name, "its certificate was renewed");
    Ok(())
}

async fn ask(app: &App, host: HostId, request: Request, key: Option<String>) -> Result<Reply> {
    Ok(app.call_once(host, AgentCall { request, deadline: CALL_WAIT, key }).await?)
}
