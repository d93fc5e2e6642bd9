//! Sends a file to the daemon while it is being read.
//!
//! The first line of the body is the options of the import, the rest is the file.

use std::io::Read as _;

use axum::body::{Body, Bytes};
use fieldmesh::api::{ImportOptions, Problem};
use futures::stream::poll_fn;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::backend::Source;
use crate::problem;
use crate::wire::lines::line;

/// How much of the file is read at once.
const PIECE_SIZE: usize = 64 << 10;
/// How many pieces wait for the socket.
const PIECES_WAITING_MAX: usize = 8;

/// A file on its way.
pub(super) struct Upload {
    reading: JoinSet<std::io::Result<()>>,
}

/// Begins to read `source` into a request's body.
pub(super) fn start(source: Source, options: &ImportOptions) -> Result<(Upload, Body), Problem> {
    let head = line(options).map_err(problem::daemon)?;
    let (sender, mut receiver) = mpsc::channel(PIECES_WAITING_MAX);
    let mut reading = JoinSet::new();
    reading.spawn_blocking(move || read(source, head, &sender));
    let pieces = poll_fn(move |context| receiver.poll_recv(context));
    Ok((Upload { reading }, Body::from_stream(pieces)))
}

impl Upload {
    /// Waits until the file is read or nobody wants more of it.
    pub(super) async fn finish(mut self) -> Result<(), Problem> {
        while let Some(read) = self.reading.join_next().await {
            read.map_err(problem::daemon)?
                .map_err(|error| problem::failed(format!("cannot read the file: {error}")))?;
        }
        Ok(())
    }
}

type Pieces = mpsc::Sender<std::io::Result<Bytes>>;

fn read(mut source: Source, head: Vec<u8>, sender: &Pieces) -> std::io::Result<()> {
    let mut piece = Bytes::from(head);
    while !piece.is_empty() {
        if sender.blocking_send(Ok(piece)).is_err() {
            return Ok(());
        }
        let mut buffer = Vec::with_capacity(PIECE_SIZE);
        if let Err(error) = (&mut source).take(PIECE_SIZE as u64).read_to_end(&mut buffer) {
            // An error in the body breaks the exchange, so the daemon never takes a part of a file
            // for the whole.
            let _ = sender.blocking_send(Err(std::io::Error::other("the file cannot be read")));
            return Err(error);
        }
        piece = Bytes::from(buffer);
    }
    Ok(())
}
