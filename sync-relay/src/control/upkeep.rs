//! The routes about stores: lines of progress, and at last a report or a problem.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use fieldmesh::api::Problem;
use serde::Serialize;
use tokio::sync::mpsc;

use super::Refusal;
use crate::relay::Relay;
use crate::wire::{ArchiveOptions, Chosen, Line, Step, Teller};

/// How many lines of progress wait for a slow reader; further ones are left out.
const WAITING_MAX: usize = 64;

pub(super) fn routes() -> Router<Relay> {
    Router::new()
        .route("/v1/backup", post(back_up))
        .route("/v1/verify", post(verify))
        .route("/v1/compact", post(compact))
}

async fn back_up(
    State(relay): State<Relay>,
    options: Result<Json<ArchiveOptions>, JsonRejection>,
) -> Result<Response, Refusal> {
    let Json(options) = options?;
    Ok(lines(|tell| async move { relay.back_up(options, tell).await }))
}

async fn verify(
    State(relay): State<Relay>,
    chosen: Result<Json<Chosen>, JsonRejection>,
) -> Result<Response, Refusal> {
    let Json(chosen) = chosen?;
    Ok(lines(|tell| async move { relay.verify(&chosen, &tell).await }))
}

async fn compact(
    State(relay): State<Relay>,
    chosen: Result<Json<Chosen>, JsonRejection>,
) -> Result<Response, Refusal> {
    let Json(chosen) = chosen?;
    Ok(lines(|tell| async move { relay.compact(&chosen, &tell).await }))
}

/// Answers with what `work` tells, and at last with what came of it.
fn lines<T, W>(work: impl FnOnce(Teller) -> W) -> Response
where
    T: Serialize + Send + 'static,
    W: Future<Output = Result<T, Problem>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel::<Bytes>(WAITING_MAX);
    let told = sender.clone();
    let tell: Teller = Arc::new(move |step: Step| {
        // Of progress the latest will do, and who asked may be gone.
        let _ = told.try_send(line(&Line::<()>::Step(step)));
    });
    let work = work(tell);
    tokio::spawn(async move {
        let last = match work.await {
            Ok(report) => Line::Report(report),
            Err(problem) => Line::Problem(problem),
        };
        // Who asked may be gone.
        let _ = sender.send(line(&last)).await;
    });
    let lines = futures::stream::unfold(receiver, async |mut receiver| {
        let line = receiver.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(line), receiver))
    });
    Body::from_stream(lines).into_response()
}

fn line<T: Serialize>(line: &Line<T>) -> Bytes {
    let mut bytes = serde_json::to_vec(line).unwrap_or_default();
    bytes.push(b'\n');
    bytes.into()
}
