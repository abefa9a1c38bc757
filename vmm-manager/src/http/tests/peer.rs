//! A peer that writes bytes: what no HTTP client would send.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::Api;
use crate::http::edge::speak;

/// Longer than every limit.
const PATIENCE: Duration = Duration::from_secs(600);

/// One connection.
pub(super) struct Peer {
    stream: DuplexStream,
    _served: JoinHandle<()>,
}

impl Peer {
    pub(super) fn of(api: &Api) -> Self {
        let (stream, other) = tokio::io::duplex(1 << 20);
        let (router, stop) = (api.router.clone(), api.stop.clone());
        let served = tokio::spawn(async move { speak(router, other, &stop).await });
        Self { stream, _served: served }
    }

    /// What has been refused already cannot be written any more.
    pub(super) async fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// All that comes until the end, and when the end came.
    pub(super) async fn rest(mut self) -> (String, Duration) {
        let (start, mut bytes) = (Instant::now(), Vec::new());
        let ended = timeout(PATIENCE, self.stream.read_to_end(&mut bytes)).await;
        ended.expect("the connection ends").ok();
        (String::from_utf8_lossy(&bytes).into_owned(), start.elapsed())
    }
}

/// The status of each answer.
pub(super) fn statuses(text: &str) -> Vec<u16> {
    let lines = text.match_indices("HTTP/1.1 ").map(|(at, _)| &text[at + 9..]);
    lines.filter_map(|line| line.get(..3)?.parse().ok()).collect()
}
