//! Streams of what happens from now on, over a WebSocket or as server-sent events.
//!
//! A stream ends with its token: before each page and with each beat it is asked whether the token
//! still belongs to the same person with the same rights.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse as _, Response};
use fieldmesh_dialect::outcome::Page;
use fieldmesh_dialect::{Ask, Caller};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use crate::budget::Held;
use crate::host::Proof;
use crate::shell::{Inner, Live, now};

/// The protocol that a browser names before its token, as it can send no header.
pub(crate) const PROTOCOL: &str = "bearer";
/// Why a WebSocket is closed whose token ended, as the standard calls it: a policy.
const CODE_TOKEN_ENDED: u16 = 1_008;
/// Why one is closed when the server stops: it goes away.
const CODE_STOPPING: u16 = 1_001;

/// How long a client may say nothing, not even to a ping: what was sent before it may take a slow one
/// minutes to read. Of a link that is dead the system tells after a quarter of an hour at the
/// earliest, and its place is wanted by others.
const SILENCE_MAX: Duration = Duration::from_secs(4 * 60);

/// Whether a stream may go on.
pub(crate) struct Watch {
    pub(crate) inner: Arc<Inner>,
    pub(crate) proof: Proof,
    pub(crate) caller: Caller,
}

/// What comes next on a stream.
enum Next {
    Frames(Vec<String>),
    Beat,
    End { code: u16 },
}

impl Watch {
    async fn may_go_on(&self) -> bool {
        match self.inner.host.caller(&self.proof, now()).await {
            Ok(caller) => Caller { feed: self.caller.feed, ..caller } == self.caller,
            Err(_) => false,
        }
    }
}

/// One stream that is counted as open.
struct Following {
    pages: BoxStream<'static, Page>,
    ask: Ask,
    watch: Watch,
    beats: Interval,
    /// One of the streams that its person may have.
    _held: Held,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.watch.inner.counts.closed();
    }
}

impl Following {
    async fn next(&mut self) -> Next {
        let page = tokio::select! {
            page = self.pages.next() => page,
            _ = self.beats.tick() => {
                let may_go_on = self.watch.may_go_on().await;
                return if may_go_on { Next::Beat } else { Next::End { code: CODE_TOKEN_ENDED } };
            }
            () = self.watch.inner.stop.cancelled() => return Next::End { code: CODE_STOPPING },
        };
        match page {
            None => Next::End { code: CODE_STOPPING },
            Some(_) if !self.watch.may_go_on().await => Next::End { code: CODE_TOKEN_ENDED },
            Some(page) => Next::Frames(self.ask.frames(&page)),
        }
    }
}

/// Answers with a stream of `pages`.
pub(crate) fn open(
    live: Option<Live>,
    ask: Ask,
    pages: BoxStream<'static, Page>,
    watch: Watch,
    held: Held,
) -> Response {
    watch.inner.counts.opened();
    let mut beats = interval(watch.inner.settings.heartbeat);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first beat of an interval is at once.
    beats.reset();
    let following = Following { pages, ask, watch, beats, _held: held };
    match live {
        Some(Live { upgrade, seat, .. }) => upgrade.on_upgrade(async move |socket| {
            talk(socket, following).await;
            // Until here the connection counts, and whoever stops the server waits for it.
            drop(seat);
        }),
        None => Sse::new(events(following)).into_response(),
    }
}

async fn talk(mut socket: WebSocket, mut following: Following) {
    let mut heard = Instant::now();
    loop {
        let left = unless_left(following.next(), &mut socket, || heard = Instant::now()).await;
        let Some(next) = left else { return };
        let messages = match next {
            Next::Frames(frames) => frames.into_iter().map(Message::text).collect(),
            Next::Beat if heard.elapsed() > SILENCE_MAX => return,
            Next::Beat => vec![Message::Ping(Vec::new().into())],
            Next::End { code } => {
                let frame = CloseFrame { code, reason: "".into() };
                // Whoever does not hear it notices the end of the connection.
                let _ = socket.send(Message::Close(Some(frame))).await;
                return;
            }
        };
        for message in messages {
            if socket.send(message).await.is_err() {
                return;
            }
        }
    }
}

/// What comes of `next`, if the client stays so long; `hear` is called whenever it says something.
/// It is awaited to its end: a page that it has taken is lost with it, and later ones would carry
/// the client past it.
async fn unless_left<T, M, E>(
    next: impl Future<Output = T>,
    heard: &mut (impl Stream<Item = Result<M, E>> + Unpin),
    mut hear: impl FnMut(),
) -> Option<T> {
    let mut next = pin!(next);
    loop {
        tokio::select! {
            next = &mut next => return Some(next),
            heard = heard.next() => match heard {
                // Pings are answered below us; nothing else is expected, and nothing harmed.
                Some(Ok(_)) => hear(),
                Some(Err(_)) | None => return None,
            },
        }
    }
}

fn events(following: Following) -> impl Stream<Item = Result<Event, Infallible>> {
    let batches = stream::unfold(following, |mut following| async move {
        let events = match following.next().await {
            Next::Frames(frames) => {
                frames.into_iter().map(|frame| Event::default().data(frame)).collect()
            }
            Next::Beat => vec![Event::default().comment("")],
            Next::End { .. } => return None,
        };
        Some((stream::iter(events.into_iter().map(Ok)), following))
    });
    batches.flatten()
}

#[cfg(test)]
mod tests {
    use futures::channel::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_page_is_not_lost_where_the_client_speaks_while_its_token_is_looked_at() {
        let (speak, mut heard) = mpsc::unbounded::<Result<&str, ()>>();
        let (mut pages, mut count) = (stream::iter([1, 2]), 0);
        for page in [1, 2] {
            let taken = async {
                let page = pages.next().await;
                speak.unbounded_send(Ok("pong")).unwrap();
                tokio::task::yield_now().await;
                page
            };
            assert_eq!(unless_left(taken, &mut heard, || count += 1).await, Some(Some(page)));
        }
        drop(speak);
        assert_eq!(
            unless_left(std::future::pending::<()>(), &mut heard, || count += 1).await,
            None
        );
        assert_eq!(count, 2);
    }
}
