//! Records that stand behind another one while nobody has decided about them: lists, counts and
//! exports have the other one alone, and it says so.

use fieldmesh_document::{Document, EditError, Kinship};
use fieldmesh_model::schema::{Collection, Unique};
use fieldmesh_model::{DocumentId, Moment, UserId};
use fieldmesh_store::{Direction, KeyRange, Tree};

use crate::alike::row::{
    ALIKE_PREFIX, AlikeGroup, AlikeRow, alike_key, behind_id, behind_prefix, is_behind, is_instead,
};
use crate::alike::{Member, left_instead};
use crate::error::Error;
use crate::projection::alike::Spot;
use crate::readers::Kept;
use crate::rows::{self, ConflictMark, RecordRow};

use super::Ledger;

/// The record that is left where another one that is like it is deleted, and the items that end
/// with that, each with its records: what is deleted may be like others in several ways.
pub(super) struct Left {
    kept: DocumentId,
    items: Vec<(String, Vec<DocumentId>)>,
}

impl Left {
    /// Deletes the other one.
    pub(super) fn delete(
        &self,
        document: &mut Document,
        actor: [u8; 16],
        at: Moment,
        user: UserId,
    ) -> Result<Option<Vec<u8>>, EditError> {
        for (item, members) in &self.items {
            if let Ok(item) = item.parse() {
                document.settling_alike(item, members);
            }
        }
        document.delete(actor, at, user, Some(self.kept))
    }
}

impl Ledger {
    /// Whether any record of a collection stands behind another one, or did in the snapshot.
    pub(super) fn any_behind(&self, kept: Option<&Kept>, collection: u16) -> Result<bool, Error> {
        let range = KeyRange::prefix(&behind_prefix(collection));
        let first = rows::edge(self.view(), Tree::Meta, &range, Direction::Ascending)?;
        let knows = kept.map_or(Ok(false), Kept::knows_behind)?;
        Ok(first.is_some() || knows)
    }

    /// Whether a record stands behind another one, or did in the snapshot.
    pub(super) fn is_behind_another(
        &self,
        kept: Option<&Kept>,
        collection: u16,
        id: DocumentId,
    ) -> Result<bool, Error> {
        let is_now = is_behind(self.view(), collection, id)?;
        // Asked after the view was read: what is not kept by then was read as it was.
        let was = kept.map_or(Ok(None), |kept| kept.was_behind(&id))?;
        Ok(was.unwrap_or(is_now))
    }

    /// Records of a collection that are not deleted and stand behind no other one.
    pub(super) fn shown_count(&self, collection: u16) -> Result<u64, Error> {
        let (mut behind, mut last) = (0, None);
        let range = KeyRange::prefix(&behind_prefix(collection));
        for key in rows::keys(self.view(), Tree::Meta, range, Direction::Ascending) {
            let id = behind_id(&key?).map(|(_, id)| id);
            behind += u64::from(id != last);
            last = id;
        }
        Ok(self.record_count(collection)?.saturating_sub(behind))
    }

    /// Whether any records are alike of which nobody has decided.
    pub(super) fn any_alike(&self) -> Result<bool, Error> {
        let range = KeyRange::prefix(ALIKE_PREFIX);
        Ok(rows::edge(self.view(), Tree::Meta, &range, Direction::Ascending)?.is_some())
    }

    /// Adds to a record's conflicts the items about records that are alike.
    pub(super) fn mark_alike(
        &self,
        id: DocumentId,
        schema: &Collection,
        record: &mut RecordRow,
    ) -> Result<(), Error> {
        let (_, items) = self.alike_to(id, schema, record)?;
        record.conflicts.extend(items.into_iter().map(|id| ConflictMark { id, open: true }));
        Ok(())
    }

    /// The records that were made for the same thing as this one, and the items about them.
    pub(super) fn alike_to(
        &self,
        id: DocumentId,
        schema: &Collection,
        record: &RecordRow,
    ) -> Result<(Vec<DocumentId>, Vec<String>), Error> {
        let (mut others, mut items) = (Vec::new(), Vec::new());
        for group in self.groups_of(id, schema, record)? {
            others.extend(group.members.into_iter().filter(|other| *other != id));
            items.push(group.item);
        }
        others.sort_unstable();
        others.dedup();
        Ok((others, items))
    }

    /// The groups that this record is in.
    pub(crate) fn groups_of(
        &self,
        id: DocumentId,
        schema: &Collection,
        record: &RecordRow,
    ) -> Result<Vec<AlikeGroup>, Error> {
        self.groups_in(id, schema, record, |_| true)
    }

    /// The groups that this record is in where these groups of unique fields are shared.
    pub(crate) fn groups_in(
        &self,
        id: DocumentId,
        schema: &Collection,
        record: &RecordRow,
        is_meant: impl Fn(&Unique) -> bool,
    ) -> Result<Vec<AlikeGroup>, Error> {
        let mut found = Vec::new();
        if !self.any_alike()? {
            return Ok(found);
        }
        let spots = Spot::of(&self.store, schema, record).into_iter();
        for spot in spots.filter(|spot| is_meant(&schema.unique[spot.unique])) {
            let row: Option<AlikeRow> =
                rows::find(self.view(), Tree::Meta, &alike_key(&spot.hash))?;
            let groups = row.unwrap_or_default().groups.into_iter();
            found.extend(groups.filter(|group| group.members.contains(&id)));
        }
        Ok(found)
    }

    /// The records that are shown rather than this one, which stands behind another: that one, and
    /// those behind it that come before, unless both are meant.
    pub(super) fn shown_before(
        &self,
        id: DocumentId,
        schema: &Collection,
        record: &RecordRow,
    ) -> Result<Vec<DocumentId>, Error> {
        let mut before = Vec::new();
        for AlikeGroup { behind, .. } in self.groups_of(id, schema, record)? {
            let Some((_, first)) = behind.iter().find(|(other, _)| *other == id) else { continue };
            before.push(*first);
            let mut said = None;
            for (other, _) in behind.iter().filter(|(other, it)| it == first && *other < id) {
                if said.is_none() {
                    said = self.kinship(id)?;
                }
                let theirs = self.kinship(*other)?;
                let is_apart = |said: &Option<Kinship>, from: DocumentId| {
                    said.as_ref().is_some_and(|said| said.apart_from.contains(&from))
                };
                if !is_apart(&said, *other) && !is_apart(&theirs, id) {
                    before.push(*other);
                }
            }
        }
        Ok(before)
    }

    /// The record in whose favour this one is deleted, where they are alike and nobody has decided
    /// about them; `kinship_of` tells what the records say of each other.
    pub(super) fn left_instead(
        &self,
        id: DocumentId,
        schema: &Collection,
        record: &RecordRow,
        mut kinship_of: impl FnMut(DocumentId) -> Result<Option<Kinship>, Error>,
    ) -> Result<Option<Left>, Error> {
        let (mut first, mut items) = (None, Vec::new());
        for AlikeGroup { item, members: ids, .. } in self.groups_of(id, schema, record)? {
            let mut members = Vec::with_capacity(ids.len());
            for id in &ids {
                members.extend(kinship_of(*id)?.map(|kinship| Member { id: *id, kinship }));
            }
            if let Some(kept) = left_instead(&members, id) {
                first.get_or_insert(kept);
                items.push((item, ids));
            }
        }
        Ok(first.map(|kept| Left { kept, items }))
    }

    /// Why there is nothing to delete of a record that counts only until somebody decides.
    pub(super) fn counts_meanwhile(
        &self,
        collection: u16,
        id: DocumentId,
    ) -> Result<Option<String>, Error> {
        let reason = || {
            format!(
                "{id} is deleted already: it counts only until somebody decides which of the \
                 records that are alike stays; settle that with `fieldmesh conflicts`"
            )
        };
        Ok(is_instead(self.view(), collection, id)?.then(reason))
    }

    /// What a record says of others; none where it is not there.
    pub(crate) fn kinship(&self, id: DocumentId) -> Result<Option<Kinship>, Error> {
        let document = self.document(id)?;
        let said = document.map(|document| document.kinship()).transpose();
        said.map_err(|error| Error::store(&error))
    }
}
