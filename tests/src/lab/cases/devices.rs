//! Disks and NICs come to a running guest and go again; the judges are the guest, dom0's bridge and its loop devices.

use anyhow::{Context, Result, ensure};

use super::{LabPool, Table};
use crate::lab::{Guest, LabHost, eventually};

pub(super) const CASES: Table = &[
    ("a_nic_is_plugged_carries_traffic_and_is_unplugged", nic),
    ("a_disk_image_is_plugged_grows_and_is_unplugged", disk_image),
    ("a_block_device_is_plugged_and_unplugged", block_device),
    ("nic_statistics_match_the_guests_own", nic_statistics),
];

/// Answers on its NIC.
pub(super) const PEER: &str = "peer";
const PEER_ADDRESS: &str = "10.77.0.60";
/// Asks the peer, and gets and loses devices.
pub(super) const PLUG: &str = "plug";
const PLUG_ADDRESS: &str = "10.77.0.61";
const MAC: &str = "00:16:3e:11:22:33";
const IMAGE: &str = "/var/lib/vmm/plug.img";
/// Of the lab's dom0: 32 MiB of its memory.
const BLOCK_DEVICE: &str = "/dev/ram0";

fn nic(pool: &mut LabPool) -> Result<()> {
    let peer = format!("echo addr={PEER_ADDRESS}/24");
    pool.create(PEER, &peer, &["--nic", "br0", "--cpu-demand", "0.1"])?;
    let asks = format!("ask:{PEER_ADDRESS} addr={PLUG_ADDRESS}/24");
    pool.create(PLUG, &asks, &["--vcpus-max", "2", "--cpu-demand", "0.1"])?;
    for round in 1..=2 {
        attach_nic(pool).with_context(|| format!("round {round}"))?;
        detach_nic(pool).with_context(|| format!("round {round}"))?;
    }
    attach_nic(pool)
}

/// Its interface in dom0, while it has one.
fn interface(host: &LabHost, domid: u32) -> Result<bool> {
    let ports = host.ssh("ls /sys/class/net/br0/brif")?;
    Ok(ports.split_whitespace().any(|port| port == format!("vif{domid}.0")))
}

fn attach_nic(pool: &LabPool) -> Result<()> {
    pool.ctl.text(&["vm", "nic", "attach", PLUG, &format!("br0,mac={MAC},index=0")])?;
    let (host, domid) = (pool.host_of(PLUG)?, pool.xl_row(PLUG)?.domid);
    ensure!(interface(host, domid)?, "vif{domid}.0 is no port of br0 on {}", host.name);
    let seen = Guest::until(&pool.ctl, PLUG, "the guest has the NIC", |guest| {
        guest.word("nics").contains(MAC)
    })?;
    let before = seen.number("answered");
    Guest::until(&pool.ctl, PLUG, "its peer answers", |guest| {
        guest.number("answered") >= before + 5
    })?;
    // dom0's own address on the bridge reaches it, too.
    let ping = host.ssh(&format!("ping -c 2 -W 5 {PLUG_ADDRESS} || true"))?;
    ensure!(!ping.contains("100% packet loss"), "dom0 does not reach the guest: {ping}");
    Ok(())
}

fn detach_nic(pool: &LabPool) -> Result<()> {
    let (host, domid) = (pool.host_of(PLUG)?, pool.xl_row(PLUG)?.domid);
    pool.ctl.text(&["vm", "nic", "detach", PLUG, "0"])?;
    Guest::until(&pool.ctl, PLUG, "the guest has no NIC", |guest| guest.word("nics") == "-")?;
    ensure!(!interface(host, domid)?, "vif{domid}.0 still is a port of br0 on {}", host.name);
    let backend = host.ssh(&format!("xenstore-ls /local/domain/0/backend/vif/{domid} || true"))?;
    ensure!(backend.trim().is_empty(), "its backend is left in xenstore: {backend}");
    Ok(())
}

/// Whether the guest reports this disk with this size.
fn has_disk(guest: &Guest, device: &str, bytes: u64) -> bool {
    let wanted = format!("{device}/{bytes}");
    guest.word("disks").split(',').any(|disk| disk == wanted)
}

fn until_disk(pool: &LabPool, device: &str, mib: u64) -> Result<()> {
    Guest::until(&pool.ctl, PLUG, &format!("the guest has {device} with {mib} MiB"), |guest| {
        has_disk(guest, device, mib << 20)
    })
    .map(drop)
}

fn detach_disk(pool: &LabPool, device: &str) -> Result<()> {
    pool.ctl.text(&["vm", "disk", "detach", PLUG, device])?;
    Guest::until(&pool.ctl, PLUG, &format!("the guest has no {device}"), |guest| {
        !guest.word("disks").contains(device)
    })
    .map(drop)
}

fn disk_image(pool: &mut LabPool) -> Result<()> {
    let host = pool.host_of(PLUG)?;
    host.ssh(&format!("truncate -s 16M {IMAGE}"))?;
    let attach = ["vm", "disk", "attach", PLUG, &format!("{IMAGE}:xvdb")];
    // Somebody works on it in dom0.
    let theirs = host.ssh(&format!("L=$(losetup -f); losetup $L {IMAGE}; echo $L"))?;
    let refused = pool.ctl.refused(&attach, &[theirs.trim()]);
    host.ssh(&format!("losetup -d {theirs}"))?;
    refused?;
    pool.ctl.text(&attach)?;
    until_disk(pool, "xvdb", 16)?;
    pool.ctl.text(&["vm", "disk", "resize", PLUG, "xvdb", "24M"])?;
    until_disk(pool, "xvdb", 24)?;
    let size = host.ssh(&format!("stat -c %s {IMAGE}"))?;
    ensure!(size.trim() == (24_u64 << 20).to_string(), "the image has {size} bytes");
    pool.ctl.refused(&["vm", "disk", "resize", PLUG, "xvdb", "8M"], &["smaller"])?;
    detach_disk(pool, "xvdb")?;
    let mut loops = String::new();
    eventually("no loop device serves the image", || {
        loops = host.ssh("cat /sys/block/loop*/loop/backing_file 2>/dev/null || true")?;
        Ok(!loops.contains(IMAGE))
    })
    .with_context(|| loops)
}

fn block_device(pool: &mut LabPool) -> Result<()> {
    let host = pool.host_of(PLUG)?;
    let attach = ["vm", "disk", "attach", PLUG, &format!("{BLOCK_DEVICE}:xvdc")];
    host.ssh(&format!("mkswap {BLOCK_DEVICE} && swapon {BLOCK_DEVICE}"))?;
    let refused = pool.ctl.refused(&attach, &["swap"]);
    host.ssh(&format!("swapoff {BLOCK_DEVICE}"))?;
    refused?;
    pool.ctl.text(&attach)?;
    until_disk(pool, "xvdc", 32)?;
    // A RAM disk cannot grow, and a disk is not larger than what it is on.
    pool.ctl.refused(&["vm", "disk", "resize", PLUG, "xvdc", "64M"], &[BLOCK_DEVICE])?;
    detach_disk(pool, "xvdc")
}

/// Bytes that the guest has received and sent on its first NIC, by its own count.
fn traffic(guest: &Guest) -> Result<[u64; 2]> {
    let nic = guest.word("nics").split(',').next().unwrap_or_default();
    let mut fields = nic.rsplit('/').map(str::parse::<u64>);
    let (sent, received) = (fields.next(), fields.next());
    match (received, sent) {
        (Some(Ok(received)), Some(Ok(sent))) => Ok([received, sent]),
        _ => anyhow::bail!("no traffic in {guest:?}"),
    }
}

fn nic_statistics(pool: &mut LabPool) -> Result<()> {
    let before = Guest::look(&pool.ctl, PLUG)?.context("the guest is silent")?;
    let stats = pool.ctl.json(&["vm", "stats", PLUG])?;
    let t = before.number("t");
    let after = Guest::until(&pool.ctl, PLUG, "another report", |guest| guest.number("t") > t)?;
    let counted = |name: &str| {
        stats["nic"][0][name].as_u64().with_context(|| format!("no {name} in {stats}"))
    };
    let ours = [counted("received_bytes")?, counted("sent_bytes")?];
    let (low, high) = (traffic(&before)?, traffic(&after)?);
    for ((ours, low), high) in ours.into_iter().zip(low).zip(high) {
        // netback counts no Ethernet headers where the guest does, or the other way about: 14 bytes of some 550.
        let (low, high) = (low - low / 20, high + high / 20);
        let slack = 8 << 10;
        ensure!(
            (low.saturating_sub(slack)..=high + slack).contains(&ours),
            "{ours} B counted, the guest says {low} to {high}: {stats}"
        );
    }
    Ok(())
}
