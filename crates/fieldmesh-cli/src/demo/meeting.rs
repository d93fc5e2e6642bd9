//! Noon: ben and cleo come near each other; there is still no relay.

use std::time::{Duration, Instant};

use futures::future::try_join;
use serde_json::json;

use super::crew::{Crew, Found, add, connection, passed};
use super::error::{DemoError, hold};
use super::patience::{STEP_TIME_MAX, until};
use super::teller::{Teller, millis};

/// How long ben and cleo look for each other before one of them is told an address.
const MDNS_TIME_MAX: Duration = Duration::from_secs(10);

/// Plays the chapter.
pub(super) async fn play(
    crew: &mut Crew,
    teller: &mut Teller<'_>,
    mdns: bool,
) -> Result<(), DemoError> {
    teller.chapter("meeting", "Two devices meet")?;
    let relay = crew.relay.address();
    if !mdns {
        crew.found = Found::ByAddress;
    }
    let options = crew.options(&relay);
    let before = known_of_each_other(crew).await?;
    try_join(crew.ben.start(&options), crew.cleo.start(&options)).await?;
    let begun = Instant::now();
    if mdns && met_by_mdns(crew).await? {
        crew.found = Found::ByMdns;
        let waited = begun.elapsed();
        let words = format!(
            "ben and cleo, who know no address of each other, find each other by mDNS and are in \
             step after {:.1} s.",
            waited.as_secs_f64()
        );
        teller.tell(&words, json!({ "mdns": true, "foundMillis": millis(waited) }))?;
    } else {
        met_by_address(crew, teller, mdns).await?;
    }
    crew.in_step(&[&crew.ben, &crew.cleo]).await?;
    let (ben, name) = (&crew.ben, crew.cleo.name);
    let look = async || connection(ben, name).await;
    let mut traffic = until("ben and cleo to be connected", STEP_TIME_MAX, look).await?;
    // While two devices find each other they may be connected twice for a moment. What was moved is
    // counted where it arrived.
    let after = known_of_each_other(crew).await?;
    (traffic.received, traffic.sent) =
        (after.0.saturating_sub(before.0), after.1.saturating_sub(before.1));
    add(&mut crew.traffic, &traffic);
    let words = format!("ben {}.", passed(&traffic));
    teller.tell(&words, json!({ "traffic": traffic }))?;
    disagree(crew, teller).await
}

/// How many batches of cleo's ben has, and how many of ben's cleo has.
async fn known_of_each_other(crew: &Crew) -> Result<(u64, u64), DemoError> {
    let (ben, cleo) = (&crew.ben, &crew.cleo);
    try_join(ben.batches_of(cleo.name), cleo.batches_of(ben.name)).await
}

/// Whether ben and cleo find each other.
async fn met_by_mdns(crew: &Crew) -> Result<bool, DemoError> {
    let (ben, name) = (&crew.ben, crew.cleo.name);
    match until("mDNS", MDNS_TIME_MAX, async || connection(ben, name).await).await {
        Ok(_) => Ok(true),
        Err(DemoError::TimedOut { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn met_by_address(crew: &mut Crew, teller: &Teller<'_>, mdns: bool) -> Result<(), DemoError> {
    crew.found = Found::ByAddress;
    let port = crew.cleo.port().ok_or_else(|| DemoError::NotSo {
        claim: "a device that runs says where it listens".into(),
        found: "cleo's does not".into(),
    })?;
    let address = format!("127.0.0.1:{port}");
    crew.ben.sync_with(&address).await?;
    let why = if mdns {
        format!("mDNS finds nobody within {} s (no multicast here?)", MDNS_TIME_MAX.as_secs())
    } else {
        "mDNS is left out".to_owned()
    };
    let words = format!("{why}, so ben is told cleo's address, {address}, and remembers it.");
    teller.tell(&words, json!({ "mdns": false, "address": address }))
}

async fn disagree(crew: &Crew, teller: &Teller<'_>) -> Result<(), DemoError> {
    let (bens, cleos) = try_join(crew.ben.conflicts(), crew.cleo.conflicts()).await?;
    hold(bens == cleos && bens.len() == 1, "a conflict is listed alike on both devices", || {
        format!("{bens:?} on ben's, {cleos:?} on cleo's")
    })?;
    let values: Vec<String> = bens[0]
        .values
        .iter()
        .map(|side| {
            let user = side.user.as_deref().unwrap_or("somebody");
            let name = user.split('@').next().unwrap_or(user);
            format!("{}, {} of {name}'s", side.label, side.value)
        })
        .collect();
    let words = format!(
        "Both list the same conflict: {} is {}.",
        bens[0].field.trim_start_matches("data."),
        values.join(", or ")
    );
    teller.tell(&words, json!({ "conflict": bens[0].id, "values": bens[0].values.len() }))
}
