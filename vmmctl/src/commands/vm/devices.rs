//! Disks and NICs as people type them: `PATH[:xvdb][:ro]` and `BRIDGE[,mac=…][,index=N]`. What is not said is the first that is free.

use vmm_core::vm::{DISKS_MAX, Mac, NICS_MAX};
use vmm_proto::v1::{Disk, Nic, Spec};

use super::targets::show;
use crate::failure::Failure;
use crate::session::Session;

/// A disk that may have no name in the guest yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NewDisk {
    path: String,
    device: Option<String>,
    read_only: bool,
}

/// The path may hold colons; what looks like a device or `ro` at its end is one.
pub(super) fn parse_disk(text: &str) -> Result<NewDisk, String> {
    let (rest, read_only) = match text.strip_suffix(":ro") {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let (path, device) = match rest.rsplit_once(':') {
        Some((path, device)) if is_device(device) => (path, Some(device.to_owned())),
        _ => (rest, None),
    };
    if !path.starts_with('/') {
        return Err(format!(
            "{text:?} is no disk: write PATH[:xvda][:ro] with the absolute path of an image or block device on the host"
        ));
    }
    Ok(NewDisk { path: path.to_owned(), device, read_only })
}

fn is_device(text: &str) -> bool {
    text.strip_prefix("xvd").is_some_and(|letter| matches!(letter.as_bytes(), [b'a'..=b'p']))
}

/// Names each disk that has no name, beside those that are there.
pub(super) fn name_disks(there: &[Disk], new: Vec<NewDisk>) -> Result<Vec<Disk>, Failure> {
    let mut taken: Vec<String> = there.iter().map(|disk| disk.device.clone()).collect();
    taken.extend(new.iter().filter_map(|disk| disk.device.clone()));
    let mut named = Vec::with_capacity(new.len());
    for disk in new {
        let disk = name_disk(&taken, disk)?;
        taken.push(disk.device.clone());
        named.push(disk);
    }
    Ok(named)
}

/// Gives a disk that has no name the first that is not taken.
pub(super) fn name_disk(taken: &[String], disk: NewDisk) -> Result<Disk, Failure> {
    let letters = ('a'..='p').take(DISKS_MAX);
    let mut free =
        letters.map(|letter| format!("xvd{letter}")).filter(|name| !taken.contains(name));
    let device = disk.device.or_else(|| free.next()).ok_or_else(|| {
        Failure::Usage(format!("a VM has at most {DISKS_MAX} disks, xvda to xvdp"))
    })?;
    Ok(Disk { path: disk.path, device, read_only: disk.read_only })
}

/// A NIC that may have no address and no number yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NewNic {
    bridge: String,
    mac: Option<Mac>,
    index: Option<u32>,
}

pub(super) fn parse_nic(text: &str) -> Result<NewNic, String> {
    let wrong = || format!("{text:?} is no NIC: write BRIDGE[,mac=00:16:3e:12:34:56][,index=1]");
    let mut parts = text.split(',');
    let bridge = parts.next().filter(|bridge| !bridge.is_empty()).ok_or_else(wrong)?;
    let mut nic = NewNic { bridge: bridge.to_owned(), mac: None, index: None };
    for part in parts {
        match part.split_once('=') {
            Some(("mac", mac)) if nic.mac.is_none() => {
                nic.mac = Some(mac.parse().map_err(|_| wrong())?);
            }
            Some(("index", index)) if nic.index.is_none() => {
                nic.index = Some(index.parse().map_err(|_| wrong())?);
            }
            _ => return Err(wrong()),
        }
    }
    Ok(nic)
}

/// Numbers each NIC that has no number, beside those that are there, and gives each that has none an address.
pub(super) fn name_nics(
    there: &[Nic],
    new: Vec<NewNic>,
    random: impl Fn() -> Result<[u8; 3], Failure>,
) -> Result<Vec<Nic>, Failure> {
    let mut taken: Vec<u32> = there.iter().map(|nic| nic.index).collect();
    taken.extend(new.iter().filter_map(|nic| nic.index));
    let mut named = Vec::with_capacity(new.len());
    for nic in new {
        let nic = name_nic(&taken, nic, &random)?;
        taken.push(nic.index);
        named.push(nic);
    }
    Ok(named)
}

/// Gives a NIC that has no number the first that is not taken, and one that has no address one in Xen's own range.
pub(super) fn name_nic(
    taken: &[u32],
    nic: NewNic,
    random: impl Fn() -> Result<[u8; 3], Failure>,
) -> Result<Nic, Failure> {
    let mut free = (0..).take(NICS_MAX).filter(|index| !taken.contains(index));
    let index = nic.index.or_else(|| free.next()).ok_or_else(|| {
        Failure::Usage(format!("a VM has at most {NICS_MAX} NICs, 0 to {}", NICS_MAX - 1))
    })?;
    let mac = nic.mac.map_or_else(|| random().map(Mac::xen), Ok)?;
    Ok(Nic { index, mac: mac.to_string(), bridge: nic.bridge })
}

/// Three bytes of the system's randomness.
pub(super) fn random() -> Result<[u8; 3], Failure> {
    let mut bytes = [0; 3];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::Local(format!("the system gives no random bytes: {error}")))?;
    Ok(bytes)
}

/// What the VM is now.
pub(super) async fn definition(session: &Session, vm: &str) -> Result<Spec, Failure> {
    Ok(show(session, vm.to_owned()).await?.spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Option<(&str, Option<&str>, bool)>) {
        let parsed = parse_disk(text).ok();
        let parsed = parsed.as_ref().map(|d| (d.path.as_str(), d.device.as_deref(), d.read_only));
        assert_eq!(parsed, expect, "{text}");
    }

    #[test]
    fn a_disk_is_a_path_and_maybe_a_device_and_maybe_read_only() {
        check("/d.img", Some(("/d.img", None, false)));
        check("/d.img:xvdb", Some(("/d.img", Some("xvdb"), false)));
        check("/d.img:ro", Some(("/d.img", None, true)));
        check("/d.img:xvdc:ro", Some(("/d.img", Some("xvdc"), true)));
        check("/a:b.img", Some(("/a:b.img", None, false)));
        check("d.img", None);
        check("", None);
    }

    #[test]
    fn disks_without_a_name_get_the_first_that_are_free() {
        let there = [Disk { path: "/0".into(), device: "xvda".into(), read_only: false }];
        let new = ["/1", "/2:xvdb", "/3"].map(|text| parse_disk(text).expect("a disk"));
        let named = name_disks(&there, new.to_vec()).expect("room");
        let names: Vec<&str> = named.iter().map(|disk| disk.device.as_str()).collect();
        assert_eq!(names, ["xvdc", "xvdb", "xvdd"]);
        let many = vec![parse_disk("/1").expect("a disk"); DISKS_MAX];
        assert!(name_disks(&[], many.clone()).is_ok());
        assert_eq!(name_disks(&there, many).expect_err("too many").exit_code(), 2);
    }

    #[test]
    fn a_nic_is_a_bridge_and_maybe_an_address_and_maybe_a_number() {
        for (text, accepted) in [
            ("xenbr0", true),
            ("xenbr0,index=3", true),
            ("xenbr0,mac=00:16:3e:00:00:01,index=3", true),
            ("", false),
            (",index=3", false),
            ("xenbr0,index=three", false),
            ("xenbr0,mac=1", false),
            ("xenbr0,index=1,index=2", false),
            ("xenbr0,model=e1000", false),
        ] {
            assert_eq!(parse_nic(text).is_ok(), accepted, "{text:?}");
        }
    }

    #[test]
    fn nics_without_a_number_or_an_address_get_one() {
        let there = [Nic { index: 0, mac: String::new(), bridge: "b".into() }];
        let new = ["b", "b,index=1", "b,mac=02:00:00:00:00:01"];
        let new = new.map(|text| parse_nic(text).expect("a NIC"));
        let named = name_nics(&there, new.to_vec(), || Ok([0xff, 1, 2])).expect("room");
        let named: Vec<_> = named.iter().map(|nic| (nic.index, nic.mac.as_str())).collect();
        assert_eq!(
            named,
            [(2, "00:16:3e:7f:01:02"), (1, "00:16:3e:7f:01:02"), (3, "02:00:00:00:00:01")]
        );
    }
}
