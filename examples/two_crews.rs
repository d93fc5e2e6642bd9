//! Two crews that never meet: a truck that visits both carries what each of them recorded.
//!
//! Run it with `cargo run --example two_crews`. No server and no network between the sites: each
//! device holds everything it has met, so whoever comes by brings it along.

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use fieldmesh::api::{InviteOptions, Progress, SyncOptions, SyncResult};
use fieldmesh::{Node, Role, Stored, TenantOptions};
use serde::{Deserialize, Serialize};

/// A well, with as much of it as this program needs.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Well {
    name: String,
    api_number: String,
    status: String,
}

impl Stored for Well {
    const COLLECTION: &'static str = "well";
}

/// What somebody did at a well.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Visit {
    well_id: String,
    entry_type: String,
    data: Findings,
    notes: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Findings {
    leaks_detected: bool,
}

impl Stored for Visit {
    const COLLECTION: &'static str = "field_entry";
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let options = TenantOptions { name: "Two Sites".into(), ..TenantOptions::default() };
    let (office, _) = Node::builder(folder.path().join("office"))
        .passphrase("correct horse battery")
        .create_tenant(options)
        .await?;
    let at_office = listen(&office).await?;
    for number in 1..=2 {
        let name = format!("Alder {number}");
        let api_number = format!("42-227-3000{number}");
        let well = Well { name, api_number, status: "ACTIVE".into() };
        office.collection_of().insert(&well).await?;
    }

    // All three join in the morning, where the office is.
    let north = join(&office, folder.path(), "north").await?;
    let south = join(&office, folder.path(), "south").await?;
    let truck = join(&office, folder.path(), "truck").await?;
    let (at_north, at_south) = (listen(&north).await?, listen(&south).await?);
    for node in [&north, &south, &truck] {
        sync(node, at_office).await?;
    }

    // Then the crews are at their sites, out of reach of the office and of each other.
    visit(&north, "Alder 1", "replaced the stuffing box").await?;
    visit(&north, "Alder 1", "checked for leaks: none").await?;
    visit(&south, "Alder 2", "tank nearly full").await?;
    show("before the truck came by", &[&north, &south, &truck]).await?;

    // The truck drives from the north to the south and back.
    for site in [at_north, at_south, at_north] {
        sync(&truck, site).await?;
    }
    show("after it did", &[&north, &south, &truck]).await?;

    for node in [north, south, truck, office] {
        node.shutdown().await?;
    }
    Ok(())
}

async fn join(office: &Node, folder: &Path, name: &str) -> Result<Node, Box<dyn Error>> {
    let valid = Duration::from_secs(600);
    let invite = InviteOptions { role: Role::Operator, user: None, valid, count: 1 };
    let invitation = office.invite(invite).await?.remove(0).invitation;
    let builder = Node::builder(folder.join(name)).passphrase("battery horse correct");
    Ok(builder.join(&invitation, Some(name.into())).await?.0)
}

async fn listen(node: &Node) -> Result<SocketAddr, Box<dyn Error>> {
    Ok(node.listen(Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))).await?)
}

async fn sync(node: &Node, with: SocketAddr) -> Result<(), Box<dyn Error>> {
    let with = vec![with.to_string()];
    let options = SyncOptions { with, mdns: false, ..SyncOptions::default() };
    let report = node.sync(options, |_: Progress| {}).await?;
    match report.result {
        SyncResult::Ok => Ok(()),
        result => Err(format!("{result:?}: {:?}", report.peers).into()),
    }
}

async fn visit(node: &Node, well: &str, notes: &str) -> Result<(), Box<dyn Error>> {
    let (well_id, notes) = (well.into(), notes.into());
    let data = Findings { leaks_detected: false };
    let visit = Visit { well_id, entry_type: "INSPECTION".into(), data, notes };
    node.collection_of().insert(&visit).await?;
    Ok(())
}

async fn show(when: &str, nodes: &[&Node]) -> Result<(), Box<dyn Error>> {
    println!("{when}:");
    for node in nodes {
        let name = node.status().await?.tenant.device_name;
        let visits = node.collection_of::<Visit>().query().sort_up("time").all().await?;
        let notes: Vec<&str> = visits.iter().map(|visit| visit.value.notes.as_str()).collect();
        println!("  {name} knows: {}", notes.join("; "));
    }
    Ok(())
}
