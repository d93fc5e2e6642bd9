//! `/v1/conflicts`: the inbox as the node has it, whatever kinds of items there are.

use axum::Json;
use axum::extract::{Path, State};
use fieldmesh::api::{ConflictQuery, ConflictReport, NewComment, NewVerdict, Record, Resolution};

use crate::input::{LIMIT_MAX, Words};
use crate::refusal::Refusal;
use crate::server::{Sent, Shared};

pub(super) async fn list(
    State(shared): State<Shared>,
    mut words: Words,
) -> Result<Json<Vec<ConflictReport>>, Refusal> {
    let closed = words.parsed("closed", "true or false").unwrap_or(false);
    let limit = words.count("limit", LIMIT_MAX).map(|limit| limit as u64);
    let query =
        ConflictQuery { kind: words.text("kind"), closed, after: words.text("after"), limit };
    words.end()?;
    Ok(Json(shared.node.conflicts(query).await?))
}

pub(super) async fn show(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    words: Words,
) -> Result<Json<ConflictReport>, Refusal> {
    words.end()?;
    Ok(Json(shared.node.conflict(&id).await?))
}

pub(super) async fn comment(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    words: Words,
    Sent(NewComment { text }): Sent<NewComment>,
) -> Result<Json<ConflictReport>, Refusal> {
    words.end()?;
    Ok(Json(shared.node.comment(&id, &text).await?))
}

pub(super) async fn resolve(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    words: Words,
    Sent(resolution): Sent<Resolution>,
) -> Result<Json<Record>, Refusal> {
    words.end()?;
    Ok(Json(shared.node.resolve(&id, resolution).await?))
}

pub(super) async fn decide(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    words: Words,
    Sent(NewVerdict { verdict }): Sent<NewVerdict>,
) -> Result<Json<ConflictReport>, Refusal> {
    words.end()?;
    Ok(Json(shared.node.decide(&id, verdict).await?))
}
