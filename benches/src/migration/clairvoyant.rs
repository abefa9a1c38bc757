//! The bound: the same trace without any policy, and what the best could have sent of it (`vmm_core::migration::bound`).

use vmm_core::migration::Pfn;
use vmm_core::migration::bound::{Bound, downtime_s};

use super::guest::{Content, Guest};
use super::world::Setting;

const SLICE_S: f64 = 0.01;
/// So often a stop is tried.
const TRY_S: f64 = 0.02;

/// The earliest end with the allowed downtime; none within `limit_s`.
pub(crate) fn bound(
    mut guest: Guest,
    setting: &Setting,
    allowed_s: f64,
    limit_s: f64,
) -> Option<Bound> {
    let mut now = 0.0;
    while now < limit_s {
        now += TRY_S;
        guest.run(TRY_S, 1.0);
        let slices = (now / SLICE_S) as usize + 2;
        let mut late = vec![0.0; slices];
        for page in (0..guest.pages()).map(Pfn) {
            let slice = f64::from(guest.written_at[page.0 as usize]) / SLICE_S;
            late[(slice as usize).min(slices - 1)] += bytes(&guest, page);
        }
        let found = downtime_s(&late, SLICE_S, now, setting.link) + setting.fixed_s;
        if found <= allowed_s {
            return Some(Bound { stop_s: now, downtime_s: found });
        }
    }
    None
}

/// At its best, and headers of nothing that is free.
fn bytes(guest: &Guest, page: Pfn) -> f64 {
    match guest.content(page) {
        Content::Free => 0.0,
        Content::Zero => 1.0,
        Content::Twin => 8.0,
        Content::Data => guest.zstd_bytes(page).min(guest.lz4_bytes(page)),
    }
}
