//! A screen that is always right: the answer to a query, and then only what changes of it.
//!
//! Run it with `cargo run --example live_query`. The office watches the production of one well;
//! what the truck records shows up as soon as it has arrived.

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::collections::BTreeMap;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use fieldmesh::api::{InviteOptions, LiveEvent, Progress, SyncOptions};
use fieldmesh::{DocumentId, Node, Role, Stored, TenantOptions, Typed};
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Production {
    well_id: String,
    entry_type: String,
    data: Volumes,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Volumes {
    oil_volume: f64,
    runtime: f64,
}

impl Stored for Production {
    const COLLECTION: &'static str = "field_entry";
}

/// What stands on the screen.
#[derive(Default)]
struct Screen(BTreeMap<DocumentId, f64>);

impl Screen {
    fn show(&mut self, event: LiveEvent<Typed<Production>>) {
        let line = |it: Typed<Production>| (it.record.id, it.value.data.oil_volume);
        match event {
            // After a resync nothing of before is known to be true.
            LiveEvent::Present(all) | LiveEvent::Resync(all) => {
                self.0 = all.into_iter().map(line).collect();
            }
            LiveEvent::Added(one) | LiveEvent::Changed(one) => {
                self.0.extend([line(one)]);
            }
            LiveEvent::Removed(id) => {
                self.0.remove(&id);
            }
            _ => {}
        }
        let volumes: Vec<String> = self.0.values().map(f64::to_string).collect();
        println!("oil: [{}]", volumes.join(", "));
    }
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let options = TenantOptions { name: "Cedar Creek".into(), ..TenantOptions::default() };
    let (office, _) = Node::builder(folder.path().join("office"))
        .passphrase("correct horse battery")
        .create_tenant(options)
        .await?;
    let well = json!({"name": "Alder 1", "apiNumber": "42-227-30001", "status": "ACTIVE"});
    office.collection("well").insert(well.as_object().ok_or("no object")?).await?;
    let address = office.listen(Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))).await?;
    let valid = Duration::from_secs(600);
    let invite = InviteOptions { role: Role::Operator, user: None, valid, count: 1 };
    let invitation = office.invite(invite).await?.remove(0).invitation;
    let (truck, _) = Node::builder(folder.path().join("truck"))
        .passphrase("battery horse correct")
        .join(&invitation, Some("truck".into()))
        .await?;
    let sync =
        SyncOptions { with: vec![address.to_string()], mdns: false, ..SyncOptions::default() };
    truck.sync(sync.clone(), |_: Progress| {}).await?;

    let of_well = office.collection_of::<Production>().query().site("Alder 1");
    let mut live = of_well.equals("entryType", "PRODUCTION").subscribe().await?;
    let mut screen = Screen::default();
    screen.show(live.next().await.ok_or("the node is shut down")??);

    // The truck records, corrects and takes back; each arrives with the next sync.
    let entries = truck.collection_of::<Production>();
    let recorded = entries.insert(&production(82.5)).await?.record.id.to_string();
    entries.insert(&production(79.0)).await?;
    truck.sync(sync.clone(), |_: Progress| {}).await?;
    for _ in 0..2 {
        screen.show(live.next().await.ok_or("the node is shut down")??);
    }
    entries.modify(&recorded, |entry| entry.data.oil_volume = 82.75).await?;
    truck.sync(sync.clone(), |_: Progress| {}).await?;
    screen.show(live.next().await.ok_or("the node is shut down")??);
    entries.delete(&recorded).await?;
    truck.sync(sync, |_: Progress| {}).await?;
    screen.show(live.next().await.ok_or("the node is shut down")??);

    truck.shutdown().await?;
    office.shutdown().await?;
    println!("over: {}", live.next().await.is_none());
    Ok(())
}

fn production(oil_volume: f64) -> Production {
    let data = Volumes { oil_volume, runtime: 24.0 };
    Production { well_id: "Alder 1".into(), entry_type: "PRODUCTION".into(), data }
}
