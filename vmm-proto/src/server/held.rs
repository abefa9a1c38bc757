//! An answer that holds its request's place until a peer has taken it.
//!
//! A peer that asks and does not read would otherwise keep as many answers in memory as it has streams. The body is handed on in
//! small pieces, because HTTP/2 takes a whole piece over as soon as the peer's window has one byte.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::Response;
use hyper::body::{Body, Frame, SizeHint};

use super::Place;

/// As large as a frame of HTTP/2 usually is.
const PIECE_BYTES: usize = 16 << 10;

/// The body of an answer, and what is given back when it has gone out.
pub(super) struct Held {
    rest: Bytes,
    _place: Option<Arc<Place>>,
}

/// The answer to a request that has a place, or had none.
pub(super) fn answer(response: Response<Bytes>, place: Option<Arc<Place>>) -> Response<Held> {
    response.map(|rest| Held { rest, _place: place })
}

impl Body for Held {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = self.rest.len().min(PIECE_BYTES);
        let piece = self.rest.split_to(length);
        Poll::Ready((length > 0).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len().try_into().unwrap_or(u64::MAX))
    }
}
