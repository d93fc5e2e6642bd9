//! Morning: the tenant is made, everybody joins, and the first records reach everybody.

use fieldmesh_model::Role;
use futures::future::try_join;
use serde_json::json;

use super::crew::Crew;
use super::entry::{WELLS, well};
use super::error::{DemoError, hold};
use super::teller::Teller;

/// Plays the chapter.
pub(super) async fn play(crew: &mut Crew, teller: &mut Teller<'_>) -> Result<(), DemoError> {
    teller.chapter("enrolment", "Enrolment")?;
    crew.relay.start().await?;
    let address = crew.relay.address();
    teller.tell(&format!("The relay starts on {address}."), json!({ "relay": address }))?;

    let tenant = crew.ana.create_tenant("Cedar Creek").await?;
    let words = format!("ana makes the tenant {} and is its admin.", tenant.name);
    teller.tell(&words, json!({ "tenant": tenant.tenant }))?;
    crew.ana.start(&["--listen", "127.0.0.1:0", "--no-mdns"]).await?;

    let invitation = crew.ana.invite(Role::Relay, "relay").await?;
    crew.relay.join(&invitation).await?;
    let (for_ben, for_cleo) = try_join(
        crew.ana.invite(Role::Operator, crew.ben.name),
        crew.ana.invite(Role::Manager, crew.cleo.name),
    )
    .await?;
    let (ben, cleo) = try_join(crew.ben.join(&for_ben), crew.cleo.join(&for_cleo)).await?;
    hold(
        ben.role == Role::Operator && cleo.role == Role::Manager,
        "whoever joins gets the role of the invitation",
        || format!("ben is {}, cleo is {}", ben.role, cleo.role),
    )?;
    let words = "The relay, ben and cleo join by invitations that work once.";
    teller.tell(words, json!({ "joined": 3 }))?;

    first_records(crew, &address).await?;
    let count = crew.acknowledged.len();
    let words = format!(
        "ana records {} wells, ben an entry; through the relay all {count} reach everybody.",
        WELLS.len()
    );
    let batches = crew.in_step(&crew.devices()).await?.batches;
    teller.tell(&words, json!({ "acknowledged": count, "batches": batches }))
}

async fn first_records(crew: &mut Crew, address: &str) -> Result<(), DemoError> {
    for receipt in crew.ana.record("well", &WELLS.map(well)).await? {
        crew.acknowledged.note("well", &receipt.id);
    }
    crew.ana.sync_with(address).await?;
    crew.ben.sync_with(address).await?;
    let entry = [crew.notebook.entry()];
    for receipt in crew.ben.record("field_entry", &entry).await? {
        crew.acknowledged.note("field_entry", &receipt.id);
        crew.disputed = receipt.id;
    }
    crew.ben.sync_with(address).await?;
    crew.cleo.sync_with(address).await?;
    Ok(())
}
