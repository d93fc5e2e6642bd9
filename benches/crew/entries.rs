//! The workload "crew sync": 200 wells and the entries that a crew records at them, from a seed.
//!
//! The same seed gives the same entries on every machine.

use fieldmesh_model::{Fields, Moment, Value};
use serde_json::{Value as Json, json};

/// The wells of the crew.
pub(crate) const WELLS: usize = 200;
/// The devices that record.
pub(crate) const DEVICES: usize = 8;

/// The time of the first entry: 2025-10-09T08:53:20Z.
const START_MILLIS: i64 = 1_760_000_000_000;
/// The time between two entries of the crew.
const PAUSE_MILLIS: i64 = 137_000;
/// The least length of notes in bytes.
const NOTES_LENGTH: usize = 56;

const WORDS: [&str; 32] = [
    "pump",
    "jack",
    "running",
    "smooth",
    "slight",
    "leak",
    "at",
    "stuffing",
    "box",
    "replaced",
    "belt",
    "tank",
    "gauge",
    "reading",
    "normal",
    "checked",
    "separator",
    "flowline",
    "pressure",
    "low",
    "casing",
    "valve",
    "stuck",
    "need",
    "follow",
    "up",
    "with",
    "foreman",
    "tomorrow",
    "treater",
    "burner",
    "relit",
];

/// A stream of numbers from a seed (SplitMix64).
pub(crate) struct Seeded(u64);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap_or(0)
    }

    /// A value between two bounds with so many decimals, as an instrument shows it.
    fn reading(&mut self, low: f64, high: f64, decimals: i32) -> f64 {
        let unit = f64::from(u32::try_from(self.next() >> 32).unwrap_or(0)) / f64::from(u32::MAX);
        let scale = 10f64.powi(decimals);
        ((low + unit * (high - low)) * scale).round() / scale
    }
}

/// One entry, as a device records it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    well: usize,
    recorded_at: Moment,
    readings: [(&'static str, f64); 7],
    latitude: f64,
    longitude: f64,
    notes: String,
}

/// `count` entries; entries of different seeds differ.
pub(crate) fn entries(count: usize, seed: u64) -> Vec<Entry> {
    stream(seed).take(count).collect()
}

/// Entries without end, for whoever does not want to hold them all.
pub(crate) fn stream(seed: u64) -> impl Iterator<Item = Entry> {
    let mut seeded = Seeded::new(seed);
    (0..).map(move |index| entry(index, &mut seeded))
}

fn entry(index: usize, seeded: &mut Seeded) -> Entry {
    let mut notes = String::new();
    while notes.len() < NOTES_LENGTH {
        if !notes.is_empty() {
            notes.push(' ');
        }
        notes.push_str(WORDS[seeded.below(WORDS.len())]);
    }
    let pauses = i64::try_from(index).unwrap_or(0) * PAUSE_MILLIS;
    let jitter = i64::try_from(seeded.below(100_000)).unwrap_or(0);
    Entry {
        well: seeded.below(WELLS),
        recorded_at: Moment::from_millis(START_MILLIS + pauses + jitter),
        readings: [
            ("oilVolume", seeded.reading(0.0, 250.0, 2)),
            ("gasVolume", seeded.reading(0.0, 900.0, 1)),
            ("waterVolume", seeded.reading(0.0, 400.0, 2)),
            ("tubingPressure", seeded.reading(50.0, 800.0, 0)),
            ("casingPressure", seeded.reading(50.0, 1_200.0, 0)),
            ("chokeSize", seeded.reading(8.0, 64.0, 0)),
            ("runtime", seeded.reading(0.0, 24.0, 1)),
        ],
        latitude: seeded.reading(31.0, 33.0, 6),
        longitude: seeded.reading(-103.0, -101.0, 6),
        notes,
    }
}

impl Entry {
    /// The entry as the JSON that a client sends; `wells` are the ids of the wells.
    pub(crate) fn json(&self, wells: &[String]) -> Json {
        let data: serde_json::Map<String, Json> =
            self.readings.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        json!({
            "wellId": wells[self.well % wells.len()],
            "entryType": "PRODUCTION",
            "recordedAt": self.recorded_at.to_string(),
            "data": data,
            "latitude": self.latitude,
            "longitude": self.longitude,
            "notes": self.notes,
        })
    }

    /// The entry as fields of a document.
    pub(crate) fn fields(&self, well: &str, device: &str) -> Fields {
        let text = |text: &str| Value::Text(text.to_owned());
        let readings = self
            .readings
            .iter()
            .map(|(key, value)| (format!("data.{key}"), Value::Float(*value).canonical()));
        let others = [
            ("wellId", text(well)),
            ("entryType", text("PRODUCTION")),
            ("recordedAt", Value::Moment(self.recorded_at)),
            ("deviceId", text(device)),
            ("latitude", Value::Float(self.latitude)),
            ("longitude", Value::Float(self.longitude)),
            ("notes", text(&self.notes)),
            ("priority", text("NORMAL")),
        ];
        others.into_iter().map(|(key, value)| (key.to_owned(), value)).chain(readings).collect()
    }

    /// When it was recorded.
    pub(crate) fn recorded_at(&self) -> Moment {
        self.recorded_at
    }
}

/// Entries as a file of JSON lines.
pub(crate) fn lines(entries: &[Entry], wells: &[String]) -> Vec<u8> {
    let mut file = String::new();
    for entry in entries {
        file.push_str(&entry.json(wells).to_string());
        file.push('\n');
    }
    file.into_bytes()
}

/// The wells as a file of JSON lines.
pub(crate) fn wells() -> Vec<u8> {
    let mut file = String::new();
    for number in 0..WELLS {
        let well = json!({
            "name": format!("Alder {number}"),
            "apiNumber": format!("42-227-{:05}", 30_000 + number),
            "status": "ACTIVE",
        });
        file.push_str(&well.to_string());
        file.push('\n');
    }
    file.into_bytes()
}
