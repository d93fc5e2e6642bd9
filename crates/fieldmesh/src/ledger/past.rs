//! How sure this device can be of its own past: its epoch, and how often its store has lost
//! something that it had acknowledged.
//!
//! Damage that was found has consequences: batches of this device may be among what is lost, so a
//! new epoch keeps their numbers from being used twice, and receipts of before are void. The store
//! reports the damage at every open until these are on the disk; the same damage found again has
//! no others.

use fieldmesh_model::Epoch;
use fieldmesh_store::{Store, Tree};

use crate::backup::restore::after;
use crate::clock;
use crate::entry::{Entry, Fact};
use crate::error::Error;
use crate::projection::fact_key;
use crate::projector::Projector;
use crate::rows;

use super::DAMAGE_LINES_MAX;

/// What a device knows of its own past.
pub(crate) struct Past {
    /// The epoch of the chains that it continues or begins.
    pub(crate) epoch: Epoch,
    /// How often its store has lost something.
    pub(crate) restores: u64,
    /// What is not on the disk so far.
    facts: Vec<Fact>,
}

impl Past {
    /// What follows from what the view knows and from `damage`, which was found at this open and of
    /// which `told` stays on the list until somebody has read it. Who `has_forgotten` does not know
    /// either how often that was so before.
    pub(crate) fn read(
        store: &Store,
        (damage, told): (&[String], &[String]),
        has_forgotten: bool,
    ) -> Result<Self, Error> {
        let known = |example: &Fact| rows::find(store.view(), Tree::Meta, fact_key(example));
        let mark = damage_mark(damage);
        let is_new = store.report().past_is_uncertain()
            && known(&Fact::Damage(mark))? != Some(Fact::Damage(mark));
        let is_fresh = is_new || has_forgotten;
        let mut facts = Vec::new();
        let mut restores = match known(&Fact::Restores(0))? {
            Some(Fact::Restores(count)) => count,
            _ => 0,
        };
        if is_fresh {
            restores = if has_forgotten { after(restores) } else { restores.saturating_add(1) };
            facts.push(Fact::Restores(restores));
        }
        let epoch = match known(&Fact::Epoch(0))? {
            Some(Fact::Epoch(epoch)) if !is_fresh => epoch,
            _ => {
                let epoch = u64::from_be_bytes(clock::random());
                facts.push(Fact::Epoch(epoch));
                epoch
            }
        };
        let before = match known(&Fact::Found(Vec::new()))? {
            Some(Fact::Found(lines)) => lines,
            _ => Vec::new(),
        };
        let found = with_found(&before, told);
        // What only the view has noticed is told without drawing other consequences.
        let is_told = is_fresh || !store.report().past_is_uncertain();
        if is_told && found != before {
            facts.push(Fact::Found(found));
        }
        if is_fresh {
            facts.push(Fact::Damage(mark));
        }
        Ok(Self { epoch: Epoch(epoch), restores, facts })
    }

    /// Writes the consequences, and leaves it to the next open to have the store forget what they
    /// follow from: what is lacking is not on the disk so far.
    pub(crate) fn note(&self, store: &Store, projector: &Projector) {
        if let Err(error) = self.write(store, projector) {
            tracing::warn!(%error, "what follows from found damage could not be written");
        }
    }

    /// Writes the consequences; only then the store forgets what they follow from.
    ///
    /// On a full disk the home opens all the same, and the next open draws them once more.
    pub(crate) fn settle(&self, store: &Store, projector: &Projector) {
        if let Err(error) = self.write(store, projector) {
            tracing::warn!(%error, "what follows from found damage could not be written");
            return;
        }
        if let Err(error) = store.settle_damage() {
            tracing::warn!(%error, "found damage will be looked at once more");
        }
    }

    fn write(&self, store: &Store, projector: &Projector) -> Result<(), Error> {
        let entries = self.facts.iter().map(|fact| Entry::Fact(fact.clone()).encode()).collect();
        let places = store.append(entries).map_err(|error| Error::store(&error))?;
        places.last().map_or(Ok(()), |place| projector.wait_noted(*place))
    }
}

/// What tells one state of damage from another.
fn damage_mark(damage: &[String]) -> [u8; 16] {
    let hash = blake3::hash(damage.join("\n").as_bytes());
    *hash.as_bytes().first_chunk().expect("32 bytes have a first sixteen")
}

/// What is kept in mind until the user accepts it.
fn with_found(before: &[String], damage: &[String]) -> Vec<String> {
    let mut lines = before.to_vec();
    for line in damage {
        if !lines.contains(line) && lines.len() < DAMAGE_LINES_MAX {
            lines.push(line.clone());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::api::NewRecord;
    use crate::home::{Home, Unlock};
    use fieldmesh_store::Options;

    use crate::node::open_store;
    use crate::{Node, TenantOptions};

    /// A home with one record whose last entry in the log is cut short; gives its epoch.
    async fn damaged_home(home: &Path) -> Epoch {
        let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
        let builder = Node::builder(home).passphrase("one");
        let (node, _) = builder.create_tenant(options).await.unwrap();
        let assignments = ["name=Alder 1", "apiNumber=42-227-30001", "status=ACTIVE"];
        let assignments = assignments.map(String::from).to_vec();
        let collection = "well".into();
        let well = NewRecord { collection, assignments, ..NewRecord::default() };
        node.record(well).await.unwrap();
        let epoch = node.ledger().desk().author.epoch();
        node.shutdown().await.unwrap();
        let log = std::fs::read_dir(home.join("store").join("log")).unwrap();
        let last = log.map(|entry| entry.unwrap().path()).max().unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(last).unwrap();
        file.set_len(file.metadata().unwrap().len() - 5).unwrap();
        epoch
    }

    fn unlock(home: &Path) -> Home {
        Home::open(home, &Unlock::Passphrase("one".into())).unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_home_killed_after_an_open_repaired_it_still_tells_what_it_lost() {
        // The consequences are a new epoch, a loss counted, their mark and the words.
        for written in 0..=4 {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("home");
            let epoch = damaged_home(&path).await;
            let home = unlock(&path);
            let store = open_store(&home, &Options::default()).unwrap();
            let damage = store.report().damage.clone();
            let facts = Past::read(&store, (&damage, &damage), false).unwrap().facts;
            assert_eq!(facts.len(), 4);
            let entries = facts[..written].iter().map(|fact| Entry::Fact(fact.clone()).encode());
            store.append(entries.collect()).unwrap();
            drop(store);

            let node = Node::builder(&path).passphrase("one").open().await.unwrap();
            assert_ne!(node.ledger().desk().author.epoch(), epoch, "after {written} facts");
            let report = node.verify().await.unwrap();
            let is_told = report.faults.iter().any(|fault| fault.contains("bytes of the log"));
            assert!(is_told, "after {written} facts: {report:?}");
            // What was only here stays on the list until somebody has read it.
            node.accept_losses().await.unwrap();
            let settled = node.ledger().desk().author.epoch();
            node.shutdown().await.unwrap();

            let node = Node::builder(&path).passphrase("one").open().await.unwrap();
            assert_eq!(node.ledger().desk().author.epoch(), settled);
            assert!(node.verify().await.unwrap().clean);
            node.shutdown().await.unwrap();
        }
    }
}
