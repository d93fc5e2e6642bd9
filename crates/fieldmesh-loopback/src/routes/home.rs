//! `/v1/status`, `/v1/peers` and `/v1/sync`.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use fieldmesh::api::{PeerReport, StatusReport, SyncOptions, SyncReport};
use fieldmesh_model::validate::Fault;
use serde::Deserialize;

use crate::input::Words;
use crate::refusal::Refusal;
use crate::server::{Sent, Shared};

/// The longest that a sync may try, in seconds.
const SYNC_SECONDS_MAX: u64 = 50;

/// A sync that is wanted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Addresses, or names or ids of devices; everyone reachable where empty.
    #[serde(default)]
    with: Vec<String>,
    /// How many seconds to try in all.
    #[serde(default = "seconds")]
    timeout: u64,
}

const fn seconds() -> u64 {
    30
}

pub(super) async fn status(
    State(shared): State<Shared>,
    words: Words,
) -> Result<Json<StatusReport>, Refusal> {
    words.end()?;
    Ok(Json(shared.node.status().await?))
}

pub(super) async fn peers(
    State(shared): State<Shared>,
    words: Words,
) -> Result<Json<Vec<PeerReport>>, Refusal> {
    words.end()?;
    Ok(Json(shared.node.peers().await?))
}

pub(super) async fn sync(
    State(shared): State<Shared>,
    words: Words,
    Sent(Wanted { with, timeout }): Sent<Wanted>,
) -> Result<Json<SyncReport>, Refusal> {
    words.end()?;
    if !(1..=SYNC_SECONDS_MAX).contains(&timeout) {
        let message = format!("is from 1 to {SYNC_SECONDS_MAX} seconds");
        return Err(Refusal::usage(vec![Fault { field: "timeout".into(), message }]));
    }
    let options = SyncOptions {
        mdns: with.is_empty(),
        with,
        timeout: Duration::from_secs(timeout),
        ..SyncOptions::default()
    };
    Ok(Json(shared.node.sync(options, |_| {}).await?))
}
