//! Guests of the lab's workload that misbehave: the damage ends at their own nodes.

use std::time::Duration;

use super::guest::{BOOT, booted, node};
use super::subject::{Case, Outcome, Subject, ensure, same, text};
use crate::control::GuestKind;
use crate::store::StoreError;

/// Nodes in one folder of the workload's, the folder counted.
const FOLDER_NODES: usize = 51;
/// Nodes that the toolstack made and the guest owns, and what the guest makes beside.
const OTHER_NODES: usize = 100;
const WHILE: Duration = Duration::from_secs(2);

pub(super) const CASES: &[Case] = &[
    Case { name: "a guest's new nodes end at its quota", run: quota },
    Case { name: "a guest writes nonsense to its own nodes and to no others", run: nonsense },
];

fn quota(subject: &Subject) -> Outcome {
    let most = subject.flavour.rules().guest_nodes_max;
    let guard = booted(subject, GuestKind::Pvh, "hostile:quota")?;
    let data = node(guard.domid, "data")?;
    let mut full = 0;
    let mut count = || -> Result<usize, String> {
        match subject.xen.store.directory(&data) {
            // It removes everything after a second, to begin anew.
            Err(StoreError::NotFound) => Ok(full),
            Ok(names) => {
                full = full.max(names.len() * FOLDER_NODES);
                Ok(full)
            }
            Err(error) => Err(text(error)),
        }
    };
    subject.until("its quota is used up", BOOT, || Ok(count()? + OTHER_NODES >= most))?;
    (subject.wait)(WHILE);
    let counted = count()?;
    ensure(counted <= most + FOLDER_NODES, format!("{counted} nodes of {most}"))?;
    let note = node(guard.domid, "dom0-may")?;
    subject.xen.store.write(&note, b"1").map_err(text)?;
    same("dom0's own node in there", subject.xen.store.read(&note).map_err(text)?, b"1".to_vec())
}

fn nonsense(subject: &Subject) -> Outcome {
    let guard = booted(subject, GuestKind::Pvh, "hostile:nonsense")?;
    let id = guard.domid;
    let store = &subject.xen.store;
    let own = node(id, "control/feature-poweroff")?;
    subject.until("it writes nonsense", BOOT, || {
        let value = store.read(&own).map_err(text)?;
        Ok(!matches!(value.as_slice(), b"" | b"1"))
    })?;
    (subject.wait)(WHILE);
    let memory = super::guest::MEMORY_KIB.to_string();
    for (name, expect) in [
        ("name", "vmm-contract"),
        ("domid", &id.to_string()),
        ("memory/target", &memory),
        ("cpu/0/availability", "online"),
    ] {
        let value = store.read(&node(id, name)?).map_err(text)?;
        same(name, String::from_utf8_lossy(&value).into_owned(), expect.to_owned())?;
    }
    ensure(subject.info(id)?.is_some(), "it is gone")
}
