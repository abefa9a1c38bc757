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
    let is_ours = |number: Option<DeviceNumber>| number.is_some_and(|it| numbers.contains(&it));
    let read = |path: &str| fs::read(path).map_err(|error| failed(Path::new(path), error));
    let mounts = read("/proc/self/mountinfo")?;
    let mount = mounts.split(|byte| *byte == b'\n').filter_map(mount).find(|mount| {
        is_ours(Some(mount.number)) || (mount.number.major == 0 && is_ours(of_node(&mount.source)))
    });
    if let Some(mount) = mount {
        return Ok(Some(format!("it is mounted on {}", mount.target.display())));
    }
    // A kernel without swap has no such file.
    let swaps = fs::read("/proc/swaps").unwrap_or_default();
    let swap = swaps.split(|byte| *byte == b'\n').skip(1).filter_map(|line| field(line, 0));
    let is_swap = swap.into_iter().any(|node| is_ours(of_node(&node)));
    Ok(is_swap.then(|| "it is swap".to_owned()))
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
    fn what_a_file_system_of_this_host_is_on_is_in_use() {
        let mounts = fs::read("/proc/self/mountinfo").unwrap();
        let mounts = mounts.split(|byte| *byte == b'\n').filter_map(mount);
        for mount in mounts {
            // A container sees mounts of devices that it does not see.
            let node = format!("/sys/dev/block/{}:{}", mount.number.major, mount.number.minor);
            if Path::new(&node).exists() {
                assert!(find(mount.number).unwrap().is_some(), "{mount:?}");
            }
        }
    }
}
