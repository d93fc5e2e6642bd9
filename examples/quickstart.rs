//! Two devices of one crew in one process: a tenant, an enrolment, a record, a sync.
//!
//! Run it with `cargo run --example quickstart`. Each node has a home of its own, as it would have
//! on a device of its own; what they say to each other goes over QUIC, encrypted, on loopback.

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use fieldmesh::api::{InviteOptions, ListQuery, NewRecord, Progress, SyncOptions};
use fieldmesh::{Node, Role, TenantOptions};

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;

    // A tenant is a crew or an organisation. The device that makes it can invite others; no server
    // is asked. The passphrase opens the home, in which everything is encrypted.
    let options = TenantOptions {
        name: "Cedar Creek".into(),
        user: Some("ana@example.org".into()),
        device: Some("office".into()),
    };
    let (office, tenant) = Node::builder(folder.path().join("office"))
        .passphrase("correct horse battery")
        .create_tenant(options)
        .await?;
    println!("{} made the tenant {}", tenant.device_name, tenant.name);

    // Each call that writes returns when the record is on disk.
    office
        .record(new("well", &["name=Alder 1", "apiNumber=42-227-30001", "status=ACTIVE"]))
        .await?;
    let morning = ["wellId=Alder 1", "entryType=PRODUCTION", "oilVolume=82.3", "runtime=24"];
    office.record(new("field_entry", &morning)).await?;

    // The inviter has to listen while somebody joins. The invitation works once; whoever has it
    // becomes an operator.
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let address = office.listen(Some(loopback)).await?;
    let invite = InviteOptions {
        role: Role::Operator,
        user: Some("ben@example.org".into()),
        valid: Duration::from_secs(600),
        count: 1,
    };
    let invitation = office.invite(invite).await?.remove(0).invitation;
    let (truck, joined) = Node::builder(folder.path().join("truck"))
        .passphrase("battery horse correct")
        .join(&invitation, Some("truck".into()))
        .await?;
    println!("{} joined as {}", joined.tenant.device_name, joined.role);

    // Roles hold on the device itself, with no network: wells are for admins.
    let well = new("well", &["name=Birch 2", "apiNumber=42-227-30002", "status=ACTIVE"]);
    if let Err(refused) = truck.record(well).await {
        println!("refused: {refused}");
    }

    // Whoever syncs asks the other for exactly what it lacks.
    let sync = SyncOptions {
        with: vec![address.to_string()],
        timeout: Duration::from_secs(30),
        mdns: false,
        ..SyncOptions::default()
    };
    let report = truck.sync(sync.clone(), |_: Progress| {}).await?;
    let peer = &report.peers[0];
    println!(
        "the truck received {} and sent {} batches: {} bytes, {} rounds",
        peer.received,
        peer.sent,
        peer.bytes_in + peer.bytes_out,
        peer.rounds
    );

    // The truck knows the well by now and can record about it; the office gets that with the next sync.
    let noon = ["wellId=Alder 1", "entryType=INSPECTION", "leaksDetected=false"];
    truck.record(new("field_entry", &noon)).await?;
    truck.sync(sync, |_: Progress| {}).await?;

    for node in [&office, &truck] {
        print_entries(node).await?;
    }
    truck.shutdown().await?;
    office.shutdown().await?;
    Ok(())
}

fn new(collection: &str, assignments: &[&str]) -> NewRecord {
    NewRecord {
        collection: collection.into(),
        assignments: assignments.iter().map(ToString::to_string).collect(),
        ..NewRecord::default()
    }
}

async fn print_entries(node: &Node) -> Result<(), Box<dyn Error>> {
    let status = node.status().await?;
    println!("{} has, as of {}…:", status.tenant.device_name, &status.root[..8]);
    let query = ListQuery { collection: "field_entry".into(), ..ListQuery::default() };
    for record in node.list(query).await? {
        println!(
            "  {} of {}: {}",
            record.fields["entryType"], record.names["wellId"], record.fields["data"]
        );
    }
    Ok(())
}
