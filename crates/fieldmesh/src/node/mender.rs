//! The task that has damage looked at as soon as anybody has read it.

use std::sync::Arc;
use std::time::Duration;

use crate::ledger::Ledger;

use super::Node;

/// How long nothing is looked at after a failure, as of a full disk.
const PAUSE: Duration = Duration::from_secs(60);

impl Node {
    /// Has whatever is found damaged noted, and asked for, until shutdown.
    pub(super) fn mend(&self) {
        let harms = Arc::clone(&self.inner.ledger.damaged);
        // What was put off is looked at once all records are there.
        let mut turned = self.inner.ledger.projector.turned();
        turned.mark_changed();
        let weak = Arc::downgrade(&self.inner);
        let mut tasks = self.inner.tasks.lock().expect("no holder of this lock panics");
        tasks.spawn(async move {
            let Some(inner) = weak.upgrade() else { return };
            let node = Self { inner };
            if let Err(error) = node.blocking(Ledger::ask_for_lacking).await {
                tracing::warn!(%error, "what is lacking could not be asked for");
            }
            // Before there was a mesh nobody could be asked who holds what this open has found.
            if let Err(error) = node.blocking(Ledger::seal_lost).await {
                tracing::warn!(%error, "what lay in lost batches could not be sealed once more");
            }
            drop(node);
            loop {
                let is_found = tokio::select! {
                    () = harms.found() => true,
                    _ = turned.changed(), if harms.has_put_off() => false,
                };
                let Some(inner) = weak.upgrade() else { return };
                if !is_found && inner.ledger.remaking().is_some() {
                    continue;
                }
                // What could not be noted is found again by the next reading.
                if let Err(error) = (Self { inner }).blocking(Ledger::mend).await {
                    tracing::warn!(%error, "damage in the log could not be noted");
                    // Looking at it reads all of the log, which finds it once more.
                    tokio::time::sleep(PAUSE).await;
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use fieldmesh_store::{Direction, KeyRange, Place, Tree, WriteSet};

    use super::*;
    use crate::TenantOptions;
    use crate::api::NewRecord;
    use crate::backup::restore::RESTORED_MIN;
    use crate::changes::read_change;
    use crate::entry::Fact;
    use crate::harm::{Harmed, Outcome, passed_over, passed_over_key};
    use crate::rows::{self, ChangeRef};

    /// Where the one change lies that no batch holds.
    fn unsealed(ledger: &Ledger) -> Place {
        let range = KeyRange::prefix(rows::UNSEALED_PREFIX);
        let mut rows = rows::scan(ledger.view(), Tree::Meta, range, Direction::Ascending);
        rows::decode(&rows.next().unwrap().unwrap().1).unwrap()
    }

    fn last_segment(home: &Path) -> std::path::PathBuf {
        let log = fs::read_dir(home.join("store").join("log")).unwrap();
        log.map(|entry| entry.unwrap().path()).max().unwrap()
    }

    /// A home of its own with a fact in its log that cannot be read any more; and the place of it.
    async fn with_a_damaged_fact(home: &Path) -> (Node, Place) {
        let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
        let builder = Node::builder(home).passphrase("one");
        let (node, _) = builder.create_tenant(options).await.unwrap();
        let ledger = node.ledger();
        // What a home says of itself at its first start would lie behind the damage or before it.
        while ledger.scrub_state().unwrap().finished.is_none() {
            tokio::task::yield_now().await;
        }
        ledger.remember_all([Fact::Restores(7)].into_iter()).unwrap();
        // Otherwise the view might come to it after the damage.
        ledger.catch_up().unwrap();
        let (segment, place) = (last_segment(home), ledger.store.end().unwrap());
        let end = fs::read(&segment).unwrap().len();
        // Behind the last entry nobody would know that it is damage and not an end.
        ledger.remember_all([Fact::Restores(8)].into_iter()).unwrap();
        let mut bytes = fs::read(&segment).unwrap();
        bytes[end - 1] ^= 1;
        fs::write(&segment, bytes).unwrap();
        (node, place)
    }

    async fn what_lay_at(node: &Node, place: Place) -> Harmed {
        node.ledger().damaged.note(place.0..place.0 + 1);
        node.doctor().await.unwrap();
        let harms = node.ledger().harms().unwrap();
        harms.into_iter().find(|harm| harm.place == place).expect("it is damaged").what
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn damage_that_a_program_saw_and_had_no_time_to_note_is_not_nothing_to_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let (node, place) = with_a_damaged_fact(&folder.path().join("one")).await;
        assert_eq!(what_lay_at(&node, place).await, Harmed::Nothing, "the view has read it");
        node.shutdown().await.unwrap();

        let (node, place) = with_a_damaged_fact(&folder.path().join("other")).await;
        let mut writes = WriteSet::new();
        let places = place.0..place.0 + 1;
        writes.put(Tree::Meta, passed_over_key(&places), Vec::new());
        node.ledger().view().apply(writes).unwrap();
        assert_eq!(what_lay_at(&node, place).await, Harmed::Unknown, "the view has not read it");
        node.shutdown().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_view_made_anew_says_what_it_has_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        let (node, place) = with_a_damaged_fact(&home).await;
        node.shutdown().await.unwrap();
        fs::remove_dir_all(home.join("store").join("view")).unwrap();

        let node = Node::builder(&home).passphrase("one").open().await.unwrap();
        node.ledger().catch_up().unwrap();
        let passed = passed_over(node.ledger().view()).unwrap();
        assert!(passed.iter().any(|places| places.contains(&place.0)), "{passed:?}");
        node.shutdown().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_asks_what_is_damaged_has_looked_at_what_was_put_off() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
        let builder = Node::builder(&home).passphrase("one");
        let (node, _) = builder.create_tenant(options).await.unwrap();
        let segment = last_segment(&home);
        let before = fs::read(&segment).unwrap().len();
        let assignments = ["name=Alder 1", "apiNumber=42-227-30001", "status=ACTIVE"];
        let assignments = assignments.map(String::from).to_vec();
        let well = NewRecord { collection: "well".into(), assignments, ..NewRecord::default() };
        node.record(well).await.unwrap();
        node.ledger().catch_up().unwrap();
        let place = unsealed(node.ledger());
        let mut bytes = fs::read(&segment).unwrap();
        for index in (before + 40..bytes.len()).step_by(50) {
            bytes[index] ^= 1;
        }
        fs::write(&segment, bytes).unwrap();

        node.ledger().damaged.put_off([place].into());
        node.doctor().await.unwrap();
        let harms = node.ledger().harms().unwrap();
        assert!(harms.iter().any(|harm| harm.place == place), "{harms:?}");
        node.shutdown().await.unwrap();
    }

    /// Where the one batch lies.
    fn batch(ledger: &Ledger) -> Place {
        let mut rows = rows::scan(ledger.view(), Tree::Leaf, KeyRange::all(), Direction::Ascending);
        rows::decode(&rows.next().unwrap().unwrap().1).unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_batch_that_memory_alone_has_is_on_the_disk_again_once_a_check_finds_it_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
        let builder = Node::builder(&home).passphrase("one");
        let (node, _) = builder.create_tenant(options).await.unwrap();
        let ledger = node.ledger();
        while ledger.scrub_state().unwrap().finished.is_none() {
            tokio::task::yield_now().await;
        }
        let assignments = ["name=Alder 1", "apiNumber=42-227-30001", "status=ACTIVE"];
        let assignments = assignments.map(String::from).to_vec();
        let well = NewRecord { collection: "well".into(), assignments, ..NewRecord::default() };
        node.record(well).await.unwrap();
        ledger.seal(None).unwrap();
        ledger.catch_up().unwrap();
        let (segment, place) = (last_segment(&home), batch(ledger));
        assert_eq!(Some(place), ledger.store.end());
        let end = fs::read(&segment).unwrap().len();
        ledger.remember_all([Fact::Restores(8)].into_iter()).unwrap();
        let whole = ledger.store.read(place).unwrap();
        let mut bytes = fs::read(&segment).unwrap();
        bytes[end - 1] ^= 1;
        fs::write(&segment, bytes).unwrap();

        node.verify().await.unwrap();
        let report = node.doctor().await.unwrap();
        let is_told = report.findings.iter().any(|it| it.done.contains("had them in memory"));
        assert!(!report.open && is_told, "{report:#?}");
        let harms = ledger.harms().unwrap();
        let harm = harms.into_iter().find(|harm| harm.place == place).expect("it is damaged");
        let Outcome::Healed { from, .. } = harm.outcome else { panic!("{harm:?}") };
        assert_eq!(from, Some(ledger.device()));
        let again = batch(ledger);
        assert!(again > place);
        assert_eq!(ledger.store.read_from_disk(again).unwrap(), whole);
        assert!(ledger.store.read_from_disk(place).is_err());
        node.shutdown().await.unwrap();
    }

    /// A home whose only batch is damaged while it is closed, opened again and checked; where the
    /// batch lay, and where the view has the change of the one record now.
    async fn with_a_lost_batch(home: &Path, restores: u64) -> (Node, Place, ChangeRef) {
        let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
        let builder = Node::builder(home).passphrase("one");
        let (node, _) = builder.create_tenant(options).await.unwrap();
        let assignments = ["name=Alder 1", "apiNumber=42-227-30001", "status=ACTIVE"];
        let assignments = assignments.map(String::from).to_vec();
        let well = NewRecord { collection: "well".into(), assignments, ..NewRecord::default() };
        let id = node.record(well).await.unwrap().id;
        let (ledger, segment) = (node.ledger(), last_segment(home));
        ledger.seal(None).unwrap();
        ledger.catch_up().unwrap();
        let (place, end) = (batch(ledger), fs::read(&segment).unwrap().len());
        // Behind the last entry nobody would know that it is damage and not an end.
        ledger.remember_all([Fact::Restores(restores)].into_iter()).unwrap();
        node.shutdown().await.unwrap();
        let mut bytes = fs::read(&segment).unwrap();
        bytes[end - 1] ^= 1;
        fs::write(&segment, bytes).unwrap();

        let node = Node::builder(home).passphrase("one").open().await.unwrap();
        node.verify().await.unwrap();
        let harms = node.ledger().harms().unwrap();
        assert!(harms.iter().any(|harm| harm.place == place), "{harms:?}");
        let [change] = node.ledger().row(id).unwrap().unwrap().changes[..] else {
            panic!("one change was made")
        };
        (node, place, change)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_batch_that_nobody_else_has_is_lost_and_nothing_that_lay_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let (node, place, change) = with_a_lost_batch(&folder.path().join("home"), 8).await;
        assert!(change.place > place);
        let ledger = node.ledger();
        read_change(&ledger.store, change, ledger.device()).unwrap();
        let report = node.doctor().await.unwrap();
        assert!(report.findings.iter().all(|it| it.record.is_none()), "{report:#?}");
        let told = report.findings.iter().find(|it| it.kind == "lost-batch").unwrap();
        assert!(told.open && told.what.contains("no record needs it"), "{told:#?}");
        node.shutdown().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_chain_that_the_home_before_a_backup_goes_on_with_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        let (node, place, change) = with_a_lost_batch(&home, RESTORED_MIN).await;
        assert_eq!(change.place, place);
        let report = node.doctor().await.unwrap();
        assert!(report.findings.iter().any(|it| it.record.is_some()), "{report:#?}");
        node.shutdown().await.unwrap();
    }
}
