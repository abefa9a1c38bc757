//! Whatever is handed over arrives, in its order, and nothing is said to have arrived that has not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::super::{Inbound, LANES_MAX, Lanes, PIECE_BYTES_MAX, PageLink};
use super::{MemoryStream, Way, lane, paused};

/// Lanes of these ways.
pub(super) fn lanes(ways: &[Way]) -> (Lanes, Inbound<MemoryStream>) {
    let (give, streams) = mpsc::channel(LANES_MAX);
    let ends = (0..).zip(ways).map(|(number, way)| {
        let (near, far) = lane(number, *way);
        assert!(give.try_send(far).is_ok());
        near
    });
    (Lanes::over(ends.collect()).unwrap(), Inbound::new(streams))
}

/// Bytes that are different everywhere near.
pub(super) fn bytes(from: u64, count: usize) -> Vec<u8> {
    (from..).take(count).map(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[2]).collect()
}

/// Takes all of it, and acknowledges where it is told to.
async fn receive(
    mut inbound: Inbound<MemoryStream>,
    taken: Arc<AtomicU64>,
    total: u64,
    asked: &[bool],
) -> Vec<u8> {
    let (mut whole, mut asked) = (Vec::new(), asked.iter().cycle());
    while let Some(part) = inbound.next().await.unwrap() {
        whole.extend(part);
        taken.store(whole.len() as u64, Ordering::Relaxed);
        if asked.next() == Some(&true) || whole.len() as u64 == total {
            inbound.acknowledge().await.unwrap();
        }
    }
    inbound.finish().await.unwrap();
    whole
}

async fn arrives(ways: &[Way], hand_overs: &[(usize, u64)], asked: &[bool]) {
    let (mut link, inbound) = lanes(ways);
    let total = hand_overs.iter().map(|(count, _)| *count as u64).sum();
    let taken = Arc::new(AtomicU64::new(0));
    let receiving = receive(inbound, taken.clone(), total, asked);
    let sending = async {
        let (mut handed, mut before) = (0, 0);
        let mut look = |link: &Lanes, handed: u64| {
            let now = link.acknowledged();
            assert!(now <= taken.load(Ordering::Relaxed).min(handed), "{now} of {handed}");
            assert!(now >= before, "{now} after {before}");
            before = now;
        };
        for (count, pause_us) in hand_overs {
            link.send(&bytes(handed, *count)).await.unwrap();
            handed += *count as u64;
            look(&link, handed);
            sleep(Duration::from_micros(*pause_us)).await;
            look(&link, handed);
        }
        if total > 0 {
            link.acknowledged_beyond(total - 1).await.unwrap();
        }
        assert_eq!(link.acknowledged(), total);
        link.finish().await.unwrap();
    };
    let (whole, ()) = tokio::join!(receiving, sending);
    assert!(whole == bytes(0, usize::try_from(total).unwrap()), "byte by byte");
}

fn a_way() -> impl Strategy<Value = Way> {
    let cut = prop_oneof![2 => Just(usize::MAX), 1 => 1000_usize..200_000];
    (5.0..9.0_f64, 0_u64..30, cut).prop_map(|(magnitude, delay_ms, cut)| Way {
        bytes_per_s: 10_f64.powf(magnitude),
        delay: Duration::from_millis(delay_ms),
        cut,
        breaks_at: None,
    })
}

/// Mostly as small as a mark, or as large as a batch.
fn a_hand_over() -> impl Strategy<Value = (usize, u64)> {
    (prop_oneof![1_usize..40, 1_usize..400_000], prop_oneof![Just(0_u64), 0_u64..20_000])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_handed_over_arrives_in_order_over_any_lanes(
        ways in vec(a_way(), 1..=LANES_MAX), hand_overs in vec(a_hand_over(), 0..24),
        asked in vec(any::<bool>(), 1..9),
    ) {
        paused(arrives(&ways, &hand_overs, &asked));
    }
}

/// What is small waits for nothing: it has arrived before anything else is handed over.
#[tokio::test(start_paused = true)]
async fn a_small_hand_over_is_on_its_way_at_once() {
    let (mut link, mut inbound) = lanes(&[Way::default(); 4]);
    for round in 0..20 {
        link.send(&[round]).await.unwrap();
        assert_eq!(inbound.next().await.unwrap(), Some(vec![round]));
    }
}

#[tokio::test(start_paused = true)]
async fn lanes_share_what_there_is_by_how_fast_they_are() {
    let slow = Way { bytes_per_s: 1e6, ..Way::default() };
    let fast = Way { bytes_per_s: 8e6, ..Way::default() };
    for (ways, least, most) in [
        (&[slow][..], 3.8, 4.6),
        (&[slow, slow], 1.9, 2.6),
        (&[slow, slow, slow, slow], 0.9, 1.8),
        (&[slow, fast], 0.4, 1.8),
    ] {
        let (mut link, mut inbound) = lanes(ways);
        let began = Instant::now();
        let sending = async {
            for at in 0..16 {
                link.send(&bytes(at << 18, 1 << 18)).await.unwrap();
            }
            link.finish().await.unwrap();
        };
        let receiving = async {
            let mut count = 0;
            while let Some(part) = inbound.next().await.unwrap() {
                assert!(part.len() <= PIECE_BYTES_MAX);
                count += part.len();
            }
            inbound.finish().await.unwrap();
            assert_eq!(count, 16 << 18);
        };
        tokio::join!(sending, receiving);
        let took = began.elapsed().as_secs_f64();
        assert!((least..most).contains(&took), "{took} s over {} lanes", ways.len());
    }
}

#[test]
fn there_is_at_least_one_lane_and_there_are_not_too_many() {
    paused(async {
        for count in [0, LANES_MAX + 1, 300] {
            let near = (0..).take(count).map(|number| lane(number, Way::default()).0);
            assert!(Lanes::over(near.collect()).is_err(), "{count}");
        }
    });
}
