//! One thread that writes the log for everybody, many entries to one sync.
//!
//! Callers queue requests; the thread takes what is there, writes it as one group, syncs once and
//! answers each. A lone request waits for nobody.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::frame::{ENTRY_SIZE_MAX, Packed};
use crate::log::append::{AppendError, Appender, Room};
use crate::log::{Entry, Place};

/// The largest number of entries written with one sync, unless one request alone has more.
pub const GROUP_ENTRIES_MAX: usize = 256;
/// The largest number of bytes written with one sync, unless one request alone has more.
pub const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The largest number of bytes that wait to be written, unless one request alone has more.
pub const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

type Done = Box<dyn FnOnce(Result<Vec<Place>, AppendError>) + Send>;

struct Request {
    packed: Vec<Packed>,
    bytes: usize,
    room: Room,
    done: Done,
}

#[derive(Default)]
struct Queue {
    requests: VecDeque<Request>,
    bytes: usize,
    is_closed: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    drained: Condvar,
}

/// The handle to the writing thread.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    appender: Arc<Mutex<Appender>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What to do while too much is queued.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WhenFull {
    Wait,
    Refuse,
}

impl Writer {
    pub(crate) fn start(appender: Appender) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let appender = Arc::new(Mutex::new(appender));
        let (for_thread, writing) = (Arc::clone(&shared), Arc::clone(&appender));
        let thread = std::thread::Builder::new().name("fieldmesh-log".into()).spawn(move || {
            let written = catch_unwind(AssertUnwindSafe(|| {
                while let Some(group) = for_thread.next_group() {
                    let mut appender = writing.lock().unwrap_or_else(PoisonError::into_inner);
                    write_group(&mut appender, group);
                }
            }));
            if written.is_err() {
                tracing::error!("log writer panicked");
            }
            for_thread.refuse_rest();
        })?;
        Ok(Self { shared, appender, thread: Mutex::new(Some(thread)) })
    }

    /// Appends and waits until everything is durable.
    pub(crate) fn append(
        &self,
        entries: Vec<Entry>,
        room: Room,
    ) -> Result<Vec<Place>, AppendError> {
        let (sender, receiver) = sync_channel(1);
        let done = Box::new(move |result| {
            // The receiver waits below for as long as this sender lives.
            let _ = sender.send(result);
        });
        self.queue(entries, done, WhenFull::Wait, room);
        receiver.recv().unwrap_or(Err(AppendError::Closed))
    }

    /// Appends and calls `done` from the writing thread when everything is durable.
    pub(crate) fn append_with(&self, entries: Vec<Entry>, room: Room, done: Done) {
        self.queue(entries, done, WhenFull::Refuse, room);
    }

    fn queue(&self, entries: Vec<Entry>, done: Done, when_full: WhenFull, room: Room) {
        if let Some(size) = entries.iter().map(|e| e.bytes.len()).find(|s| *s > ENTRY_SIZE_MAX) {
            return done(Err(AppendError::TooLarge { size }));
        }
        if entries.is_empty() {
            return done(Ok(Vec::new()));
        }
        // Compressing here uses the callers' cores and leaves the thread to write.
        let packed: Vec<Packed> = entries.into_iter().map(Packed::new).collect();
        let bytes = packed.iter().map(Packed::frame_length).sum();
        let mut queue = self.shared.queue();
        while queue.bytes > 0 && queue.bytes + bytes > QUEUE_BYTES_MAX && !queue.is_closed {
            if when_full == WhenFull::Refuse {
                let queued_bytes = queue.bytes;
                drop(queue);
                return done(Err(AppendError::QueueFull { queued_bytes }));
            }
            queue = self.shared.drained.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        if queue.is_closed {
            drop(queue);
            return done(Err(AppendError::Closed));
        }
        queue.bytes += bytes;
        queue.requests.push_back(Request { packed, bytes, room, done });
        drop(queue);
        self.shared.filled.notify_one();
    }

    /// Ends the segment being written if it has grown to `bytes_min`; says whether it did.
    pub(crate) fn end_segment(&self, bytes_min: u64) -> bool {
        self.appender.lock().unwrap_or_else(PoisonError::into_inner).end_segment(bytes_min)
    }

    /// Writes what is queued, refuses what comes later, and ends the thread.
    pub(crate) fn close(&self) {
        self.shared.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("log writer panicked");
        }
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.queue().is_closed = true;
        self.filled.notify_all();
        self.drained.notify_all();
    }

    /// Nobody writes any more, so nobody may wait for it.
    fn refuse_rest(&self) {
        self.close();
        let rest = std::mem::take(&mut self.queue().requests);
        for request in rest {
            (request.done)(Err(AppendError::Closed));
        }
    }

    /// Waits for requests and takes as many as fit in a group; `None` after the last.
    fn next_group(&self) -> Option<Vec<Request>> {
        let mut queue = self.queue();
        while queue.requests.is_empty() {
            if queue.is_closed {
                return None;
            }
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let mut group: Vec<Request> = Vec::new();
        let (mut entries, mut bytes) = (0, 0);
        while let Some(request) = queue.requests.front() {
            let is_full = entries + request.packed.len() > GROUP_ENTRIES_MAX
                || bytes + request.bytes > GROUP_BYTES_MAX;
            let is_other = group.first().is_some_and(|first| first.room != request.room);
            if is_other || (is_full && !group.is_empty()) {
                break;
            }
            entries += request.packed.len();
            bytes += request.bytes;
            queue.bytes -= request.bytes;
            group.extend(queue.requests.pop_front());
        }
        drop(queue);
        self.drained.notify_all();
        Some(group)
    }
}

fn write_group(appender: &mut Appender, group: Vec<Request>) {
    // A group is of one kind, see `next_group`.
    let room = group.first().map_or(Room::Ordinary, |request| request.room);
    let mut packed = Vec::new();
    let mut waiting = Vec::with_capacity(group.len());
    for mut request in group {
        waiting.push((request.packed.len(), request.done));
        packed.append(&mut request.packed);
    }
    let result = appender.append(&packed, room);
    let mut places = result.as_ref().map(|places| places.iter()).unwrap_or_default();
    for (count, done) in waiting {
        let answer = match &result {
            Ok(_) => Ok(places.by_ref().take(count).copied().collect()),
            Err(error) => Err(error.clone()),
        };
        // The thread writes for everybody, so one caller's panic may not end it.
        if catch_unwind(AssertUnwindSafe(|| done(answer))).is_err() {
            tracing::error!("an append callback panicked");
        }
    }
}
