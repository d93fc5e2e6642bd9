//! Changes that this process has made: taken as they are, and recognised in the batch that holds
//! them; see [`crate::made`].

use fieldmesh_document::gate;

use crate::changes::{Closure, Source};
use crate::made::{Made, MadeOrigin};
use crate::rows::{ChangeRef, LOCAL_LEAF, RecordRow};

use super::Touched;

impl Touched<'_> {
    /// Settles a change that this process has made: gives its hash if others can build on it from
    /// here on, and nothing at all if the change has to be judged.
    pub(super) fn settle_own(
        &mut self,
        reference: ChangeRef,
        source: &Source,
        hash: Option<[u8; 32]>,
    ) -> Option<Option<[u8; 32]>> {
        let hash = hash?;
        let made = self.made(source, &hash)?;
        let index = self.row.changes.iter().position(|known| known.hash == reference.hash);
        let settled = match index {
            Some(index) => {
                // The very one, not only one whose hash begins alike.
                made.listed.filter(|listed| *listed == self.row.changes[index])?;
                self.replace(index, reference).then_some(hash)
            }
            None => {
                self.take_own(reference, source, &made)?;
                Some(hash)
            }
        };
        if reference.leaf == LOCAL_LEAF {
            self.sources.made.list(&hash, reference);
        } else {
            self.sources.made.remove(&hash);
        }
        Some(settled)
    }

    /// The change as it was made here.
    fn made(&self, source: &Source, hash: &[u8; 32]) -> Option<Made> {
        let Source { author, epoch, scope, .. } = *source;
        if author != self.sources.me || self.is_remade {
            return None;
        }
        let user = self.sources.policy.known(&author)?.user;
        let origin = MadeOrigin { document: self.id, epoch, scope, user };
        self.sources.made.find(hash, &origin)
    }

    /// Takes a change and its record as they are, if it builds on exactly what is here.
    fn take_own(&mut self, reference: ChangeRef, source: &Source, made: &Made) -> Option<()> {
        let mut here: Vec<[u8; 8]> = self.row.changes.iter().map(|known| known.hash).collect();
        here.sort_unstable();
        // A record that could not be read needs a closer look.
        let is_readable = here.is_empty() || self.record.is_some() || self.row.record.is_some();
        if here != made.builds_on || !is_readable {
            return None;
        }
        let record = made.record()?;
        debug_assert!(self.is_as_judged(source, &record), "invariant: what is made here passes");
        if here.is_empty() {
            self.row.scope = source.scope;
        }
        self.row.changes.push(reference);
        // Whoever has to judge a further one reads all of them.
        (self.loaded, self.document) = (None, None);
        self.record = Some(record);
        self.is_changed = true;
        Some(())
    }

    /// Whether the gate lets this change pass and the document then reads as `record`.
    fn is_as_judged(&self, source: &Source, record: &RecordRow) -> bool {
        let Source { author, epoch, scope, .. } = *source;
        let Some(member) = self.sources.policy.known(&author) else { return false };
        let (document, user, is_gateway) = (self.id, member.user, member.was_gateway);
        let origin = gate::Origin { document, author, epoch, scope, user, is_gateway };
        let (store, me) = (self.sources.store, self.sources.me);
        let (known, damage) = Closure::read_readable(store, &self.row.changes, me);
        let Ok(peeked) = fieldmesh_document::peek(&source.change) else { return false };
        match known.reach(&peeked.deps) {
            Ok(closure) if damage.is_none() => {
                let schema = self.schemas.after(scope.collection, &self.id);
                let accepted = gate::judge(&source.change, &closure, &origin);
                let read = accepted.map(|accepted| RecordRow::of(&accepted.document, &schema));
                read.is_ok_and(|read| read.is_ok_and(|read| read == *record))
            }
            // Its past was damaged after it was made.
            Ok(_) | Err(_) => damage.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use fieldmesh_model::{Edit, Role};

    use super::super::full_hash;
    use super::*;
    use crate::api::{Edits, NewRecord};
    use crate::gateway::{Access, NewDocument};
    use crate::ledger::Ledger;
    use crate::{Node, TenantOptions};

    /// The last change of a record as the view lists it, and whether it is remembered as made here.
    fn newest(ledger: &Ledger, id: fieldmesh_model::DocumentId) -> (ChangeRef, Option<Made>) {
        let row = ledger.row(id).unwrap().unwrap();
        let reference = *row.changes.last().unwrap();
        let (store, me) = (&ledger.store, ledger.device());
        let source = crate::changes::read_change(store, reference, me).unwrap();
        let Source { epoch, scope, change, .. } = source;
        let user = ledger.user();
        let origin = MadeOrigin { document: id, epoch, scope, user };
        let hash = full_hash(&change).unwrap();
        let made = ledger.projector.made();
        let stranger = MadeOrigin { user: fieldmesh_model::UserId::from_bytes([9; 16]), ..origin };
        assert_eq!(made.find(&hash, &stranger), None, "only for what it was made as");
        (reference, made.find(&hash, &origin))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_recorded_here_is_shown_as_it_was_made_and_known_again_in_its_batch() {
        let folder = tempfile::tempdir().unwrap();
        let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
        let builder = Node::builder(folder.path().join("home")).passphrase("one");
        let (node, _) = builder.create_tenant(options).await.unwrap();
        let ledger = node.ledger();
        assert_eq!(ledger.me().unwrap().role, Role::Admin);
        let assignments = ["name=Alder 1", "apiNumber=42-227-30001", "status=ACTIVE"];
        let assignments = assignments.map(String::from).to_vec();
        let well = NewRecord { collection: "well".into(), assignments, ..NewRecord::default() };
        let id = ledger.create(&well).unwrap().id;
        for name in ["Alder 2", "Alder 3"] {
            let assignments = vec![format!("name={name}")];
            let edited = ledger.edit(id, &Edits { assignments, ..Edits::default() }).unwrap();
            let shown = ledger.show(id).unwrap();
            assert_eq!(shown.fields, edited.fields);
            let (reference, made) = newest(ledger, id);
            assert_eq!(reference.leaf, LOCAL_LEAF);
            assert_eq!(made.unwrap().listed, Some(reference), "it was taken, not judged");
        }
        let before = ledger.row(id).unwrap().unwrap();
        ledger.seal_all().unwrap();
        ledger.catch_up().unwrap();
        let (reference, made) = newest(ledger, id);
        assert_ne!(reference.leaf, LOCAL_LEAF);
        assert_eq!(made, None, "it comes no more");
        let after = ledger.row(id).unwrap().unwrap();
        assert_eq!((after.record, after.changes.len()), (before.record, 3));
        node.shutdown().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_an_app_wrote_is_shown_as_it_was_made_and_known_again_in_its_batch() {
        let folder = tempfile::tempdir().unwrap();
        let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
        let builder = Node::builder(folder.path().join("home")).passphrase("one");
        let (node, _) = builder.create_tenant(options).await.unwrap();
        tokio::task::block_in_place(|| {
            let (access, ledger, at) = (Access::new(&node), node.ledger(), crate::clock::now());
            let written =
                [("name", "Alder 1"), ("apiNumber", "42-227-30001"), ("status", "ACTIVE")];
            let fields = written.map(|(key, text)| (key.to_owned(), text.into())).into();
            let collection = &*access.collection_named("well").unwrap();
            let new =
                NewDocument { collection, name: None, key: b"1", fields: &fields, at, user: "ann" };
            let mut write = access.write().unwrap();
            let id = write.create(&new).unwrap().id;
            write.finish().unwrap();
            let is_taken = || {
                let (reference, made) = newest(ledger, id);
                made.is_some_and(|made| made.listed == Some(reference))
            };
            assert!(is_taken());
            let edited = |version, name: &str| {
                let edits = [Edit::Set { key: "name".into(), value: name.into() }];
                let mut write = access.write().unwrap();
                let held = write.edit(id, version, &edits, at, "ann").unwrap();
                write.finish().unwrap();
                assert_eq!(access.held(id).unwrap().unwrap().fields, held.fields);
            };
            edited(None, "Alder 2");
            assert!(is_taken());
            edited(Some(1), "Alder 3");
            assert!(!is_taken(), "what it knew nothing of competes with it");
            let before = ledger.row(id).unwrap().unwrap();
            ledger.seal_all().unwrap();
            ledger.catch_up().unwrap();
            let (reference, made) = newest(ledger, id);
            assert_eq!((reference.leaf == LOCAL_LEAF, made), (false, None));
            let after = ledger.row(id).unwrap().unwrap();
            assert_eq!((after.record, after.changes.len()), (before.record, 3));
        });
        node.shutdown().await.unwrap();
    }
}
