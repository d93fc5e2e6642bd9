//! The body of a large answer, which gives its memory back as it is written.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::budget::Held;

/// How much is handed to a connection at a time: all at once it would be out of hand before
/// anything is written.
const STEP: usize = 64 * 1024;

/// A body of which what is left is handed over as it is written.
pub(super) struct Written {
    left: Bytes,
    held: Held,
}

impl Written {
    pub(super) fn new(bytes: Vec<u8>, held: Held) -> Self {
        Self { left: bytes.into(), held }
    }
}

impl Body for Written {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.left.len().min(STEP);
        self.held.shrink(next);
        let next = (next > 0).then(|| Ok(Frame::data(self.left.split_to(next))));
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::budget::{Budget, Shares, Taker};

    #[tokio::test]
    async fn an_answer_counts_as_far_as_it_is_not_handed_over() {
        let budget = Budget::new(Shares::whole(300_000));
        let mut held = budget.hold(Taker::only());
        held.grow_at_first(200_000).unwrap();
        let bytes: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
        let mut body = Written::new(bytes.clone(), held);
        assert_eq!(body.size_hint().exact(), Some(200_000));
        let mut read = Vec::new();
        while let Some(frame) = body.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            assert!(data.len() <= STEP);
            read.extend_from_slice(&data);
            let free = 100_000 + read.len();
            assert!(budget.hold(Taker::only()).grow(free).is_ok());
            assert!(budget.hold(Taker::only()).grow(free + 1).is_err());
        }
        assert!(read == bytes && body.is_end_stream());
        drop(body);
        assert!(budget.hold(Taker::only()).grow_at_first(200_000).is_ok());
    }
}
