//! Every way in which lanes end early: one is cut, either half is dropped at any time. No task is left.

use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::sleep;

use super::super::{HELD_PIECES_MAX, Inbound, LaneError, Lanes, PIECE_BYTES_MAX, PageLink};
use super::whole::{bytes, lanes};
use super::{MemoryStream, Way, alive, paused};

const HAND_OVERS: u64 = 12;
const EACH: usize = 300_000;

async fn send(mut link: Lanes) -> Result<(), crate::migrate::LinkError> {
    for at in 0..HAND_OVERS {
        link.send(&bytes(at * EACH as u64, EACH)).await?;
        sleep(Duration::from_millis(1)).await;
    }
    link.acknowledged_beyond(HAND_OVERS * EACH as u64 - 1).await?;
    link.finish().await
}

async fn receive(mut inbound: Inbound<MemoryStream>) -> Result<usize, LaneError> {
    let mut count = 0;
    while let Some(part) = inbound.next().await? {
        count += part.len();
        inbound.acknowledge().await?;
    }
    inbound.finish().await.map(|()| count)
}

fn ways() -> Vec<Way> {
    [4e7, 1e7, 9e7].map(|bytes_per_s| Way { bytes_per_s, ..Way::default() }).to_vec()
}

#[test]
fn a_lane_that_is_cut_ends_both_halves() {
    for lane in 0..3 {
        for breaks_at in [0, 5, 20, 60_000, 200_000] {
            paused(async {
                let mut ways = ways();
                ways[lane].breaks_at = Some(breaks_at);
                let (link, inbound) = lanes(&ways);
                let (sent, come) = tokio::join!(send(link), receive(inbound));
                let told = come.unwrap_err();
                let is_named =
                    matches!(&told, LaneError::Broken { lane: of, .. } if *of as usize == lane);
                assert!(is_named, "lane {lane} at {breaks_at}: {told}");
                let told = sent.unwrap_err().reason;
                assert!(told.contains("cut"), "{told}");
                sleep(Duration::from_secs(1)).await;
                assert_eq!(alive(), 0);
            });
        }
    }
}

/// Polls it so often, at most.
async fn polled(work: impl Future, times: u32) -> bool {
    let (mut work, mut left) = (pin!(work), times);
    std::future::poll_fn(move |context| {
        if left == 0 {
            return std::task::Poll::Ready(false);
        }
        left -= 1;
        work.poll_unpin(context).map(|_| true)
    })
    .await
}

#[test]
fn either_half_that_is_dropped_anywhere_leaves_no_task() {
    for drops_sender in [true, false] {
        for times in 0.. {
            let is_over = paused(async {
                let (link, inbound) = lanes(&ways());
                let is_over = if drops_sender {
                    let other = tokio::spawn(receive(inbound));
                    let is_over = polled(send(link), times).await;
                    let come = other.await.unwrap();
                    assert!(come.is_ok() || !is_over, "poll {times}");
                    is_over
                } else {
                    let other = tokio::spawn(send(link));
                    let is_over = polled(receive(inbound), times).await;
                    let sent = other.await.unwrap();
                    // The last thing that the receiver does is to say that it has all.
                    assert!(sent.is_ok() || !is_over, "poll {times}");
                    is_over
                };
                sleep(Duration::from_millis(1)).await;
                assert_eq!(alive(), 0, "poll {times}");
                is_over
            });
            if is_over {
                assert!(times > 10, "{times} polls");
                break;
            }
        }
    }
}

#[test]
fn an_inbound_that_is_given_up_has_no_task_when_it_answers() {
    paused(async {
        let (mut link, mut inbound) = lanes(&ways());
        link.send(&bytes(0, EACH)).await.unwrap();
        inbound.first().await.unwrap();
        assert!(inbound.next().await.unwrap().is_some());
        drop(link);
        inbound.end().await;
        assert_eq!(alive(), 0);
    });
}

/// Nobody takes: the sender waits, and has no more on its way than queues hold.
#[test]
fn a_receiver_that_takes_nothing_holds_the_sender_back() {
    paused(async {
        let (mut link, mut inbound) = lanes(&[Way::default(); 2]);
        inbound.first().await.unwrap();
        let mut handed = 0;
        let sending = async {
            loop {
                link.send(&bytes(handed, PIECE_BYTES_MAX)).await.unwrap();
                handed += PIECE_BYTES_MAX as u64;
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(60), sending).await.is_err());
        // Of one lane, for the other one was not accepted; and what waits at the sender.
        let most = (HELD_PIECES_MAX + 16) as u64 * PIECE_BYTES_MAX as u64;
        assert!(handed <= most, "{handed} bytes");
    });
}
