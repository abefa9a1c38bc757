//! What Linux counts: sysfs of the block backend, netlink for interfaces, `/proc/diskstats`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use netlink_packet_route::link::LinkLayerType;
use vmm_core::stats::{DiskCounters, HostDiskCounters, HostNicCounters, NicCounters};
use xen_bindings::DomId;

use super::LinuxDom0;
use super::netlink::{Link, Route};
use super::sysfs::Numbers;
use crate::dom0::{Counters, Dom0Error};

/// Bytes of a sector, as xen-blkback and the block layer count, whatever the device's own sectors are.
const SECTOR_BYTES: u64 = 512;
/// Disks that are memory, or that are files on other disks.
const NO_DISKS: [&str; 6] = ["loop", "ram", "zram", "fd", "sr", "nbd"];
/// Of a guest's interfaces, where the kernel does not tell the bus.
const VIF: &str = "vif";
const XEN_BACKEND_BUS: &str = "xen-backend";

impl Counters for LinuxDom0 {
    fn vbd_counters(&self, domid: DomId, devid: u32) -> Result<Option<DiskCounters>, Dom0Error> {
        let directory =
            PathBuf::from(format!("/sys/bus/xen-backend/devices/vbd-{domid}-{devid}/statistics"));
        let all = || -> io::Result<Option<DiskCounters>> {
            let Some(numbers) = Numbers::of(&directory)? else { return Ok(None) };
            let [Some(reads), Some(writes), Some(read_sectors), Some(written_sectors)] = [
                numbers.read("rd_req")?,
                numbers.read("wr_req")?,
                numbers.read("rd_sect")?,
                numbers.read("wr_sect")?,
            ] else {
                return Ok(None);
            };
            Ok(Some(DiskCounters {
                reads,
                writes,
                read_bytes: read_sectors.saturating_mul(SECTOR_BYTES),
                written_bytes: written_sectors.saturating_mul(SECTOR_BYTES),
                // It counts none.
                errors: None,
            }))
        };
        all().map_err(|error| Dom0Error::io("read the counters in", &directory, &error))
    }

    fn vif_counters(&self, domid: DomId, index: u32) -> Result<Option<NicCounters>, Dom0Error> {
        let name = format!("{VIF}{domid}.{index}");
        let link = Route::open().and_then(|route| route.link(&name)).map_err(|error| {
            Dom0Error::said("read the counters of", format!("interface {name}"), &error)
        })?;
        Ok(link.map(|link| guest_side(&link)))
    }

    fn host_disks(&self) -> Result<BTreeMap<String, HostDiskCounters>, Dom0Error> {
        let path = Path::new("/proc/diskstats");
        let text = fs::read_to_string(path)
            .map_err(|error| Dom0Error::io("read the counters in", path, &error))?;
        Ok(text.lines().filter_map(disk).filter(|(name, _)| is_whole_disk(name)).collect())
    }

    fn host_nics(&self) -> Result<BTreeMap<String, HostNicCounters>, Dom0Error> {
        let links = Route::open().and_then(|route| route.links()).map_err(|error| {
            Dom0Error::said("read the counters of", "all interfaces".into(), &error)
        })?;
        let own = links.into_iter().filter(is_hosts_own);
        Ok(own.map(|link| (link.name.clone(), host_side(&link))).collect())
    }
}

/// The backend receives what the guest sends.
fn guest_side(link: &Link) -> NicCounters {
    NicCounters {
        received_bytes: link.stats.tx_bytes,
        received_packets: link.stats.tx_packets,
        received_drops: link.stats.tx_dropped,
        sent_bytes: link.stats.rx_bytes,
        sent_packets: link.stats.rx_packets,
        sent_drops: link.stats.rx_dropped,
    }
}

fn host_side(link: &Link) -> HostNicCounters {
    HostNicCounters {
        received_bytes: link.stats.rx_bytes,
        sent_bytes: link.stats.tx_bytes,
        drops: link.stats.rx_dropped.saturating_add(link.stats.tx_dropped),
    }
}

/// Drivers of hardware name no kind; what software makes names one.
fn is_hosts_own(link: &Link) -> bool {
    let of_guest = link.bus.as_deref() == Some(XEN_BACKEND_BUS) || link.name.starts_with(VIF);
    let physical = link.kind.is_none() && link.layer == Some(LinkLayerType::Ether);
    (physical || link.is_bridge()) && !of_guest
}

/// A line of `/proc/diskstats`: major, minor, name, then reads, merged, sectors, milliseconds, and the same of writes.
fn disk(line: &str) -> Option<(String, HostDiskCounters)> {
    let mut words = line.split_ascii_whitespace().skip(2);
    let name = words.next()?;
    if NO_DISKS.iter().any(|prefix| is_numbered(name, prefix)) {
        return None;
    }
    let numbers: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
    let &[reads, _, read_sectors, read_ms, writes, _, written_sectors, written_ms, ..] =
        numbers.as_slice()
    else {
        return None;
    };
    let counters = HostDiskCounters {
        reads,
        writes,
        read_bytes: read_sectors.saturating_mul(SECTOR_BYTES),
        written_bytes: written_sectors.saturating_mul(SECTOR_BYTES),
        read_time: Duration::from_millis(read_ms),
        write_time: Duration::from_millis(written_ms),
    };
    Some((name.to_owned(), counters))
}

fn is_numbered(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Partitions have no directory of their own. A `/` in a disk's name is a `!` there.
fn is_whole_disk(name: &str) -> bool {
    Path::new("/sys/block").join(name.replace('/', "!")).exists()
}

#[cfg(test)]
mod tests;
