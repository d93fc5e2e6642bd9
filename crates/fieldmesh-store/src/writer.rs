//! Many entries of many callers to one sync of the log.
//!
//! Callers queue requests; whoever writes takes what is there, writes it as one group, syncs once
//! and answers each. A caller that waits writes by itself while nobody else does, since waking a
//! thread and being woken by it takes longer than a quick disk does; all else is for the thread. A
//! lone request waits for nobody.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::JoinHandle;

use crate::frame::{ENTRY_SIZE_MAX, Packed};
use crate::log::append::{AppendError, Appender, Room, Whole};
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
    whole: Whole,
    done: Done,
}

#[derive(Default)]
struct Queue {
    requests: VecDeque<Request>,
    bytes: usize,
    is_closed: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    drained: Condvar,
    /// Held by whoever writes; taken before the queue, so that groups lie in the order of it.
    appender: Mutex<Appender>,
}

/// The handle to the writing thread.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Entries that are lined up; the thread writes them when nobody waits any more.
pub struct Appending {
    shared: Arc<Shared>,
    receiver: Receiver<Result<Vec<Place>, AppendError>>,
    is_awaited: bool,
}

impl Appending {
    /// Waits until the entries are durable. Hold no lock that a callback of another append takes.
    ///
    /// # Errors
    ///
    /// None of the entries counts as stored; the error says what to do. The store goes on.
    pub fn wait(mut self) -> Result<Vec<Place>, AppendError> {
        self.is_awaited = true;
        if let Ok(answer) = self.receiver.try_recv() {
            return answer;
        }
        self.shared.try_write();
        if let Ok(answer) = self.receiver.try_recv() {
            return answer;
        }
        // Whoever writes may have looked for the last time.
        self.shared.filled.notify_one();
        self.receiver.recv().unwrap_or(Err(AppendError::Closed))
    }
}

impl Drop for Appending {
    fn drop(&mut self) {
        if !self.is_awaited {
            self.shared.filled.notify_one();
        }
    }
}

/// What to do while too much is queued.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WhenFull {
    Wait,
    Refuse,
}

impl Writer {
    pub(crate) fn start(appender: Appender) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            drained: Condvar::new(),
            appender: Mutex::new(appender),
        });
        let writing = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("fieldmesh-log".into()).spawn(move || {
            while writing.wait_for_requests() {
                writing.write_next(writing.appender());
            }
        })?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Appends and waits until everything is durable.
    pub(crate) fn append(
        &self,
        entries: Vec<Entry>,
        (room, whole): (Room, Whole),
    ) -> Result<Vec<Place>, AppendError> {
        let (sender, receiver) = sync_channel(1);
        let done = Box::new(move |result| {
            // The receiver waits below for as long as this sender lives.
            let _ = sender.send(result);
        });
        self.pack(entries, done, WhenFull::Wait, (room, whole));
        receiver.recv().unwrap_or(Err(AppendError::Closed))
    }

    /// Lines entries up for whoever waits for them.
    pub(crate) fn append_later(&self, packed: Vec<Packed>, whole: Whole) -> Appending {
        let (sender, receiver) = sync_channel(1);
        let done = Box::new(move |result| {
            // Whoever waits may have been stopped; the entry is durable all the same.
            let _ = sender.send(result);
        });
        let request = Request { bytes: 0, packed, room: Room::Ordinary, whole, done };
        self.queue(request, WhenFull::Refuse);
        Appending { shared: Arc::clone(&self.shared), receiver, is_awaited: false }
    }

    /// Appends and calls `done` from the writing thread when everything is durable.
    pub(crate) fn append_with(&self, entries: Vec<Entry>, room: Room, done: Done) {
        self.pack(entries, done, WhenFull::Refuse, (room, Whole::Entry));
    }

    fn pack(
        &self,
        entries: Vec<Entry>,
        done: Done,
        when_full: WhenFull,
        (room, whole): (Room, Whole),
    ) {
        if let Some(size) = entries.iter().map(|e| e.bytes.len()).find(|s| *s > ENTRY_SIZE_MAX) {
            return done(Err(AppendError::TooLarge { size }));
        }
        if entries.is_empty() {
            return done(Ok(Vec::new()));
        }
        // Compressing here uses the callers' cores and leaves the thread to write.
        let packed = entries.into_iter().map(Packed::new).collect();
        self.queue(Request { bytes: 0, packed, room, whole, done }, when_full);
        self.shared.filled.notify_one();
    }

    fn queue(&self, mut request: Request, when_full: WhenFull) {
        let bytes = request.packed.iter().map(Packed::frame_length).sum();
        request.bytes = bytes;
        let mut queue = self.shared.queue();
        while queue.bytes > 0 && queue.bytes + bytes > QUEUE_BYTES_MAX && !queue.is_closed {
            if when_full == WhenFull::Refuse {
                let queued_bytes = queue.bytes;
                drop(queue);
                // What is lined up for somebody who waits later must not stand in others' way.
                self.shared.filled.notify_one();
                return (request.done)(Err(AppendError::QueueFull { queued_bytes }));
            }
            self.shared.filled.notify_one();
            queue = self.shared.drained.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        if queue.is_closed {
            drop(queue);
            return (request.done)(Err(AppendError::Closed));
        }
        queue.bytes += bytes;
        queue.requests.push_back(request);
    }

    /// Ends the segment being written if it has grown to `bytes_min`; says whether it did.
    pub(crate) fn end_segment(&self, bytes_min: u64) -> bool {
        self.shared.appender().end_segment(bytes_min)
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
        // Somebody who waits may still write.
        drop(self.shared.appender());
    }
}

impl Shared {
    fn appender(&self) -> MutexGuard<'_, Appender> {
        self.appender.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what is queued, unless somebody writes already.
    fn try_write(&self) {
        match self.appender.try_lock() {
            Ok(appender) => self.write_next(appender),
            Err(TryLockError::Poisoned(poisoned)) => self.write_next(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => {}
        }
    }

    /// Writes as much of what is queued as fits in a group.
    fn write_next(&self, mut appender: MutexGuard<'_, Appender>) {
        let group = self.take_group();
        let written = catch_unwind(AssertUnwindSafe(|| write_group(&mut appender, group)));
        if written.is_err() {
            // Before anybody else may write: what the appender has in mind may not be on the disk.
            tracing::error!("log writer panicked");
            self.refuse_rest();
        }
        drop(appender);
    }

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
            let refuse = || (request.done)(Err(AppendError::Closed));
            // The next ones have to hear of it whatever this one does.
            let _ = catch_unwind(AssertUnwindSafe(refuse));
        }
    }

    /// Waits until something is queued; false after the last.
    fn wait_for_requests(&self) -> bool {
        let mut queue = self.queue();
        while queue.requests.is_empty() {
            if queue.is_closed {
                return false;
            }
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        true
    }

    /// Takes as many requests as fit in a group.
    fn take_group(&self) -> Vec<Request> {
        let mut queue = self.queue();
        let mut group: Vec<Request> = Vec::new();
        let (mut entries, mut bytes) = (0, 0);
        while let Some(request) = queue.requests.front() {
            let is_full = entries + request.packed.len() > GROUP_ENTRIES_MAX
                || bytes + request.bytes > GROUP_BYTES_MAX;
            // What is written whole is written alone.
            let is_whole = |request: &Request| request.whole != Whole::Entry;
            let is_other = group.first().is_some_and(|first| {
                first.room != request.room || is_whole(first) || is_whole(request)
            });
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
        group
    }
}

fn write_group(appender: &mut Appender, group: Vec<Request>) {
    if group.is_empty() {
        return;
    }
    // A group is of one kind, see `take_group`.
    let kind = group.first().map(|request| (request.room, request.whole));
    let (room, whole) = kind.unwrap_or((Room::Ordinary, Whole::Entry));
    let mut packed = Vec::new();
    let mut waiting = Vec::with_capacity(group.len());
    for mut request in group {
        waiting.push((request.packed.len(), request.done));
        packed.append(&mut request.packed);
    }
    let result = match whole {
        // One frame is there or not, whatever else.
        Whole::Group if packed.len() > 1 => appender.append_together(&packed, room),
        Whole::Behind(end) if appender.segments.end() != end => Ok(Vec::new()),
        Whole::Group | Whole::Entry | Whole::Behind(_) => appender.append(&packed, room),
    };
    let mut places = result.as_ref().map(|places| places.iter()).unwrap_or_default();
    for (count, done) in waiting {
        let answer = match &result {
            Ok(_) => Ok(places.by_ref().take(count).copied().collect()),
            Err(error) => Err(error.clone()),
        };
        // Whoever writes does so for everybody, so one caller's panic may not end it.
        if catch_unwind(AssertUnwindSafe(|| done(answer))).is_err() {
            tracing::error!("an append callback panicked");
        }
    }
}
