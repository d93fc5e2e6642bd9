//! Rural health: a journal of operations.

use serde_json::Value as Json;

use super::describe::Described;
use super::schema::{
    Named, count, filled, flag, free, list, maybe, name, object, of, open, page_size, text, time,
    whole, words,
};
use crate::health::Endpoint;

const STATES: [&str; 4] = ["PENDING", "SYNCED", "CONFLICT", "FAILED"];
const REVIEWS: [&str; 2] = ["AWAITING_APPROVAL", "MANUAL_REVIEW"];
const RESOLUTIONS: [&str; 3] = ["CLIENT_WINS", "SERVER_WINS", "MANUAL"];

pub(super) fn described(endpoint: Endpoint) -> Described {
    match endpoint {
        Endpoint::Queue => Described::new("Queue an operation")
            .takes(of("HealthOperation"))
            .gives(201, of("HealthQueued"))
            .gives(200, of("HealthQueued")),
        Endpoint::Pending => {
            owned(Described::new("Operations that wait")).gives(200, list(of("HealthEntry")))
        }
        Endpoint::Process => {
            Described::new("Process a queued operation").gives(200, of("HealthProcessed"))
        }
        Endpoint::Resolve => Described::new("Settle a conflict")
            .query("resolution", words(&RESOLUTIONS), "Which side is to count")
            .may_take(object(&[("data?", free()), ("emergency?", text())]))
            .gives(200, of("HealthResolved"))
            .refuses(409),
        Endpoint::Retry => {
            owned(Described::new("Try failed operations again")).gives(200, of("HealthRetried"))
        }
        Endpoint::Stats => Described::new("Figures of a user's operations, or of all")
            .query("userId?", text(), "Only of this user")
            .gives(200, of("HealthStats")),
        Endpoint::Conflicts => Described::new("Open conflicts, with both versions")
            .query("resourceType?", text(), "Only those of this type")
            .query("limit?", page_size(), "At most so many")
            .query("cursor?", text(), "Goes on behind the page whose nextCursor this was")
            .gives(200, of("HealthConflicts")),
        Endpoint::Batch => Described::new("Queue and process operations")
            .takes(object(&[("operations", list(of("HealthOperation")))]))
            .gives(200, of("HealthResults")),
        Endpoint::ProcessMany => Described::new("Process queued operations")
            .takes(object(&[("ids", list(filled()))]))
            .gives(200, of("HealthResults")),
    }
}

/// Whose operations are meant.
fn owned(described: Described) -> Described {
    described.query("deviceId", filled(), "Of this device").query(
        "userId",
        filled(),
        "Of this user: the caller, unless he is an admin",
    )
}

pub(super) fn schemas() -> Named {
    let operation = [
        ("id?", text()),
        ("userId", filled()),
        ("deviceId", filled()),
        ("operation", words(&["CREATE", "UPDATE", "DELETE"])),
        ("resourceType", filled()),
        ("resourceId?", maybe(name())),
        ("data?", free()),
        ("createdAtClient", time()),
        ("version?", whole()),
    ];
    let queued = [("id", text()), ("status", words(&STATES)), ("message", text())];
    let entry = [
        ("id", text()),
        ("operation", text()),
        ("resourceType", text()),
        ("data", free()),
        ("status", words(&STATES)),
        ("retryCount", count()),
        ("createdAtClient", time()),
    ];
    let processed = [
        ("id?", text()),
        ("status", words(&STATES)),
        ("message", text()),
        ("result?", resource()),
        ("error?", text()),
        ("resolutionOptions?", list(words(&RESOLUTIONS))),
        ("localData?", free()),
        ("serverData?", free()),
        ("localDeleted?", flag()),
        ("serverDeleted?", flag()),
        ("affectedFields?", list(text())),
    ];
    let mut all = vec![
        ("HealthOperation", object(&operation)),
        ("HealthQueued", object(&queued)),
        ("HealthEntry", object(&entry)),
        ("HealthProcessed", object(&processed)),
        ("HealthResults", object(&[("results", list(of("HealthProcessed")))])),
    ];
    all.extend(of_conflicts());
    all
}

fn resource() -> Json {
    open(&[("id", name()), ("deleted?", flag())])
}

fn of_conflicts() -> Named {
    let resolved = [
        ("id", text()),
        ("status", words(&["SYNCED", "CONFLICT"])),
        ("resolution", text()),
        ("reviewStatus?", words(&REVIEWS)),
        ("resolvedBy?", text()),
        ("resolvedAt?", time()),
        ("emergency?", text()),
        ("result?", resource()),
    ];
    let retried =
        [("retried", count()), ("synced", count()), ("failed", count()), ("conflicts", count())];
    let stats = [
        ("total", count()),
        ("pending", count()),
        ("synced", count()),
        ("failed", count()),
        ("conflicts", count()),
        ("syncRate", text()),
    ];
    let conflict = [
        ("id", text()),
        ("resourceType", text()),
        ("resourceId", name()),
        ("localData", free()),
        ("serverData", free()),
        ("localDeleted?", flag()),
        ("serverDeleted?", flag()),
        ("affectedFields", list(text())),
        ("userId", maybe(text())),
        ("serverUserId", maybe(text())),
        ("createdAt", time()),
        ("reviewStatus?", words(&REVIEWS)),
        ("requestedBy?", text()),
        ("requestedAt?", time()),
    ];
    let listed = [("conflicts", list(object(&conflict))), ("nextCursor?", text())];
    vec![
        ("HealthResolved", object(&resolved)),
        ("HealthRetried", object(&retried)),
        ("HealthStats", object(&stats)),
        ("HealthConflicts", object(&listed)),
    ]
}
