//! `/v1/notices`: what others did with the work of the person whose device this is.

use axum::Json;
use axum::extract::State;
use fieldmesh::api::{Notice, SeenNotices};

use crate::input::Words;
use crate::refusal::Refusal;
use crate::server::{Sent, Shared};

pub(super) async fn list(
    State(shared): State<Shared>,
    mut words: Words,
) -> Result<Json<Vec<Notice>>, Refusal> {
    let all = words.parsed("all", "true or false").unwrap_or(false);
    words.end()?;
    Ok(Json(shared.node.notices(all).await?))
}

pub(super) async fn see(
    State(shared): State<Shared>,
    words: Words,
    Sent(seen): Sent<SeenNotices>,
) -> Result<Json<Vec<Notice>>, Refusal> {
    words.end()?;
    Ok(Json(shared.node.see_notices(seen).await?))
}
