//! What a live migration costs: the pre-copy model.
//!
//! Memory is sent while the guest runs; what it writes meanwhile is sent again, round by round. With `rho`, the memory that it writes for each byte that is sent, round
//! `n` sends `M rho^n`: the sum is what travels, the last round is what the guest waits for. A guest that stands still meanwhile waits for all.

use super::problem::Mobility;

/// Rounds before the guest is stopped, whatever is left: as Xen's own.
const ROUNDS_MAX: u32 = 5;
/// What little enough is to stop for: 50 pages of Xen's default, in bytes.
const LEFT_BYTES: f64 = 50.0 * 4096.0;
/// Stop, device state, start: what no page is part of.
const HAND_OVER_S: f64 = 0.2;
/// Above this the rounds do not get shorter fast enough to be worth their bytes.
const RHO_MAX: f64 = 0.8;

/// How a migration would go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// What travels.
    pub bytes: f64,
    /// From the first page to the last.
    pub seconds: f64,
    /// How long the guest stands still.
    pub downtime_s: f64,
    /// Memory written for each byte that is sent.
    pub rho: f64,
}

/// The guest writes too fast for the link.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error(
    "it writes {rho:.2} bytes for each that the link carries; more than {RHO_MAX} does not converge"
)]
pub struct DoesNotConverge {
    /// Memory written for each byte that is sent.
    pub rho: f64,
}

/// How moving over a link of `bytes_per_s` would go.
///
/// # Errors
/// [`DoesNotConverge`].
pub fn forecast(vm: &Mobility, bytes_per_s: u64) -> Result<Forecast, DoesNotConverge> {
    let link = bytes_per_s.max(1) as f64;
    if vm.stands {
        let bytes = vm.memory_bytes as f64;
        let seconds = bytes / link + HAND_OVER_S;
        return Ok(Forecast { bytes, seconds, downtime_s: seconds, rho: 0.0 });
    }
    let rho = vm.dirty_bytes_per_s as f64 / link;
    if rho > RHO_MAX {
        return Err(DoesNotConverge { rho });
    }
    let (mut bytes, mut left) = (0.0, vm.memory_bytes as f64);
    for _ in 0..ROUNDS_MAX {
        if left <= LEFT_BYTES {
            break;
        }
        bytes += left;
        left *= rho;
    }
    let downtime_s = left / link + HAND_OVER_S;
    bytes += left;
    Ok(Forecast { bytes, seconds: bytes / link + HAND_OVER_S, downtime_s, rho })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(dirty: u64, expect: Option<(f64, f64)>) {
        let vm = Mobility {
            is_movable: true,
            memory_bytes: 1_000_000_000,
            dirty_bytes_per_s: dirty,
            ..Mobility::default()
        };
        let found = forecast(&vm, 100_000_000).ok();
        match (found, expect) {
            (Some(found), Some((bytes, downtime_s))) => {
                assert!((found.bytes / bytes - 1.0).abs() < 0.01, "{found:?}");
                assert!((found.downtime_s / downtime_s - 1.0).abs() < 0.01, "{found:?}");
            }
            (found, expect) => assert_eq!(found.is_some(), expect.is_some(), "{found:?}"),
        }
    }

    #[test]
    fn a_writer_costs_bytes_and_downtime_until_it_cannot_be_moved() {
        check(0, Some((1e9, 0.2)));
        check(10_000_000, Some((1.111e9, 0.201)));
        check(50_000_000, Some((1.9687e9, 0.5125)));
        check(90_000_000, None);
    }

    #[test]
    fn a_guest_that_stands_still_waits_for_all_of_it_whatever_it_writes() {
        let vm = Mobility {
            memory_bytes: 1_000_000_000,
            dirty_bytes_per_s: u64::MAX,
            stands: true,
            ..Mobility::default()
        };
        let found = forecast(&vm, 100_000_000).unwrap();
        assert!((found.downtime_s - 10.2).abs() < 1e-9, "{found:?}");
        assert_eq!((found.seconds, found.bytes), (found.downtime_s, 1e9));
    }
}
