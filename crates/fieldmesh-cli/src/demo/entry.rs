//! What the crew records.

use fieldmesh_model::Moment;
use serde_json::{Value as Json, json};

/// The wells of the crew: name and API number.
pub(super) const WELLS: [(&str, &str); 3] =
    [("Alder 1", "42-227-30001"), ("Birch 2", "42-227-30002"), ("Cedar 3", "42-227-30003")];

const MINUTE_MILLIS: i64 = 60_000;

/// A clock for entries: each is about the minute after the one before, beginning yesterday, so
/// that no entry is about the future.
#[derive(Debug)]
pub(super) struct Notebook {
    next: Moment,
    entries: usize,
}

impl Notebook {
    /// An empty one, which begins a day before now.
    pub(super) fn new() -> Self {
        let yesterday = jiff::Timestamp::now().as_millisecond() - 24 * 60 * MINUTE_MILLIS;
        Self { next: Moment::from_millis(yesterday), entries: 0 }
    }

    /// The fields of the next entry: mostly production, now and then something else.
    pub(super) fn entry(&mut self) -> Json {
        let number = self.entries;
        self.entries += 1;
        self.next = self.next.plus_millis(MINUTE_MILLIS);
        let (well, _) = WELLS[number % WELLS.len()];
        let (kind, data) = match number % 4 {
            2 => {
                ("INSPECTION", json!({ "equipmentStatus": "OPERATIONAL", "leaksDetected": false }))
            }
            3 => ("MAINTENANCE", json!({ "maintenanceType": "PREVENTIVE", "downtime": 1.5 })),
            _ => ("PRODUCTION", json!({ "oilVolume": 60 + number, "runtime": 24 })),
        };
        json!({
            "wellId": well,
            "entryType": kind,
            "recordedAt": self.next.to_string(),
            "data": data,
        })
    }
}

/// The fields of a well.
pub(super) fn well((name, number): (&str, &str)) -> Json {
    json!({ "name": name, "apiNumber": number, "status": "ACTIVE" })
}
