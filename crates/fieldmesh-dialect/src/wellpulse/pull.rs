//! Gives out wells, users and entries: all of them, what changed since, or page by page.

use std::collections::BTreeMap;
use std::sync::Arc;

use fieldmesh_model::Moment;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};

use super::{ENTRY, USER, WELL, view};
use crate::caller::Caller;
use crate::command::{Pull, Test, Wanted};
use crate::cursor::{Cursor, FeedId, Since};
use crate::form;
use crate::outcome::{Happened, Item, Page};
use crate::refusal::Refusal;
use crate::request::Request;
use crate::response::Response;

/// The most wells or entries of one answer.
const RECORDS_MAX: usize = 1_000;
/// The most users of an answer to a client that knows no paging; the contract states no limit.
const USERS_MAX: usize = 10_000;

/// The parts of a pull that a client can ask for.
const PARTS: [(&str, &str); 3] = [("wells", WELL), ("users", USER), ("entries", ENTRY)];

/// What was asked for, as the answer needs it.
#[derive(Debug, Clone)]
pub(crate) struct Pulled {
    tenant: String,
    feed: FeedId,
    question: String,
    parts: Vec<&'static str>,
    /// Whether the client asked in the way of version 1.0, which knows no paging.
    is_plain: bool,
    /// Whether it has an earlier state, from which records can be removed.
    is_delta: bool,
}

pub(super) fn read(request: &Request, caller: &Caller) -> Result<(Pull, Pulled), Refusal> {
    let parts = parts(request)?;
    let given = ["lastSync", "cursor", "limit", "include"];
    let is_plain = given.iter().all(|name| request.parameter(name).is_none());
    let (since, mut pulled) = start(request, caller, parts)?;
    pulled.is_plain = is_plain;
    let limit = limit(request)?;
    let mut pull = Pull::new(since);
    for part in &pulled.parts {
        pull.wanted.push(match *part {
            WELL => {
                let active = Test::Is("ACTIVE".to_owned());
                Wanted::new(WELL).at_most(limit).only("status", active)
            }
            USER if is_plain => Wanted::new(USER).at_most(USERS_MAX),
            USER => Wanted::new(USER).at_most(limit),
            _ => entries(request)?.at_most(limit),
        });
    }
    pull.by_time = request.parameter("cursor").is_none();
    pull.is_whole = is_plain;
    if pulled.parts.contains(&ENTRY) {
        pull.device = device(request, caller);
    }
    Ok((pull, pulled))
}

pub(super) fn read_entries(request: &Request, caller: &Caller) -> Result<(Pull, Pulled), Refusal> {
    let (since, pulled) = start(request, caller, vec![ENTRY])?;
    let mut pull = Pull::new(since);
    pull.wanted.push(entries(request)?.at_most(limit(request)?));
    pull.device = device(request, caller);
    Ok((pull, pulled))
}

pub(super) fn read_live(request: &Request, caller: &Caller) -> Result<(Pull, Pulled), Refusal> {
    let parts = match request.parameter("include") {
        Some(_) => parts(request)?,
        None => PARTS.map(|(_, collection)| collection).to_vec(),
    };
    let (since, pulled) = start(request, caller, parts)?;
    let since = if since == Since::Start { Since::Now } else { since };
    let mut pull = Pull::new(since);
    for part in &pulled.parts {
        let wanted = if *part == ENTRY { entries(request)? } else { Wanted::new(part) };
        pull.wanted.push(wanted);
    }
    pull.records_max = Some(RECORDS_MAX);
    pull.device = device(request, caller);
    Ok((pull, pulled))
}

/// Entries, as far as the filters of the request want them.
fn entries(request: &Request) -> Result<Wanted, Refusal> {
    let mut wanted = Wanted::new(ENTRY);
    for key in ["wellId", "entryType"] {
        if let Some(value) = request.parameter(key) {
            wanted = wanted.only(key, Test::Is(value));
        }
    }
    if let Some(from) = time(request, "from")? {
        wanted = wanted.only("recordedAt", Test::From(from));
    }
    if let Some(to) = time(request, "to")? {
        wanted = wanted.only("recordedAt", Test::To(to));
    }
    Ok(wanted)
}

fn device(request: &Request, caller: &Caller) -> Option<String> {
    request.parameter("deviceId").or_else(|| caller.device.clone())
}

fn parts(request: &Request) -> Result<Vec<&'static str>, Refusal> {
    let Some(include) = request.parameter("include") else { return Ok(vec![WELL, USER]) };
    let mut parts = Vec::new();
    for word in include.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let message = format!("include can name {}", form::choice(&PARTS).replace(" or ", " and "));
        let part = form::chosen(word, &PARTS).ok_or(Refusal::fault("include", &message))?;
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    Ok(parts)
}

/// From where to read, and what was asked for.
fn start(
    request: &Request,
    caller: &Caller,
    parts: Vec<&'static str>,
) -> Result<(Since, Pulled), Refusal> {
    let question = question(request, &parts);
    let last = time(request, "lastSync")?;
    let since = match (request.parameter("cursor"), last) {
        (Some(_), Some(_)) => {
            let message = "cursor and lastSync cannot be given together";
            return Err(Refusal::fault("cursor", message));
        }
        (Some(text), None) => {
            let cursor = Cursor::parse(&text, caller.feed).map_err(|error| {
                Refusal::fault("cursor", &format!("cursor {}", error.message()))
            })?;
            if cursor.question != question {
                let message = "cursor was given for other filters; leave it out to start anew";
                return Err(Refusal::fault("cursor", message));
            }
            Since::Place(cursor.place)
        }
        (None, Some(last)) => Since::Arrival(last),
        (None, None) => Since::Start,
    };
    let pulled = Pulled {
        tenant: caller.tenant.clone(),
        feed: caller.feed,
        question,
        parts,
        is_plain: false,
        is_delta: since != Since::Start,
    };
    Ok((since, pulled))
}

/// What decides which records are on the pages, in one spelling.
fn question(request: &Request, parts: &[&str]) -> String {
    let mut question = parts.join(",");
    for key in ["wellId", "entryType", "from", "to"] {
        if let Some(value) = request.parameter(key) {
            question.push_str(&format!("&{key}={value}"));
        }
    }
    question
}

fn limit(request: &Request) -> Result<usize, Refusal> {
    let Some(text) = request.parameter("limit") else { return Ok(RECORDS_MAX) };
    let limit = text.parse().ok().filter(|limit| (1..=RECORDS_MAX).contains(limit));
    let message = format!("limit must be between 1 and {RECORDS_MAX}");
    limit.ok_or_else(|| Refusal::fault("limit", &message))
}

/// A time in the query.
pub(super) fn time(request: &Request, name: &str) -> Result<Option<Moment>, Refusal> {
    let Some(text) = request.parameter(name) else { return Ok(None) };
    // A plus sign that was not encoded arrives as a blank.
    let moment = text.parse().or_else(|_| text.replace(' ', "+").parse());
    let message = format!("{name} must be a time like 2026-03-01T08:30:00Z");
    moment.map(Some).map_err(|_| Refusal::fault(name, &message))
}

impl Pulled {
    pub(super) fn answer(&self, page: &Page) -> Response {
        let mut body = Body::default();
        body.list("wells", shown(page, WELL));
        body.list("users", shown(page, USER));
        body.put("lastSyncTimestamp", json!(page.until));
        body.put("tenantId", self.tenant.clone().into());
        if self.is_plain {
            return Response::json(200, &body)
                .with_header("cache-control", "private, max-age=60")
                .with_header("vary", "Authorization, X-Tenant-Subdomain");
        }
        if self.is_delta {
            body.put("removedWellIds", removed(page, WELL));
            body.put("removedUserIds", removed(page, USER));
        }
        if self.parts.contains(&ENTRY) {
            body.list("entries", shown(page, ENTRY));
            if self.is_delta {
                body.put("removedEntryIds", removed(page, ENTRY));
            }
        }
        body.put("nextCursor", self.cursor(page.place).into());
        body.put("hasMore", page.more.into());
        Response::json(200, &body).with_header("cache-control", "no-store")
    }

    pub(super) fn answer_entries(&self, page: &Page) -> Response {
        let mut body = Body::default();
        body.list("entries", shown(page, ENTRY));
        body.put("nextCursor", self.cursor(page.place).into());
        body.put("hasMore", page.more.into());
        if self.is_delta {
            body.put("removedEntryIds", removed(page, ENTRY));
        }
        Response::json(200, &body).with_header("cache-control", "no-store")
    }

    /// The messages for a client that listens, each with the cursor to go on from.
    pub(super) fn frames(&self, page: &Page) -> Vec<String> {
        let frame = |item: &Arc<Item>| {
            let (kind, gone, shown) = match item.record.collection.as_str() {
                WELL => ("well", "removedWellId", view::well(&item.record)),
                USER => ("user", "removedUserId", view::user(&item.record)),
                _ => ("entry", "removedEntryId", view::entry(&item.record)),
            };
            let (key, value) = match item.happened {
                Happened::Removed => (gone, item.record.name.to_json()),
                Happened::Created | Happened::Updated => (kind, shown?),
            };
            let mut frame = json!({ "type": "change", "cursor": self.cursor(item.place) });
            frame[key] = value;
            Some(frame.to_string())
        };
        page.items.iter().filter_map(frame).collect()
    }

    fn cursor(&self, place: u64) -> String {
        Cursor { feed: self.feed, place, question: self.question.clone() }.to_text()
    }
}

/// An answer whose records may have been written before.
#[derive(Default, Serialize)]
struct Body<'a> {
    #[serde(flatten)]
    lists: BTreeMap<&'static str, Vec<&'a RawValue>>,
    #[serde(flatten)]
    others: BTreeMap<&'static str, Json>,
}

impl<'a> Body<'a> {
    fn list(&mut self, key: &'static str, records: Vec<&'a RawValue>) {
        self.lists.insert(key, records);
    }

    fn put(&mut self, key: &'static str, value: Json) {
        self.others.insert(key, value);
    }
}

/// The records of a collection that are there.
fn shown<'a>(page: &'a Page, collection: &str) -> Vec<&'a RawValue> {
    let show = match collection {
        WELL => view::well,
        USER => view::user,
        _ => view::entry,
    };
    page.items
        .iter()
        .filter(|item| item.record.collection == collection)
        .filter(|item| item.happened != Happened::Removed)
        .filter_map(|item| item.shown(show))
        .collect()
}

fn removed(page: &Page, collection: &str) -> Json {
    page.items
        .iter()
        .filter(|item| item.record.collection == collection)
        .filter(|item| item.happened == Happened::Removed)
        .map(|item| item.record.name.to_json())
        .collect()
}
