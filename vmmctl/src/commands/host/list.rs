//! `vmmctl host list`

use vmm_proto::v1::{Host, HostHealth, ListHosts, Reply, Request};

use crate::failure::Failure;
use crate::output::{cpus, mib, or_dash, print, rate, table};
use crate::session::{Session, unexpected};

pub(super) async fn run(session: &Session) -> Result<(), Failure> {
    match session.call(Request::ListHosts(ListHosts::default())).await? {
        Reply::Hosts(hosts) => print(session.format, &hosts.hosts, |hosts| show(hosts)),
        other => Err(unexpected(&other)),
    }
}

fn show(hosts: &[Host]) -> String {
    let headings = [
        "NAME",
        "HEALTH",
        ">VMS",
        ">CPUS",
        ">CPU RESERVED",
        ">CPU USED",
        ">MEMORY",
        ">MEM RESERVED",
        ">PREPARED",
        ">DISK",
        ">DISK RESERVED",
        "XEN",
        "ADDRESS",
    ];
    table(&headings, &hosts.iter().map(row).collect::<Vec<_>>())
}

fn row(host: &Host) -> Vec<String> {
    let facts = host.facts.as_ref();
    vec![
        host.name.clone(),
        health(host),
        host.vm_count.to_string(),
        or_dash(facts, |facts| facts.pcpus.to_string()),
        cpus(host.cpu_reserved_milli),
        or_dash(host.load, |load| cpus(load.cpu_milli)),
        or_dash(facts, |facts| mib(facts.memory_kib)),
        mib(host.memory_reserved_kib),
        or_dash(host.load, |load| format!("{} ({})", load.shell_count, mib(load.shell_memory_kib))),
        or_dash(facts, |facts| rate(facts.disk_bytes_per_s)),
        rate(host.disk_reserved_bytes_per_s),
        or_dash(facts, |facts| match facts.backend.as_str() {
            "libxc" => facts.xen_version.clone(),
            stand_in => format!("{} ({stand_in})", facts.xen_version),
        }),
        host.address.clone(),
    ]
}

fn health(host: &Host) -> String {
    let health = match host.health {
        HostHealth::Unknown => "not heard",
        HostHealth::Up => "up",
        HostHealth::Silent => "silent",
    };
    if host.maintenance { format!("{health}, maintenance") } else { health.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            pool: "default".into(),
            site: "default".into(),
            notes: String::new(),
            tags: Vec::new(),
            facts: None,
            load: None,
        };
        let text = show(&[host]);
        let line = text.lines().nth(1).expect("a row");
        assert!(line.starts_with("h1    not heard, maintenance"), "{line}");
        assert!(line.ends_with("h1:8443"));
    }
}
