//! Wells and users down, field entries up.

use super::describe::Described;
use super::schema::{
    Named, count, filled, free, list, maybe, name, number, object, of, open, page_size, text, time,
    words,
};
use crate::wellpulse::Endpoint;

const TYPES: [&str; 3] = ["PRODUCTION", "INSPECTION", "MAINTENANCE"];

pub(super) fn described(endpoint: Endpoint) -> Described {
    match endpoint {
        Endpoint::Pull => filtered(Described::new("Wells and users, and entries where wanted"))
            .query("include?", text(), "wells, users, entries; with commas")
            .query("lastSync?", time(), "Only what arrived after this time")
            .gives(200, of("Pulled")),
        Endpoint::Entries => filtered(Described::new("Entries, page by page"))
            .query("lastSync?", time(), "Only what arrived after this time")
            .gives(200, of("EntriesPage")),
        Endpoint::Live => filtered(Described::new("What happens, as it happens"))
            .query("include?", text(), "wells, users, entries; with commas")
            .query("lastSync?", time(), "Begins with what arrived after this time")
            .gives_events(of("WellpulseEvent")),
        Endpoint::Push => {
            Described::new("Store entries").takes(of("EntriesPush")).gives(200, of("EntriesPushed"))
        }
        Endpoint::Edit => Described::new("Change parts of an entry")
            .header("If-Match?", "The version that was read, in quotes")
            .takes(of("EntryEdit"))
            .gives(200, of("FieldEntry"))
            .refuses(409),
        Endpoint::Status => Described::new("How far a device has read")
            .query("deviceId", filled(), "The device")
            .gives(200, of("DeviceReading")),
        Endpoint::Analytics => Described::new("What devices sent and received")
            .query("from?", time(), "From the UTC day of this moment on")
            .query(
                "to?",
                time(),
                "Before this moment; a UTC day that begins before it is told whole",
            )
            .gives(200, of("Traffic")),
    }
}

/// What pages of entries have in common.
fn filtered(described: Described) -> Described {
    described
        .query("cursor?", text(), "Goes on behind the page whose nextCursor this was")
        .query("limit?", page_size(), "At most so many")
        .query("wellId?", text(), "Only entries of this well")
        .query("entryType?", words(&TYPES), "Only entries of this type")
        .query("from?", time(), "Only entries recorded at this time or later")
        .query("to?", time(), "Only entries recorded at this time or earlier")
        .query("deviceId?", text(), "Who reads, so that GET /sync/status can tell how far")
}

pub(super) fn schemas() -> Named {
    let mut all = of_records();
    all.extend(of_pulls());
    all.extend(of_pushes());
    all
}

fn of_records() -> Named {
    let well = [
        ("id", name()),
        ("name", maybe(text())),
        ("apiNumber", maybe(text())),
        ("latitude", number()),
        ("longitude", number()),
        ("status", maybe(text())),
        ("lease", maybe(text())),
        ("field", maybe(text())),
        ("operator", maybe(text())),
    ];
    let user =
        [("id", name()), ("email", maybe(text())), ("name", maybe(text())), ("role", text())];
    let sent = [
        ("id?", text()),
        ("wellId", filled()),
        ("entryType", words(&TYPES)),
        ("data", free()),
        ("recordedAt", time()),
        ("latitude?", number()),
        ("longitude?", number()),
        ("photos?", list(text())),
        ("notes?", text()),
        ("priority?", words(&["CRITICAL", "NORMAL"])),
    ];
    let shown = [
        ("id", name()),
        ("data", free()),
        ("createdBy?", text()),
        ("createdAt?", time()),
        ("syncedAt", time()),
        ("version", count()),
    ];
    let edit = [
        ("data?", free()),
        ("notes?", maybe(text())),
        ("photos?", maybe(list(text()))),
        ("latitude?", maybe(number())),
        ("longitude?", maybe(number())),
        ("priority?", text()),
    ];
    vec![
        ("Well", object(&well)),
        ("CrewUser", object(&user)),
        ("NewEntry", object(&sent)),
        ("FieldEntry", open(&shown)),
        ("EntryEdit", object(&edit)),
    ]
}

fn of_pulls() -> Named {
    let names = || list(name());
    let pulled = [
        ("wells", list(of("Well"))),
        ("users", list(of("CrewUser"))),
        ("lastSyncTimestamp", time()),
        ("tenantId", text()),
        ("entries?", list(of("FieldEntry"))),
        ("removedWellIds?", names()),
        ("removedUserIds?", names()),
        ("removedEntryIds?", names()),
        ("nextCursor?", text()),
        ("hasMore?", super::schema::flag()),
    ];
    let page = [
        ("entries", list(of("FieldEntry"))),
        ("nextCursor", text()),
        ("hasMore", super::schema::flag()),
        ("removedEntryIds?", names()),
    ];
    let event = [
        ("type", words(&["change"])),
        ("cursor", text()),
        ("well?", of("Well")),
        ("user?", of("CrewUser")),
        ("entry?", of("FieldEntry")),
        ("removedWellId?", name()),
        ("removedUserId?", name()),
        ("removedEntryId?", name()),
    ];
    let reading =
        [("deviceId", text()), ("lastSyncAt", maybe(time())), ("pendingEntries", count())];
    let mut latency = object(&[("p50", number()), ("p95", number()), ("p99", number())]);
    latency["description"] =
        "The next power of two above, so that the truth is between half and all \
        of it; 65536 stands for anything above 32768"
            .into();
    let device = object(&[
        ("deviceId", text()),
        ("from", time()),
        ("to", time()),
        ("bytesIn", count()),
        ("bytesOut", count()),
        ("attempts", count()),
        ("successRate", maybe(number())),
        ("latencyMs", latency),
    ]);
    vec![
        ("Pulled", object(&pulled)),
        ("EntriesPage", object(&page)),
        ("WellpulseEvent", object(&event)),
        ("DeviceReading", object(&reading)),
        ("Traffic", object(&[("devices", list(device))])),
    ]
}

fn of_pushes() -> Named {
    let push = [
        ("deviceId", filled()),
        ("entries", list(of("NewEntry"))),
        ("conflictResolution?", words(&["SERVER_WINS", "CLIENT_WINS", "MERGE"])),
    ];
    let conflict = object(&[
        ("entryId", name()),
        ("wellId", text()),
        ("recordedAt", time()),
        ("reason", text()),
        ("resolution", words(&["SERVER_WINS", "CLIENT_WINS", "MERGED"])),
    ]);
    let result = object(&[
        ("index", count()),
        ("entryId", maybe(name())),
        ("status", words(&["STORED", "DUPLICATE", "CONFLICT", "REJECTED"])),
    ]);
    let pushed = [
        ("succeeded", count()),
        ("failed", count()),
        ("conflicts", list(conflict)),
        ("errors", list(object(&[("wellId", text()), ("error", text())]))),
        ("syncedAt", time()),
        ("results", list(result)),
    ];
    vec![("EntriesPush", object(&push)), ("EntriesPushed", object(&pushed))]
}
