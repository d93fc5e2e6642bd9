//! Changes parts of an entry that is stored already.

use super::{NOUNS, entry, view};
use crate::caller::Caller;
use crate::command::{Base, Device, Push};
use crate::form::object;
use crate::name::{NAME_SIZE_MAX, Name};
use crate::outcome::{Fate, Pushed, Reason};
use crate::refusal::Refusal;
use crate::request::Request;
use crate::response::Response;

pub(super) fn read(id: &str, request: &Request, caller: &Caller) -> Result<Push, Refusal> {
    if id.len() > NAME_SIZE_MAX {
        return Err(Refusal::missing("Entry"));
    }
    let body = object(request)?;
    let operation = entry::read_edit(Name::from(id), &body, base(request)?, request.at)
        .map_err(|faults| Refusal::Invalid { faults })?;
    Ok(Push {
        device: caller.device.as_deref().map(Device::new),
        operations: vec![operation],
        ..Push::default()
    })
}

/// The version in `If-Match: "3"`; without one the edit is made on whatever is current.
fn base(request: &Request) -> Result<Base, Refusal> {
    match request.header("if-match").map(str::trim) {
        None | Some("*") => Ok(Base::Current),
        Some(tag) => {
            tag.trim_start_matches("W/").trim_matches('"').parse().map(Base::Exactly).map_err(
                |_| Refusal::fault("If-Match", "If-Match must be the version of the entry"),
            )
        }
    }
}

pub(super) fn answer(pushed: Pushed) -> Result<Response, Refusal> {
    match pushed.fates.into_iter().next() {
        Some(Fate::Stored(stored)) => {
            let tag = format!("\"{}\"", stored.record.version);
            Ok(Response::json(200, &view::entry(&stored.record)).with_header("etag", tag))
        }
        Some(Fate::Conflict(_)) => Err(Refusal::Contradiction {
            why: "The entry is in conflict; what you sent is kept beside what stands there, and a \
                  manager decides"
                .to_owned(),
        }),
        Some(Fate::Settled { .. } | Fate::Duplicate { .. }) => Err(Refusal::Contradiction {
            why: "The entry was changed at the same time; read it and edit again".to_owned(),
        }),
        Some(Fate::Rejected(Reason::NoRecord)) => Err(Refusal::missing("Entry")),
        Some(Fate::Rejected(reason)) => Err(reason.refusal(NOUNS)),
        Some(Fate::Deferred) | None => Err(Refusal::Failed),
    }
}
