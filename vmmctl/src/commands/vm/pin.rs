//! `vmmctl vm pin` and `vm unpin`: which hosts a VM may be on.

use clap::Args;
use vmm_proto::v1::{Pin as OnHost, PinVm, Request, Task};

use super::change::{Ask, change};
use super::targets::{Deed, Targets};
use crate::complete;
use crate::failure::Failure;
use crate::session::Session;
use crate::wait::Waiting;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vmmctl vm pin licence --to host-1
  vmmctl vm pin --where 'tag=gpu' --to host-3,host-4
  vmmctl vm list --where 'pin=host-3'
  vmmctl vm list --where 'misplaced=yes'

It holds for starts, restores and plans from now on. A VM that is on another host stays there until it
is started anew or moved: it is listed as misplaced.")]
pub(crate) struct Pin {
    #[command(flatten)]
    targets: Targets,
    /// All hosts that it may be on, of one pool, with commas between.
    #[arg(long, value_name = "HOSTS", value_delimiter = ',', required = true, add = complete::hosts())]
    to: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: vmmctl vm unpin licence")]
pub(crate) struct Unpin {
    #[command(flatten)]
    targets: Targets,
}

pub(super) async fn pin(session: &Session, pin: Pin) -> Result<(), Failure> {
    set(session, pin.targets, pin.to).await
}

pub(super) async fn unpin(session: &Session, unpin: Unpin) -> Result<(), Failure> {
    set(session, unpin.targets, Vec::new()).await
}

async fn set(session: &Session, targets: Targets, hosts: Vec<String>) -> Result<(), Failure> {
    let ask = async |vm: &str| {
        let request = PinVm { vm: vm.to_owned(), pins: on_wire(&hosts) };
        let hosts = hosts.clone();
        Ok(Ask::new(Request::PinVm(request), move |name, task| said(name, &hosts, task)))
    };
    let verb = if hosts.is_empty() { "unpin" } else { "pin" };
    change(session, targets, Waiting::default(), Deed::harmless(verb), ask).await
}

pub(super) fn on_wire(hosts: &[String]) -> Vec<OnHost> {
    hosts.iter().map(|host| OnHost { host: host.clone() }).collect()
}

/// The first line of the task's log says what stands against the pin, if anything does; the last one says that it is done.
fn said(name: &str, hosts: &[String], task: Option<&Task>) -> String {
    let against = match task.map(|task| task.lines.as_slice()) {
        Some([note, _, ..]) => format!("; {}", note.text),
        _ => String::new(),
    };
    if hosts.is_empty() {
        return format!("{name} may be on any host of its pool");
    }
    format!("{name} is pinned to {}{against}", hosts.join(", "))
}

#[cfg(test)]
mod tests {
    use vmm_proto::v1::TaskLine;

    use super::*;

    #[test]
    fn what_stands_against_a_pin_is_told() {
        let check = |hosts: &[&str], lines: &[&str], expect: &str| {
            let line = |text: &&str| TaskLine { at_ms: 1, text: (*text).to_owned() };
            let task = Task { lines: lines.iter().map(line).collect(), ..Task::default() };
            let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
            assert_eq!(said("web", &hosts, Some(&task)), expect);
        };
        check(&["h1", "h2"], &["Done"], "web is pinned to h1, h2");
        check(&["h1"], &["it is on h2", "Done"], "web is pinned to h1; it is on h2");
        check(&[], &["Done"], "web may be on any host of its pool");
    }
}
