//! `/v1/live`: a query that is followed, as server-sent events.
//!
//! Each event carries as its id where in the feed of changes its reader is. Whoever comes back with
//! it in `Last-Event-ID` is told what has changed meanwhile, or the whole answer where that cannot
//! be told.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use fieldmesh::LiveQuery;
use fieldmesh::api::LiveEvent;
use futures::stream::{self, Stream, StreamExt as _};
use serde_json::{Value as Json, json};
use std::sync::Arc;

use crate::input::Words;
use crate::refusal::{Kind, Refusal};
use crate::server::Shared;

/// How often a quiet stream shows that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Where a reader says how far he had come.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

pub(super) async fn follow(
    State(shared): State<Shared>,
    mut words: Words,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let query = words.records();
    words.end()?;
    let place = Arc::clone(&shared.live).try_acquire_owned().map_err(|_| {
        Refusal::new(Kind::Busy, "too many live streams are open on this device; close some")
    })?;
    let after = headers.get(LAST_EVENT_ID).and_then(|value| value.to_str().ok());
    let live = match after.filter(|cursor| !cursor.is_empty()) {
        Some(cursor) => shared.node.subscribe_after(query, cursor).await?,
        None => shared.node.subscribe(query).await?,
    };
    let stop = shared.stop.clone();
    let events = events(live).take_until(async move { stop.cancelled().await }).map(move |event| {
        let _open = &place;
        event
    });
    let kept_alive = Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT));
    Ok(kept_alive.into_response())
}

fn events(live: LiveQuery) -> impl Stream<Item = Result<Event, Infallible>> + Send {
    stream::unfold(Some(live), |live| async {
        let mut live = live?;
        match live.next().await? {
            Ok(event) => {
                let (name, data) = told(event);
                let event = Event::default().event(name).id(live.cursor()).data(data.to_string());
                Some((Ok(event), Some(live)))
            }
            Err(error) => {
                let data = json!({ "detail": error.problem().detail });
                Some((Ok(Event::default().event("failed").data(data.to_string())), None))
            }
        }
    })
}

/// An event's name and its data.
fn told(event: LiveEvent) -> (&'static str, Json) {
    match event {
        LiveEvent::Present(records) => ("present", json!({ "records": records })),
        LiveEvent::Resync(records) => ("resync", json!({ "records": records })),
        LiveEvent::Added(record) => ("added", json!({ "record": record })),
        LiveEvent::Changed(record) => ("changed", json!({ "record": record })),
        LiveEvent::Removed(id) => ("removed", json!({ "id": id })),
        // A kind of a newer library; whoever does not know it lists anew.
        _ => ("unknown", json!({})),
    }
}
