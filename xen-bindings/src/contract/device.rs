//! Disks and NICs through dom0's own backends: the handshake, both ways, and what they say when something is missing.

use std::os::fd::AsFd;
use std::time::Duration;

use super::guest::{LOOKS_A_WORD, PLUG, ready};
use super::subject::{Case, Outcome, Subject, denied, ensure, path, refused, same, text};
use crate::StorePath;
use crate::control::{GuestKind, RunState};
use crate::domid::DomId;
use crate::error::XenErrorKind;
use crate::evtchn::Port;
use crate::frame::Gfn;
use crate::shared_ring::GrantRef;
use crate::store::{Access, NodeWrite, Permissions, read_text, transact};

/// A dying domain that nothing held would be gone by then.
const WHILE: Duration = Duration::from_secs(2);
/// In this time a guest notices that a device's nodes are gone.
const FORGET: Duration = Duration::from_secs(2);
/// Beyond what any guest's table holds.
const NO_GRANT: u32 = 1 << 24;
const MAC: &str = "00:16:3e:7e:57:01";

pub(super) const CASES: &[Case] = &[
    Case { name: "a disk is plugged into a running guest and taken away, twice", run: disk },
    Case { name: "a disk's backend waits for its device", run: late_disk },
    Case { name: "a NIC is let in when its bridge port is there, and taken away, twice", run: nic },
    Case { name: "netback refuses a NIC that lacks a node", run: incomplete_nic },
    Case { name: "a dead guest's nodes go, and it too when no backend maps its ring", run: held },
];

/// A device by its two trees.
struct Device {
    id: DomId,
    kind: &'static str,
    number: u32,
}

impl Device {
    fn disk(id: DomId) -> Self {
        Self { id, kind: "vbd", number: 51712 }
    }

    fn nic(id: DomId) -> Self {
        Self { id, kind: "vif", number: 0 }
    }

    fn backend(&self, node: &str) -> Result<StorePath, String> {
        let Self { id, kind, number } = self;
        path(&format!("/local/domain/0/backend/{kind}/{id}/{number}"))
            .and_then(|top| if node.is_empty() { Ok(top) } else { top.join(node).map_err(text) })
    }

    fn frontend(&self, node: &str) -> Result<StorePath, String> {
        let top = StorePath::domain(self.id).join(&format!("device/{}/{}", self.kind, self.number));
        let top = top.map_err(text)?;
        if node.is_empty() { Ok(top) } else { top.join(node).map_err(text) }
    }

    /// Writes both trees, in one transaction.
    fn describe(&self, subject: &Subject, own: &[(&str, &str)]) -> Outcome {
        let (id, number) = (self.id.to_string(), self.number.to_string());
        let (back, front) = (self.backend("")?, self.frontend("")?);
        let of_dom0 = Permissions::owned_by(DomId::DOM0).grant(self.id, Access::Read);
        let of_guest = Permissions::owned_by(self.id).grant(DomId::DOM0, Access::Read);
        let top = |path: &StorePath, permissions| NodeWrite {
            path: path.clone(),
            value: Vec::new(),
            permissions: Some(permissions),
        };
        let mut nodes = vec![top(&back, of_dom0), top(&front, of_guest)];
        let common = [("frontend", front.as_str()), ("frontend-id", &id), ("online", "1")];
        for (name, value) in common.iter().chain(own).chain(&[("state", "1")]) {
            nodes.push(leaf(self.backend(name)?, value));
        }
        for (name, value) in [
            ("backend", back.as_str()),
            ("backend-id", "0"),
            ("virtual-device", &number),
            ("device-type", "disk"),
            ("handle", &number),
            ("mac", MAC),
            ("state", "1"),
        ] {
            nodes.push(leaf(self.frontend(name)?, value));
        }
        transact(subject.xen.store.as_ref(), |transaction| transaction.write_nodes(&nodes))
            .map_err(text)
    }

    /// Waits until both sides are in these states.
    fn reach(&self, subject: &Subject, back: &str, front: &str) -> Outcome {
        let expect = [Some(back.to_owned()), Some(front.to_owned())];
        let nodes = [self.backend("state")?, self.frontend("state")?];
        let seen = || -> Result<[Option<String>; 2], String> {
            let read = |at: &StorePath| read_text(subject.xen.store.as_ref(), at).map_err(text);
            Ok([read(&nodes[0])?, read(&nodes[1])?])
        };
        let what = format!("{} reaches {back} and {front}", self.kind);
        let mut looks = 0_u32;
        let reached = subject.until(&what, PLUG, || {
            looks += 1;
            if looks.is_multiple_of(LOOKS_A_WORD) && front != "1" {
                self.announce_again(subject)?;
            }
            Ok(seen()? == expect)
        });
        reached.map_err(|error| match seen() {
            Ok(states) => format!("{error}; it is at {states:?}"),
            Err(more) => format!("{error}; {more}"),
        })
    }

    /// Linux looks at its devices and then begins to watch for more: one that comes in between is missed, until one of its nodes is
    /// written. The suite's guests are on xenstore just then.
    fn announce_again(&self, subject: &Subject) -> Outcome {
        let node = self.frontend("state")?;
        transact(subject.xen.store.as_ref(), |transaction| {
            match read_text(transaction, &node)?.as_deref() {
                Some("1") => transaction.write(&node, b"1"),
                _ => Ok(()),
            }
        })
        .map_err(text)
    }

    fn write(&self, subject: &Subject, name: &str, value: &str) -> Outcome {
        subject.xen.store.write(&self.backend(name)?, value.as_bytes()).map_err(text)
    }

    fn unplug(&self, subject: &Subject) -> Outcome {
        let nodes = [leaf(self.backend("online")?, "0"), leaf(self.backend("state")?, "5")];
        transact(subject.xen.store.as_ref(), |transaction| transaction.write_nodes(&nodes))
            .map_err(text)?;
        self.reach(subject, "6", "6")?;
        subject.xen.store.remove(&self.frontend("")?).map_err(text)?;
        subject.xen.store.remove(&self.backend("")?).map_err(text)
    }
}

fn leaf(path: StorePath, value: &str) -> NodeWrite {
    NodeWrite { path, value: value.as_bytes().to_vec(), permissions: None }
}

/// All that blkback needs but the device.
const DISK: [(&str, &str); 6] = [
    ("mode", "w"),
    ("dev", "xvda"),
    ("type", "phy"),
    ("device-type", "disk"),
    ("removable", "0"),
    ("discard-enable", "0"),
];
const NIC: [(&str, &str); 4] = [("script", ""), ("handle", "0"), ("mac", MAC), ("type", "vif")];

fn plugged_disk(subject: &Subject, id: DomId) -> Result<Device, String> {
    let disk = Device::disk(id);
    let mut own = DISK.to_vec();
    own.push(("physical-device", &subject.disk));
    disk.describe(subject, &own)?;
    disk.reach(subject, "4", "4")?;
    Ok(disk)
}

fn disk(subject: &Subject) -> Outcome {
    for kind in [GuestKind::Pvh, GuestKind::Pv] {
        let guard = ready(subject, kind)?;
        for round in 1..=2 {
            let disk = plugged_disk(subject, guard.domid)
                .map_err(|error| format!("{kind:?}, round {round}: {error}"))?;
            let sectors = read_text(subject.xen.store.as_ref(), &disk.backend("sectors")?);
            let sectors = sectors.map_err(text)?.and_then(|text| text.parse::<u64>().ok());
            ensure(sectors.is_some_and(|sectors| sectors > 0), format!("{sectors:?} sectors"))?;
            comes_to_rest(subject, &disk)?;
            let unplugged = disk.unplug(subject);
            unplugged.map_err(|error| format!("{kind:?}, unplug {round}: {error}"))?;
            (subject.wait)(FORGET);
        }
    }
    Ok(())
}

/// All that a guest has asked of its disk is answered in the end; a grant that it never gave tells nothing.
fn comes_to_rest(subject: &Subject, disk: &Device) -> Outcome {
    let ring = read_text(subject.xen.store.as_ref(), &disk.frontend("ring-ref")?).map_err(text)?;
    let ring = ring.and_then(|text| text.parse().ok()).ok_or("the ring has no number")?;
    let counters = |grant| subject.xen.rings.ring_counters(disk.id, GrantRef(grant)).map_err(text);
    subject.until("all is answered", PLUG, || Ok(counters(ring)?.in_flight() == 0))?;
    ensure(counters(NO_GRANT).is_err(), "a grant that nobody gave was read")?;
    let nobody = subject.xen.rings.ring_counters(Subject::nobody(), GrantRef(ring));
    ensure(nobody.is_err(), "a ring of nobody was read")
}

fn late_disk(subject: &Subject) -> Outcome {
    let guard = ready(subject, GuestKind::Pvh)?;
    let disk = Device::disk(guard.domid);
    disk.describe(subject, &DISK)?;
    disk.reach(subject, "2", "3")?;
    disk.write(subject, "physical-device", &subject.disk)?;
    disk.reach(subject, "4", "4")?;
    disk.unplug(subject)
}

fn nic(subject: &Subject) -> Outcome {
    let guard = ready(subject, GuestKind::Pvh)?;
    for round in 1..=2 {
        let nic = Device::nic(guard.domid);
        let told = |error| format!("round {round}: {error}");
        nic.describe(subject, &NIC)?;
        nic.reach(subject, "2", "4").map_err(told)?;
        nic.write(subject, "hotplug-status", "connected")?;
        nic.reach(subject, "4", "4").map_err(told)?;
        nic.unplug(subject).map_err(told)?;
        // A guest that looks up only now would take the next NIC of this number for the one that it let go of.
        (subject.wait)(FORGET);
    }
    Ok(())
}

fn incomplete_nic(subject: &Subject) -> Outcome {
    let (guard, shell) = subject.shell(1)?;
    super::guest::build(subject, &guard, shell)?;
    let nic = Device::nic(guard.domid);
    let own: Vec<_> = NIC.into_iter().filter(|(name, _)| *name != "script").collect();
    nic.describe(subject, &own)?;
    let error = path(&format!("/local/domain/0/error/backend/vif/{}/0/error", guard.domid))?;
    let said = || read_text(subject.xen.store.as_ref(), &error).map_err(text);
    subject.until("netback complains", PLUG, || Ok(said()?.is_some()))?;
    // ENOENT. Which of the driver's two complaints stands there in the end, the driver's or the bus's, is not told.
    let says = said()?.unwrap_or_default();
    ensure(says.starts_with("2 "), format!("it says {says:?}"))?;
    // Closing, and closed once the bus has let go of the driver, which waits behind other devices.
    let state = nic.backend("state")?;
    subject.until("netback closes", PLUG, || {
        let state = read_text(subject.xen.store.as_ref(), &state).map_err(text)?;
        Ok(state.is_some_and(|state| state == "5" || state == "6"))
    })
}

fn held(subject: &Subject) -> Outcome {
    let guard = ready(subject, GuestKind::Pvh)?;
    let id = guard.domid;
    let disk = plugged_disk(subject, id)?;
    let frontend = disk.frontend("state")?;
    let listener = subject.listen(frontend.as_str())?;
    listener.hears(subject, frontend.as_str())?;
    listener.forget();
    subject.xen.control.destroy(id).map_err(text)?;
    let gone = || Ok(read_text(subject.xen.store.as_ref(), &frontend).map_err(text)?.is_none());
    subject.until("the dead guest's nodes go", PLUG, gone)?;
    if subject.flavour.rules().watches_told_of_dead_guests_nodes {
        listener.hears(subject, frontend.as_str())?;
        gone_for_good(subject, id)?;
        // What describes the device is the toolstack's to remove.
        subject.xen.store.remove(&disk.backend("")?).map_err(text)
    } else {
        (subject.wait)(WHILE);
        same("events", listener.heard(), Vec::new())?;
        refuses_all_but_death(subject, id)?;
        subject.xen.store.remove(&disk.backend("")?).map_err(text)?;
        gone_for_good(subject, id)
    }
}

fn gone_for_good(subject: &Subject, id: DomId) -> Outcome {
    subject.until("the domain is gone", PLUG, || Ok(subject.info(id)?.is_none()))
}

/// What can be asked of a domain that is dying.
fn refuses_all_but_death(subject: &Subject, id: DomId) -> Outcome {
    let (xen, invalid) = (&subject.xen, XenErrorKind::Invalid);
    same("its state", subject.present(id)?.state, RunState::Dying)?;
    refused("resume", xen.control.resume(id), invalid)?;
    refused("reclaim", xen.vcpu.reclaim(id, GuestKind::Pvh, 2), invalid)?;
    let (_reader, writer) = std::io::pipe().map_err(text)?;
    refused("save", xen.image.save(id, writer.as_fd()), invalid)?;
    denied("introduce", xen.store.introduce(id, Gfn(0x1000), Port(1)), |_| true)?;
    xen.control.destroy(id).map_err(|error| format!("destroy again: {error}"))
}
