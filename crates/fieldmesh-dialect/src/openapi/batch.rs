//! The events of a shift, and the conflicts that managers review.

use super::describe::Described;
use super::schema::{
    Named, any, flag, free, list, name, object, of, open, page_size, text, time, whole, words,
};
use crate::batch::Endpoint;

pub(super) fn described(endpoint: Endpoint) -> Described {
    match endpoint {
        Endpoint::Push => Described::new("Store the events of a shift")
            .header("X-Device-Id?", "The device, where the body does not name it")
            .takes(of("EventsPush"))
            .gives(200, of("EventsPushed")),
        Endpoint::Conflicts => Described::new("Open conflicts of events")
            .query("limit?", page_size(), "At most so many")
            .query("cursor?", text(), "Goes on behind the page whose nextCursor this was")
            .gives(200, of("EventConflicts")),
        Endpoint::Resolve => Described::new("Settle a conflict of events")
            .takes(of("EventResolution"))
            .gives(200, of("EventResolved"))
            .refuses(409),
    }
}

pub(super) fn schemas() -> Named {
    let both = "Names may be spelled with underscores too; the answer is spelled like the request.";
    let event = [
        ("id", name()),
        ("type?", text()),
        ("payload", any()),
        ("timestamp", time()),
        ("deviceId?", text()),
        ("userId?", text()),
        ("synced?", flag()),
        ("syncAttempts?", whole()),
        ("createdAt?", time()),
    ];
    let device = [("deviceId?", text()), ("platform?", text()), ("appVersion?", text())];
    let push =
        [("tenantId?", text()), ("events", list(object(&event))), ("deviceInfo?", object(&device))];
    let mut push = object(&push);
    push["description"] = both.into();
    let conflict = [
        ("conflictId", text()),
        ("eventId", name()),
        ("reason", text()),
        ("localData", free()),
        ("serverData", free()),
        ("existingData", free()),
    ];
    let listed = [&conflict[..], &[("createdAt", time())]].concat();
    let pushed = [
        ("syncedEventIds?", list(text())),
        ("synced_event_ids?", list(text())),
        ("conflicts", list(of("EventConflict"))),
        ("errors", list(text())),
    ];
    let choice = words(&["CLIENT_WINS", "SERVER_WINS", "MERGE", "MANUAL"]);
    let resolved = [
        ("conflictId", text()),
        ("resolution", text()),
        ("resolvedBy", super::schema::maybe(text())),
        ("resolvedAt", super::schema::maybe(time())),
        ("event?", open(&[("id", name())])),
    ];
    vec![
        ("EventsPush", push),
        ("EventsPushed", object(&pushed)),
        ("EventConflict", object(&conflict)),
        (
            "EventConflicts",
            object(&[("conflicts", list(object(&listed))), ("nextCursor?", text())]),
        ),
        ("EventResolution", object(&[("resolution", choice), ("keepEventId?", name())])),
        ("EventResolved", object(&resolved)),
    ]
}
