//! Sites and pools come, change and go; hosts are put into pools.
//!
//! Defining says what shall be: what is not there is made, what is there is changed, and the same request twice is the same as once.

use vmm_core::id::{HostId, PoolId, SiteId};
use vmm_core::label::{LabelError, Notes, PlaceName};
use vmm_proto::v1::{
    DefinePool, DefineSite, Done, Fault, FaultCode, Rebalance, RemovePool, RemoveSite, Reply,
    SetHostPool,
};

use super::change::Change;
use crate::app::{State, Target};
use crate::store::{HostRecord, KeyedReply, PlaceId, PlaceRecord, PoolRecord, Put, SiteRecord};

/// Sites, and pools, of one manager.
const PLACES_MAX: usize = 1000;

pub(super) fn bad(error: &LabelError) -> Fault {
    Fault::new(FaultCode::BadRequest, error.to_string())
}

fn done(change: Change<'_>, about: Target, batch: Vec<Put>) -> Result<Reply, Fault> {
    change.store(about, batch, KeyedReply::Done)?;
    Ok(Reply::Done(Done {}))
}

pub(super) fn conflict(what: &str, name: &str) -> Fault {
    let message = format!("there is a {what} named {name} already; use another name");
    Fault::new(FaultCode::Conflict, message)
}

fn in_use(what: &str, holds: &str, names: &[&str]) -> Fault {
    /// Of many, the first say enough.
    const NAMED_MAX: usize = 10;
    let named = names.iter().take(NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
    let more = if names.len() > NAMED_MAX { ", …" } else { "" };
    let message =
        format!("{what} has {} {holds} ({named}{more}); put them elsewhere first", names.len());
    Fault::new(FaultCode::BadState, message)
}

fn stays(what: &str) -> Fault {
    let message =
        format!("{what} was there from the beginning and stays: what is put nowhere else is in it");
    Fault::new(FaultCode::BadState, message)
}

pub(super) fn named(written: Option<&str>, or: &str) -> Result<String, Fault> {
    match written {
        Some(name) => PlaceName::new(name).map(PlaceName::into_text).map_err(|error| bad(&error)),
        None => Ok(or.to_owned()),
    }
}

pub(super) fn notes(written: Option<&str>, or: &str) -> Result<String, Fault> {
    match written {
        Some(notes) => Notes::new(notes).map(Notes::into_text).map_err(|error| bad(&error)),
        None => Ok(or.to_owned()),
    }
}

fn check_room(count: usize, what: &str) -> Result<(), Fault> {
    if count < PLACES_MAX {
        return Ok(());
    }
    let message = format!("there are {count} {what} already: remove those that are not used");
    Err(Fault::new(FaultCode::BadState, message))
}

/// Makes a site, or changes it.
pub(super) fn define_site(change: Change<'_>, define: &DefineSite) -> Result<Reply, Fault> {
    let places = &change.state.places;
    let before = match places.site_called(&define.site) {
        Some(site) => site.clone(),
        None if define.new_name.is_some() => change.state.site_named(&define.site)?.clone(),
        None => {
            check_room(places.sites().count(), "sites")?;
            let name = named(Some(&define.site), "")?;
            SiteRecord { id: change.app.new_site_id(), name, notes: String::new() }
        }
    };
    let after = SiteRecord {
        name: named(define.new_name.as_deref(), &before.name)?,
        notes: notes(define.notes.as_deref(), &before.notes)?,
        ..before
    };
    if places.sites().any(|other| other.name == after.name && other.id != after.id) {
        return Err(conflict("site", &after.name));
    }
    let about = Target::Site(after.id, after.name.clone());
    done(change, about, vec![Put::Place(PlaceRecord::Site(after))])
}

/// Forgets a site without pools.
pub(super) fn remove_site(change: Change<'_>, remove: &RemoveSite) -> Result<Reply, Fault> {
    let site = change.state.site_named(&remove.site)?;
    if site.id == SiteId::FIRST {
        return Err(stays(&format!("site {}", site.name)));
    }
    let pools: Vec<&str> = change.state.pools_of(site.id).map(|pool| pool.name.as_str()).collect();
    if !pools.is_empty() {
        return Err(in_use(&format!("site {}", site.name), "pools", &pools));
    }
    let (id, about) = (PlaceId::Site(site.id), Target::Site(site.id, site.name.clone()));
    done(change, about, vec![Put::DropPlace(id)])
}

/// Makes a pool, or changes it.
pub(super) fn define_pool(change: Change<'_>, define: &DefinePool) -> Result<Reply, Fault> {
    let places = &change.state.places;
    let before = match places.pool_called(&define.pool) {
        Some(pool) => pool.clone(),
        None if define.new_name.is_some() => change.state.pool_named(&define.pool)?.clone(),
        None => {
            check_room(places.pools().count(), "pools")?;
            let (id, name) = (change.app.new_pool_id(), named(Some(&define.pool), "")?);
            let (site, notes, rebalance) = (SiteId::FIRST, String::new(), Rebalance::default());
            PoolRecord { id, name, site, notes, rebalance }
        }
    };
    let site = match &define.site {
        Some(site) => change.state.site_named(site)?.id,
        None => before.site,
    };
    let after = PoolRecord {
        name: named(define.new_name.as_deref(), &before.name)?,
        notes: notes(define.notes.as_deref(), &before.notes)?,
        rebalance: define.rebalance.unwrap_or(before.rebalance),
        site,
        ..before
    };
    if places.pools().any(|other| other.name == after.name && other.id != after.id) {
        return Err(conflict("pool", &after.name));
    }
    let about = Target::Pool(after.id, after.name.clone());
    done(change, about, vec![Put::Place(PlaceRecord::Pool(after))])
}

/// Forgets a pool without hosts.
pub(super) fn remove_pool(change: Change<'_>, remove: &RemovePool) -> Result<Reply, Fault> {
    let pool = change.state.pool_named(&remove.pool)?;
    if pool.id == PoolId::FIRST {
        return Err(stays(&format!("pool {}", pool.name)));
    }
    let hosts = change.state.hosts_of(pool.id);
    let hosts: Vec<&str> = hosts.map(|host| host.record.name.as_str()).collect();
    if !hosts.is_empty() {
        return Err(in_use(&format!("pool {}", pool.name), "hosts", &hosts));
    }
    let (id, about) = (PlaceId::Pool(pool.id), Target::Pool(pool.id, pool.name.clone()));
    done(change, about, vec![Put::DropPlace(id)])
}

/// Puts a host into a pool. What is on it would be in another pool from one moment to the next, with other hosts to move to: so nothing may be.
pub(super) fn set_host_pool(change: Change<'_>, set: &SetHostPool) -> Result<Reply, Fault> {
    let host = change.state.host_named(&set.host)?.record.clone();
    let pool = change.state.pool_named(&set.pool)?.id;
    let about = Target::Host(host.id, host.name.clone());
    if host.pool == pool {
        return done(change, about, Vec::new());
    }
    let busy = on_host(change.state, host.id);
    if !busy.is_empty() {
        return Err(in_use(&format!("host {}", host.name), "VMs or their saved memory", &busy));
    }
    done(change, about, vec![Put::Host(Box::new(HostRecord { pool, ..host }))])
}

fn on_host(state: &State, host: HostId) -> Vec<&str> {
    let here = state.vms_charged_on(host);
    here.map(|vm| vm.record.spec.name.as_str()).chain(state.saved_on(host)).collect()
}
