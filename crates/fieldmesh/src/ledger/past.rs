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
        if let Some(place) = places.last() {
            projector.wait_noted(*place)?;
        }
        if store.is_made_anew()
            && let Err(error) = store.settle_anew()
        {
            tracing::warn!(%error, "what the view lacks will be looked at once more");
        }
        Ok(())
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
    use std::sync::{Arc, RwLock};

    use super::*;
    use crate::api::NewRecord;
    use crate::backup::restore::RESTORED_MIN;
    use crate::home::{Home, Unlock};
    use crate::projector::{STEP_CHANGES_MAX, Work};
    use fieldmesh_store::Options;

    use crate::node::open_store;
    use crate::{Node, TenantOptions};

    async fn tenant(home: &Path) -> Node {
        let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
        Node::builder(home).passphrase("one").create_tenant(options).await.unwrap().0
    }

    async fn reopen(home: &Path) -> Node {
        Node::builder(home).passphrase("one").open().await.unwrap()
    }

    async fn well(node: &Node, number: u32) {
        let name = format!("name=Alder {number}");
        let assignments =
            vec![name, format!("apiNumber=42-227-{number:05}"), "status=ACTIVE".to_owned()];
        let collection = "well".into();
        let well = NewRecord { collection, assignments, ..NewRecord::default() };
        node.record(well).await.unwrap();
    }

    fn segments(home: &Path) -> Vec<std::path::PathBuf> {
        let log = std::fs::read_dir(home.join("store").join("log")).unwrap();
        let mut paths: Vec<_> = log.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    }

    /// A home with one record whose last entry in the log is cut short; gives its epoch.
    async fn damaged_home(home: &Path) -> Epoch {
        let node = tenant(home).await;
        well(&node, 1).await;
        let epoch = node.ledger().desk().author.epoch();
        node.shutdown().await.unwrap();
        let last = segments(home).pop().unwrap();
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

            let node = reopen(&path).await;
            assert_ne!(node.ledger().desk().author.epoch(), epoch, "after {written} facts");
            let report = node.verify().await.unwrap();
            let is_told = report.faults.iter().any(|fault| fault.contains("bytes of the log"));
            assert!(is_told, "after {written} facts: {report:?}");
            // What was only here stays on the list until somebody has read it.
            node.accept_losses().await.unwrap();
            let settled = node.ledger().desk().author.epoch();
            node.shutdown().await.unwrap();

            let node = reopen(&path).await;
            assert_eq!(node.ledger().desk().author.epoch(), settled);
            assert!(node.verify().await.unwrap().clean);
            node.shutdown().await.unwrap();
        }
    }

    /// A home whose view is gone and of whose log the part of its second run is damaged; gives what
    /// a process needs that makes the view anew, but for the store.
    async fn home_without_view(home: &Path) -> (Epoch, impl Fn(Arc<Store>) -> Work) {
        let node = tenant(home).await;
        let ledger = node.ledger();
        let (me, policy) = (ledger.device(), ledger.policy());
        let epoch = ledger.desk().author.epoch();
        node.shutdown().await.unwrap();
        for number in 1..3 {
            let node = reopen(home).await;
            well(&node, number).await;
            node.shutdown().await.unwrap();
        }
        let segments = segments(home);
        assert!(segments.len() > 2, "{segments:?}");
        let mut bytes = std::fs::read(&segments[1]).unwrap();
        (4_176 + 30..bytes.len()).step_by(40).for_each(|at| bytes[at] ^= 1);
        std::fs::write(&segments[1], bytes).unwrap();
        std::fs::remove_dir_all(home.join("store").join("view")).unwrap();
        let work = move |store| Work {
            store,
            places: Arc::default(),
            policy: Arc::new(RwLock::new(Arc::clone(&policy))),
            me,
            forward_only: false,
            lag_max: u64::MAX,
            step_changes: STEP_CHANGES_MAX,
        };
        (epoch, work)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_home_killed_once_its_view_is_made_of_a_damaged_log_counts_on_nothing_of_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("home");
        let (epoch, work) = home_without_view(&path).await;
        // Killed before the view has anything, and once it has all.
        drop(open_store(&unlock(&path), &Options::default()).unwrap());
        let store = Arc::new(open_store(&unlock(&path), &Options::default()).unwrap());
        assert_eq!(store.view().applied().unwrap(), None);
        let (projector, thread) = Projector::start(work(Arc::clone(&store))).unwrap();
        projector.wait_noted(store.end().unwrap()).unwrap();
        projector.stop();
        thread.join();
        drop(store);

        let node = reopen(&path).await;
        let begun = node.ledger().desk().author.epoch();
        assert_ne!(begun, epoch);
        let restores = node.ledger().restores().unwrap();
        assert!(restores >= RESTORED_MIN, "{restores} may have been said before");
        node.shutdown().await.unwrap();
        // And that is all of it.
        let node = reopen(&path).await;
        assert_eq!(node.ledger().desk().author.epoch(), begun);
        assert_eq!(node.ledger().restores().unwrap(), restores);
        node.shutdown().await.unwrap();
    }
}
