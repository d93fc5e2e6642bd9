//! `/v1/collections`.

use axum::Json;
use axum::extract::Path;
use fieldmesh_model::catalogue;
use fieldmesh_model::schema::Collection;
use serde::Serialize;

use crate::input::Words;
use crate::refusal::{Kind, Refusal};

/// A collection in a list.
#[derive(Serialize)]
pub(super) struct Name {
    name: &'static str,
    version: u32,
}

pub(super) async fn list(words: Words) -> Result<Json<Vec<Name>>, Refusal> {
    words.end()?;
    let name = |it: &'static Collection| Name { name: &it.name, version: it.version };
    Ok(Json(catalogue::collections().iter().map(name).collect()))
}

pub(super) async fn show(
    Path(name): Path<String>,
    words: Words,
) -> Result<Json<&'static Collection>, Refusal> {
    words.end()?;
    let missing = || Refusal::new(Kind::NotFound, format!("there is no collection {name:?}"));
    catalogue::named(&name).map(Json).ok_or_else(missing)
}
