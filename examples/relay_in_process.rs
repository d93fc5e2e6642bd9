//! A relay in the same process: two devices that are never there at the same time meet through it.
//!
//! Run it with `cargo run --example relay_in_process`. A relay stores and forwards what is signed;
//! it opens no record. `sync-relay` is the program that does this for many tenants.

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use fieldmesh::api::{InviteOptions, Progress, SyncOptions, SyncResult};
use fieldmesh::{Node, Role, TenantOptions};
use serde_json::json;

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let options = TenantOptions { name: "Cedar Creek".into(), ..TenantOptions::default() };
    let (office, _) = Node::builder(folder.path().join("office"))
        .passphrase("correct horse battery")
        .create_tenant(options)
        .await?;
    office.listen(Some(loopback())).await?;

    // A relay is a member with a role of its own, and joins as every device does.
    let invitation = invite(&office, Role::Relay).await?;
    let (relay, _) = Node::builder(folder.path().join("relay"))
        .passphrase("a secret of the server")
        .forward_only()
        .join(&invitation, Some("relay".into()))
        .await?;
    let address = relay.listen(Some(loopback())).await?;
    let truck = join_truck(&office, folder.path()).await?;
    for node in [&office, &truck] {
        sync(node, address).await?;
    }

    // The office records and goes home: what is at the relay is safe.
    let well = json!({"name": "Alder 1", "apiNumber": "42-227-30001", "status": "ACTIVE"});
    office.collection("well").insert(well.as_object().ok_or("no object")?).await?;
    println!("not safe: {}", office.collection("well").query().not_safe().count().await?);
    sync(&office, address).await?;
    println!("not safe: {}", office.collection("well").query().not_safe().count().await?);
    office.shutdown().await?;

    // The truck gets it from the relay, and leaves its own for whoever comes next.
    sync(&truck, address).await?;
    let entry = json!({
        "wellId": "Alder 1",
        "entryType": "INSPECTION",
        "data": {"leaksDetected": false},
        "notes": "no leaks",
    });
    truck.collection("field_entry").insert(entry.as_object().ok_or("no object")?).await?;
    sync(&truck, address).await?;
    truck.shutdown().await?;

    let office = Node::builder(folder.path().join("office"))
        .passphrase("correct horse battery")
        .open()
        .await?;
    sync(&office, address).await?;
    for entry in office.collection("field_entry").query().site("Alder 1").all().await? {
        println!("{}: {}", entry.record.names["wellId"], entry.value["notes"]);
    }
    office.shutdown().await?;
    relay.shutdown().await?;
    Ok(())
}

fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

async fn invite(office: &Node, role: Role) -> Result<String, Box<dyn Error>> {
    let valid = Duration::from_secs(600);
    let options = InviteOptions { role, user: None, valid, count: 1 };
    Ok(office.invite(options).await?.remove(0).invitation)
}

async fn join_truck(office: &Node, folder: &Path) -> Result<Node, Box<dyn Error>> {
    let invitation = invite(office, Role::Operator).await?;
    let builder = Node::builder(folder.join("truck")).passphrase("battery horse correct");
    Ok(builder.join(&invitation, Some("truck".into())).await?.0)
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
