//! What is asked about stores; the answers take a while and tell what is going on.

use axum::body::Body;
use axum::http::Method;
use fieldmesh::api::Problem;
use fieldmesh_shell::socket;
use http_body_util::BodyExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Client, request};
use crate::problem::{running, silent};
use crate::wire::{ArchiveOptions, ArchiveSummary, Chosen, Compacted, Line, Teller, Verified};

/// The longest line of an answer.
const LINE_SIZE_MAX: usize = 64 * 1024 * 1024;

impl Client {
    /// See [`crate::relay::Relay::back_up`].
    pub(crate) async fn back_up(
        &self,
        options: &ArchiveOptions,
        tell: &Teller,
    ) -> Result<ArchiveSummary, Problem> {
        self.lines("/v1/backup", options, tell).await
    }

    /// See [`crate::relay::Relay::verify`].
    pub(crate) async fn verify(
        &self,
        chosen: &Chosen,
        tell: &Teller,
    ) -> Result<Vec<Verified>, Problem> {
        self.lines("/v1/verify", chosen, tell).await
    }

    /// See [`crate::relay::Relay::compact`].
    pub(crate) async fn compact(
        &self,
        chosen: &Chosen,
        tell: &Teller,
    ) -> Result<Vec<Compacted>, Problem> {
        self.lines("/v1/compact", chosen, tell).await
    }

    async fn lines<T: DeserializeOwned>(
        &self,
        target: &str,
        value: &impl Serialize,
        tell: &Teller,
    ) -> Result<T, Problem> {
        let body = serde_json::to_vec(value).map_err(running)?;
        tokio::select! {
            biased;
            answered = self.read_lines(target, body, tell) => answered,
            silence = socket::silence(self.socket()) => Err(silent(silence)),
        }
    }

    async fn read_lines<T: DeserializeOwned>(
        &self,
        target: &str,
        body: Vec<u8>,
        tell: &Teller,
    ) -> Result<T, Problem> {
        let request = request(Method::POST, target.into(), Body::from(body))?;
        let (mut sender, _connection) = self.connect().await?;
        let mut response = sender.send_request(request).await.map_err(running)?;
        let status = response.status();
        if !status.is_success() {
            let body = response.into_body().collect().await.map_err(running)?.to_bytes();
            return Err(serde_json::from_slice(&body).unwrap_or_else(|_| running(status)));
        }
        let mut rest: Vec<u8> = Vec::new();
        while let Some(frame) = response.frame().await {
            let Ok(bytes) = frame.map_err(running)?.into_data() else { continue };
            rest.extend_from_slice(&bytes);
            // A line ends in the bytes that came last, or not at all so far.
            if !bytes.contains(&b'\n') {
                if rest.len() > LINE_SIZE_MAX {
                    return Err(running("a line of its answer is too long"));
                }
                continue;
            }
            let end = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            for line in rest.drain(..end).as_slice().split(|byte| *byte == b'\n') {
                if line.is_empty() {
                    continue;
                }
                match serde_json::from_slice(line).map_err(running)? {
                    Line::Step(step) => tell(step),
                    Line::Problem(problem) => return Err(problem),
                    Line::Report(report) => return Ok(report),
                }
            }
        }
        Err(running("the answer ended early"))
    }
}
