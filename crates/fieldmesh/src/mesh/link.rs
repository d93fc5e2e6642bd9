//! Drives one connection: readers feed the replica, a writer sends what it says.

use std::pin::pin;
use std::time::Duration;

use fieldmesh_model::{DeviceId, Filter, Moment};
use fieldmesh_net::{CloseCode, ClosedReason, Connection, LaneError, StreamError, Transport};
use fieldmesh_replica::{Input, Lane, LinkId, LinkStats, Side};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::clock;
use crate::ending;

use super::outbox::{Drain, Ending, Outbox, Unread, outbox};
use super::{Mesh, MeshEvent, MeshTask};

/// The most bytes one read takes from a stream.
const READ_MAX: usize = 64 * 1024;

/// How long a peer may take to open its control stream, or to let this side open it; a peer whose
/// disk is slow introduces itself late.
const OPENING_MAX: Duration = Duration::from_secs(30);

/// How long the last control message of a link may take to arrive.
const fn goodbye_timeout(transport: Transport) -> Duration {
    match transport {
        Transport::Quic => Duration::from_secs(1),
        // What was written before it is not overtaken, and waits where a line is slow.
        Transport::Tcp => Duration::from_secs(3),
    }
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parting {
    /// The peer closed it and has nothing to complain of.
    InOrder,
    /// In any other way.
    Broken,
}

/// A connection that is driven; dropping it lets what is queued go out and then ends it.
pub(super) struct Link {
    pub(super) device: DeviceId,
    pub(super) address: String,
    pub(super) is_dialled: bool,
    pub(super) transport: Transport,
    /// The part of the records that it may carry, where that is not all.
    pub(super) part: Option<Filter>,
    /// Its numbers when something was last sent: the replica forgets those of links it gives up.
    pub(super) stats: LinkStats,
    /// Whether the peer has brought the end of this device's membership over it.
    pub(super) has_told_end: bool,
    /// Whether the peer has introduced itself.
    pub(super) has_spoken: bool,
    /// Whether both held the same at some time, or nobody is to blame that they did not.
    pub(super) has_agreed: bool,
    /// Whether a fault ends it that the next conversation is likely to end with too.
    pub(super) is_refused: bool,
    /// What this side has to complain of, where it knows more of that than the fault says.
    pub(super) complaint: Option<String>,
    /// When it began, by the steady clock.
    pub(super) begun: Moment,
    // A queue each, because a control message must not wait behind data that the peer cannot take
    // yet, nor an urgent batch behind old ones. Data is bounded by what the replica loads ahead.
    control: Outbox,
    data: [mpsc::UnboundedSender<Vec<u8>>; Lane::ALL.len()],
}

impl Link {
    /// Queues a control message; on an error the link has to be dropped.
    pub(super) fn send_control(&mut self, bytes: Vec<u8>) -> Result<(), Unread> {
        self.control.push(bytes)
    }

    pub(super) fn send_data(&self, lane: Lane, bytes: Vec<u8>) {
        // A writer that is gone has reported the end of the link already.
        let _ = self.data[position(lane)].send(bytes);
    }
}

const fn position(lane: Lane) -> usize {
    match lane {
        Lane::Urgent => 0,
        Lane::Recent => 1,
        Lane::Backfill => 2,
    }
}

impl MeshTask {
    /// Makes a connection a link and tells the replica.
    pub(super) fn attach(
        &mut self,
        connection: Connection,
        address: String,
        part: Option<Filter>,
    ) -> LinkId {
        let id = LinkId(self.next_link);
        self.next_link += 1;
        let device = connection.peer();
        let side = connection.side();
        let is_dialled = side == fieldmesh_net::Side::Dialled;
        let transport = connection.transport();
        let channel_key = connection.channel_key();
        let peer = device.short();
        tracing::info!(link = id.0, %peer, address, ?side, %transport, "link opened");
        let (control, drain, ending) = outbox();
        let (urgent, urgent_queue) = mpsc::unbounded_channel();
        let (recent, recent_queue) = mpsc::unbounded_channel();
        let (backfill, backfill_queue) = mpsc::unbounded_channel();
        let data = [urgent_queue, recent_queue, backfill_queue];
        let queues = Queues { control: drain, data, ending };
        let data = [urgent, recent, backfill];
        self.tasks.spawn(drive(id, connection, queues, self.mesh.clone()));
        let stats = LinkStats::default();
        let (filter, is_part) = (part.clone(), part.is_some());
        let kept = address.clone();
        let link = Link {
            device,
            address: kept,
            is_dialled,
            transport,
            part,
            stats,
            has_told_end: false,
            has_spoken: false,
            has_agreed: false,
            is_refused: false,
            complaint: None,
            begun: clock::steady(),
            control,
            data,
        };
        self.links.insert(id, link);
        // Nobody listening is fine: events are for those who wait for something.
        let linked = MeshEvent::Linked { link: id, device, address, transport, is_part };
        let _ = self.mesh.events.send(linked);
        let side = match side {
            fieldmesh_net::Side::Dialled => Side::Dialled,
            fieldmesh_net::Side::Accepted => Side::Accepted,
        };
        self.feed(Input::LinkUp { link: id, peer: device, side, channel_key, filter });
        id
    }
}

/// What waits to be written.
struct Queues {
    control: Drain,
    data: [mpsc::UnboundedReceiver<Vec<u8>>; Lane::ALL.len()],
    ending: Ending,
}

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
enum LinkEnd {
    #[error(transparent)]
    Closed(#[from] ClosedReason),
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error(transparent)]
    Lane(#[from] LaneError),
    #[error(transparent)]
    Unread(#[from] Unread),
    #[error("the peer did not begin the conversation within {} s", OPENING_MAX.as_secs())]
    Unopened,
}

/// Runs the readers and the writers until one of them ends, then reports the end of the link.
async fn drive(link: LinkId, connection: Connection, queues: Queues, mesh: Mesh) {
    let ended = converse(link, &connection, queues, &mesh).await;
    let why = connection.close_reason();
    let (reason, code) = match ended {
        Ok(()) => ("it ended the conversation; sync again".to_owned(), CloseCode::Done),
        Err(end @ (LinkEnd::Unread(_) | LinkEnd::Unopened)) => {
            (end.to_string(), CloseCode::Protocol)
        }
        Err(end) => {
            let why = why.as_ref();
            (why.map_or_else(|| end.to_string(), ending::of_connection), CloseCode::Done)
        }
    };
    let parting = match why {
        Some(ClosedReason::There { code: CloseCode::Done, .. }) => Parting::InOrder,
        _ => Parting::Broken,
    };
    connection.close(code, if code == CloseCode::Done { "" } else { &reason });
    mesh.ended(link, reason, parting).await;
}

async fn converse(
    link: LinkId,
    connection: &Connection,
    mut queues: Queues,
    mesh: &Mesh,
) -> Result<(), LinkEnd> {
    let opened = open(connection.control(), &mut queues.ending).await?;
    let Some((control_sender, control)) = opened else { return Ok(()) };
    let [urgent, recent, backfill] = queues.data;
    let patience = goodbye_timeout(connection.transport());
    let mut reading = pin!(read_control(link, control, mesh));
    let ended = tokio::select! {
        ended = reading.as_mut() => return ended,
        ended = read_lanes(link, connection, mesh) => ended,
        ended = write_control(link, control_sender, queues.control, mesh, patience) => ended,
        ended = queues.ending.come() => ended.map_err(LinkEnd::from),
        ended = write_lane(link, connection, Lane::Urgent, urgent, mesh) => ended,
        ended = write_lane(link, connection, Lane::Recent, recent, mesh) => ended,
        ended = write_lane(link, connection, Lane::Backfill, backfill, mesh) => ended,
    };
    if connection.close_reason().is_some() {
        // What the peer said last may say why it closed, and may have come and not been read.
        let _ = reading.await;
    }
    ended
}

/// The control stream; none where the link is over before there is one, because nothing that was
/// queued could reach the peer. What the peer sends on other streams until then lies unread, so
/// that it may not take for ever.
async fn open<T>(
    control: impl Future<Output = Result<T, ClosedReason>>,
    ending: &mut Ending,
) -> Result<Option<T>, LinkEnd> {
    tokio::select! {
        biased;
        opened = timeout(OPENING_MAX, control) => match opened {
            Ok(opened) => Ok(Some(opened?)),
            Err(_) => Err(LinkEnd::Unopened),
        },
        over = ending.over() => over.map(|()| None).map_err(LinkEnd::from),
    }
}

async fn read_control(
    link: LinkId,
    mut control: fieldmesh_net::Receiver,
    mesh: &Mesh,
) -> Result<(), LinkEnd> {
    while let Some(bytes) = control.read_chunk(READ_MAX).await? {
        if !mesh.input(Input::Control { link, bytes }).await {
            break;
        }
    }
    Ok(())
}

/// Reads every lane that the peer opens; each has a task of its own, so that one that has nothing
/// to say holds up no other.
async fn read_lanes(link: LinkId, connection: &Connection, mesh: &Mesh) -> Result<(), LinkEnd> {
    let mut readers = JoinSet::new();
    loop {
        tokio::select! {
            opened = connection.accept_lane() => {
                let (code, data) = opened?;
                let lane = Lane::try_from(code).map_err(|_| LaneError::Unknown { code })?;
                readers.spawn(read_lane(link, lane, data, mesh.clone()));
            }
            Some(ended) = readers.join_next() => {
                // A lane that ends in order says nothing about the others.
                if let Ok(Err(error)) = ended {
                    return Err(error);
                }
            }
        }
    }
}

async fn read_lane(
    link: LinkId,
    lane: Lane,
    mut data: fieldmesh_net::Receiver,
    mesh: Mesh,
) -> Result<(), LinkEnd> {
    while let Some(bytes) = data.read_chunk(READ_MAX).await? {
        if !mesh.input(Input::Data { link, lane, bytes }).await {
            break;
        }
    }
    Ok(())
}

async fn write_control(
    link: LinkId,
    mut control: fieldmesh_net::Sender,
    mut queue: Drain,
    mesh: &Mesh,
    patience: Duration,
) -> Result<(), LinkEnd> {
    while let Some(bytes) = queue.next().await {
        control.write(&bytes).await?;
        queue.written(bytes.len());
        // A peer that does not read is given up by the session once too much waits.
        let written = Input::ControlWritten { link, bytes: bytes.len() };
        mesh.urgent(super::Call::Input(written));
    }
    // The link is over; the last message may say why, so it gets a moment to arrive.
    control.finish()?;
    match timeout(patience, control.received()).await {
        Ok(received) => received.map_err(LinkEnd::from),
        Err(_) => Ok(()),
    }
}

async fn write_lane(
    link: LinkId,
    connection: &Connection,
    lane: Lane,
    mut queue: mpsc::UnboundedReceiver<Vec<u8>>,
    mesh: &Mesh,
) -> Result<(), LinkEnd> {
    // The control stream decides when a link is over.
    let Some(mut bytes) = queue.recv().await else { return std::future::pending().await };
    // The stream is opened for its first bytes: a lane with nothing to send has none.
    let mut data = connection.open_lane(lane.code()).await?;
    loop {
        data.write(&bytes).await?;
        let written = Input::DataWritten { link, lane, bytes: bytes.len() };
        mesh.urgent(super::Call::Input(written));
        match queue.recv().await {
            Some(next) => bytes = next,
            None => return std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests;
