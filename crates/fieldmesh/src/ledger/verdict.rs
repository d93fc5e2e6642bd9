//! What was set aside, and what was deleted while somebody edited it: adopted or discarded.
//!
//! To adopt a batch is a signed act of policy that every device follows, and to bring back or drop
//! an edited record that somebody deleted is a change of it. What cannot be applied will not fit on
//! any device and is in no record: to discard it hides it in the list of this device alone. Its
//! bytes stay, here as elsewhere, and it can be listed again.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use fieldmesh_model::{Moment, UserId};
use fieldmesh_store::{Direction, KeyRange, Tree};
use serde::{Deserialize, Serialize};

use crate::api::{Choice, ConflictReport, DiscardReport, Resolution, Verdict};
use crate::clock;
use crate::entry::{Entry, Note};
use crate::error::Error;
use crate::places::read_batch;
use crate::projection::NoteRow;
use crate::rows::{self, QuarantineRow};

use super::Ledger;
use super::conflicts::nothing_to_settle;
use super::inbox::{Found, KIND_DELETED, KIND_QUARANTINE};
use super::query::Names;
use super::record::person;

/// The prefix of the notes about items that are discarded here, by their ids.
const PREFIX: &[u8] = b"discarded/";

/// That an item is discarded here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DiscardRow {
    by: UserId,
    at: Moment,
    /// Of why it was set aside then: for another reason it is listed again.
    reason: [u8; 16],
}

impl Ledger {
    /// Adopts or discards an item, or lists it again; gives it as it is then.
    pub(crate) fn decide(&self, id: &str, verdict: Verdict) -> Result<ConflictReport, Error> {
        let report = self.conflict(id)?;
        if let Some(reason) = nothing_to_settle(&report).filter(|_| report.adopted_by.is_some()) {
            return Err(Error::Settled { reason });
        }
        match (report.kind.as_str(), verdict) {
            (KIND_DELETED, Verdict::Adopt | Verdict::Discard) => {
                self.settle_conflict(&report.id, &Resolution::Take(side_of(&report, verdict)?))?;
                self.conflict(&report.id)
            }
            (KIND_QUARANTINE, Verdict::Adopt) => self.adopt_item(report),
            (KIND_QUARANTINE, Verdict::Discard | Verdict::Reopen) => {
                self.check_discard(&report)?;
                self.set_discarded(&report, verdict == Verdict::Discard)?;
                self.conflict(&report.id)
            }
            (_, Verdict::Reopen) => Err(Error::Usage {
                reason:
                    "only what was discarded here is listed again; what was settled is changed \
                         by an edit of the record"
                        .into(),
            }),
            _ => Err(Error::Usage {
                reason: format!(
                    "an item of the kind {} is neither adopted nor discarded, only what is \
                     quarantined and what was deleted and edited; take a side or set a value",
                    report.kind
                ),
            }),
        }
    }

    fn adopt_item(&self, report: ConflictReport) -> Result<ConflictReport, Error> {
        let Some(batch) = &report.batch else {
            let reason = "a change that could not be applied fits on no device and cannot be \
                          adopted; --discard hides it in the list of this one";
            return Err(Error::Usage { reason: reason.into() });
        };
        self.adopt(batch.device, &[batch.batch.to_string()])?;
        if report.discarded.is_some() {
            self.set_discarded(&report, false)?;
        }
        Ok(self.just_adopted(report))
    }

    /// Fails unless this device's user may decide about conflicts of the record.
    fn check_discard(&self, report: &ConflictReport) -> Result<(), Error> {
        // Of a collection that is not known here managers and admins decide.
        let schema = self.schema(self.collection_of(&report.id)?);
        let record = self.row(report.record)?.and_then(|row| row.record);
        let created_by = record.map(|record| record.created_by).unwrap_or_default();
        self.check(&schema.resolve_by, created_by, "discard what is quarantined of", &schema)
    }

    /// The number of the collection of what is quarantined: its name may be known to nobody.
    fn collection_of(&self, id: &str) -> Result<u16, Error> {
        let not_found = || Error::NotFound { kind: "conflict", name: id.into() };
        match self.others_behind("")?.remove(id).ok_or_else(not_found)? {
            Found::Refused(key) => {
                let row: Option<QuarantineRow> = rows::find(self.view(), Tree::Quarantine, &key)?;
                Ok(row.ok_or_else(not_found)?.collection)
            }
            Found::Aside(batch) => {
                let place = self.places.find(&batch).ok_or_else(not_found)?;
                Ok(read_batch(&self.store, place)?.header().scope.collection)
            }
            Found::Record(_) | Found::Adopted(..) => Err(not_found()),
        }
    }

    /// Notes durably, on this device, that an item is discarded, or that it is not.
    fn set_discarded(&self, report: &ConflictReport, is_discarded: bool) -> Result<(), Error> {
        let reason = reason_hash(report);
        let row = DiscardRow { by: self.user(), at: clock::now(), reason };
        let value = is_discarded.then(|| rows::encode(&row));
        self.note_here(vec![([PREFIX, report.id.as_bytes()].concat(), value)])
    }

    /// Notes something durably that this device alone knows.
    pub(super) fn note_here(&self, rows: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<(), Error> {
        // Nobody writes once more meanwhile what stood there before.
        let _alone = self.drafts.lock().unwrap_or_else(PoisonError::into_inner);
        let note = Entry::Note(Note { rows, at: None }).encode();
        let places = self.store.append(vec![note]).map_err(|error| Error::store(&error))?;
        places.last().map_or(Ok(()), |place| self.projector.wait_noted(*place))
    }

    /// What is discarded here, by id.
    pub(super) fn discarded(&self) -> Result<BTreeMap<String, DiscardRow>, Error> {
        let prefix = rows::note_key(PREFIX);
        let mut discarded = BTreeMap::new();
        let range = KeyRange::prefix(&prefix);
        for row in rows::scan(self.view(), Tree::Meta, range, Direction::Ascending) {
            let (key, value) = row?;
            let NoteRow { value, .. } = rows::decode(&value)?;
            let id = String::from_utf8_lossy(key.get(prefix.len()..).unwrap_or_default());
            discarded.insert(id.into_owned(), rows::decode(&value)?);
        }
        Ok(discarded)
    }

    /// How many items are quarantined and not discarded here: as many as are listed.
    pub(crate) fn quarantined(&self) -> Result<u64, Error> {
        let (here, discarded) = (self.others_behind("")?, self.discarded()?);
        let mut names = Names::default();
        let mut count = here.len() as u64;
        for (id, found) in here.iter().filter(|(id, _)| discarded.contains_key(*id)) {
            let item = self.found_item(id, found, &mut names)?;
            let item = item.map(|item| self.with_discard(item, &discarded));
            count -= u64::from(item.is_none_or(|item| item.discarded.is_some()));
        }
        Ok(count)
    }

    /// The item with what was noted of it here.
    pub(super) fn with_discard(
        &self,
        report: ConflictReport,
        discarded: &BTreeMap<String, DiscardRow>,
    ) -> ConflictReport {
        let row = discarded.get(&report.id).filter(|row| row.reason == reason_hash(&report));
        // What counts is hidden nowhere.
        let row = row.filter(|_| report.adopted_by.is_none());
        let Some(row) = row else { return report };
        let policy = self.policy();
        let user = policy.everybody().find(|member| member.user == row.by).map(person);
        ConflictReport {
            open: false,
            discarded: Some(DiscardReport { user, at: row.at }),
            ..report
        }
    }
}

/// What tells whether an item is set aside for the same reason as before.
fn reason_hash(report: &ConflictReport) -> [u8; 16] {
    let reason = report.reason.as_deref().unwrap_or_default();
    let mut bytes = [0; 16];
    let hash = blake3::derive_key("fieldmesh/discard-reason/1", reason.as_bytes());
    bytes.copy_from_slice(&hash[..16]);
    bytes
}

/// The side of an item about a deleted record that a verdict comes to: the edit, or the deletion.
fn side_of(report: &ConflictReport, verdict: Verdict) -> Result<Choice, Error> {
    let is_kept = verdict == Verdict::Adopt;
    let side = report.values.iter().find(|side| side.value.is_null() == is_kept);
    side.map(|side| Choice::Label(side.label.clone())).ok_or_else(|| Error::NotFound {
        kind: "side of the conflict",
        name: if is_kept { "the edit" } else { "the deletion" }.into(),
    })
}

#[cfg(test)]
mod tests;
