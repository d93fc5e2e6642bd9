//! Assets, tasks and schedules.

use serde_json::Value as Json;

use super::describe::Described;
use super::schema::{
    Named, count, filled, flag, free, list, maybe, name, object, of, page_size, text, time, whole,
    words,
};
use crate::asset::Endpoint;

const OPERATIONS: [&str; 3] = ["CREATE", "UPDATE", "DELETE"];
const RESOLUTIONS: [&str; 4] = ["CLIENT_WINS", "SERVER_WINS", "MERGE", "MANUAL"];

pub(super) fn described(endpoint: Endpoint) -> Described {
    match endpoint {
        Endpoint::Sync => Described::new("Send changes and take those of others")
            .takes(of("AssetSync"))
            .gives(200, of("AssetSynced")),
        Endpoint::Delta => Described::new("What changed, page by page")
            .takes(of("AssetDelta"))
            .gives(200, of("AssetPage")),
        Endpoint::Status => {
            Described::new("The user's devices and queue").gives(200, of("AssetStatus"))
        }
        Endpoint::Devices => Described::new("The user's devices").gives(200, of("Devices")),
        Endpoint::Register => {
            Described::new("Register a device").takes(of("NewDevice")).gives(201, of("Device"))
        }
        Endpoint::Unregister => Described::new("Shut a device out")
            .query("userId?", text(), "Whose it is; an admin may name others")
            .gives_nothing(204),
        Endpoint::Conflicts => Described::new("Open conflicts")
            .query("entityType?", text(), "Only those of this type")
            .query("limit?", page_size(), "At most so many")
            .query("cursor?", text(), "Goes on behind the page whose nextCursor this was")
            .gives(200, of("AssetConflicts")),
        Endpoint::Resolve => Described::new("Settle a conflict")
            .takes(of("AssetResolution"))
            .gives(200, of("AssetResolved"))
            .refuses(409),
        Endpoint::Retry => Described::new("Try failed operations again")
            .may_take(of("AssetRetry"))
            .gives(200, of("AssetRetried")),
        Endpoint::Stats => {
            Described::new("Figures of the user's queue").gives(200, of("QueueStats"))
        }
        Endpoint::Invalidate => Described::new("Forget what is kept ready to be read")
            .may_take(of("AssetInvalidation"))
            .gives(200, object(&[("invalidated", count())])),
        Endpoint::Live => Described::new("What happens, as it happens")
            .query("cursor?", text(), "Begins behind the event whose cursor this was")
            .query("deviceId?", text(), "Who listens")
            .gives_events(of("AssetEvent")),
    }
}

pub(super) fn schemas() -> Named {
    let mut all = of_changes();
    all.extend(of_conflicts());
    all.extend(of_queues());
    all
}

fn of_changes() -> Named {
    let sent = [
        ("entityType", filled()),
        ("entityId", name()),
        ("operation", words(&OPERATIONS)),
        ("payload?", free()),
        ("clientVersion?", count()),
        ("timestamp?", time()),
    ];
    let change =
        [("operation", words(&OPERATIONS)), ("clientVersion", count()), ("timestamp", time())];
    let shown = [&entity()[..], &change].concat();
    let sync = [
        ("deviceId", filled()),
        ("deviceName?", text()),
        ("syncToken?", maybe(text())),
        ("changes", list(object(&sent))),
    ];
    let result = object(&[
        ("index", count()),
        ("entityId", maybe(name())),
        ("status", words(&["COMPLETED", "FAILED", "CONFLICT"])),
        ("version?", count()),
        ("error?", text()),
    ]);
    let synced = [
        ("syncToken", text()),
        ("changes", list(of("AssetChange"))),
        ("conflicts", list(of("AssetConflict"))),
        ("serverTime", time()),
        ("results", list(result)),
    ];
    let delta = [
        ("deviceId", filled()),
        ("entityTypes?", list(text())),
        ("lastSyncTimestamp?", time()),
        ("pageSize?", whole()),
        ("pageToken?", text()),
    ];
    let page =
        [("changes", list(of("AssetChange"))), ("hasMore", flag()), ("nextPageToken?", text())];
    let event = [("type", words(&["change"])), ("change", of("AssetChange")), ("cursor", text())];
    vec![
        ("AssetChange", object(&shown)),
        ("AssetSync", object(&sync)),
        ("AssetSynced", object(&synced)),
        ("AssetDelta", object(&delta)),
        ("AssetPage", object(&page)),
        ("AssetEvent", object(&event)),
    ]
}

/// An entity as it stands; its checksum is the SHA-256 of its payload as canonical JSON (RFC 8785).
fn entity() -> [(&'static str, Json); 6] {
    [
        ("entityType", text()),
        ("entityId", name()),
        ("payload", free()),
        ("checksum", text()),
        ("lastModifiedBy", maybe(text())),
        ("lastModifiedAt", time()),
    ]
}

fn of_conflicts() -> Named {
    let conflict = [
        ("id", text()),
        ("entityType", text()),
        ("entityId", name()),
        ("clientVersion", count()),
        ("serverVersion", count()),
        ("clientData", free()),
        ("serverData", free()),
        ("clientDeleted?", flag()),
        ("serverDeleted?", flag()),
        ("suggestedResolution", words(&RESOLUTIONS)),
    ];
    let listed = [&conflict[..], &[("affectedFields", list(text())), ("createdAt", time())]];
    let more = [("version", count()), ("deleted?", flag())];
    let entity = object(&[&entity()[..], &more].concat());
    let resolution =
        [("conflictId", filled()), ("resolution", words(&RESOLUTIONS)), ("resolvedData?", free())];
    let resolved = [
        ("conflictId", text()),
        ("resolution", text()),
        ("resolvedBy", maybe(text())),
        ("resolvedAt", maybe(time())),
        ("entity?", entity),
    ];
    let conflicts = [("conflicts", list(object(&listed.concat()))), ("nextCursor?", text())];
    vec![
        ("AssetConflict", object(&conflict)),
        ("AssetConflicts", object(&conflicts)),
        ("AssetResolution", object(&resolution)),
        ("AssetResolved", object(&resolved)),
    ]
}

fn of_queues() -> Named {
    let device = [
        ("deviceId", text()),
        ("deviceName", maybe(text())),
        ("lastSyncAt", maybe(time())),
        ("isActive", flag()),
    ];
    let whose = [("id", text()), ("userId", text())];
    let queue = [
        ("pending", count()),
        ("syncing", count()),
        ("completed", count()),
        ("failed", count()),
        ("conflict", count()),
    ];
    let oldest = [("oldestPendingAt", maybe(time()))];
    let status = [
        ("userId", text()),
        ("serverTime", time()),
        ("devices", list(object(&device))),
        ("queue", object(&queue)),
        ("unresolvedConflicts", count()),
        ("backlog", count()),
    ];
    let new = [
        ("deviceId", filled()),
        ("deviceName?", text()),
        ("publicKey?", text()),
        ("userId?", text()),
    ];
    let retried = [("retried", count()), ("succeeded", count()), ("failed", count())];
    let invalid = [("entityTypes?", list(text())), ("entityIds?", list(name()))];
    vec![
        ("AssetStatus", object(&status)),
        ("Device", object(&[&whose[..], &device].concat())),
        ("Devices", object(&[("devices", list(of("Device")))])),
        ("NewDevice", object(&new)),
        ("AssetRetry", object(&[("deviceId?", text()), ("operationIds?", list(text()))])),
        ("AssetRetried", object(&retried)),
        ("QueueStats", object(&[&queue[..], &oldest].concat())),
        ("AssetInvalidation", object(&invalid)),
    ]
}
