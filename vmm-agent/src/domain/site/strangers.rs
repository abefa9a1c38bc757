//! Who else on this host uses an image: dom0 itself, and guests of other toolstacks. Leases know of our VMs alone.
//!
//! ```text
//!   dom0       a loop device over the file that no record of ours names; mounts, holders and swap of a block device
//!   guests     backends of domains that are not ours: `physical-device` of vbd, `params` of qdisk
//! ```
//!
//! It is a look and no lock: nothing keeps others from using an image afterwards, as nothing does with `xl`. A program that has the
//! file merely open is not seen. A loop device or guest that only reads is no obstacle to a disk that only reads; what dom0 has mounted,
//! swaps on or builds on is one always. Fails when dom0 or xenstore cannot be asked: then the disk is not opened.

use std::collections::BTreeSet;
use std::path::Path;

use xen_bindings::store::read_text;
use xen_bindings::{DomId, StoreError, StorePath};

use crate::Backend;
use crate::device::{backends_path, vbd};
use crate::dom0::{Backing, DeviceNumber, LoopIndex};
use crate::domain::error::StepError;

/// Disks that QEMU serves.
const QDISK: &str = "qdisk";

/// What is not strange.
pub(super) struct Ours {
    /// Uuids of domains.
    pub(super) domains: BTreeSet<[u8; 16]>,
    pub(super) loops: BTreeSet<LoopIndex>,
}

/// The first use by others that does not go with ours, in words.
pub(super) fn find(
    host: &Backend,
    ours: &Ours,
    backing: Backing,
    read_only: bool,
) -> Result<Option<String>, StepError> {
    if let Some(by) = dom0(host, ours, backing, read_only)? {
        return Ok(Some(by));
    }
    for domain in host.xen.control.list()? {
        if domain.domid == DomId::DOM0 || ours.domains.contains(&domain.handle.0) {
            continue;
        }
        for kind in [vbd::KIND, QDISK] {
            let all = backends_path(kind, domain.domid)?;
            for device in children(host, &all)? {
                let node = all.join(&device)?;
                let mode = read_text(host.xen.store.as_ref(), &node.join("mode")?)?;
                let reads = mode.is_some_and(|mode| mode == "r");
                if !(reads && read_only) && serves(host, kind, &node, backing)? {
                    return Ok(Some(format!("domain {} has it", domain.domid)));
                }
            }
        }
    }
    Ok(None)
}

fn dom0(
    host: &Backend,
    ours: &Ours,
    backing: Backing,
    read_only: bool,
) -> Result<Option<String>, StepError> {
    let id = match backing {
        Backing::Device { number, .. } => return Ok(host.dom0.use_of(number)?),
        Backing::File { id, .. } => id,
    };
    let loops = host.dom0.loops()?;
    let strange = loops.iter().find(|attached| {
        attached.file == Some(id)
            && !ours.loops.contains(&attached.index)
            && !(attached.read_only && read_only)
    });
    Ok(strange.map(|attached| format!("{} has it", attached.index.path())))
}

/// Is a backend over what the path leads to?
fn serves(
    host: &Backend,
    kind: &str,
    node: &StorePath,
    backing: Backing,
) -> Result<bool, StepError> {
    let store = host.xen.store.as_ref();
    if kind == vbd::KIND {
        // A file is known by its loop device.
        let Backing::Device { number, .. } = backing else { return Ok(false) };
        let theirs = read_text(store, &node.join("physical-device")?)?;
        return Ok(theirs.as_deref().and_then(DeviceNumber::from_physical_device) == Some(number));
    }
    // FORMAT:PATH
    let params = read_text(store, &node.join("params")?)?.unwrap_or_default();
    let path = params.split_once(':').map_or("", |(_, path)| path);
    // What is not there cannot be the same.
    let theirs = Path::new(path).is_absolute().then(|| host.dom0.backing(Path::new(path)).ok());
    Ok(match (theirs.flatten(), backing) {
        (Some(Backing::File { id: theirs, .. }), Backing::File { id, .. }) => theirs == id,
        (Some(Backing::Device { number: theirs, .. }), Backing::Device { number, .. }) => {
            theirs == number
        }
        _ => false,
    })
}

fn children(host: &Backend, path: &StorePath) -> Result<Vec<String>, StoreError> {
    match host.xen.store.directory(path) {
        Err(StoreError::NotFound) => Ok(Vec::new()),
        names => names,
    }
}
