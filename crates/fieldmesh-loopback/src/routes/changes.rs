//! `/v1/changes`.

use axum::Json;
use axum::extract::State;
use fieldmesh::api::{ChangesPage, ChangesQuery};

use crate::input::{LIMIT_MAX, Words};
use crate::refusal::Refusal;
use crate::server::Shared;

pub(super) async fn list(
    State(shared): State<Shared>,
    mut words: Words,
) -> Result<Json<ChangesPage>, Refusal> {
    let query = ChangesQuery {
        after: words.text("after"),
        collection: words.text("collection"),
        limit: words.count("limit", LIMIT_MAX),
    };
    words.end()?;
    Ok(Json(shared.node.changes(query).await?))
}
