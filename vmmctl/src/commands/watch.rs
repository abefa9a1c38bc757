//! `vmmctl watch`: what changes in the pool, as it changes.

use std::time::Duration;

use vmm_proto::v1::{Events, Group, Host, Pool, Site, Task, Vm};

use super::vm::state;
use crate::changes::{Changes, Kinds};
use crate::failure::Failure;
use crate::output::{Format, json_line, visible, write_while_read};
use crate::session::Session;

/// Prints a line for each object there is, and then for each change, until it is interrupted. Changes of one object that come fast are one.
pub(crate) async fn run(session: &Session) -> Result<(), Failure> {
    let mut changes = Changes::from_the_beginning(Kinds::ALL);
    loop {
        let events = changes.next(session, Duration::MAX).await?;
        for line in lines(&events, session.look.format)? {
            if !write_while_read(format!("{}\n", visible(&line)).as_bytes())? {
                return Ok(());
            }
        }
    }
}

fn lines(events: &Events, format: Format) -> Result<Vec<String>, Failure> {
    match format {
        Format::Json => return json_line(events).map(|line| vec![line]),
        Format::Table | Format::Wide => {}
        _ => return Err(Failure::Usage("watch has the forms table and json".into())),
    }
    let resync = events.resync.then(|| "--     what the manager knows, anew".to_owned());
    let hosts = events.hosts.iter().map(host);
    let tasks = events.tasks.iter().map(task);
    let gone = events.gone.iter().map(|gone| {
        format!("{:<6} {} is gone", format!("{:?}", gone.object).to_lowercase(), gone.id)
    });
    Ok(resync
        .into_iter()
        .chain(hosts)
        .chain(events.vms.iter().map(vm))
        .chain(tasks)
        .chain(events.pools.iter().map(pool))
        .chain(events.sites.iter().map(site))
        .chain(events.groups.iter().map(group))
        .chain(gone)
        .collect())
}

fn host(host: &Host) -> String {
    let health = format!("{:?}", host.health).to_lowercase();
    let maintenance = if host.maintenance { ", in maintenance" } else { "" };
    format!("host   {} is {health}{maintenance}, {} VMs", host.name, host.vm_count)
}

fn vm(vm: &Vm) -> String {
    let on = vm.host.as_ref().map_or_else(String::new, |host| format!(" on {host}"));
    let why = if vm.reason.is_empty() { String::new() } else { format!(": {}", vm.reason) };
    let size =
        format!("{}/{} vCPUs, {} MiB", vm.vcpus_online, vm.spec.vcpus_max, vm.memory_now_kib >> 10);
    format!("vm     {} is {}{on}, {size}{why}", vm.spec.name, state(vm))
}

fn task(task: &Task) -> String {
    let state = format!("{:?}", task.state).to_lowercase();
    let how = match &task.fault {
        Some(fault) => format!(": {fault}"),
        None if task.step.is_empty() => String::new(),
        None => format!(", {}", task.step),
    };
    format!("task   {} of {} is {state}{how}", task.verb, task.vm_name)
}

fn pool(pool: &Pool) -> String {
    format!("pool   {} in {}, {} hosts", pool.name, pool.site, pool.capacity.host_count)
}

fn site(site: &Site) -> String {
    format!("site   {}, {} pools", site.name, site.pool_count)
}

fn group(group: &Group) -> String {
    let violated = if group.violated { ", violated" } else { "" };
    format!("group  {}, {} VMs{violated}", group.name, group.members.len())
}

#[cfg(test)]
mod tests {
    use vmm_proto::v1::{Gone, ObjectKind};

    use super::super::vm::show::sample;
    use super::*;

    #[test]
    fn each_object_has_its_line() {
        let events = Events {
            resync: true,
            vms: vec![sample()],
            gone: vec![Gone { object: ObjectKind::Task, id: "7".into() }],
            ..Events::default()
        };
        let text = lines(&events, Format::Table).expect("lines");
        assert_eq!(text.len(), 3, "{text:?}");
        assert!(text[1].starts_with("vm     web is saved"), "{text:?}");
        assert_eq!(text[2], "task   7 is gone");
        assert_eq!(lines(&events, Format::Json).expect("lines").len(), 1);
    }
}
