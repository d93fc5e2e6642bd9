//! What waits to be written on a link's control stream, and how the link ends.
//!
//! A peer that asks and never reads makes the queue grow; this is the fence behind the budgets of
//! the conversation.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

/// The most bytes of control messages that wait for a peer to read; twice what a session lets wait
/// if it knows what was written.
const CONTROL_UNWRITTEN_MAX: usize = 2 << 20;

/// How long a peer may take to read what was queued when its link ended.
const FAREWELL_MAX: Duration = Duration::from_secs(5);

/// The peer asks and does not read the answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the peer does not read: {unwritten} bytes of control messages wait, limit is \
     {CONTROL_UNWRITTEN_MAX}"
)]
pub(super) struct Unread {
    unwritten: usize,
}

/// The side that queues; dropping it lets what is queued go out.
pub(super) struct Outbox {
    queue: mpsc::UnboundedSender<Vec<u8>>,
    unwritten: Arc<AtomicUsize>,
    /// Ends the link at once; none after that.
    cut: Option<oneshot::Sender<Unread>>,
}

/// The side that writes.
pub(super) struct Drain {
    queue: mpsc::UnboundedReceiver<Vec<u8>>,
    unwritten: Arc<AtomicUsize>,
}

/// Says when a link is to end although the peer has not read everything.
pub(super) struct Ending(oneshot::Receiver<Unread>);

/// An empty queue.
pub(super) fn outbox() -> (Outbox, Drain, Ending) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let (cut, ending) = oneshot::channel();
    let unwritten = Arc::new(AtomicUsize::new(0));
    let drain = Drain { queue: receiver, unwritten: Arc::clone(&unwritten) };
    (Outbox { queue: sender, unwritten, cut: Some(cut) }, drain, Ending(ending))
}

impl Outbox {
    /// Queues a message.
    ///
    /// # Errors
    ///
    /// Too much waits already: forget the link, whose connection ends without a farewell.
    pub(super) fn push(&mut self, bytes: Vec<u8>) -> Result<(), Unread> {
        let unwritten = self.unwritten.load(Ordering::Relaxed) + bytes.len();
        if unwritten > CONTROL_UNWRITTEN_MAX {
            let unread = Unread { unwritten };
            if let Some(cut) = self.cut.take() {
                // A driver that is gone has ended the link already.
                let _ = cut.send(unread);
            }
            return Err(unread);
        }
        self.unwritten.fetch_add(bytes.len(), Ordering::Relaxed);
        // As above.
        let _ = self.queue.send(bytes);
        Ok(())
    }
}

impl Drain {
    /// The next message; none when the link is over.
    pub(super) async fn next(&mut self) -> Option<Vec<u8>> {
        self.queue.recv().await
    }

    /// So many bytes have left the queue.
    pub(super) fn written(&self, bytes: usize) {
        self.unwritten.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Ending {
    /// Waits until the link has to end.
    ///
    /// # Errors
    ///
    /// The peer does not read.
    pub(super) async fn come(mut self) -> Result<(), Unread> {
        self.over().await?;
        sleep(FAREWELL_MAX).await;
        Ok(())
    }

    /// Waits until nothing more is queued, whatever of it is not written yet. It says so once.
    ///
    /// # Errors
    ///
    /// The peer does not read.
    pub(super) async fn over(&mut self) -> Result<(), Unread> {
        match (&mut self.0).await {
            Ok(unread) => Err(unread),
            Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_peer_that_asks_and_never_reads_does_not_cost_the_device_its_memory() {
        let (mut outbox, drain, ending) = outbox();
        let message = vec![0; 64 * 1024];
        for _ in 0..CONTROL_UNWRITTEN_MAX / message.len() {
            assert_eq!(outbox.push(message.clone()), Ok(()));
        }
        let unread = Unread { unwritten: CONTROL_UNWRITTEN_MAX + 1 };
        assert_eq!(outbox.push(vec![0]), Err(unread));
        assert_eq!(ending.come().await, Err(unread), "nothing waits for the peer to read");
        // What it does read makes room.
        drain.written(message.len());
        assert_eq!(outbox.push(message), Ok(()));
    }
}
