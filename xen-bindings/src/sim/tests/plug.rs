//! What a toolstack writes for a disk or a NIC.

use super::Lab;
use crate::DomId;

/// `what` is `vbd/N` or `vif/N`.
pub(super) fn backend(domid: DomId, what: &str) -> String {
    let (kind, number) = what.split_once('/').unwrap();
    format!("/local/domain/0/backend/{kind}/{domid}/{number}")
}

pub(super) fn frontend(domid: DomId, what: &str) -> String {
    format!("/local/domain/{domid}/device/{what}")
}

/// The device itself comes later, when `device` is `None`.
pub(super) fn attach_vbd(lab: &Lab, domid: DomId, devid: u32, device: Option<&str>) {
    attach(lab, domid, &format!("vbd/{devid}"), &[("params", "/dev/loop0"), ("mode", "w")]);
    if let Some(device) = device {
        let back = backend(domid, &format!("vbd/{devid}"));
        lab.write(&format!("{back}/physical-device"), device);
    }
}

/// What all vifs have, but for those that are left out.
pub(super) fn attach_vif(lab: &Lab, domid: DomId, index: u32, without: &[&str]) {
    let handle = index.to_string();
    let nodes = [("script", "vif-bridge"), ("handle", &handle), ("mac", "00:16:3e:00:00:01")];
    let nodes: Vec<_> = nodes.into_iter().filter(|(name, _)| !without.contains(name)).collect();
    attach(lab, domid, &format!("vif/{index}"), &nodes);
}

fn attach(lab: &Lab, domid: DomId, what: &str, nodes: &[(&str, &str)]) {
    let (back, front) = (backend(domid, what), frontend(domid, what));
    for (name, value) in nodes {
        lab.write(&format!("{back}/{name}"), value);
    }
    for (path, value) in [
        (format!("{back}/frontend"), front.as_str()),
        (format!("{back}/frontend-id"), &domid.to_string()),
        (format!("{back}/online"), "1"),
        (format!("{front}/backend"), back.as_str()),
        (format!("{front}/backend-id"), "0"),
        (format!("{front}/state"), "1"),
        (format!("{back}/state"), "1"),
    ] {
        lab.write(&path, value);
    }
    for path in [&front, &format!("{front}/state"), &format!("{front}/backend")] {
        lab.permit(path, domid, true);
    }
    for path in [&back, &format!("{back}/state")] {
        lab.permit(path, domid, false);
    }
}

/// The toolstack's wish that the device goes.
pub(super) fn detach(lab: &Lab, domid: DomId, what: &str) {
    lab.write(&format!("{}/online", backend(domid, what)), "0");
    lab.write(&format!("{}/state", backend(domid, what)), "5");
}

/// Backend's and frontend's.
pub(super) fn states(lab: &Lab, domid: DomId, what: &str) -> [Option<String>; 2] {
    [backend(domid, what), frontend(domid, what)].map(|path| lab.read(&format!("{path}/state")))
}

pub(super) fn both(back: &str, front: &str) -> [Option<String>; 2] {
    [Some(back.into()), Some(front.into())]
}

pub(super) fn remove(lab: &Lab, domid: DomId, what: &str) {
    for path in [backend(domid, what), frontend(domid, what)] {
        lab.xen.store.remove(&crate::StorePath::new(path).unwrap()).unwrap();
    }
}
