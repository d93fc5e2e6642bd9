//! Whole changes that wait for one that is lost: no record shows them, and nothing will bring what
//! they wait for.
//!
//! Changes also wait in the ordinary course of a sync, for others that are on their way. What is
//! said here of those is a note: only what is known to be lost on this device strands others.

mod elsewhere;

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_model::{DocumentId, Moment, Value};
use fieldmesh_store::{Direction, KeyRange, Place, Tree};

use crate::api::Finding;
use crate::changes::read_change;
use crate::clock::minute;
use crate::error::Error;
use crate::harm::{Harm, Harmed, Outcome};
use crate::rows::{self, ChangeRef};

use super::Ledger;
use super::diagnosis::{assignments, counted, of_record, title_by_name};
use super::query::Names;

/// What is lost on this device, as far as other changes may wait for it.
#[derive(Debug, Default)]
pub(super) struct Losses {
    changes: BTreeSet<(DocumentId, [u8; 8])>,
    /// Whether entries were lost of which nobody knows what they were.
    any_unknown: bool,
}

impl Losses {
    fn of(harms: &[Harm]) -> Self {
        let mut losses = Self::default();
        for harm in harms.iter().filter(|it| !matches!(it.outcome, Outcome::Healed { .. })) {
            match &harm.what {
                Harmed::Change(lost) => {
                    losses.changes.insert((lost.document, lost.hash));
                }
                Harmed::Unknown => losses.any_unknown = true,
                // Once it was given up, nothing says any more which changes lay in it.
                Harmed::Batch { .. } if !harm.is_open() => losses.any_unknown = true,
                Harmed::Nothing | Harmed::Batch { .. } | Harmed::Item(_) => {}
            }
        }
        losses
    }

    fn is_empty(&self) -> bool {
        self.changes.is_empty() && !self.any_unknown
    }
}

/// Changes of one record that wait for one that is lost.
#[derive(Debug)]
pub(super) struct Stranded {
    id: DocumentId,
    /// The copies of them; a change that a batch holds may lie in the log twice.
    places: Vec<Place>,
    count: usize,
    /// When the user gave them up.
    given_up: Option<Moment>,
    /// What they write: of each field what was written last.
    fields: BTreeMap<String, Option<Value>>,
    /// Whether it is certain that no other device has what they wait for.
    is_certain: bool,
}

impl Stranded {
    fn is_open(&self) -> bool {
        self.given_up.is_none()
    }
}

/// A waiting change: what it waits for, and its copies.
struct Wait {
    missing: [u8; 32],
    copies: Vec<ChangeRef>,
}

impl Ledger {
    /// What is lost on this device.
    pub(super) fn losses(&self) -> Result<Losses, Error> {
        Ok(Losses::of(&self.harms()?))
    }

    /// Every record of which changes wait for one that is lost.
    fn stranded(&self) -> Result<Vec<Stranded>, Error> {
        let losses = self.losses()?;
        if losses.is_empty() {
            return Ok(Vec::new());
        }
        let ids = self.waiting_documents(usize::MAX)?.into_keys();
        ids.filter_map(|id| self.stranded_in(id, &losses).transpose()).collect()
    }

    /// Whether changes of a record wait for one that is lost, and nobody has given them up.
    pub(super) fn is_stranded(&self, id: DocumentId, losses: &Losses) -> bool {
        // What cannot be read is not called safe.
        !losses.is_empty()
            && self.stranded_in(id, losses).map_or(true, |it| it.is_some_and(|it| it.is_open()))
    }

    /// A line for each record of which changes wait for one that is lost.
    pub(super) fn stranded_lines(&self) -> Result<Vec<String>, Error> {
        let line = |it: Stranded| {
            let changes = counted(it.count, "change", "changes");
            let wait = if it.count == 1 { "waits" } else { "wait" };
            format!(
                "record {}: {changes} {wait} for one that is lost; `fieldmesh doctor` says what \
                 is in them",
                it.id
            )
        };
        Ok(self.stranded()?.into_iter().filter(Stranded::is_open).map(line).collect())
    }

    /// The places of all that is stranded and not given up.
    pub(super) fn stranded_places(&self) -> Result<Vec<Place>, Error> {
        let open = self.stranded()?.into_iter().filter(Stranded::is_open);
        Ok(open.flat_map(|it| it.places).collect())
    }

    /// What is stranded, and what else waits, in words.
    pub(super) fn waiting_findings(&self) -> Result<Vec<Finding>, Error> {
        let (stranded, mut names) = (self.stranded()?, Names::default());
        let told: BTreeSet<DocumentId> = stranded.iter().map(|it| it.id).collect();
        let mut findings = Vec::new();
        for one in stranded {
            findings.push(self.stranded_finding(&one, &mut names)?);
        }
        findings.extend(self.waiting_notes(&told, &mut names)?);
        Ok(findings)
    }

    fn stranded_finding(&self, one: &Stranded, names: &mut Names) -> Result<Finding, Error> {
        let title = self.title_of(one.id, names)?;
        let written = one.fields.iter().map(|(key, value)| match value {
            Some(value) if !value.to_cell().is_empty() => format!("{key} {}", value.to_cell()),
            Some(_) => format!("{key} emptied"),
            None => format!("{key} changed"),
        });
        let written: Vec<String> = written.collect();
        let changes = counted(one.count, "change", "changes");
        let wait = if one.count == 1 { "waits" } else { "wait" };
        let done = match one.given_up {
            Some(at) => format!("It was given up on {}; what it says is kept here.", minute(at)),
            None => "What it says is kept here.".into(),
        };
        let means = match one.is_certain {
            true => "What it builds on was sent to no other device, so no device can show it.",
            false => {
                "What it builds on cannot be read here any more; unless another device has that, \
                 no device can show it."
            }
        };
        let what =
            format!("{title}, {}: {changes} {wait} for one that is lost", written.join(", "));
        Ok(Finding {
            kind: "stranded-changes".into(),
            open: one.is_open(),
            what,
            means: means.into(),
            done,
            next: if one.is_open() { self.write_again(one)? } else { String::new() },
            record: None,
        })
    }

    /// How to record once more what stranded changes say.
    fn write_again(&self, one: &Stranded) -> Result<String, Error> {
        let row = self.row(one.id)?;
        let known = one.fields.iter().filter_map(|(key, value)| Some((key, value.as_ref()?)));
        let fields = assignments(known).join(" ");
        let command = match row.as_ref().map(|row| row.record.is_some()) {
            Some(true) => format!("fieldmesh edit {} {fields}", one.id),
            _ => {
                let collection = row.map_or(0, |row| row.scope.collection);
                let name = &self.schema(collection).name;
                format!("fieldmesh record {name} {fields} and what else it said")
            }
        };
        let first = if one.is_certain { "Record" } else { "Run `fieldmesh sync`, or record" };
        Ok(format!("{first} it again with: {command}; then say `fieldmesh doctor --accept`"))
    }

    /// Whether what a record lacks is damage here that others may bring again.
    fn is_told_as_lacking(&self, id: DocumentId) -> Result<bool, Error> {
        let Some(row) = self.row(id)? else { return Ok(false) };
        let listed: BTreeSet<[u8; 8]> = row.changes.iter().map(|it| it.hash).collect();
        let waits = self.waits_in(id)?;
        let is_listed = |wait: &Wait| listed.contains(&start(&roots(&waits, wait.missing)));
        Ok(waits.values().all(is_listed))
    }

    fn title_of(&self, id: DocumentId, names: &mut Names) -> Result<String, Error> {
        let Some(row) = self.row(id)? else { return Ok(format!("record {}", id.short())) };
        let schema = self.schema(row.scope.collection);
        let Some(record) = row.record else { return Ok(format!("{} {}", schema.name, id.short())) };
        if let Some(title) = title_by_name(&schema, &record) {
            return Ok(title);
        }
        let record = self.to_record(id, &schema, record, names);
        Ok(format!("{} ({})", of_record(&record), id.short()))
    }

    /// Documents of which changes wait, each with one of those.
    pub(super) fn waiting_documents(
        &self,
        most: usize,
    ) -> Result<BTreeMap<DocumentId, ChangeRef>, Error> {
        let mut found = BTreeMap::new();
        let range = KeyRange::prefix(rows::WAITING_PREFIX);
        for row in rows::scan(self.view(), Tree::Meta, range, Direction::Ascending).take(most) {
            let (key, value) = row?;
            if let Some(id) = rows::waiting_document(&key) {
                found.entry(id).or_insert(rows::decode(&value)?);
            }
        }
        Ok(found)
    }

    /// The waiting changes of a document, by the start of their hashes.
    fn waits_in(&self, id: DocumentId) -> Result<BTreeMap<[u8; 8], Wait>, Error> {
        let mut waits: BTreeMap<[u8; 8], Wait> = BTreeMap::new();
        let prefix = rows::waiting_prefix(id, &[]);
        let range = KeyRange::prefix(&prefix);
        for row in rows::scan(self.view(), Tree::Meta, range, Direction::Ascending) {
            let (key, value) = row?;
            let Some(missing) = key[prefix.len()..].first_chunk::<32>() else { continue };
            // What waits for anything cannot be read itself, and is damage of its own.
            if *missing == [0; 32] {
                continue;
            }
            let reference: ChangeRef = rows::decode(&value)?;
            let wait = waits.entry(reference.hash);
            let wait = wait.or_insert(Wait { missing: *missing, copies: Vec::new() });
            wait.copies.push(reference);
        }
        Ok(waits)
    }

    fn stranded_in(&self, id: DocumentId, losses: &Losses) -> Result<Option<Stranded>, Error> {
        let waits = self.waits_in(id)?;
        if waits.is_empty() || self.policy().is_purged(&id) {
            return Ok(None);
        }
        let row = self.row(id)?;
        let listed: BTreeSet<[u8; 8]> =
            row.iter().flat_map(|row| &row.changes).map(|it| it.hash).collect();
        let (mut places, mut written, mut given_up) = (Vec::new(), Vec::new(), Vec::new());
        let mut is_certain = true;
        for wait in waits.values() {
            let root = start(&roots(&waits, wait.missing));
            let is_lost = losses.changes.contains(&(id, root));
            if !is_lost && (!losses.any_unknown || listed.contains(&root)) {
                continue;
            }
            let mut read =
                wait.copies.iter().map(|it| read_change(&self.store, *it, self.device()));
            let Some(Ok(source)) = read.find(Result::is_ok) else { continue };
            // Of others the lost one may be on its way.
            if !is_lost && source.author != self.device() {
                continue;
            }
            is_certain &= is_lost;
            places.extend(wait.copies.iter().map(|it| it.place));
            given_up.push(self.given_up_at(&wait.copies)?);
            let at = fieldmesh_document::peek(&source.change).map(|it| (it.at, it.seq)).ok();
            written.push((at, fieldmesh_document::written(&source.change)));
        }
        if written.is_empty() {
            return Ok(None);
        }
        written.sort_by_key(|(at, _)| *at);
        let count = written.len();
        let fields = written.into_iter().flat_map(|(_, fields)| fields).collect();
        let all: Option<Vec<Moment>> = given_up.into_iter().collect();
        let given_up = all.and_then(|all| all.into_iter().max());
        Ok(Some(Stranded { id, places, count, given_up, fields, is_certain }))
    }

    /// When the user gave up a change of which these are the copies.
    fn given_up_at(&self, copies: &[ChangeRef]) -> Result<Option<Moment>, Error> {
        for copy in copies {
            let key = rows::given_up_key(copy.place);
            if let Some(at) = rows::find(self.view(), Tree::Meta, &key)? {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }
}

/// What is behind all: what a change waits for may wait itself.
fn roots(waits: &BTreeMap<[u8; 8], Wait>, missing: [u8; 32]) -> [u8; 32] {
    let mut root = missing;
    // No chain is longer than there are changes, whatever their hashes begin with.
    for _ in 0..waits.len() {
        match waits.get(&start(&root)) {
            Some(wait) => root = wait.missing,
            None => break,
        }
    }
    root
}

fn start(hash: &[u8; 32]) -> [u8; 8] {
    *hash.first_chunk().expect("32 bytes have a first eight")
}
