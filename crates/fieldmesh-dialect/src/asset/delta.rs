//! What changed since a time, page by page.

use fieldmesh_model::Moment;
use serde_json::{Value as Json, json};

use super::change;
use crate::caller::Caller;
use crate::command::{Pull, Wanted};
use crate::cursor::{Cursor, FeedId, Since};
use crate::form::{Form, object, whole};
use crate::outcome::Page;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::response::Response;

/// The size of a page if the client names none, and the most of one.
const PAGE_SIZE: usize = 100;
const PAGE_SIZE_MAX: usize = 1_000;
/// The most types that a client can name.
const TYPES_MAX: usize = 64;

/// What was asked for, as the answer needs it.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    feed: FeedId,
    question: String,
}

pub(super) fn read(request: &Request, feed: FeedId) -> Result<(Pull, Asked), Refusal> {
    let body = object(request)?;
    let mut form = Form::new(&body, "");
    let device = form.need_name("deviceId").map(str::to_owned);
    let types = form.texts("entityTypes");
    let last = form.moment("lastSyncTimestamp");
    let size = form.read("pageSize", "a whole number", whole);
    let token = form.text("pageToken");
    if types.as_ref().is_some_and(|types| types.len() > TYPES_MAX) {
        form.fault("entityTypes", format!("entityTypes can name at most {TYPES_MAX} types"));
    }
    form.finish().map_err(|faults| Refusal::Invalid { faults })?;
    let (since, types, last) = match token {
        None => (last.map_or(Since::Start, Since::Arrival), types.unwrap_or_default(), last),
        Some(token) => resume(token, feed, types, last)?,
    };
    let mut pull = Pull::new(since);
    pull.device = device;
    pull.wanted = types.iter().map(|name| Wanted::new(name)).collect();
    pull.records_max = Some(page_size(size));
    let question = json!([last, types]).to_string();
    Ok((pull, Asked { feed, question }))
}

// A size beyond the limits is no reason to refuse: the contract states none.
fn page_size(wanted: Option<i64>) -> usize {
    let wanted = wanted.map_or(PAGE_SIZE, |size| usize::try_from(size).unwrap_or(1));
    wanted.clamp(1, PAGE_SIZE_MAX)
}

/// Goes on where a page ended; what is asked for must be as it was, or absent.
fn resume(
    token: &str,
    feed: FeedId,
    types: Option<Vec<String>>,
    last: Option<Moment>,
) -> Result<(Since, Vec<String>, Option<Moment>), Refusal> {
    let bad = |message: &str| Refusal::fault("pageToken", &format!("pageToken {message}"));
    let cursor = Cursor::parse(token, feed).map_err(|error| bad(error.message()))?;
    let (first_last, first_types): (Option<Moment>, Vec<String>) =
        serde_json::from_str(&cursor.question).map_err(|_| bad("is of another list"))?;
    if types.is_some_and(|types| types != first_types) {
        return Err(Refusal::fault("entityTypes", "entityTypes must be those of the first page"));
    }
    if last.is_some() && last != first_last {
        let message = "lastSyncTimestamp must be that of the first page";
        return Err(Refusal::fault("lastSyncTimestamp", message));
    }
    Ok((Since::Place(cursor.place), first_types, first_last))
}

pub(super) fn read_live(request: &Request, caller: &Caller) -> Result<Pull, Refusal> {
    let since = match request.parameter("cursor") {
        None => Since::Now,
        Some(text) => match Cursor::parse(&text, caller.feed) {
            Ok(cursor) => Since::Place(cursor.place),
            Err(error) => {
                return Err(Refusal::fault("cursor", &format!("cursor {}", error.message())));
            }
        },
    };
    let mut pull = Pull::new(since);
    pull.device = request.parameter("deviceId").or_else(|| caller.device.clone());
    pull.records_max = Some(PAGE_SIZE_MAX);
    Ok(pull)
}

/// The token of a place.
pub(super) fn token(feed: FeedId, place: u64, question: &str) -> String {
    Cursor { feed, place, question: question.to_owned() }.to_text()
}

impl Asked {
    pub(super) fn answer(&self, page: &Page) -> Response {
        let changes: Vec<Json> = page.items.iter().map(|item| change::show(item)).collect();
        let mut body = json!({ "changes": changes, "hasMore": page.more });
        if page.more {
            body["nextPageToken"] = token(self.feed, page.place, &self.question).into();
        }
        Response::json(200, &body)
    }
}
