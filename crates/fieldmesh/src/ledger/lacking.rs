//! What is damaged in the log and that others may bring again, in words.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_model::{DeviceId, DocumentId, Moment};
use fieldmesh_store::{Direction, KeyRange, Place, Tree};
use fieldmesh_trie::Key;

use crate::api::Finding;
use crate::clock::minute;
use crate::error::Error;
use crate::harm::{Harm, Harmed, LostChange};
use crate::rows::{self, DocumentRow, LeafRow};

use super::Ledger;
use super::diagnosis::{again, counted, of_record};
use super::names::record_name;
use super::query::Names;

/// Records that one finding names.
const NAMED_MAX: usize = 10;
/// Lost records that have a finding of their own.
const TOLD_MAX: usize = 1_000;
const UNCONFIRMED: &str = "This device recorded it, and nobody has confirmed to hold it: unless \
                           somebody does all the same, nobody can bring it back.";
const FIRST_SYNC: &str = "Run `fieldmesh sync` with everybody this device has met. If this stays";
/// What whoever lists records is told where some may not be there.
const UNREAD: &str = "some of the log cannot be read: records may be missing here; see \
                      `fieldmesh doctor`";
/// When it is known what an entry was that cannot be read.
pub(super) const LATER: &str = "what was in them is told once all records are there";

/// Where a batch of this device lies, and when its last change was made.
type Beside = (Place, Moment);

/// Batches that are lacking.
#[derive(Default)]
pub(super) struct Lacking {
    /// Where those of this device lay that nobody has confirmed to hold.
    pub(super) unconfirmed: BTreeSet<Place>,
    /// Where the others lay, by who may have them.
    held: BTreeMap<Vec<DeviceId>, BTreeSet<Place>>,
}

impl Ledger {
    /// Batches that are lacking, in words.
    pub(super) fn lacking_batches(&self, harms: &[Harm]) -> Result<Vec<Finding>, Error> {
        let Lacking { unconfirmed, held } = self.lacking(harms);
        let mut findings = Vec::new();
        if !unconfirmed.is_empty() {
            findings.extend(self.lost_batches(&unconfirmed)?);
        }
        if !held.is_empty() {
            let records = self.records_at(&held.values().flatten().copied().collect())?;
            let found = held.iter().map(|(who, places)| self.lacking_of(who, places, &records));
            findings.extend(found);
        }
        Ok(findings)
    }

    /// That lists may come short, in words: a part of the log was damaged before the view had read
    /// it. What the view has read is shown, whatever became of the log since.
    ///
    /// Nothing is said of a view that cannot be read: whoever needs it has it opened again or is
    /// told, and a word in front must not keep a crew from recording.
    pub(crate) fn unread_words(&self) -> Option<String> {
        let is_unread = |harm: &Harm| harm.is_open() && harm.what == Harmed::Unknown;
        let has_unread = || self.harms().is_ok_and(|harms| harms.iter().any(is_unread));
        (self.damaged.has_put_off() || has_unread()).then(|| UNREAD.to_owned())
    }

    /// Batches that are lacking, by who may have them.
    pub(super) fn lacking(&self, harms: &[Harm]) -> Lacking {
        let (mut open, mut lacking) = (BTreeMap::new(), Lacking::default());
        for harm in harms.iter().filter(|harm| harm.is_open()) {
            if let Harmed::Batch { id, author, .. } = &harm.what {
                open.insert(harm.place, (*id, *author));
            }
        }
        if open.is_empty() {
            return lacking;
        }
        let ids = open.values().map(|(id, _)| *id).collect();
        let holders = self.mesh.get().map_or_else(Vec::new, |mesh| mesh.holders(ids));
        for (index, (place, (_, author))) in open.iter().enumerate() {
            let mut who: BTreeSet<DeviceId> =
                holders.get(index).into_iter().flatten().copied().collect();
            let is_own = *author == Some(self.device());
            // Where nobody could be asked who holds it, it is not called lost.
            if is_own && holders.get(index).is_some_and(Vec::is_empty) {
                lacking.unconfirmed.insert(*place);
                continue;
            }
            who.extend(author.filter(|_| !is_own));
            lacking.held.entry(who.into_iter().collect()).or_default().insert(*place);
        }
        lacking
    }

    /// What lay in batches of this device that nobody has confirmed to hold.
    fn lost_batches(&self, places: &BTreeSet<Place>) -> Result<Vec<Finding>, Error> {
        let (policy, mut names) = (self.policy(), Names::default());
        let (mut findings, mut untold) = (Vec::new(), 0);
        for row in rows::scan(self.view(), Tree::Document, KeyRange::all(), Direction::Ascending) {
            let (key, value) = row?;
            let row: DocumentRow = rows::decode(&value)?;
            let count = row.changes.iter().filter(|it| places.contains(&it.place)).count();
            let Some(document) = rows::indexed_id(&key).filter(|_| count > 0) else { continue };
            if findings.len() >= TOLD_MAX {
                untold += 1;
            } else if !policy.is_purged(&document) {
                let (collection, hash) = (row.scope.collection, [0; 8]);
                // Without its first change nothing is left that could be edited.
                let first = row.changes.first();
                let is_whole = first.is_some_and(|it| places.contains(&it.place));
                let shown = row.record;
                let lost = LostChange { document, hash, collection, is_whole, shown };
                findings.push(self.lost_with_batch(&lost, &mut names));
            }
        }
        if findings.is_empty() || untold > 0 {
            let batches = counted(places.len(), "batch", "batches");
            let of_what = match untold {
                // It was purged, or is in other batches too.
                0 => "no record needs it".to_owned(),
                _ => format!("it holds changes of {untold} more records"),
            };
            findings.push(Finding {
                kind: "lost-batch".into(),
                open: true,
                what: format!("{batches} by this device cannot be read any more; {of_what}"),
                means: UNCONFIRMED.into(),
                next: match untold {
                    0 => format!("{FIRST_SYNC}, say `fieldmesh doctor --accept`."),
                    _ => format!(
                        "{FIRST_SYNC}, write all that is shown to files first: `fieldmesh \
                         export well --format csv > well.csv`, and so on for each collection. \
                         Only then say `fieldmesh doctor --accept`, which forgets it. `fieldmesh \
                         import FILE --collection NAME` records what a file has once more; lost \
                         wells get new ids by that, so import them first and put their new ids \
                         into the files of what names them."
                    ),
                },
                ..Finding::default()
            });
        }
        Ok(findings)
    }

    /// Entries that were damaged before anything was read of them, in words.
    pub(super) fn unknown_entries(&self, harms: &[Harm]) -> Result<Option<Finding>, Error> {
        let is_unknown = |harm: &&Harm| harm.is_open() && harm.what == Harmed::Unknown;
        let places = harms.iter().filter(is_unknown).map(|harm| harm.place);
        let places: BTreeSet<Place> = places.collect();
        let Some((first, last)) = places.first().zip(places.last()) else { return Ok(None) };
        let (mut before, mut behind): (Option<Beside>, Option<Beside>) = (None, None);
        let (view, all) = (self.view(), KeyRange::all());
        for row in rows::scan(view, Tree::Leaf, all, Direction::Ascending) {
            let (key, value) = row?;
            let Ok(key) = <[u8; 46]>::try_from(key.as_slice()) else { continue };
            // Earlier versions did not note by whom it is.
            let Ok(row) = rows::decode::<LeafRow>(&value) else { continue };
            if row.author != self.device() {
                continue;
            }
            let beside = (row.place, row.held(&Key::from_bytes(key)).last);
            if row.place < *first {
                before = before.max(Some(beside));
            } else if row.place > *last {
                behind = behind.map_or(Some(beside), |known| Some(known.min(beside)));
            }
        }
        let times = before.zip(behind).map(|((_, from), (_, to))| (from, to));
        Ok(Some(unknown(places.len(), times.filter(|(from, to)| from <= to))))
    }

    fn lost_with_batch(&self, lost: &LostChange, names: &mut Names) -> Finding {
        let (record, words) = self.lost_words(lost, names);
        let again = again(&self.schema(lost.collection), lost, false);
        Finding {
            kind: "lost-batch".into(),
            open: true,
            what: format!("{words}: changes of it are lost in the log"),
            means: UNCONFIRMED.into(),
            done: "What was shown of it is kept here until it is given up.".into(),
            next: format!(
                "{FIRST_SYNC}, note this down, say `fieldmesh doctor --accept`, then {again}"
            ),
            record: record.map(Box::new),
        }
    }

    fn lacking_of(
        &self,
        who: &[DeviceId],
        places: &BTreeSet<Place>,
        records: &BTreeMap<DocumentId, (BTreeSet<Place>, String)>,
    ) -> Finding {
        let touched = records.values().filter(|(at, _)| !at.is_disjoint(places));
        let titles: Vec<&str> = touched.map(|(_, title)| title.as_str()).collect();
        let policy = self.policy();
        let name = |device: &DeviceId| match policy.known(device) {
            Some(member) => member.name.clone(),
            None => format!("…{}", device.short()),
        };
        let who = match who {
            [] => "whoever was in step with this device".to_owned(),
            devices => devices.iter().map(name).collect::<Vec<_>>().join(" or "),
        };
        Finding {
            kind: "lacking-batches".into(),
            open: true,
            what: format!(
                "{} of the log cannot be read any more; {}",
                counted(places.len(), "batch", "batches"),
                named(&titles),
            ),
            means:
                "Those records are shown as they were read last; changes of them wait until the \
                    damaged part is back."
                    .into(),
            done: "This device asks everybody it meets for them.".into(),
            next: format!("Meet {who}: `fieldmesh sync` brings them back."),
            record: None,
        }
    }

    /// Which records have changes at these places, and what they are called.
    fn records_at(
        &self,
        places: &BTreeSet<Place>,
    ) -> Result<BTreeMap<DocumentId, (BTreeSet<Place>, String)>, Error> {
        let mut records = BTreeMap::new();
        let (view, mut names) = (self.view(), Names::default());
        for row in rows::scan(view, Tree::Document, KeyRange::all(), Direction::Ascending) {
            let (key, value) = row?;
            let Some(id) = rows::indexed_id(&key) else { continue };
            let row: DocumentRow = rows::decode(&value)?;
            let at = row.changes.iter().map(|it| it.place).filter(|it| places.contains(it));
            let at: BTreeSet<Place> = at.collect();
            if at.is_empty() {
                continue;
            }
            let schema = self.schema(row.scope.collection);
            let own = row.record.as_ref().and_then(|record| record_name(&schema, record));
            let record = row.record.map(|it| self.to_record(id, &schema, it, &mut names));
            let title = match (own, record) {
                (Some(name), _) => format!("{} {name}", schema.name),
                // Several of them may be of the same.
                (None, Some(record)) => format!("{} ({})", of_record(&record), id.short()),
                (None, None) => format!("{} {}", schema.name, id.short()),
            };
            records.insert(id, (at, title));
        }
        Ok(records)
    }
}

/// Policy items that are lacking.
pub(super) fn lacking_items(harms: &[Harm]) -> Option<Finding> {
    let is_lacking = |harm: &&Harm| harm.is_open() && matches!(harm.what, Harmed::Item(_));
    let count = harms.iter().filter(is_lacking).count();
    (count > 0).then(|| Finding {
        kind: "lacking-items".into(),
        open: true,
        what: format!("{} of the crew's policy cannot be read", counted(count, "item", "items")),
        means: "This device may not know every member or right of the crew.".into(),
        done: "It asks everybody it meets for them.".into(),
        next: "Meet any other device or the relay: `fieldmesh sync` brings them back.".into(),
        record: None,
    })
}

/// Entries of which nobody can say what they were before all records are there.
pub(super) fn put_off(count: usize) -> Option<Finding> {
    (count > 0).then(|| Finding {
        kind: "unknown-entries".into(),
        open: true,
        what: unread(count),
        means: "Something that was recorded may be missing.".into(),
        done: format!("The records are being made again; {LATER}."),
        next: "Ask again once they are made.".into(),
        record: None,
    })
}

/// Entries that were damaged before anything was known of them; `when` is between what this device
/// recorded before and behind them.
fn unknown(count: usize, when: Option<(Moment, Moment)>) -> Finding {
    let when = when.map_or_else(String::new, |(from, to)| {
        format!(", from {} to {} as far as they were recorded here", minute(from), minute(to))
    });
    Finding {
        kind: "unknown-entries".into(),
        open: true,
        what: format!(
            "damage in {} of the log, found before anything was read of it",
            counted(count, "entry", "entries")
        ),
        means: "What others hold of them comes back by itself; what was only here is lost.".into(),
        done: "This device asks everybody it meets for what it lacks.".into(),
        next: format!(
            "Run `fieldmesh sync`, look whether records of yours are missing{when}, then say \
             `fieldmesh doctor --accept`."
        ),
        record: None,
    }
}

/// That so many entries cannot be read.
pub(super) fn unread(count: usize) -> String {
    format!("{} of the log cannot be read", counted(count, "entry", "entries"))
}

/// Records by name, at most [`NAMED_MAX`] of them.
fn named(titles: &[&str]) -> String {
    match titles.len() {
        0 => "no record shows anything of it".into(),
        count if count <= NAMED_MAX => format!("it holds changes of {}", titles.join(", ")),
        count => format!(
            "it holds changes of {} and {} more records",
            titles[..NAMED_MAX].join(", "),
            count - NAMED_MAX
        ),
    }
}
