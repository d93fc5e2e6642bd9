//! The routes that move much or take long: import, export, sync, backup.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use fieldmesh::api::{BackupOptions, ExportFormat, ImportOptions, SyncOptions};
use futures::FutureExt as _;

use crate::daemon::Shared;
use crate::daemon::answer::{Refusal, lines};
use crate::daemon::body::{Upload, download, sent};
use crate::daemon::told::told;
use crate::problem;
use crate::wire::JSON_LINES;
use crate::wire::query::{self, Pairs};

pub(super) async fn sync(
    State(shared): State<Shared>,
    options: Result<Json<SyncOptions>, JsonRejection>,
) -> Result<Response, Refusal> {
    let Json(options) = options?;
    let backend = Arc::clone(&shared.backend);
    let stream = told(|listener| async move { backend.sync(options, listener).await }.boxed());
    Ok(lines(Body::from_stream(stream)))
}

pub(super) async fn backup(
    State(shared): State<Shared>,
    options: Result<Json<BackupOptions>, JsonRejection>,
) -> Result<Response, Refusal> {
    let Json(options) = options?;
    let backend = Arc::clone(&shared.backend);
    let stream = told(|listener| async move { backend.backup(options, listener).await }.boxed());
    Ok(lines(Body::from_stream(stream)))
}

pub(super) async fn import(State(shared): State<Shared>, body: Body) -> Result<Response, Refusal> {
    let (first, upload) = Upload::open(body).await?;
    let options: ImportOptions = serde_json::from_slice(&first)
        .map_err(|error| problem::usage(format!("the import's options: {error}")))?;
    let backend = Arc::clone(&shared.backend);
    let stream = told(|listener| {
        async move {
            let (file, filling) = upload.into_file();
            let importing = backend.import(Box::new(file), options, listener);
            let (report, ()) = futures::join!(importing, filling);
            report
        }
        .boxed()
    });
    Ok(lines(Body::from_stream(stream)))
}

pub(super) async fn export(
    State(shared): State<Shared>,
    pairs: Result<Query<Pairs>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(pairs) = pairs?;
    let query = query::export(pairs)?;
    let media_type = match query.format {
        ExportFormat::Jsonl => JSON_LINES,
        ExportFormat::Csv => "text/csv; charset=utf-8",
    };
    let backend = Arc::clone(&shared.backend);
    let (file, pieces) = download();
    let writing = async move { backend.export(query, Box::new(file)).await }.boxed();
    let body = sent(writing, pieces).await?;
    Ok(([(CONTENT_TYPE, HeaderValue::from_static(media_type))], body).into_response())
}
