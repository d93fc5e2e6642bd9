//! A crew over real sockets and real disks: nodes in this process, each with a home of its own.

use std::error::Error;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fieldmesh::api::{
    Edits, ImportOptions, ImportReport, InviteOptions, ListQuery, PeerSync, SyncOptions, SyncResult,
};
use fieldmesh::{Builder, Node, TenantOptions};
use fieldmesh_model::Role;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::entries::{self, DEVICES, Entry};
use super::meter::{Cost, Meter};

/// Edits that are made at the same time, so that they share the disk's time.
const EDITORS: usize = 64;
const SYNC_TIMEOUT: Duration = Duration::from_secs(300);
const SEAL_TIMEOUT: Duration = Duration::from_secs(1);
/// How often it is looked whether everything is shown; a status costs a thousandth of that.
const LOOK: Duration = Duration::from_millis(20);

/// A tenant with 200 wells, the device that made it, and its address.
pub(crate) struct Crew {
    folder: TempDir,
    pub(crate) lead: Node,
    pub(crate) address: String,
    /// The ids of the wells.
    pub(crate) wells: Vec<String>,
}

impl Crew {
    /// Makes the tenant and its wells on the disk that cargo builds on.
    pub(crate) async fn found() -> Result<Self, Box<dyn Error>> {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
        let options = TenantOptions {
            name: "Gulf Crew".into(),
            user: Some("lead@example.org".into()),
            device: Some("lead".into()),
        };
        let (lead, _) = builder(&folder, "lead").create_tenant(options).await?;
        let address = lead.listen(Some(([127, 0, 0, 1], 0).into())).await?.to_string();
        import(&lead, "well", entries::wells()).await?;
        let query = ListQuery { collection: "well".into(), ..ListQuery::default() };
        let wells = lead.list(query).await?.iter().map(|well| well.id.to_string()).collect();
        Ok(Self { folder, lead, address, wells })
    }

    /// Lets a device join that holds nothing so far.
    pub(crate) async fn join(&self, name: &str) -> Result<Node, Box<dyn Error>> {
        let user = Some(format!("{name}@example.org"));
        let valid = Duration::from_secs(600);
        let options = InviteOptions { role: Role::Manager, user, valid, count: 1 };
        let invited = self.lead.invite(options).await?;
        let first = invited.first().ok_or("no invitation")?;
        let (node, _) =
            builder(&self.folder, name).join(&first.invitation, Some(name.to_owned())).await?;
        self.lead.wait_for_joins(&invited).await?;
        Ok(node)
    }

    /// The folder of a device's home.
    pub(crate) fn home(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Brings a node into step with the lead.
    pub(crate) async fn sync(&self, node: &Node) -> Result<PeerSync, Box<dyn Error>> {
        sync(node, &self.address).await
    }

    /// Has the lead seal what waits, as it does before it looks for peers.
    pub(crate) async fn seal(&self) -> Result<(), Box<dyn Error>> {
        let nobody = SyncOptions { timeout: SEAL_TIMEOUT, mdns: false, ..SyncOptions::default() };
        // Whether a peer was there does not matter.
        let _ = self.lead.sync(nobody, |_| {}).await;
        match self.lead.status().await?.unsealed {
            0 => Ok(()),
            waiting => Err(format!("{waiting} changes wait for a batch").into()),
        }
    }

    /// Lets eight devices record the entries, apart from each other, and bring them to the lead.
    pub(crate) async fn record(&self, entries: &[Entry]) -> Result<(), Box<dyn Error>> {
        for number in 0..DEVICES {
            let share: Vec<Entry> = entries.iter().skip(number).step_by(DEVICES).cloned().collect();
            let name = format!("device-{number}");
            let device = self.join(&name).await?;
            self.sync(&device).await?;
            import(&device, "field_entry", entries::lines(&share, &self.wells)).await?;
            self.sync(&device).await?;
            device.shutdown().await?;
            std::fs::remove_dir_all(self.home(&name))?;
        }
        Ok(())
    }

    /// Waits until the lead shows everything it has received.
    pub(crate) async fn settle(&self) -> Result<(), Box<dyn Error>> {
        // A list waits for records that are made anew, and only a moment for what has come.
        let collection = "field_entry".into();
        self.lead.list(ListQuery { collection, limit: Some(1), ..ListQuery::default() }).await?;
        while self.lead.status().await?.behind > 0 {
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Makes the lead's view anew from its log; gives what that cost.
    pub(crate) async fn rebuild(mut self) -> Result<(Self, Cost), Box<dyn Error>> {
        let view = self.home("lead").join("store").join("view");
        self.lead.shutdown().await?;
        std::fs::remove_dir_all(view)?;
        let meter = Meter::start();
        self.lead = builder(&self.folder, "lead").open().await?;
        self.settle().await?;
        let cost = meter.cost();
        self.address = self.lead.listen(Some(([127, 0, 0, 1], 0).into())).await?.to_string();
        Ok((self, cost))
    }

    /// Closes the lead and opens it again; gives the time until it has listed an entry.
    pub(crate) async fn reopened(mut self) -> Result<(Self, Duration), Box<dyn Error>> {
        self.lead.shutdown().await?;
        let start = Instant::now();
        self.lead = builder(&self.folder, "lead").open().await?;
        let collection = "field_entry".into();
        self.lead.list(ListQuery { collection, limit: Some(1), ..ListQuery::default() }).await?;
        Ok((self, start.elapsed()))
    }

    /// Ends the lead; the folder goes with the crew.
    pub(crate) async fn end(self) -> Result<(), Box<dyn Error>> {
        self.lead.shutdown().await?;
        Ok(())
    }
}

fn builder(folder: &TempDir, name: &str) -> Builder {
    let key = folder.path().join(format!("{name}.key"));
    Node::builder(folder.path().join(name)).key_file(key)
}

/// Imports JSON lines; every row must make a record.
pub(crate) async fn import(
    node: &Node,
    collection: &str,
    lines: Vec<u8>,
) -> Result<ImportReport, Box<dyn Error>> {
    let options = ImportOptions { collection: Some(collection.into()), ..ImportOptions::default() };
    let report = node.import(Cursor::new(lines), options, |_| {}).await?;
    if report.imported != report.rows {
        return Err(format!("not every row made a record: {report:?}").into());
    }
    Ok(report)
}

/// Brings a node into step with whom `with` names: an address, or the id of a device.
pub(crate) async fn sync(node: &Node, with: &str) -> Result<PeerSync, Box<dyn Error>> {
    let with = vec![with.to_owned()];
    let options =
        SyncOptions { with, timeout: SYNC_TIMEOUT, mdns: false, ..SyncOptions::default() };
    let report = node.sync(options, |_| {}).await?;
    if report.result != SyncResult::Ok {
        return Err(format!("not in step: {report:?}").into());
    }
    report.peers.into_iter().next().ok_or_else(|| "no peer in the report".into())
}

/// The ids of all entries of a node, newest first.
pub(crate) async fn ids(node: &Node) -> Result<Vec<String>, Box<dyn Error>> {
    let query = ListQuery { collection: "field_entry".into(), ..ListQuery::default() };
    Ok(node.list(query).await?.iter().map(|record| record.id.to_string()).collect())
}

/// Gives each record another oil volume, many at a time.
pub(crate) async fn edit(node: &Node, ids: &[String], volume: f64) -> Result<(), Box<dyn Error>> {
    let mut editors = JoinSet::new();
    for share in ids.chunks(ids.len().div_ceil(EDITORS).max(1)) {
        let (node, share) = (node.clone(), share.to_vec());
        editors.spawn(async move {
            for id in &share {
                let assignments = vec![format!("oilVolume={volume}")];
                let edits = Edits { assignments, ..Edits::default() };
                node.edit(id, edits).await.map_err(|error| error.to_string())?;
            }
            Ok::<(), String>(())
        });
    }
    while let Some(done) = editors.join_next().await {
        done??;
    }
    Ok(())
}

/// The bytes of all files below a folder.
pub(crate) fn size(folder: &Path) -> std::io::Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        sum += if metadata.is_dir() { size(&entry.path())? } else { metadata.len() };
    }
    Ok(sum)
}
