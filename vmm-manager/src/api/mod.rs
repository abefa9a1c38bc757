//! What callers may ask: translate, call, answer. A file per noun.
//!
//! Users ask, and a manager may; agents never do. Whatever a reply says is stored before it is sent: it is a task, or the thing
//! itself where it is done at once. Every fault that names no hop comes from here.

mod bulk;
mod certificate;
mod change;
mod create;
mod decision;
mod define;
mod evacuate;
mod event;
mod group;
mod host;
mod label;
mod many;
mod migrate;
mod named;
mod orphan;
mod pin;
mod place;
mod plan;
mod read;
mod saved;
mod task;

pub(crate) use bulk::resume as resume_bulk;

use std::sync::Arc;
use std::time::Duration;

use vmm_proto::credentials::CertificateDer;
use vmm_proto::enrolment::Application;
use vmm_proto::principal::{Principal, Role};
use vmm_proto::server::Caller;
use vmm_proto::v1::{self, AddHost, Cost, Fault, FaultCode, MigrateVm, Permission, Reply, Request};

use crate::app::{App, KeyUse, Origin, State, store_fault};
use crate::enrolment::Office;
use crate::store::StoreError;
use crate::view;

/// The hop that faults of this process name.
const HOP: &str = "manager";

/// Who waits is not sent round in circles while the store is opened anew.
const STORE_AWAY_PAUSE: Duration = Duration::from_secs(1);

pub(crate) async fn answer(
    app: &Arc<App>,
    caller: Caller,
    request: Request,
) -> Result<Reply, Fault> {
    let verb = v1::verb(&request);
    let answer = dispatch(app, &caller, request).await;
    // What anybody is told is stored. A look is answered all the same while the store is opened anew.
    let answer = match app.stored().await {
        Err(error) if verb.mutating => Err(store_fault(&error)),
        Err(StoreError::Lost { .. } | StoreError::Superseded) if verb.cost == Cost::Wait => {
            tokio::time::sleep(STORE_AWAY_PAUSE).await;
            answer
        }
        _ => answer,
    };
    answer.map_err(|fault| fault.at(HOP))
}

async fn dispatch(app: &Arc<App>, caller: &Caller, request: Request) -> Result<Reply, Fault> {
    permit(&caller.principal, &request)?;
    match request {
        Request::Ping(ping) => Ok(Reply::Pong(ping)),
        Request::ListSites(list) => view::list_sites(app, &list),
        Request::ListPools(list) => view::list_pools(app, &list),
        Request::ListHosts(list) => view::list_hosts(app, &list),
        Request::ListVms(list) => view::list_vms(app, &list),
        Request::PlanMoves(plan) => plan::moves(app, &plan),
        Request::PlanEvacuation(plan) => plan::evacuation(app, &plan),
        Request::PlanGrowth(plan) => plan::growth(app, &plan),
        Request::PlanMigration(plan) => migrate::plan(app, &plan),
        Request::ListDecisions(list) => Ok(decision::list(app, &list)),
        Request::ShowDecision(show) => decision::show(app, &show),
        Request::ReadDecision(read) => decision::read(app, &read),
        Request::ListGroups(list) => view::list_groups(app, &list),
        Request::ShowGroup(show) => group::show(app, &show),
        Request::ListLabels(_) => Ok(view::list_labels(app)),
        Request::ShowVm(show) => read::show_vm(app, &show),
        Request::ReadConsole(read) => read::console(app, caller, read).await,
        Request::GetVmStats(get) => read::vm_stats(app, caller, get).await,
        Request::GetHostStats(get) => read::host_stats(app, caller, get).await,
        Request::ListOrphans(_) => Ok(orphan::list(app)),
        Request::ListTasks(list) => task::list(app, &list),
        Request::WaitTask(wait) => task::wait(app, caller, &wait).await,
        Request::WaitEvents(wait) => event::wait(app, caller, &wait).await,
        Request::RenewCertificate(renew) => certificate::renew(app, caller, &renew),
        Request::CancelTask(cancel) => task::cancel(app, caller, &cancel),
        many if many::is_asked(app, &many) => many::create(app, caller, many).await,
        change => match evacuate::meant(app, &change) {
            Some(meant) => evacuate::begin(app, caller, change, &meant),
            None => decide(app, caller, change),
        },
    }
}

/// Admits somebody with a token. A host that says where it is to be called is in the pool then; if it cannot be, it gets no certificate, and
/// may come again with the same token.
pub(crate) async fn admit(
    app: &Arc<App>,
    application: Application,
) -> Result<CertificateDer<'static>, Fault> {
    let admitted = admit_as(app, &application).await.map_err(|fault| fault.at(HOP));
    match &admitted {
        Ok(_) => tracing::info!(principal = %application.principal, "admitted by a token"),
        Err(fault) => tracing::warn!(principal = %application.principal, %fault, "not admitted"),
    }
    admitted
}

async fn admit_as(
    app: &Arc<App>,
    application: &Application,
) -> Result<CertificateDer<'static>, Fault> {
    let certificate = office(app)?.admit(application)?;
    if let (Role::Agent, Some(address)) = (application.principal.role, &application.address) {
        let name = application.principal.id.clone();
        let add = AddHost { name, address: address.clone(), pool: None };
        let caller = Caller {
            principal: application.principal.clone(),
            request_id: format!("join {}", application.token),
            idempotency_key: Some(format!("join {} {address}", application.token)),
            deadline: None,
        };
        decide(app, &caller, Request::AddHost(add))?;
        app.stored().await.map_err(|error| store_fault(&error))?;
    }
    Ok(certificate)
}

/// As tasks name those who ask.
fn who(principal: &Principal) -> String {
    format!("{}/{}", principal.role, principal.id)
}

fn office(app: &App) -> Result<&Office, Fault> {
    app.office.as_deref().ok_or_else(|| {
        Fault::new(FaultCode::Unsupported, "this manager speaks over no wire and signs for nobody")
    })
}

/// Denied by default: a verb that the manager does not answer is left to what follows, which says so.
fn permit(who: &Principal, request: &Request) -> Result<(), Fault> {
    let denied = |message: String| Err(Fault::new(FaultCode::Denied, message));
    let Some(most) = Permission::of(who.role) else {
        return denied(format!(
            "{who} may not ask the manager for anything; use a user's credentials"
        ));
    };
    let verb = v1::verb(request);
    match verb.manager {
        Some(needed) if most < needed => {
            let role = needed.least();
            denied(format!(
                "{who} may not {}: it takes credentials of `vmm-manager issue {role} NAME`",
                verb.name
            ))
        }
        _ => Ok(()),
    }
}

/// Changes: one at a time, each under the lock from the look at its key to its storing.
fn decide(app: &Arc<App>, caller: &Caller, request: Request) -> Result<Reply, Fault> {
    let mut state = app.lock();
    let (request, origin) = match asked(&state, caller, request)? {
        Asked::Before(reply) => return Ok(reply),
        Asked::Now(request, origin) => (*request, origin),
    };
    let reply = carry_out(change::Change { app, state: &mut state, origin }, request);
    drop(state);
    app.tell_changed();
    reply
}

/// A change that was asked for.
enum Asked {
    /// Its key got this reply.
    Before(Reply),
    /// What is to be done; of a task that is tried again, what that was.
    Now(Box<Request>, Origin),
}

fn asked(state: &State, caller: &Caller, request: Request) -> Result<Asked, Fault> {
    let key = KeyUse::of(caller, &request)?;
    if let Some(reply) = state.replayed(key.as_ref())? {
        return Ok(Asked::Before(reply));
    }
    let (request, retry_of) = match request {
        Request::RetryTask(retry) => {
            let (request, task) = task::asked_again(state, &retry)?;
            permit(&caller.principal, &request)?;
            (request, Some(task))
        }
        request => (request, None),
    };
    let origin = Origin {
        key,
        initiator: who(&caller.principal),
        request: Box::new(request.clone()),
        retry_of,
        parent: None,
    };
    Ok(Asked::Now(Box::new(request), origin))
}

/// A move that the manager wants by itself: a task like any other.
///
/// # Errors
/// Why it cannot be made now.
pub(crate) fn begin_move(
    app: &Arc<App>,
    initiator: &str,
    asked: MigrateVm,
) -> Result<Box<v1::Task>, Fault> {
    let request = Request::MigrateVm(asked);
    let origin = Origin {
        key: None,
        initiator: initiator.to_owned(),
        request: Box::new(request.clone()),
        retry_of: None,
        parent: None,
    };
    let mut state = app.lock();
    match carry_out(change::Change { app, state: &mut state, origin }, request)? {
        Reply::Task(task) => Ok(task),
        _ => Err(Fault::new(FaultCode::Internal, "a move is no task")),
    }
}

fn carry_out(change: change::Change<'_>, request: Request) -> Result<Reply, Fault> {
    match request {
        Request::AddHost(add) => host::add(change, add),
        Request::RemoveHost(remove) => host::remove(change, &remove),
        Request::SetMaintenance(set) => host::set_maintenance(change, &set),
        Request::CreateVm(create) => create::create(change, &create),
        Request::StartVm(start) => create::start(change, &start),
        Request::DeleteVm(delete) => create::delete(change, &delete),
        Request::SetMemory(set) => change::set_memory(change, set),
        Request::SetVcpus(set) => change::set_vcpus(change, set),
        Request::MigrateVm(asked) => migrate::migrate(change, &asked),
        Request::SaveVm(save) => saved::save(change, save),
        Request::RestoreVm(restore) => saved::restore(change, &restore),
        Request::DiscardSaved(discard) => saved::discard(change, &discard),
        Request::ResizeDisk(resize) => define::resize(change, resize),
        Request::BulkVms(bulk) => bulk::begin(change, bulk),
        Request::DestroyOrphan(destroy) => orphan::destroy(change, &destroy),
        Request::SetHostPool(set) => place::set_host_pool(change, &set),
        Request::DefineSite(define) => place::define_site(change, &define),
        Request::RemoveSite(remove) => place::remove_site(change, &remove),
        Request::DefinePool(define) => place::define_pool(change, &define),
        Request::RemovePool(remove) => place::remove_pool(change, &remove),
        Request::DefineGroup(define) => group::define(change, &define),
        Request::RemoveGroup(remove) => group::remove(change, &remove),
        Request::PinVm(asked) => pin::pin(change, &asked),
        Request::LabelVm(label) => label::vm(change, &label),
        Request::LabelHost(label) => label::host(change, &label),
        Request::RenameVm(_)
        | Request::ConfigureVm(_)
        | Request::AttachDisk(_)
        | Request::DetachDisk(_)
        | Request::AttachNic(_)
        | Request::DetachNic(_) => define::define(change, request),
        Request::SuspendVm(_)
        | Request::ResumeVm(_)
        | Request::PauseVm(_)
        | Request::UnpauseVm(_)
        | Request::ShutdownVm(_)
        | Request::RebootVm(_)
        | Request::DestroyVm(_) => change::power(change, request),
        other => {
            let message =
                format!("the manager has no verb {}; an agent may", v1::verb(&other).name);
            Err(Fault::new(FaultCode::Unsupported, message))
        }
    }
}
