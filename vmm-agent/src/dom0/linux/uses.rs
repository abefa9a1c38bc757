//! What dom0 does with a block device or a part of it: mounts it, swaps on it, builds another device (LVM, RAID, multipath) on it.
//!
//! ```text
//!   /sys/dev/block/M:N            the device; below it its partitions, and `holders`: devices that are made of it
//!   /proc/self/mountinfo          mounts, by the number of their device, or by its node where the file system has a number of its own
//!   /proc/swaps                   swap, by node
//! ```
//!
//! The kernel could be asked by opening the device for oneself alone; the agent may not open a host's disks, and needs not.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use crate::dom0::{DeviceNumber, Dom0Error};

/// The first use that is found.
pub(super) fn find(device: DeviceNumber) -> Result<Option<String>, Dom0Error> {
    const OPERATION: &str = "look for uses of the block device in";
    let failed = |path: &Path, error: io::Error| Dom0Error::io(OPERATION, path, &error);
    let node = PathBuf::from(format!("/sys/dev/block/{}:{}", device.major, device.minor));
    let parts = parts(&node).map_err(|error| failed(&node, error))?;
    for part in &parts {
        if let Some(holder) = first_name(&part.directory.join("holders")) {
            return Ok(Some(format!("{holder} is made of it")));
        }
    }
    let numbers: BTreeSet<DeviceNumber> = parts.iter().map(|part| part.number).collect();
    let path = Path::new("/proc/self/mountinfo");
    let mounts = fs::read(path).map_err(|error| failed(path, error))?;
    // A kernel without swap has no such file.
    let swaps = fs::read("/proc/swaps").unwrap_or_default();
    Ok(told(&numbers, &mounts, &swaps, of_node))
}

/// What the kernel's lists tell of any of these devices.
fn told(
    numbers: &BTreeSet<DeviceNumber>,
    mounts: &[u8],
    swaps: &[u8],
    of_node: impl Fn(&Path) -> Option<DeviceNumber>,
) -> Option<String> {
    let is_ours = |number: Option<DeviceNumber>| number.is_some_and(|it| numbers.contains(&it));
    let mount = mounts.split(|byte| *byte == b'\n').filter_map(mount).find(|mount| {
        is_ours(Some(mount.number)) || (mount.number.major == 0 && is_ours(of_node(&mount.source)))
    });
    if let Some(mount) = mount {
        return Some(format!("it is mounted on {}", mount.target.display()));
    }
    let mut swap = swaps.split(|byte| *byte == b'\n').skip(1).filter_map(|line| field(line, 0));
    swap.any(|node| is_ours(of_node(&node))).then(|| "it is swap".to_owned())
}

/// A device, or a partition of it.
struct Part {
    directory: PathBuf,
    number: DeviceNumber,
}

fn parts(node: &Path) -> io::Result<Vec<Part>> {
    let mut found = Vec::new();
    let mut add = |directory: PathBuf| {
        let number = fs::read_to_string(directory.join("dev")).ok();
        if let Some(number) = number.as_deref().and_then(parse_number) {
            found.push(Part { directory, number });
        }
    };
    add(node.to_owned());
    for entry in fs::read_dir(node)? {
        let directory = entry?.path();
        if directory.join("partition").exists() {
            add(directory);
        }
    }
    Ok(found)
}

fn first_name(directory: &Path) -> Option<String> {
    let entry = fs::read_dir(directory).ok()?.next()?.ok()?;
    Some(entry.file_name().to_string_lossy().into_owned())
}

fn of_node(node: &Path) -> Option<DeviceNumber> {
    // Sources that are no paths, as `tmpfs` or `server:/export`, are not looked up; nor is a server asked.
    let metadata = node.starts_with("/dev").then(|| fs::metadata(node).ok())??;
    let rdev = metadata.rdev();
    let number = DeviceNumber { major: rustix::fs::major(rdev), minor: rustix::fs::minor(rdev) };
    metadata.file_type().is_block_device().then_some(number)
}

#[derive(Debug, PartialEq, Eq)]
struct Mount {
    number: DeviceNumber,
    target: PathBuf,
    source: PathBuf,
}

/// A line of mountinfo: `36 35 98:0 /root /mnt options [tag…] - type source options`.
fn mount(line: &[u8]) -> Option<Mount> {
    let number = parse_number(std::str::from_utf8(line.split(|byte| *byte == b' ').nth(2)?).ok()?)?;
    let end = line.windows(3).position(|window| window == b" - ")?;
    Some(Mount { number, target: field(line, 4)?, source: field(line.get(end + 3..)?, 1)? })
}

fn parse_number(text: &str) -> Option<DeviceNumber> {
    let (major, minor) = text.trim().split_once(':')?;
    Some(DeviceNumber { major: major.parse().ok()?, minor: minor.parse().ok()? })
}

/// A field of a line of the kernel's, which writes blanks in names as `\040`.
fn field(line: &[u8], index: usize) -> Option<PathBuf> {
    let mut words = line.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
    let mut rest = words.nth(index)?;
    let mut name = Vec::with_capacity(rest.len());
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| first == b'\\');
        let code = code.and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                name.push(byte);
                rest = after.get(3..)?;
            }
            None => {
                name.push(first);
                rest = after;
            }
        }
    }
    Some(OsString::from_vec(name).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_mountinfo_names_device_place_and_source() {
        let check = |line: &str, expect: Option<(u32, u32, &str, &str)>| {
            let expect = expect.map(|(major, minor, target, source)| Mount {
                number: DeviceNumber { major, minor },
                target: target.into(),
                source: source.into(),
            });
            assert_eq!(mount(line.as_bytes()), expect, "{line}");
        };
        check(
            "36 35 98:0 /r /mnt/two\\040words rw,noatime master:1 x:2 - ext3 /dev/root rw,errors=continue",
            Some((98, 0, "/mnt/two words", "/dev/root")),
        );
        check("36 35 0:44 / /srv rw - btrfs /dev/sdb rw", Some((0, 44, "/srv", "/dev/sdb")));
        check("36 35 0:44 / /srv rw", None);
        check("", None);
    }

    #[test]
    fn a_device_that_is_not_there_is_told() {
        let nothing = DeviceNumber { major: 4095, minor: 1 };
        assert!(find(nothing).is_err());
    }

    #[test]
    fn mounts_and_swap_of_a_device_or_a_part_of_it_are_told() {
        const MOUNTS: &[u8] = b"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n\
            2 1 0:44 / /srv/a\\040b rw - btrfs /dev/sdb rw\n\
            3 1 0:45 / /net rw - nfs server:/dev/sdc rw\n";
        const SWAPS: &[u8] = b"Filename Type Size Used Priority\n/dev/sdd2 partition 1 0 -2\n";
        let of_node = |node: &Path| {
            let minor = match node.to_str()? {
                "/dev/sdb" => 16,
                "/dev/sdd2" => 50,
                _ => return None,
            };
            Some(DeviceNumber { major: 8, minor })
        };
        for (minors, expect) in [
            (&[0, 1][..], Some("it is mounted on /")),
            (&[16], Some("it is mounted on /srv/a b")),
            (&[48, 49, 50], Some("it is swap")),
            (&[32], None),
            (&[2], None),
        ] {
            let numbers = minors.iter().map(|&minor| DeviceNumber { major: 8, minor }).collect();
            let found = told(&numbers, MOUNTS, SWAPS, of_node);
            assert_eq!(found.as_deref(), expect, "{minors:?}");
        }
    }
}
