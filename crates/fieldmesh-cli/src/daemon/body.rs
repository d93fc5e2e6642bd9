//! Bodies as files: what a client uploads is read, what an export writes is sent.

use std::io;

use axum::body::{Body, BodyDataStream, Bytes};
use fieldmesh::api::Problem;
use futures::future::BoxFuture;
use futures::stream::poll_fn;
use futures::{Stream, StreamExt as _};
use tokio::sync::mpsc;

use crate::problem;
use crate::wire::lines::Cutter;

/// How many pieces wait between a socket and the node.
const PIECES_WAITING_MAX: usize = 8;
/// How much an export gathers before it sends.
const PIECE_SIZE: usize = 64 << 10;

type Piece = io::Result<Bytes>;

/// A body that is being uploaded.
pub(super) struct Upload {
    body: BodyDataStream,
    first: Bytes,
}

impl Upload {
    /// Reads the first line of `body`.
    pub(super) async fn open(body: Body) -> Result<(Vec<u8>, Self), Problem> {
        let mut body = body.into_data_stream();
        let mut cutter = Cutter::default();
        loop {
            if let Some(line) = cutter.next().map_err(|error| problem::usage(error.to_string()))? {
                return Ok((line, Self { body, first: Bytes::from(cutter.into_rest()) }));
            }
            let Some(bytes) = body.next().await else {
                return Err(problem::usage("the first line must be the import's options"));
            };
            cutter.push(&bytes.map_err(|error| problem::failed(error.to_string()))?);
        }
    }

    /// The rest as a file, and the work that fills it: it ends when the client has sent everything,
    /// wanted or not, so that the client can read the answer.
    pub(super) fn into_file(self) -> (UploadedFile, BoxFuture<'static, ()>) {
        let (sender, receiver) = mpsc::channel(PIECES_WAITING_MAX);
        let Self { mut body, first } = self;
        let filling = async move {
            let mut wanted = sender.send(Part::Piece(first)).await.is_ok();
            while let Some(piece) = body.next().await {
                let Ok(piece) = piece else { return };
                wanted = wanted && sender.send(Part::Piece(piece)).await.is_ok();
            }
            // A reader that has seen enough does not wait for the end.
            let _ = sender.send(Part::End).await;
        };
        (UploadedFile { receiver, piece: Bytes::new(), ended: false }, Box::pin(filling))
    }
}

/// What arrives of an upload.
enum Part {
    Piece(Bytes),
    /// The file is whole. A client that is killed never says so, and its half of a file, cut in
    /// the middle of a row, must not be taken for a file.
    End,
}

/// An uploaded file; reading it blocks the thread.
pub(super) struct UploadedFile {
    receiver: mpsc::Receiver<Part>,
    piece: Bytes,
    ended: bool,
}

impl io::Read for UploadedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.ended {
            match self.receiver.blocking_recv() {
                Some(Part::Piece(piece)) => self.piece = piece,
                Some(Part::End) => self.ended = true,
                None => return Err(io::Error::other("the upload broke off")),
            }
        }
        let count = self.piece.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}

/// A file whose contents are sent; writing it blocks the thread.
pub(super) struct Download {
    sender: mpsc::Sender<Piece>,
    gathered: Vec<u8>,
}

/// A file and the stream of its pieces.
pub(super) fn download() -> (Download, mpsc::Receiver<Piece>) {
    let (sender, receiver) = mpsc::channel(PIECES_WAITING_MAX);
    (Download { sender, gathered: Vec::with_capacity(PIECE_SIZE) }, receiver)
}

impl io::Write for Download {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= PIECE_SIZE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let piece =
            Bytes::from(std::mem::replace(&mut self.gathered, Vec::with_capacity(PIECE_SIZE)));
        self.sender.blocking_send(Ok(piece)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Sends what `writing` writes. Its first piece is awaited, so that a failure before it is an
/// ordinary failure; a later one breaks the answer off.
pub(super) async fn sent(
    mut writing: BoxFuture<'static, Result<(), Problem>>,
    mut pieces: mpsc::Receiver<Piece>,
) -> Result<Body, Problem> {
    let first = tokio::select! {
        biased;
        piece = pieces.recv() => piece,
        done = &mut writing => {
            done?;
            return Ok(Body::from_stream(rest(pieces)));
        }
    };
    let Some(first) = first else {
        writing.await?;
        return Ok(Body::empty());
    };
    let failure = futures::stream::once(writing).filter_map(|done| async {
        done.err().map(|problem| Err(io::Error::other(problem.detail)))
    });
    let all = futures::stream::iter([first]).chain(futures::stream::select(rest(pieces), failure));
    Ok(Body::from_stream(all))
}

fn rest(mut pieces: mpsc::Receiver<Piece>) -> impl Stream<Item = Piece> + Send + 'static {
    poll_fn(move |context| pieces.poll_recv(context))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    async fn read(pieces: Vec<io::Result<&'static str>>) -> io::Result<String> {
        let body = Body::from_stream(futures::stream::iter(pieces));
        let (line, upload) = Upload::open(body).await.unwrap();
        assert_eq!(line, b"options");
        let (mut file, filling) = upload.into_file();
        let reading = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            file.read_to_string(&mut text).map(|_| text)
        });
        filling.await;
        reading.await.unwrap()
    }

    #[tokio::test]
    async fn an_upload_is_a_file_however_it_is_split() {
        let pieces = vec![Ok("opt"), Ok("ions\nro"), Ok(""), Ok("w 1\nrow 2")];
        assert_eq!(read(pieces).await.unwrap(), "row 1\nrow 2");
        assert_eq!(read(vec![Ok("options\n")]).await.unwrap(), "");
    }

    #[tokio::test]
    async fn half_a_file_is_no_file() {
        let broken = Err(io::Error::other("gone"));
        assert!(read(vec![Ok("options\nrow 1\nro"), broken]).await.is_err());
    }
}
