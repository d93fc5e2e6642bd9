//! Drives one connection: readers feed the replica, a writer sends what it says.

use std::time::Duration;

use fieldmesh_model::DeviceId;
use fieldmesh_net::{CloseCode, ClosedReason, Connection, StreamError};
use fieldmesh_replica::{Input, LinkId, LinkStats, Side};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Mesh, MeshEvent, MeshTask};

/// The most bytes one read takes from a stream.
const READ_MAX: usize = 64 * 1024;

/// How long the last control message of a link may take to arrive.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

/// Which stream bytes go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    Control,
    Data,
}

/// A connection that is driven; dropping it lets what is queued go out and then ends it.
pub(super) struct Link {
    pub(super) device: DeviceId,
    pub(super) address: String,
    pub(super) is_dialled: bool,
    /// Its numbers when something was last sent: the replica forgets those of links it gives up.
    pub(super) stats: LinkStats,
    // Both are bounded by the replica: control by its budgets, data by what it loads ahead. Two
    // queues, because a control message must not wait behind data that the peer cannot take yet.
    control: mpsc::UnboundedSender<Vec<u8>>,
    data: mpsc::UnboundedSender<Vec<u8>>,
}

impl Link {
    pub(super) fn send(&self, bytes: Vec<u8>, lane: Lane) {
        let queue = match lane {
            Lane::Control => &self.control,
            Lane::Data => &self.data,
        };
        // A writer that is gone has reported the end of the link already.
        let _ = queue.send(bytes);
    }
}

impl MeshTask {
    /// Makes a connection a link and tells the replica.
    pub(super) fn attach(&mut self, connection: Connection, address: String) -> LinkId {
        let id = LinkId(self.next_link);
        self.next_link += 1;
        let device = connection.peer();
        let side = connection.side();
        let is_dialled = side == fieldmesh_net::Side::Dialled;
        let channel_key = connection.channel_key();
        tracing::info!(link = id.0, peer = %device.short(), address, ?side, "link opened");
        let (control, control_queue) = mpsc::unbounded_channel();
        let (data, data_queue) = mpsc::unbounded_channel();
        let queues = Queues { control: control_queue, data: data_queue };
        self.tasks.spawn(drive(id, connection, queues, self.mesh.clone()));
        let stats = LinkStats::default();
        let link = Link { device, address: address.clone(), is_dialled, stats, control, data };
        self.links.insert(id, link);
        // Nobody listening is fine: events are for those who wait for something.
        let _ = self.mesh.events.send(MeshEvent::Linked { link: id, device, address });
        let side = match side {
            fieldmesh_net::Side::Dialled => Side::Dialled,
            fieldmesh_net::Side::Accepted => Side::Accepted,
        };
        self.feed(Input::LinkUp { link: id, peer: device, side, channel_key });
        id
    }
}

/// What waits to be written.
struct Queues {
    control: mpsc::UnboundedReceiver<Vec<u8>>,
    data: mpsc::UnboundedReceiver<Vec<u8>>,
}

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
enum LinkEnd {
    #[error(transparent)]
    Closed(#[from] ClosedReason),
    #[error(transparent)]
    Stream(#[from] StreamError),
}

/// Runs the readers and the writers until one of them ends, then reports the end of the link.
async fn drive(link: LinkId, connection: Connection, queues: Queues, mesh: Mesh) {
    let reason = match converse(link, &connection, queues, &mesh).await {
        Ok(()) => "the peer ended the conversation".to_owned(),
        Err(end) => {
            connection.close_reason().map_or_else(|| end.to_string(), |why| why.to_string())
        }
    };
    connection.close(CloseCode::Done, "");
    mesh.ended(link, reason).await;
}

async fn converse(
    link: LinkId,
    connection: &Connection,
    queues: Queues,
    mesh: &Mesh,
) -> Result<(), LinkEnd> {
    let (control_sender, control) = connection.control().await?;
    tokio::select! {
        ended = read_control(link, control, mesh) => ended,
        ended = read_data(link, connection, mesh) => ended,
        ended = write_control(control_sender, queues.control) => ended,
        ended = write_data(link, connection, queues.data, mesh) => ended,
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

async fn read_data(link: LinkId, connection: &Connection, mesh: &Mesh) -> Result<(), LinkEnd> {
    let mut data = connection.accept_data().await?;
    while let Some(bytes) = data.read_chunk(READ_MAX).await? {
        if !mesh.input(Input::Data { link, bytes }).await {
            break;
        }
    }
    Ok(())
}

async fn write_control(
    mut control: fieldmesh_net::Sender,
    mut queue: mpsc::UnboundedReceiver<Vec<u8>>,
) -> Result<(), LinkEnd> {
    while let Some(bytes) = queue.recv().await {
        control.write(&bytes).await?;
    }
    // The link is over; the last message may say why, so it gets a moment to arrive.
    control.finish()?;
    match timeout(GOODBYE_TIMEOUT, control.received()).await {
        Ok(received) => received.map_err(LinkEnd::from),
        Err(_) => Ok(()),
    }
}

async fn write_data(
    link: LinkId,
    connection: &Connection,
    mut queue: mpsc::UnboundedReceiver<Vec<u8>>,
    mesh: &Mesh,
) -> Result<(), LinkEnd> {
    // The control stream decides when a link is over.
    let Some(mut bytes) = queue.recv().await else { return std::future::pending().await };
    // The stream is opened for its first bytes: a conversation with nothing to send has none.
    let mut data = connection.open_data().await?;
    loop {
        data.write(&bytes).await?;
        mesh.urgent(super::Call::Input(Input::DataWritten { link, bytes: bytes.len() }));
        match queue.recv().await {
            Some(next) => bytes = next,
            None => return std::future::pending().await,
        }
    }
}
