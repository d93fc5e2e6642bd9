//! `/v1/collections`: those of the program and the tenant's own.

use axum::Json;
use axum::extract::{Path, State};
use fieldmesh::api::{SchemaShown, SchemaState};
use fieldmesh_model::schema::Collection;
use serde::Serialize;

use crate::input::Words;
use crate::refusal::{Kind, Refusal};
use crate::server::Shared;

/// A collection in a list.
#[derive(Serialize)]
pub(super) struct Name {
    name: String,
    version: u32,
}

pub(super) async fn list(
    State(shared): State<Shared>,
    words: Words,
) -> Result<Json<Vec<Name>>, Refusal> {
    words.end()?;
    let read = shared.node.schemas(None).await?.into_iter().filter(reads);
    Ok(Json(read.map(|it| Name { name: it.name, version: it.version }).collect()))
}

pub(super) async fn show(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    words: Words,
) -> Result<Json<Collection>, Refusal> {
    words.end()?;
    let mut found = shared.node.schemas(Some(name.clone())).await?.into_iter().filter(reads);
    // By the name under which its records are asked for: its file may have another one.
    let named = found.find_map(|it| Some(Collection { name: it.name, ..*it.definition? }));
    let definition = named.ok_or_else(|| {
        let text = format!("{name:?} is defined in a way that this version cannot read");
        Refusal::new(Kind::NotFound, text)
    })?;
    Ok(Json(definition))
}

/// Whether records are read by it.
fn reads(shown: &SchemaShown) -> bool {
    match shown.state {
        SchemaState::BuiltIn | SchemaState::InForce | SchemaState::ReadBy => true,
        SchemaState::NotUnderstood
        | SchemaState::Replaced
        | SchemaState::Apart
        | SchemaState::Ahead => false,
    }
}
