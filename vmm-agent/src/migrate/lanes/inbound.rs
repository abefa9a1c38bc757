//! The receiver's half: the streams of a transfer as they come, and out of them one.

use std::future::poll_fn;
use std::task::{Context, Poll};

use futures_util::future::try_join_all;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use super::error::{FormatError, LaneError};
use super::format::{Item, Parser};
use super::order::{Next, Order};
use super::{
    FAREWELL, HELD_PIECES_MAX, LANES_WAIT, LaneAcks, LaneReader, LinkError, STALL, Stream,
};

/// A lane that is read.
struct Coming<S: Stream> {
    items: mpsc::Receiver<Item>,
    acks: S::Acks,
    acknowledged: u64,
    /// Once all of it was read.
    reader: Option<S::Reader>,
}

/// What a task gives back that has read a lane to its end.
type Read<S> = Result<(usize, <S as Stream>::Reader), LaneError>;

/// Several lanes as one stream. Its tasks end with it.
pub(crate) struct Inbound<S: Stream> {
    streams: mpsc::Receiver<S>,
    order: Order,
    /// In the order of their places.
    lanes: Vec<Coming<S>>,
    tasks: JoinSet<Read<S>>,
    /// All lanes must have come by then.
    complete_by: Option<Instant>,
}

impl<S: Stream> Inbound<S> {
    pub(crate) fn new(streams: mpsc::Receiver<S>) -> Self {
        let (order, tasks) = (Order::default(), JoinSet::new());
        Self { streams, order, lanes: Vec::new(), tasks, complete_by: None }
    }

    /// Waits for the first lane, for as long as it takes.
    ///
    /// # Errors
    /// [`LaneError`].
    pub(crate) async fn first(&mut self) -> Result<(), LaneError> {
        let stream = self.streams.recv().await.ok_or(LaneError::NoStream)?;
        self.open(stream).await
    }

    /// The next bytes of the whole; `None` when that was all, and every lane has ended.
    ///
    /// # Errors
    /// [`LaneError`], and nothing comes any more.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, LaneError> {
        loop {
            match self.order.next()? {
                Next::Bytes(bytes) => return Ok(Some(bytes)),
                Next::Wait => self.wait().await?,
                Next::Over => {
                    self.read_to_their_ends().await?;
                    return Ok(None);
                }
            }
        }
    }

    /// Tells the sender that it is safe what was answered so far.
    ///
    /// # Errors
    /// [`LaneError`].
    pub(crate) async fn acknowledge(&mut self) -> Result<(), LaneError> {
        for (seat, lane) in self.lanes.iter_mut().enumerate() {
            let taken = self.order.taken(seat);
            if taken > lane.acknowledged {
                let told = lane.acks.acknowledge(taken).await;
                told.map_err(|error| broken(self.order.number(seat), error))?;
                lane.acknowledged = taken;
            }
        }
        Ok(())
    }

    /// After the end: tells the sender that all is safe, and waits until it hangs up. One that does not has heard it, or gives the guest
    /// up; the verdict says which.
    ///
    /// # Errors
    /// [`LaneError`].
    pub(crate) async fn finish(self) -> Result<(), LaneError> {
        let order = self.order;
        let ends = self.lanes.into_iter().enumerate().map(|(seat, lane)| {
            let number = order.number(seat);
            async move {
                let reader = lane.reader.ok_or(FormatError::Truncated)?;
                lane.acks.finish(reader).await.map_err(|error| broken(number, error))
            }
        });
        match timeout(FAREWELL, try_join_all(ends)).await {
            Ok(ended) => ended.map(drop),
            Err(_) => {
                tracing::warn!(seconds = FAREWELL.as_secs(), "the sender does not hang up");
                Ok(())
            }
        }
    }

    /// Gives up, and waits until no task is left.
    pub(crate) async fn end(&mut self) {
        self.tasks.shutdown().await;
    }

    async fn open(&mut self, stream: S) -> Result<(), LaneError> {
        self.complete_by.get_or_insert_with(|| Instant::now() + LANES_WAIT);
        let number = stream.number();
        let seat = self.order.seat(number)?;
        let (reader, acks) = stream.accept().await.map_err(|error| broken(number, error))?;
        let (queue, items) = mpsc::channel(HELD_PIECES_MAX);
        self.tasks.spawn(read::<S>((seat, number), reader, queue));
        self.lanes.push(Coming { items, acks, acknowledged: 0, reader: None });
        Ok(())
    }

    /// Waits until a lane that is waited for has brought something, or has come.
    async fn wait(&mut self) -> Result<(), LaneError> {
        let is_complete = self.order.is_complete();
        let limit = match self.complete_by.filter(|_| !is_complete) {
            Some(by) => Some(by),
            None => self.order.is_held_up().then(|| Instant::now() + STALL),
        };
        let late = async {
            match limit {
                Some(limit) => sleep_until(limit).await,
                None => std::future::pending().await,
            }
        };
        let Self { streams, order, lanes, tasks, .. } = self;
        let stream = tokio::select! {
            biased;
            Some(stream) = streams.recv(), if !is_complete => stream,
            come = poll_fn(|context| poll(context, order, lanes, tasks)) => return come,
            () = late => return Err(self.too_late(is_complete)),
        };
        self.open(stream).await
    }

    fn too_late(&self, is_complete: bool) -> LaneError {
        let ((come, lanes), next) = (self.order.come(), self.order.position());
        match is_complete {
            true => LaneError::Stalled { next, seconds: STALL.as_secs() },
            false => LaneError::Missing { come, lanes },
        }
    }

    /// Each lane has brought its end; behind it there must be nothing.
    async fn read_to_their_ends(&mut self) -> Result<(), LaneError> {
        let stalled = LaneError::Stalled { next: self.order.position(), seconds: STALL.as_secs() };
        let (lanes, tasks) = (&mut self.lanes, &mut self.tasks);
        let all = async {
            while let Some(joined) = tasks.join_next().await {
                keep(lanes, joined)?;
            }
            Ok(())
        };
        timeout(STALL, all).await.map_err(|_| stalled)?
    }
}

/// Takes what the lanes have brought that are waited for, and hears of those that have failed.
fn poll<S: Stream>(
    context: &mut Context<'_>,
    order: &mut Order,
    lanes: &mut [Coming<S>],
    tasks: &mut JoinSet<Read<S>>,
) -> Poll<Result<(), LaneError>> {
    while let Poll::Ready(Some(joined)) = tasks.poll_join_next(context) {
        keep(lanes, joined)?;
    }
    let mut has_come = false;
    for (seat, lane) in lanes.iter_mut().enumerate() {
        if order.wants(seat)
            && let Poll::Ready(Some(item)) = lane.items.poll_recv(context)
        {
            order.put(seat, item)?;
            has_come = true;
        }
    }
    if has_come { Poll::Ready(Ok(())) } else { Poll::Pending }
}

/// A lane that was read to its end, or why it was not.
fn keep<S: Stream>(
    lanes: &mut [Coming<S>],
    joined: Result<Read<S>, JoinError>,
) -> Result<(), LaneError> {
    let (seat, reader) = joined.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        // Nobody aborts one and waits for it.
        Err(_) => Err(LaneError::NoStream),
    })?;
    lanes[seat].reader = Some(reader);
    Ok(())
}

/// Reads a lane to its end. It waits while its queue is full.
async fn read<S: Stream>(
    (seat, number): (usize, u32),
    mut reader: S::Reader,
    queue: mpsc::Sender<Item>,
) -> Read<S> {
    let mut parser = Parser::new();
    loop {
        let received = reader.receive().await.map_err(|error| broken(number, error))?;
        let Some(mut bytes) = received else { break };
        while let Some(item) = parser.next(&mut bytes)? {
            // Who gave up ends this task as well.
            queue.send(item).await.map_err(|_| LaneError::NoStream)?;
        }
    }
    match parser.is_over() {
        true => Ok((seat, reader)),
        false => Err(FormatError::Truncated.into()),
    }
}

fn broken(lane: u32, error: LinkError) -> LaneError {
    LaneError::Broken { lane, error }
}
