//! The devices of a tenant: nodes in this process, each open only while it records and syncs.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use fieldmesh::api::{ListQuery, NewRecord, SyncOptions, SyncReport, SyncResult};
use fieldmesh::{Builder, Error, Node};
use tokio::runtime::Handle;

use crate::apps::Tablet;
use crate::marks::{Mark, Marks, Seen};

/// How long a device waits for the relay.
const SYNC_TIMEOUT: Duration = Duration::from_secs(120);
/// The collections that somebody writes.
pub(crate) const COLLECTIONS: [&str; 5] =
    ["field_entry", "field_event", "task", "pet", "encounter"];

/// A tenant with its devices and its app.
pub(crate) struct Crew {
    pub(crate) number: usize,
    pub(crate) marks: Marks,
    /// Those of field entries, which are what an app hears of that listens.
    pub(crate) entries: Mutex<Vec<Mark>>,
    pub(crate) tablet: Tablet,
    /// The id of its well.
    pub(crate) well: Mutex<String>,
    /// Where the homes are; nobody opens one that somebody else has open.
    seats: Vec<Mutex<PathBuf>>,
    /// Where the relay is.
    relay: String,
}

impl Crew {
    pub(crate) fn new(number: usize, homes: Vec<PathBuf>, tablet: Tablet, relay: String) -> Self {
        let seats = homes.into_iter().map(Mutex::new).collect();
        let (marks, entries, well) = (Marks::of(number), Mutex::default(), Mutex::default());
        Self { number, marks, entries, tablet, well, seats, relay }
    }

    pub(crate) fn devices(&self) -> usize {
        self.seats.len()
    }

    /// A device joins; the first one records the well.
    pub(crate) fn join(&self, at: &Handle, device: usize, invitation: &str) -> Result<(), String> {
        let home = self.seats[device].lock().unwrap();
        let name = format!("device-{device}");
        at.block_on(async {
            let joining = builder(&home).join(invitation, Some(name)).await;
            let (node, _) = joining.map_err(|error| words(&error))?;
            if device == 0 {
                let values = ["name=Alder 1", "apiNumber=42-227-30001", "status=ACTIVE"];
                let well = record(&node, "well", &values.map(String::from)).await?;
                *self.well.lock().unwrap() = well;
            }
            self.sync(&node).await?;
            node.shutdown().await.map_err(|error| words(&error))
        })
    }

    /// A device records so many entries and brings them to the relay, which acknowledges them.
    pub(crate) fn visit(&self, at: &Handle, device: usize, count: usize) -> Result<(), String> {
        let home = self.seats[device].lock().unwrap();
        let well = self.well.lock().unwrap().clone();
        at.block_on(async {
            let node = builder(&home).open().await.map_err(|error| words(&error))?;
            let mut marks = Vec::new();
            for mark in std::iter::repeat_with(|| self.marks.draw()).take(count) {
                let values = [
                    format!("wellId={well}"),
                    "entryType=PRODUCTION".into(),
                    format!("recordedAt={}", mark.at()),
                    format!("oilVolume={}", mark.number),
                    format!("notes={}", mark.text()),
                ];
                record(&node, "field_entry", &values).await?;
                marks.push(mark);
            }
            self.sync(&node).await?;
            self.entries.lock().unwrap().extend(&marks);
            self.marks.acknowledge(marks);
            node.shutdown().await.map_err(|error| words(&error))
        })
    }

    /// What a device shows once it has synced, and says of itself.
    pub(crate) fn shown(&self, at: &Handle, device: usize) -> Result<(Seen, String), String> {
        let home = self.seats[device].lock().unwrap();
        at.block_on(async {
            let node = builder(&home).open().await.map_err(|error| words(&error))?;
            let synced = self.sync(&node).await?;
            let mut seen = Seen::default();
            for collection in COLLECTIONS.map(String::from) {
                let query = ListQuery { collection, ..ListQuery::default() };
                for record in node.list(query).await.map_err(|error| words(&error))? {
                    seen.add(&serde_json::to_string(&record).unwrap());
                }
            }
            let status = node.status().await.map_err(|error| words(&error))?;
            let status = serde_json::to_string(&status).unwrap();
            node.shutdown().await.map_err(|error| words(&error))?;
            Ok((seen, format!("{synced:?} {status}")))
        })
    }

    async fn sync(&self, node: &Node) -> Result<SyncReport, String> {
        let with = vec![self.relay.clone()];
        let options =
            SyncOptions { with, timeout: SYNC_TIMEOUT, mdns: false, ..SyncOptions::default() };
        let report = node.sync(options, |_| {}).await.map_err(|error| words(&error))?;
        match report.result {
            SyncResult::Ok => Ok(report),
            _ => Err(format!("not in step: {report:?}")),
        }
    }
}

fn builder(home: &Path) -> Builder {
    Node::builder(home).key_file(home.with_extension("key"))
}

async fn record(node: &Node, collection: &str, values: &[String]) -> Result<String, String> {
    let new = NewRecord {
        collection: collection.into(),
        assignments: values.to_vec(),
        ..NewRecord::default()
    };
    node.record(new).await.map(|record| record.id.to_string()).map_err(|error| words(&error))
}

/// An error with its causes.
fn words(error: &Error) -> String {
    error.problem().detail
}
