//! `/v1/notices`.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use fieldmesh::api::{Notice, SeenNotices};
use serde::Deserialize;

use crate::daemon::Shared;
use crate::daemon::answer::Refusal;

/// Which notices are asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[serde(default)]
    all: bool,
}

pub(super) async fn list(
    State(shared): State<Shared>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Vec<Notice>>, Refusal> {
    let Query(Asked { all }) = asked?;
    Ok(Json(shared.backend.notices(all).await?))
}

pub(super) async fn see(
    State(shared): State<Shared>,
    seen: Result<Json<SeenNotices>, JsonRejection>,
) -> Result<Json<Vec<Notice>>, Refusal> {
    let Json(seen) = seen?;
    Ok(Json(shared.backend.see_notices(seen).await?))
}
