//! What this machine has: its boot, its disks with their sizes, its NICs with their traffic, as the kernel shows them.
//!
//! What cannot be read is left out: a device may go while we look.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

const BLOCK: &str = "/sys/block";
const NET: &str = "/sys/class/net";
/// sysfs counts sizes so, whatever the device's own blocks are.
const SECTOR_BYTES: u64 = 512;
const LOOK: Duration = Duration::from_millis(50);

/// Part of a random id that the kernel takes at boot: the same after a suspend or a restore, another after a reboot.
pub(crate) fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.chars().take(8).collect()
}

/// How Xen runs this guest, by the kernel's word: `PV`, `PVH` or `HVM`.
pub(crate) fn kind() -> String {
    word(Path::new("/sys/hypervisor/guest_type")).unwrap_or_else(|| "-".to_owned())
}

/// `xvda/16777216,xvdb/4194304`: names and bytes; `-` for none.
pub(crate) fn disks() -> String {
    list(&names(BLOCK, "xvd"), |disk| {
        let sectors = word(&Path::new(BLOCK).join(disk).join("size"))?;
        Some(format!("{disk}/{}", sectors.parse::<u64>().ok()? * SECTOR_BYTES))
    })
}

/// `eth0/00:16:3e:00:00:01/RX/TX`: names, addresses, bytes received and sent; `-` for none.
pub(crate) fn nics() -> String {
    list(&names(NET, "eth"), |nic| {
        let folder = Path::new(NET).join(nic);
        let [address, rx, tx] = ["address", "statistics/rx_bytes", "statistics/tx_bytes"]
            .map(|file| word(&folder.join(file)));
        Some(format!("{nic}/{}/{}/{}", address?, rx?, tx?))
    })
}

/// Panics as soon as a disk or a NIC appears that was not there at the beginning.
pub(crate) fn crash_on_plug() {
    let devices = || &names(BLOCK, "xvd") | &names(NET, "eth");
    let first = devices();
    while devices().is_subset(&first) {
        thread::sleep(LOOK);
    }
    println!("VMM-GUEST-CRASH");
    // When this fails the guest lives on, and the test says so.
    fs::write("/proc/sysrq-trigger", "c").ok();
}

fn names(folder: &str, prefix: &str) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(folder) else { return BTreeSet::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.starts_with(prefix)).collect()
}

fn word(path: &Path) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

fn list(names: &BTreeSet<String>, show: impl Fn(&str) -> Option<String>) -> String {
    let shown: Vec<_> = names.iter().filter_map(|name| show(name)).collect();
    if shown.is_empty() { "-".to_owned() } else { shown.join(",") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_leaves_out_what_cannot_be_read() {
        let names = ["xvda", "xvdb"].map(str::to_owned).into();
        assert_eq!(list(&names, |name| (name == "xvdb").then(|| format!("{name}/1"))), "xvdb/1");
        assert_eq!(list(&names, |_| None), "-");
    }
}
