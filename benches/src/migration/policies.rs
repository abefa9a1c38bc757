//! Who takes part: ours, ours with a part switched off, and the references; all with the same facts and limits.

use std::time::Duration;

use vmm_core::migration::reference::qemu::{Features, Qemu};
use vmm_core::migration::reference::xen::Xen;
use vmm_core::migration::{self, Layered, Limits, Options, Policy, Tricks};
use vmm_core::units::Kib;

use super::guest::Guest;
use super::world::Setting;

/// 512 MiB.
pub(super) const PAGES: u32 = 131_072;
/// To these pages what a gigabit is to 1 GiB.
const LINK: f64 = 58.5e6;
pub(super) const ALLOWED: Duration = Duration::from_millis(300);
const FIXED_S: f64 = 0.02;
pub(super) const REFERENCE: &str = "QEMU zstd+hints+auto-converge";
pub(super) const OURS: &str = "ours";

/// For whom does without sums there is room for none: then a copy that finds no room is not replaced by them.
pub(super) fn setting_of(name: &str) -> Setting {
    let has_sums = name.starts_with(OURS) && name != "ours, no sums";
    Setting { sums_max: if has_sums { PAGES } else { 0 }, ..setting() }
}

pub(super) fn setting() -> Setting {
    Setting { link: LINK, threads: 2, fixed_s: FIXED_S, copies_max: PAGES / 8, sums_max: PAGES }
}

fn guest_of(guest: &Guest) -> migration::Guest {
    let free = guest.free().count();
    migration::Guest {
        pages: PAGES,
        held: Kib(u64::from(PAGES) * 4),
        used: Some(Kib(u64::from(PAGES - free) * 4)),
        floor: Kib::ZERO,
        gives_hints: true,
        link_bytes_per_s: LINK as u64,
        threads: 2,
        fixed: Duration::from_secs_f64(FIXED_S),
    }
}

pub(super) fn limits() -> Limits {
    Limits { deadline: Duration::from_secs(50), ..Limits::default() }
}

/// What is told even where it does not converge.
fn forced() -> Limits {
    Limits { downtime_max: Duration::from_secs(60), ..limits() }
}

pub(super) const NAMES: [&str; 8] = [
    "Xen 4.17",
    "Xen before 4.7",
    "QEMU auto-converge",
    "QEMU xbzrle+auto-converge",
    REFERENCE,
    "layering alone",
    "compaction alone",
    OURS,
];
pub(super) const ABLATIONS: [&str; 6] = [
    "ours, no compaction",
    "ours, no layering",
    "ours, no delta",
    "ours, no sums",
    "ours, no packing",
    "ours, no brake",
];

pub(super) fn make(name: &str, guest: &Guest) -> Box<dyn Policy> {
    let link = LINK as u64;
    let facts = guest_of(guest);
    let qemu = |features| Qemu::new(PAGES, link, ALLOWED, features);
    let all = Options::default();
    let (limits, options) = match name {
        "Xen 4.17" => return Box::new(Xen::today(PAGES)),
        "Xen before 4.7" => return Box::new(Xen::legacy(PAGES)),
        "QEMU auto-converge" => {
            return Box::new(qemu(Features { auto_converge: true, ..Features::default() }));
        }
        "QEMU xbzrle+auto-converge" => {
            return Box::new(qemu(Features {
                auto_converge: true,
                xbzrle: true,
                ..Features::default()
            }));
        }
        REFERENCE => {
            let features = Features { auto_converge: true, zstd: true, hints: true, xbzrle: false };
            return Box::new(qemu(features));
        }
        "layering alone" => (forced(), Options { layering: true, ..Options::plain() }),
        "compaction alone" => (forced(), Options { compaction: true, ..Options::plain() }),
        "ours, no compaction" => (limits(), Options { compaction: false, ..all }),
        "ours, no layering" => (limits(), Options { layering: false, ..all }),
        "ours, no delta" => {
            (limits(), Options { tricks: Tricks { delta: false, ..all.tricks }, ..all })
        }
        "ours, no sums" => (limits(), Options { sums: false, ..all }),
        "ours, no packing" => (limits(), Options { packs: Vec::new(), ..all }),
        "ours, no brake" => (forced(), Options { brake: false, ..all }),
        _ => (limits(), all),
    };
    Box::new(Layered::new(facts, limits, options))
}
