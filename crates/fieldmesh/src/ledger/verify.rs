//! A check of everything: every frame, every signature, every record against its changes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use fieldmesh_batch::Batch;
use fieldmesh_identity::{Item, Policy};
use fieldmesh_model::schema::Collection;
use fieldmesh_model::{BatchId, DocumentId};
use fieldmesh_store::{BadFrame, Direction, KeyRange, Place, Tree};

use crate::alike::row::is_instead;
use crate::api::VerifyReport;
use crate::changes::Closure;
use crate::entry::{Entry, Fact};
use crate::error::Error;
use crate::harm::Harmed;
use crate::projection::schemas::Stand;
use crate::rows::{self, DocumentRow, RecordRow};
use crate::schema;

use super::indexes::costs_nothing;
use super::{DAMAGE_LINES_MAX, Ledger, is_relay};

/// Faults that are written out; more are counted.
const FAULTS_MAX: usize = 200;
/// How often a record is looked at until nothing of it changes meanwhile.
const LOOKS_MAX: u32 = 8;

impl Ledger {
    /// Reads and checks everything; what an open found lost is reported until the user accepts it.
    pub(crate) fn verify(&self) -> Result<VerifyReport, Error> {
        self.settle()?;
        let at_open = self.damage_at_open()?;
        let mut report = VerifyReport::default();
        let tracked = self.verify_log(&mut report)?;
        let kept: Vec<String> = report.faults.iter().take(DAMAGE_LINES_MAX).cloned().collect();
        let now = report.faults.clone();
        report.faults.extend(tracked);
        // The operator of a relay has no other word for what it lost, and it brings nothing first.
        let is_told = !at_open.is_empty() && is_relay(&self.policy(), self.device());
        report.faults.extend(at_open.into_iter().filter(|line| !now.contains(line)));
        let checked = (kept != self.damage_by_check()?).then_some(Fact::Checked(kept));
        let found = is_told.then(|| Fact::Found(Vec::new()));
        if let Err(error) = self.remember_all(checked.into_iter().chain(found)) {
            tracing::warn!(%error, "what was found could not be noted");
        }
        self.verify_view(&mut report)?;
        self.verify_records(&mut report)?;
        report.faults.extend(self.stranded_lines()?);
        report.faults.extend(self.missed_lines()?);
        report.let_go = self.let_go_count()?;
        report.since = self.kept()?.since;
        report.clean = report.faults.is_empty();
        if report.clean
            && let Err(error) = self.note_read()
        {
            tracing::warn!(%error, "that everything was read could not be noted");
        }
        if report.faults.len() > FAULTS_MAX {
            let more = report.faults.len() - FAULTS_MAX;
            report.faults.truncate(FAULTS_MAX);
            report.faults.push(format!("and {more} more"));
        }
        Ok(report)
    }

    /// Gives the damage that is mended by itself; other faults are added to `report`.
    fn verify_log(&self, report: &mut VerifyReport) -> Result<Vec<String>, Error> {
        let policy = self.policy();
        let mut unsigned = Unsigned::default();
        let replayed = self.store.replay(None, |place, entry| {
            match Entry::decode(&entry) {
                Ok(Entry::Batch(bytes)) => {
                    verify_batch(place, &bytes, &policy, &mut unsigned, report);
                }
                Ok(Entry::Item(bytes)) => {
                    report.items += 1;
                    if let Err(error) = Item::decode(&bytes) {
                        report.faults.push(at(place, &format!("a policy item is bad: {error}")));
                    }
                }
                Ok(Entry::Change(local)) => {
                    report.changes += 1;
                    if let Err(error) = fieldmesh_document::peek(&local.change) {
                        report.faults.push(at(place, &format!("a change is bad: {error}")));
                    }
                }
                Ok(Entry::Fact(_) | Entry::Note(_)) => {}
                Err(error) => report.faults.push(at(place, &error.to_string())),
            }
            ControlFlow::Continue(())
        });
        let replayed = replayed.map_err(|error| Error::store(&error))?;
        report.frames = replayed.entries;
        let aside = self.aside()?;
        unsigned.report(&aside, report);
        // What lacks nothing by now is no fault.
        self.mend()?;
        let harms = self.harms()?;
        let harmless: BTreeSet<u64> =
            harms.iter().filter(|harm| !harm.is_open()).map(|harm| harm.place.0).collect();
        let mut tracked = Vec::new();
        let is_unreadable =
            |place: u64| replayed.bad_frames.iter().any(|bad| bad.sequences.contains(&place));
        for harm in harms.iter().filter(|harm| harm.is_open() && !is_unreadable(harm.place.0)) {
            let is_batch = matches!(harm.what, Harmed::Batch { .. });
            tracked.extend(is_batch.then(|| at(harm.place, "a batch lacks what nobody purged")));
        }
        let indexes = replayed.bad_frames.iter().filter(|bad| costs_nothing(bad));
        report.faults.extend(self.mend_indexes(indexes)?);
        for bad in replayed.bad_frames.into_iter().filter(|bad| !costs_nothing(bad)) {
            let fault = unreadable(&bad);
            if bad.sequences.is_empty() {
                report.faults.push(fault);
            } else if !bad.sequences.clone().all(|place| harmless.contains(&place)) {
                tracked.push(fault);
            }
        }
        report.faults.dedup();
        Ok(tracked)
    }

    fn verify_view(&self, report: &mut VerifyReport) -> Result<(), Error> {
        if let Err(error) = self.view().verify() {
            report.faults.push(format!("the view is damaged and will be rebuilt: {error}"));
        }
        for row in rows::scan(self.view(), Tree::Leaf, KeyRange::all(), Direction::Ascending) {
            let (key, value) = row?;
            let place: Place = rows::decode(&value)?;
            let found = crate::places::read_batch(&self.store, place);
            if found.is_ok_and(|batch| batch.key_bytes()[..] != key[..]) {
                report.faults.push(at(place, "another batch lies here than the view says"));
            }
        }
        Ok(())
    }

    /// Loads every record from its changes and compares with what the view shows.
    fn verify_records(&self, report: &mut VerifyReport) -> Result<(), Error> {
        let (range, policy) = (KeyRange::all(), self.policy());
        for row in rows::scan(self.view(), Tree::Document, range, Direction::Ascending) {
            let (key, value) = row?;
            let Some(id) = rows::indexed_id(&key) else { continue };
            let row: DocumentRow = rows::decode(&value)?;
            if row.changes.is_empty() {
                continue;
            }
            report.records += 1;
            let schema = schema::numbered(&policy, row.scope.collection);
            if !matches!(self.is_as_shown(id, &row, &schema, &policy), Ok(true)) {
                report.faults.extend(self.look_at_anew(id)?);
            }
        }
        Ok(())
    }

    /// Whether the record in `row` is what its changes come to.
    fn is_as_shown(
        &self,
        id: DocumentId,
        row: &DocumentRow,
        schema: &Collection,
        policy: &Policy,
    ) -> Result<bool, Error> {
        let closure = Closure::read(&self.store, &row.changes, self.device())?;
        let document = closure.document(id, policy)?;
        let mut rebuilt = RecordRow::judged(&document, &closure, (policy, schema))?;
        // It counts meanwhile, whatever its document says.
        rebuilt.deleted &= !is_instead(self.view(), schema.number, id)?;
        Ok(Some(&rebuilt) == row.record.as_ref())
    }

    /// What is wrong with a record that did not look right: policy may have gone on since this
    /// began, and its row waits to be read anew or was; it has to be right by what it stands under.
    fn look_at_anew(&self, id: DocumentId) -> Result<Option<String>, Error> {
        for _ in 0..LOOKS_MAX {
            let (policy, Some(row)) = (self.policy(), self.row(id)?) else { return Ok(None) };
            let number = row.scope.collection;
            let stand = Stand::read(self.view(), number)?;
            let schema = stand.schema_at(self.view(), &policy, number, &id)?;
            let Some(row) = self.row(id)?.filter(|row| !row.changes.is_empty()) else {
                return Ok(None);
            };
            let found = self.is_as_shown(id, &row, &schema, &policy);
            let is_steady = Arc::ptr_eq(&policy, &self.policy())
                && Stand::read(self.view(), number)? == stand
                && self.row(id)?.as_ref() == Some(&row);
            match found {
                Ok(true) => return Ok(None),
                Ok(false) if is_steady => {
                    return Ok(Some(format!("record {id} reads otherwise than it is shown")));
                }
                Err(error) if is_steady => {
                    return Ok(Some(format!("record {id} cannot be read: {error}")));
                }
                Ok(false) | Err(_) => {}
            }
        }
        Ok(Some(format!("record {id} changes again and again; verify once more")))
    }
}

/// Batches without a signature, until one that follows them in their chain is found to be signed.
#[derive(Default)]
struct Unsigned {
    /// Where each lies, and the batch before it.
    waiting: BTreeMap<BatchId, (Place, BatchId)>,
    /// Batches that a signed one names.
    vouched: Vec<BatchId>,
    signed: BTreeSet<BatchId>,
}

impl Unsigned {
    /// Lists those that nothing vouches for; what is aside waits for its signature.
    fn report(mut self, aside: &[BatchId], report: &mut VerifyReport) {
        while let Some(next) = self.vouched.pop() {
            self.vouched.extend(self.waiting.remove(&next).map(|(_, previous)| previous));
        }
        for (id, (place, _)) in self.waiting {
            if !self.signed.contains(&id) && !aside.contains(&id) {
                let text = "a batch has no signature, and none that follows it vouches for it";
                report.faults.push(at(place, text));
            }
        }
    }
}

fn verify_batch(
    place: Place,
    bytes: &[u8],
    policy: &Policy,
    unsigned: &mut Unsigned,
    report: &mut VerifyReport,
) {
    report.batches += 1;
    let batch = match Batch::decode(bytes) {
        Ok(batch) => batch,
        Err(error) => {
            report.faults.push(at(place, &format!("a batch is bad: {error}")));
            return;
        }
    };
    let erased = batch.erased_hashes().count() as u64;
    report.changes += batch.leaves().len() as u64 - erased;
    report.purged += erased;
    let author = batch.header().author;
    let Some(key) = policy.verifying_key(&author) else {
        let text = format!("the author {} of a batch is no member", author.short());
        report.faults.push(at(place, &text));
        return;
    };
    let previous = batch.header().previous;
    if !batch.is_signed() {
        unsigned.waiting.insert(batch.id(), (place, previous));
        return;
    }
    match batch.verify(key) {
        Ok(()) => {
            unsigned.signed.insert(batch.id());
            unsigned.vouched.push(previous);
        }
        Err(error) => {
            report.faults.push(at(place, &format!("the signature of a batch is bad: {error}")));
        }
    }
}

fn at(place: Place, text: &str) -> String {
    format!("log entry {place}: {text}")
}

fn unreadable(bad: &BadFrame) -> String {
    let BadFrame { segment, offset, length, sequences, damage } = bad;
    let lost = match sequences.end.saturating_sub(sequences.start) {
        0 => String::new(),
        1 => format!(", entry {} is lost", sequences.start),
        _ => format!(", entries {} to {} are lost", sequences.start, sequences.end - 1),
    };
    format!(
        "log segment {segment}, byte {offset}: {length} bytes cannot be read ({damage:?}){lost}"
    )
}
