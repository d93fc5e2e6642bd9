//! Two people write one value differently without knowing of each other, and one decides.
//!
//! Run it with `cargo run --example resolve_a_conflict`. Both values stay in the history; every
//! device has the same inbox, so the decision can be made on any of them, with no server.

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use fieldmesh::api::{
    Choice, ConflictQuery, Edits, InviteOptions, Progress, Resolution, SyncOptions, SyncResult,
};
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
    let well = json!({"name": "Alder 1", "apiNumber": "42-227-30001", "status": "ACTIVE"});
    office.collection("well").insert(well.as_object().ok_or("no object")?).await?;
    let entry = json!({
        "wellId": "Alder 1",
        "entryType": "PRODUCTION",
        "data": {"oilVolume": 82, "runtime": 24},
    });
    let entries = office.collection("field_entry");
    let entry = entries.insert(entry.as_object().ok_or("no object")?).await?.record.id.to_string();

    // A manager may change what others recorded.
    let address = office.listen(Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))).await?;
    let valid = Duration::from_secs(600);
    let invite = InviteOptions { role: Role::Manager, user: None, valid, count: 1 };
    let invitation = office.invite(invite).await?.remove(0).invitation;
    let (truck, _) = Node::builder(folder.path().join("truck"))
        .passphrase("battery horse correct")
        .join(&invitation, Some("truck".into()))
        .await?;
    sync(&truck, address).await?;

    // Out of touch, both correct the volume.
    office.edit(&entry, edits("oilVolume=81")).await?;
    truck.edit(&entry, edits("oilVolume=79.5")).await?;
    // Whatever else they change meets without a question.
    truck.edit(&entry, edits("notes=gauge was stuck")).await?;
    sync(&truck, address).await?;
    sync(&truck, address).await?;

    let inbox = office.conflicts(ConflictQuery::default()).await?;
    for conflict in &inbox {
        println!("{}: {} of {}", conflict.kind, conflict.field, conflict.collection);
        for value in &conflict.values {
            let who = value.user.as_deref().unwrap_or("somebody");
            println!("  {}: {} by {who}", value.label, value.value);
        }
    }
    println!("the truck has the same: {}", same_ids(&truck, &office).await?);

    // The truck's value is right; the office decides.
    let of_truck = inbox[0].values.iter().find(|value| value.value == json!(79.5));
    let label = of_truck.ok_or("the truck's value is gone")?.label.clone();
    let resolution = Resolution::Take(Choice::Label(label));
    let settled = office.resolve(&inbox[0].id, resolution).await?;
    println!("settled: {}, {}", settled.fields["data"]["oilVolume"], settled.fields["notes"]);

    sync(&truck, address).await?;
    println!("open on the truck: {}", truck.conflicts(ConflictQuery::default()).await?.len());
    for revision in truck.history(&entry).await? {
        let fields: Vec<String> = revision
            .fields
            .iter()
            .filter(|field| field.field == "data.oilVolume")
            .map(|field| format!("{} -> {}", field.before, field.after))
            .collect();
        println!("  {} {}", revision.at, fields.join(", "));
    }
    truck.shutdown().await?;
    office.shutdown().await?;
    Ok(())
}

fn edits(assignment: &str) -> Edits {
    Edits { assignments: vec![assignment.into()], ..Edits::default() }
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

async fn same_ids(one: &Node, other: &Node) -> Result<bool, Box<dyn Error>> {
    let mut inboxes = Vec::new();
    for node in [one, other] {
        let inbox = node.conflicts(ConflictQuery::default()).await?;
        inboxes.push(inbox.into_iter().map(|conflict| conflict.id).collect::<Vec<_>>());
    }
    Ok(inboxes[0] == inboxes[1])
}
