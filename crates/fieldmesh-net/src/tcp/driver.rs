//! The task that moves a connection: streams, signs of life, and its end.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures::{AsyncRead as _, AsyncWrite as _};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, Sleep, interval, sleep_until, timeout};

use super::farewell::Word;
use super::handle::{Arrivals, Found, Inlets, Opening, TcpConnection};
use super::pipe::{Meter, Pipe};
use super::state::State;
use super::unread::{Counted, Unread};
use super::{GOODBYE_TIMEOUT, INBOUND_STREAMS_MAX, Purpose, config};
use crate::closed::{CloseCode, ClosedReason};
use crate::endpoint::{IDLE_TIMEOUT, KEEP_ALIVE};

/// Streams that wait to be opened.
const OPENINGS_MAX: usize = 8;
/// The most bytes that wait to be said about the connection; a peer that lets more pile up reads
/// nothing.
const WORDS_SIZE_MAX: usize = 2 * 1024;
/// How many bytes may wait when one more sign of life is asked for.
const PING_BEHIND_MAX: usize = 64;

/// The tasks of all connections of an endpoint.
#[derive(Debug)]
pub(crate) struct Drivers {
    tasks: Mutex<JoinSet<()>>,
    is_over: watch::Sender<bool>,
}

impl Drivers {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { tasks: Mutex::default(), is_over: watch::Sender::new(false) })
    }

    /// Ends every connection, and waits until the other sides have heard of it.
    pub(crate) async fn close(&self) {
        self.is_over.send_replace(true);
        let mut tasks = std::mem::take(&mut *self.tasks());
        while tasks.join_next().await.is_some() {}
    }

    /// Waits for [`Drivers::close`].
    pub(crate) async fn over(&self) {
        let mut is_over = self.is_over.subscribe();
        // The sender lives as long as this borrow.
        let _ = is_over.wait_for(|is_over| *is_over).await;
    }

    /// Begins to move a connection.
    pub(super) fn drive(
        self: &Arc<Self>,
        pipe: Pipe,
        mode: yamux::Mode,
        meter: Arc<Meter>,
        found: Found,
    ) -> TcpConnection {
        let state = Arc::new(State::new(meter));
        let (openings, opening) = mpsc::channel(OPENINGS_MAX);
        let (inlets, arrivals) = Arrivals::new();
        let unread = pipe.unread();
        let driver = Driver {
            unread,
            mux: yamux::Connection::new(pipe, config(), mode),
            state: Arc::clone(&state),
            openings: opening,
            inbound: 0,
            unnamed: Vec::new(),
            inlets,
            words: Words::new(),
        };
        let is_over = self.is_over.subscribe();
        let mut tasks = self.tasks();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(driver.run(is_over));
        drop(tasks);
        TcpConnection::new(state, found, openings, arrivals, Arc::clone(self))
    }

    fn tasks(&self) -> std::sync::MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Moves one connection.
struct Driver {
    mux: yamux::Connection<Pipe>,
    /// What has arrived and nobody has read.
    unread: Arc<Unread>,
    state: Arc<State>,
    openings: mpsc::Receiver<Opening>,
    /// How many streams the other side has opened.
    inbound: usize,
    /// Those that have not said what they are for.
    unnamed: Vec<Counted>,
    inlets: Inlets,
    words: Words,
}

/// How a connection ended.
enum Ending {
    /// From outside.
    There(ClosedReason),
    /// By this side, which owes the other one a word.
    Here(CloseCode, String),
}

impl Drop for Driver {
    fn drop(&mut self) {
        let detail = "nobody moves it any more".into();
        self.state.end(ClosedReason::Lost { detail });
    }
}

impl Driver {
    async fn run(mut self, mut is_over: watch::Receiver<bool>) {
        let state = Arc::clone(&self.state);
        let over = async {
            // An endpoint that is gone without a word ends its tasks anyhow.
            let _ = is_over.wait_for(|is_over| *is_over).await;
        };
        let ending = tokio::select! {
            biased;
            ending = poll_fn(|cx| self.poll(cx)) => ending,
            (code, text) = state.farewell() => Ending::Here(code, text),
            () = over => Ending::Here(CloseCode::Shutdown, String::new()),
        };
        match ending {
            Ending::There(reason) => self.state.end(reason),
            Ending::Here(code, text) => {
                self.state.end(ClosedReason::Here);
                // Whoever does not take it finds out by itself.
                let _ = timeout(GOODBYE_TIMEOUT, self.say_goodbye(code, &text)).await;
            }
        }
    }

    /// Moves everything as far as it goes.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        let state = Arc::clone(&self.state);
        // Whoever finds a stream broken waits here for the reason.
        let _moving = state.moving();
        let ending = std::task::ready!(self.poll_moving(cx));
        state.end(match &ending {
            Ending::There(reason) => reason.clone(),
            Ending::Here(..) => ClosedReason::Here,
        });
        Poll::Ready(ending)
    }

    fn poll_moving(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        loop {
            let mut has_moved = self.open_streams(cx);
            let ended = match self.mux.poll_next_inbound(cx) {
                Poll::Ready(Some(Ok(stream))) => {
                    let stream = Counted::new(stream, &self.unread);
                    self.inbound += 1;
                    if self.inbound > INBOUND_STREAMS_MAX {
                        return Poll::Ready(breach("too many streams were opened"));
                    }
                    self.unnamed.push(stream);
                    has_moved = true;
                    None
                }
                Poll::Ready(Some(Err(error))) => Some(lost(&error)),
                Poll::Ready(None) => {
                    let detail = "the other side is gone without a word".into();
                    Some(ClosedReason::Lost { detail })
                }
                Poll::Pending => None,
            };
            // The last words of the other side may lie behind the end of what moves them.
            let spoken = self.name_streams(cx).and_then(|named| {
                has_moved |= named;
                self.words.poll(cx, &self.state)
            });
            match (spoken, ended) {
                (Err(ending), _) => return Poll::Ready(ending),
                (Ok(_), Some(reason)) => return Poll::Ready(Ending::There(reason)),
                (Ok(spoken), None) if has_moved || spoken => {}
                (Ok(_), None) => return Poll::Pending,
            }
        }
    }

    fn open_streams(&mut self, cx: &mut Context<'_>) -> bool {
        let mut has_moved = false;
        if self.words.out.is_none()
            && let Poll::Ready(Ok(stream)) = self.mux.poll_new_outbound(cx)
        {
            self.words.out = Some(Counted::new(stream, &self.unread));
            has_moved = true;
        }
        while let Poll::Ready(Some(opening)) = self.openings.poll_recv(cx) {
            // Whoever waits hears of a stream that cannot be opened by the end of the connection.
            if let Poll::Ready(Ok(stream)) = self.mux.poll_new_outbound(cx) {
                let _ = opening.send(Counted::new(stream, &self.unread));
                has_moved = true;
            }
        }
        has_moved
    }

    /// Hands streams to those who wait for their kind; whether there were any.
    fn name_streams(&mut self, cx: &mut Context<'_>) -> Result<bool, Ending> {
        let mut has_moved = false;
        let mut index = 0;
        while let Some(stream) = self.unnamed.get_mut(index) {
            let mut code = [0];
            let purpose = match Pin::new(stream).poll_read(cx, &mut code) {
                Poll::Pending => {
                    index += 1;
                    continue;
                }
                Poll::Ready(Ok(1..)) => Purpose::of(code[0]),
                // A stream that was given up before it said anything is for nothing.
                Poll::Ready(Ok(0) | Err(_)) => {
                    self.unnamed.swap_remove(index);
                    continue;
                }
            };
            has_moved = true;
            let stream = self.unnamed.swap_remove(index);
            let taken = match purpose {
                None => return Err(breach("a stream is for nothing that is known")),
                Some(Purpose::Connection) => self.words.listen_to(stream),
                Some(Purpose::Control) => self.inlets.control.try_send(stream).is_ok(),
                Some(Purpose::Answers) => self.inlets.answers.try_send(stream).is_ok(),
                Some(Purpose::Data) => self.inlets.data.try_send(stream).is_ok(),
            };
            if !taken && !self.inlets.data.is_closed() {
                return Err(breach("a stream was opened twice"));
            }
        }
        Ok(has_moved)
    }

    /// Tells the other side why.
    ///
    /// The word has a stream of its own and may overtake what others have written: who wants that
    /// read waits for the other side to say so before it closes.
    async fn say_goodbye(&mut self, code: CloseCode, text: &str) {
        self.words.say(&Word::close(code, text));
        let said = poll_fn(|cx| {
            loop {
                let is_opened = self.open_streams(cx);
                // Nothing that arrives counts any more.
                let is_over = match self.mux.poll_next_inbound(cx) {
                    Poll::Ready(Some(Ok(_))) => continue,
                    Poll::Ready(Some(Err(_)) | None) => true,
                    Poll::Pending => false,
                };
                let has_moved = self.words.write(cx);
                if is_over || self.words.unsaid.is_empty() {
                    return Poll::Ready(());
                }
                if !has_moved && !is_opened {
                    return Poll::Pending;
                }
            }
        });
        said.await;
        // Nobody is left to hear of a failure.
        let _ = poll_fn(|cx| self.mux.poll_close(cx)).await;
    }
}

fn breach(what: &str) -> Ending {
    Ending::Here(CloseCode::Protocol, what.to_owned())
}

fn lost(error: &yamux::ConnectionError) -> ClosedReason {
    match error {
        yamux::ConnectionError::Io(error)
        | yamux::ConnectionError::Decode(yamux::FrameDecodeError::Io(error)) => {
            ClosedReason::of_io(error)
        }
        other => ClosedReason::lost(other),
    }
}

/// What the two sides say about the connection itself.
struct Words {
    out: Option<Counted>,
    /// What is still to be said.
    unsaid: Vec<u8>,
    from: Option<Counted>,
    /// What has arrived of the next word.
    heard: Vec<u8>,
    keep_alive: Interval,
    silence: Pin<Box<Sleep>>,
    ping: u32,
    pinged: Instant,
}

impl Words {
    fn new() -> Self {
        let mut keep_alive = interval(KEEP_ALIVE);
        keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let now = Instant::now();
        Self {
            out: None,
            unsaid: vec![Purpose::Connection.code()],
            from: None,
            heard: Vec::new(),
            keep_alive,
            silence: Box::pin(sleep_until(now + IDLE_TIMEOUT)),
            ping: 0,
            pinged: now,
        }
    }

    /// Takes the stream of the other side; whether it is the first one.
    fn listen_to(&mut self, stream: Counted) -> bool {
        let is_first = self.from.is_none();
        self.from.get_or_insert(stream);
        is_first
    }

    fn say(&mut self, word: &Word) {
        word.write(&mut self.unsaid);
    }

    /// Says and hears; whether anything was.
    fn poll(&mut self, cx: &mut Context<'_>, state: &State) -> Result<bool, Ending> {
        if self.keep_alive.poll_tick(cx).is_ready() && self.unsaid.len() < PING_BEHIND_MAX {
            self.ping = self.ping.wrapping_add(1);
            self.pinged = Instant::now();
            self.say(&Word::Ping(self.ping));
        }
        while self.silence.as_mut().poll(cx).is_ready() {
            let patience = state.meter.heard() + IDLE_TIMEOUT;
            if patience <= Instant::now() {
                return Err(Ending::There(ClosedReason::TimedOut));
            }
            self.silence.as_mut().reset(patience);
        }
        let has_heard = self.hear(cx, state)?;
        Ok(self.write(cx) || has_heard)
    }

    /// Hears everything that has arrived; whether that was anything.
    fn hear(&mut self, cx: &mut Context<'_>, state: &State) -> Result<bool, Ending> {
        let mut has_heard = false;
        while let Some(from) = &mut self.from {
            let mut bytes = [0; 256];
            let read = match Pin::new(from).poll_read(cx, &mut bytes) {
                Poll::Ready(Ok(read @ 1..)) => read,
                Poll::Ready(Ok(0) | Err(_)) | Poll::Pending => break,
            };
            has_heard = true;
            self.heard.extend(&bytes[..read]);
            loop {
                match Word::take(&mut self.heard) {
                    Ok(None) => break,
                    Ok(Some(word)) => self.answer(word, state)?,
                    Err(_) => return Err(breach("what it says of the connection makes no sense")),
                }
            }
        }
        Ok(has_heard)
    }

    fn answer(&mut self, word: Word, state: &State) -> Result<(), Ending> {
        match word {
            Word::Ping(_) if self.unsaid.len() > WORDS_SIZE_MAX => {
                return Err(breach("it asks for signs of life and reads none"));
            }
            Word::Ping(number) => self.say(&Word::Pong(number)),
            Word::Pong(number) if number == self.ping => state.took(self.pinged.elapsed()),
            // An answer to an earlier question says nothing of the way as it is.
            Word::Pong(_) => {}
            Word::Close(code, text) => {
                return Err(Ending::There(ClosedReason::said(code, &text)));
            }
        }
        Ok(())
    }

    /// Writes what is to be said as far as it goes; whether anything was written.
    fn write(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(out) = &mut self.out else { return false };
        let mut has_moved = false;
        while !self.unsaid.is_empty() {
            match Pin::new(&mut *out).poll_write(cx, &self.unsaid) {
                Poll::Ready(Ok(written)) => {
                    self.unsaid.drain(..written.min(self.unsaid.len()));
                    has_moved = true;
                }
                // A stream that broke ends with the connection.
                Poll::Ready(Err(_)) | Poll::Pending => break,
            }
        }
        has_moved
    }
}

/// The shortest time between two signs of life is shorter than the patience of the other side.
const _: () = assert!(KEEP_ALIVE.as_secs() * 3 < IDLE_TIMEOUT.as_secs());
