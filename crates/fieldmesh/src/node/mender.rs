//! The task that has damage looked at as soon as anybody has read it.

use std::sync::Arc;

use crate::ledger::Ledger;

use super::Node;

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
            if let Err(error) = (Self { inner }).blocking(Ledger::ask_for_lacking).await {
                tracing::warn!(%error, "what is lacking could not be asked for");
            }
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
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use fieldmesh_store::{Direction, KeyRange, Place, Tree};

    use super::*;
    use crate::TenantOptions;
    use crate::api::NewRecord;
    use crate::rows;

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
}
