//! A collection of a crew's own: defined once by an admin, used by every device.
//!
//! Run it with `cargo run --example custom_collection`. The office defines the rounds on which the
//! crew looks after its pumps, the truck records one, and the crew later wants to know more.

#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use fieldmesh::api::{InviteOptions, Progress, SchemaOptions, SchemaStep, SyncOptions};
use fieldmesh::{Node, Role, Stored, TenantOptions};
use serde::{Deserialize, Serialize};

/// What an admin writes, and `fieldmesh schema apply` takes too.
const PUMP_ROUND: &str = include_str!("pump_round.toml");

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PumpRound {
    pump_tag: String,
    state: String,
    grease_used: f64,
    #[serde(default)]
    faults: Vec<String>,
}

impl Stored for PumpRound {
    const COLLECTION: &'static str = "pump_round";
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let options = TenantOptions { name: "Cedar Creek".into(), ..TenantOptions::default() };
    let (office, _) = Node::builder(folder.path().join("office"))
        .passphrase("correct horse battery")
        .create_tenant(options)
        .await?;

    // All mistakes are told at once; nothing is applied by halves.
    let wrong = PUMP_ROUND.replace("kind = \"day\"", "kind = \"week\"");
    if let Err(refused) = office.schema(apply(&wrong)).await {
        println!("refused: {refused}");
    }
    let report = office.schema(apply(PUMP_ROUND)).await?;
    println!("{} version {} is in force", report.collection, report.version);

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

    // The truck has learned of the collection with everything else that the admins say.
    let rounds = truck.collection_of::<PumpRound>();
    rounds.insert(&round("P-7", "BROKEN", 0.5)).await?;
    rounds.insert(&round("P-8", "RUNNING", 0.25)).await?;
    if let Err(refused) = rounds.insert(&round("P-9", "SINGING", 0.0)).await {
        println!("refused: {refused}");
    }

    // Meanwhile the office wants to find rounds by their state at once, and to know the weather.
    let more = "\n[[field]]\nkey = \"weather\"\nkind = \"text\"\n";
    let next = PUMP_ROUND
        .replace("version = 1", "version = 2")
        .replace("default = \"RUNNING\"", "default = \"RUNNING\"\nindexed = true");
    let report = office.schema(apply(&(next + more))).await?;
    println!("version {}: {}", report.version, report.changes.join(", "));

    // What was recorded by version 1 is read by version 2 as it is; no record is rewritten.
    truck.sync(sync, |_: Progress| {}).await?;
    let broken = office.collection_of::<PumpRound>().query().equals("state", "BROKEN");
    for found in broken.all().await? {
        println!("{} is {}", found.value.pump_tag, found.value.state);
    }
    truck.shutdown().await?;
    office.shutdown().await?;
    Ok(())
}

fn apply(text: &str) -> SchemaOptions {
    SchemaOptions { text: text.to_owned(), step: SchemaStep::Apply, ..SchemaOptions::default() }
}

fn round(pump_tag: &str, state: &str, grease_used: f64) -> PumpRound {
    let (pump_tag, state) = (pump_tag.to_owned(), state.to_owned());
    PumpRound { pump_tag, state, grease_used, faults: Vec::new() }
}
