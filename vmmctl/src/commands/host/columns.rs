//! The columns of a host.

use vmm_proto::v1::{Host, HostFacts, HostHealth, HostLoad};

use crate::output::{Column, Tone, Unit};

type OfHost = Column<Host>;

/// The name first.
pub(crate) const COLUMNS: &[OfHost] = &[
    OfHost::text("name", |host| host.name.clone()),
    OfHost::text("pool", |host| host.pool.clone()),
    OfHost::text("health", |host| health(host.health).to_owned()).shown(shown_health).toned(tone),
    OfHost::count("vms", |host| Some(host.vm_count)),
    OfHost::count("cpus", |host| facts(host, |facts| facts.pcpus.into())),
    OfHost::number("cpu_reserved", Unit::Milli, |host| Some(host.cpu_reserved_milli)),
    OfHost::number("cpu_used", Unit::Milli, |host| load(host, |load| load.cpu_milli)),
    OfHost::number("memory", Unit::Kib, |host| facts(host, |facts| facts.memory_kib)),
    OfHost::number("memory_reserved", Unit::Kib, |host| Some(host.memory_reserved_kib))
        .heading("MEM RESERVED"),
    OfHost::number("disk", Unit::BytesPerS, |host| load(host, |load| load.disk_bytes_per_s)),
    OfHost::number("disk_reserved", Unit::BytesPerS, |host| Some(host.disk_reserved_bytes_per_s)),
    OfHost::text("xen", xen),
    OfHost::number("disk_capacity", Unit::BytesPerS, |host| {
        facts(host, |facts| facts.disk_bytes_per_s)
    })
    .wide(),
    OfHost::number("xen_free", Unit::Kib, |host| load(host, |load| load.memory_free_kib)).wide(),
    OfHost::count("prepared", |host| load(host, |load| load.shell_count.into())).wide(),
    OfHost::number("prepared_memory", Unit::Kib, |host| load(host, |load| load.shell_memory_kib))
        .heading("PREPARED MEM")
        .wide(),
    OfHost::text("pv_moves", pv_moves).wide(),
    OfHost::text("tags", |host| {
        host.tags.iter().map(|tag| tag.name.as_str()).collect::<Vec<_>>().join(",")
    })
    .wide(),
    OfHost::text("notes", |host| host.notes.clone()).wide(),
    OfHost::text("site", |host| host.site.clone()).wide(),
    OfHost::flag("maintenance", |host| host.maintenance).wide(),
    OfHost::text("agent", |host| text(host, |facts| &facts.agent_version)).wide(),
    OfHost::text("backend", |host| text(host, |facts| &facts.backend)).wide(),
    OfHost::text("address", |host| host.address.clone()).wide(),
    OfHost::text("id", |host| host.host.clone()).wide(),
];

fn facts(host: &Host, of: fn(&HostFacts) -> u64) -> Option<u64> {
    host.facts.as_ref().map(of)
}

fn load(host: &Host, of: fn(&HostLoad) -> u64) -> Option<u64> {
    host.load.as_ref().map(of)
}

fn text(host: &Host, of: fn(&HostFacts) -> &String) -> String {
    host.facts.as_ref().map(|facts| of(facts).clone()).unwrap_or_default()
}

/// How a PV guest leaves it.
fn pv_moves(host: &Host) -> String {
    let logs = host.facts.as_ref().and_then(|facts| facts.logs_pv);
    logs.map_or("", |logs| if logs { "running" } else { "standing still" }).to_owned()
}

fn xen(host: &Host) -> String {
    host.facts.as_ref().map_or_else(String::new, |facts| match facts.backend.as_str() {
        "libxc" => facts.xen_version.clone(),
        stand_in => format!("{} ({stand_in})", facts.xen_version),
    })
}

/// In words.
pub(crate) fn health(health: HostHealth) -> &'static str {
    match health {
        HostHealth::Unknown => "not heard",
        HostHealth::Up => "up",
        HostHealth::Silent => "silent",
    }
}

/// In words, with a mark for maintenance.
pub(crate) fn shown_health(host: &Host) -> String {
    let health = health(host.health);
    if host.maintenance { format!("{health}, maintenance") } else { health.to_owned() }
}

/// How it strikes the eye.
pub(crate) fn tone(host: &Host) -> Tone {
    match host.health {
        HostHealth::Unknown => Tone::Moving,
        HostHealth::Silent => Tone::Bad,
        HostHealth::Up if host.maintenance => Tone::Quiet,
        HostHealth::Up => Tone::Good,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{Answer, Look};

    #[test]
    fn a_host_that_was_never_heard_has_dashes() {
        let host = Host {
            host: "id".into(),
            name: "h1".into(),
            address: "h1:8443".into(),
            health: HostHealth::Unknown,
            heard_ms_ago: None,
            maintenance: true,
            vm_count: 0,
            memory_reserved_kib: 0,
            cpu_reserved_milli: 0,
            disk_reserved_bytes_per_s: 0,
            facts: None,
            pool: "default".into(),
            site: "default".into(),
            notes: String::new(),
            tags: Vec::new(),
            load: None,
        };
        let text = Look::default().render(&Answer::list(&[host], COLUMNS)).expect("a table");
        let line = text.lines().nth(1).expect("a row");
        assert!(line.starts_with("h1    default  not heard, maintenance"), "{line}");
        assert!(line.ends_with("  -"), "{line}");
    }
}
