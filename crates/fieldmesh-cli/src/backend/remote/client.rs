//! One HTTP exchange with the daemon.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::{Method, Request, Response};
use fieldmesh::api::Problem;
use fieldmesh_shell::socket;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use crate::backend::{Listener, Sink};
use crate::problem::{self, daemon};
use crate::wire::lines::{Cutter, Line};

/// A request that is about to be sent.
pub(super) struct Exchange<'a> {
    socket: &'a Path,
    method: Method,
    target: String,
    media_type: Option<&'static str>,
    body: Body,
}

/// The socket of a daemon that may have been stopped or hang.
struct Watched(PathBuf);

impl Watched {
    /// Waits for a part of an answer as long as the daemon lives.
    async fn wait<T>(&self, answer: impl Future<Output = T>) -> Result<T, Problem> {
        tokio::select! {
            biased;
            answer = answer => Ok(answer),
            silence = socket::silence(&self.0) => Err(problem::silent(silence)),
        }
    }
}

/// A successful answer, and the task that moves its bytes.
struct Answered {
    response: Response<Incoming>,
    watched: Watched,
    _connection: JoinSet<()>,
}

impl<'a> Exchange<'a> {
    /// A request without a body.
    pub(super) fn new(socket: &'a Path, method: Method, target: String) -> Exchange<'a> {
        Self { socket, method, target, media_type: None, body: Body::empty() }
    }

    /// The request with a value as its body.
    pub(super) fn json<T: Serialize>(mut self, value: &T) -> Result<Self, Problem> {
        let bytes = serde_json::to_vec(value).map_err(daemon)?;
        self.body = Body::from(bytes);
        self.media_type = Some("application/json");
        Ok(self)
    }

    /// The request with a stream as its body.
    pub(super) fn body(mut self, body: Body) -> Self {
        self.body = body;
        self.media_type = Some("application/octet-stream");
        self
    }

    /// Sends it; the answer has no contents.
    pub(super) async fn nothing(self) -> Result<(), Problem> {
        self.send().await.map(drop)
    }

    /// Sends it; the answer is one value.
    pub(super) async fn value<T: DeserializeOwned>(self) -> Result<T, Problem> {
        let answered = self.send().await?;
        let Answered { response, watched, .. } = answered;
        let bytes = watched.wait(response.into_body().collect()).await?.map_err(daemon)?;
        serde_json::from_slice(&bytes.to_bytes()).map_err(daemon)
    }

    /// Sends it; the answer is progress, then a report.
    pub(super) async fn lines<T: DeserializeOwned>(
        self,
        mut listener: Listener,
    ) -> Result<T, Problem> {
        let mut answered = self.send().await?;
        let mut cutter = Cutter::default();
        while let Some(bytes) = answered.next().await? {
            cutter.push(&bytes);
            while let Some(line) = cutter.next().map_err(daemon)? {
                match serde_json::from_slice(&line).map_err(daemon)? {
                    Line::Progress(progress) => listener(progress),
                    Line::Problem { problem } => return Err(problem),
                    Line::Report { report } => return Ok(report),
                }
            }
        }
        Err(daemon("the answer ended early"))
    }

    /// Sends it and copies the answer to `sink`.
    pub(super) async fn copy(self, mut sink: Sink) -> Result<(), Problem> {
        let written = |error: std::io::Error| problem::failed(format!("cannot write: {error}"));
        let mut answered = self.send().await?;
        while let Some(bytes) = answered.next().await? {
            sink.write_all(&bytes).map_err(written)?;
        }
        sink.flush().map_err(written)
    }

    async fn send(self) -> Result<Answered, Problem> {
        let watched = Watched(self.socket.to_owned());
        let mut request =
            Request::builder().method(self.method).uri(self.target).header(HOST, "fieldmesh");
        if let Some(media_type) = self.media_type {
            request = request.header(CONTENT_TYPE, media_type);
        }
        let request = request.body(self.body).map_err(daemon)?;
        let stream = UnixStream::connect(self.socket).await.map_err(daemon)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(daemon)?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // How the connection ended shows in the answer.
            let _ = connection.await;
        });
        let response = watched.wait(sender.send_request(request)).await?.map_err(daemon)?;
        let answered = Answered { response, watched, _connection: tasks };
        if answered.response.status().is_success() {
            return Ok(answered);
        }
        Err(answered.problem().await)
    }
}

impl Answered {
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        while let Some(frame) = self.watched.wait(self.response.frame()).await? {
            if let Ok(bytes) = frame.map_err(daemon)?.into_data() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    async fn problem(self) -> Problem {
        let status = self.response.status();
        let Ok(Ok(body)) = self.watched.wait(self.response.into_body().collect()).await else {
            return daemon(status);
        };
        serde_json::from_slice(&body.to_bytes()).unwrap_or_else(|_| daemon(status))
    }
}
