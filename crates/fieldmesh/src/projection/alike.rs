//! Finds records that are alike by the index entries they have, and writes what follows from it.
//!
//! It is part of the step that writes the records, so that no reader and no crash comes between.
//! A record that is like no other costs one look at an index.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_document::{Approval, Kinship};
use fieldmesh_model::natural_key::{extension, natural_key, shared_groups, unique_keys};
use fieldmesh_model::schema::{Collection, Unique};
use fieldmesh_model::{DocumentId, Fields, Moment, Value};
use fieldmesh_store::{Direction, KeyRange, Store, Tree, View};

use crate::alike::row::{ALIKE_PREFIX, AlikeGroup, AlikeRow, alike_key, behind_key};
use crate::alike::{MEMBERS_MAX, Member, item_id, judge};
use crate::changes::Closure;
use crate::error::Error;
use crate::rows::{self, ConflictRow, DocumentRow, RecordRow};

use super::{Projection, index};

mod instead;

/// Index entries that are looked at for one place, however many there are.
pub(crate) const LOOKED_AT_MAX: usize = 256;

/// Where records are alike: the values of one group of unique fields, without the extension of their
/// natural keys.
#[derive(Debug, Clone)]
pub(crate) struct Spot {
    pub(crate) hash: [u8; 16],
    /// The group of the record that the place was found by.
    pub(crate) unique: usize,
    /// The groups whose records stand here, by collection.
    groups: Vec<Group>,
    /// Whether records can be alike in no other way: what hides another one may be hidden itself
    /// by a third that is not like the first.
    is_only: bool,
}

/// A group of unique fields of a collection, and the values that its records share at a place.
#[derive(Debug, Clone)]
struct Group {
    collection: u16,
    unique: usize,
    key: Vec<u8>,
    ways: Vec<Way>,
}

/// The beginning of index keys under which all records of a place stand.
#[derive(Debug, Clone)]
struct Way {
    prefix: Vec<u8>,
    /// Whether the times of records stand before their ids.
    has_time: bool,
}

impl Spot {
    /// The places where a record stands.
    pub(crate) fn of(store: &Store, schema: &Collection, record: &RecordRow) -> Vec<Self> {
        let spot = |(unique, key): (usize, Vec<u8>)| {
            let own = Group::of(store, schema, (unique, key), &record.fields);
            let others = shared_groups(schema, unique, &record.fields).into_iter();
            let others = others.filter_map(|(other, number, fields)| {
                let mut keys = unique_keys(other, &fields, &[]).into_iter();
                let key = keys.find(|(unique, _)| *unique == number)?;
                Some(Group::of(store, other, key, &fields))
            });
            let mut groups: Vec<Group> = others.chain([own]).collect();
            groups.sort_by_key(|group| group.collection);
            let Group { collection, unique: first, ref key, .. } = groups[0];
            let parts = [&collection.to_be_bytes()[..], &(first as u64).to_be_bytes(), key];
            let hash = *store.keyed_hash("alike", &parts).first_chunk().expect("32 bytes have 16");
            Self { hash, unique, groups, is_only: schema.unique.len() == 1 }
        };
        unique_keys(schema, &record.fields, &[]).into_iter().map(spot).collect()
    }

    /// The group by which records of a collection stand here.
    fn group_of(&self, collection: u16) -> Option<&Group> {
        self.groups.iter().find(|group| group.collection == collection)
    }

    /// The collections whose records may stand here.
    fn collections(&self) -> impl Iterator<Item = u16> + '_ {
        self.groups.iter().map(|group| group.collection)
    }

    /// Whether a record stands here.
    fn has(&self, schema: &Collection, row: &DocumentRow) -> bool {
        let Some(record) = &row.record else { return false };
        self.group_of(row.scope.collection).is_some_and(|group| {
            unique_keys(schema, &record.fields, &[])
                .iter()
                .any(|(unique, key)| *unique == group.unique && *key == group.key)
        })
    }
}

impl Group {
    fn of(
        store: &Store,
        schema: &Collection,
        (unique, key): (usize, Vec<u8>),
        fields: &Fields,
    ) -> Self {
        let ways = ways(store, schema, &schema.unique[unique], (unique, &key), fields);
        Self { collection: schema.number, unique, key, ways }
    }
}

/// The indexes that have every record with these values.
fn ways(
    store: &Store,
    schema: &Collection,
    unique: &Unique,
    (number, key): (usize, &[u8]),
    fields: &Fields,
) -> Vec<Way> {
    if let Some(hash) = index::group_hash(store, schema, number, key) {
        return vec![Way { prefix: rows::group_prefix(hash), has_time: false }];
    }
    let time_field = schema.time_field.as_ref().filter(|field| unique.fields.contains(field));
    let time = time_field.and_then(|field| fields.get(field)).and_then(Value::as_moment);
    let at = |mut prefix: Vec<u8>| {
        prefix.extend(time.map(rows::sortable).into_iter().flatten());
        Way { prefix, has_time: true }
    };
    let value_of = |field: &String| {
        let value = fields.get(field).filter(|value| value.as_list().is_none())?;
        Some(at(rows::value_prefix(index::field_hash(store, schema.number, field, value))))
    };
    let indexed = unique.fields.iter().filter(|field| index::is_indexed(schema, field));
    let mut ways: Vec<Way> = indexed.filter_map(value_of).collect();
    if ways.is_empty() && time.is_some() {
        ways.push(at(rows::time_prefix(schema.number)));
    }
    ways
}

/// Records that are alike, and the one of them that counts although it is deleted.
type Judged = (AlikeGroup, Option<DocumentId>);

/// Records of a collection that may share the values of a group of unique fields, as its index has
/// them; of groups that `is_meant`, and of each no more than `most`.
pub(crate) fn beside(
    (store, view): (&Store, &View),
    schema: &Collection,
    fields: &Fields,
    is_meant: impl Fn(&Unique) -> bool,
    most: usize,
) -> Result<BTreeSet<DocumentId>, Error> {
    let mut found = BTreeSet::new();
    for (number, key) in unique_keys(schema, fields, &[]) {
        let unique = &schema.unique[number];
        let Some(way) = ways(store, schema, unique, (number, &key), fields).into_iter().next()
        else {
            continue;
        };
        if is_meant(unique) {
            let range = KeyRange::prefix(&way.prefix);
            for key in rows::keys(view, Tree::Index, range, Direction::Ascending).take(most) {
                found.extend(rows::indexed_id(&key?));
            }
        }
    }
    Ok(found)
}

/// The places that a step has touched, and which records stand there after it.
#[derive(Default)]
pub(super) struct Touched(BTreeMap<[u8; 16], (Spot, Standing)>);

/// Records that stood at a place or stand there, with their collections and times if they do.
type Standing = BTreeMap<DocumentId, Option<(u16, Moment)>>;

impl Touched {
    /// A record stood at these places before the step.
    pub(super) fn leave(&mut self, id: DocumentId, spots: Vec<Spot>) {
        for spot in spots {
            let (_, moved) = self.0.entry(spot.hash).or_insert_with(|| (spot, Standing::new()));
            moved.insert(id, None);
        }
    }

    /// It stands at these after it, as a record of this collection and time.
    pub(super) fn enter(&mut self, id: DocumentId, at: (u16, Moment), spots: Vec<Spot>) {
        for spot in spots {
            let place = self.0.entry(spot.hash);
            let (known, moved) = place.or_insert_with(|| (spot.clone(), Standing::new()));
            // It is found by the schema of now.
            *known = spot;
            moved.insert(id, Some(at));
        }
    }
}

/// The places of a record before and after a step.
#[derive(Default)]
pub(super) struct Moved {
    pub(super) before: Vec<Spot>,
    pub(super) after: Option<((u16, Moment), Vec<Spot>)>,
}

impl Moved {
    pub(super) fn of(
        store: &Store,
        before: (&Collection, Option<&RecordRow>),
        after: (&Collection, Option<&RecordRow>),
    ) -> Self {
        let spots = |(schema, record): (&Collection, Option<&RecordRow>)| {
            record.map(|record| Spot::of(store, schema, record)).unwrap_or_default()
        };
        let at = after.1.map(|record| (after.0.number, index::record_time(after.0, record)));
        Self { before: spots(before), after: at.map(|at| (at, spots(after))) }
    }
}

impl Projection<'_> {
    /// Notes where a record stood and stands.
    pub(super) fn note_alike(&mut self, id: DocumentId, moved: Moved) {
        self.alike.leave(id, moved.before);
        if let Some((at, spots)) = moved.after {
            self.alike.enter(id, at, spots);
        }
    }

    /// Writes what follows for the places that were touched.
    pub(super) fn write_alike(&mut self) -> Result<(), Error> {
        let Touched(touched) = std::mem::take(&mut self.alike);
        if touched.is_empty() {
            return Ok(());
        }
        let range = KeyRange::prefix(ALIKE_PREFIX);
        let is_any = rows::edge(self.view, Tree::Meta, &range, Direction::Ascending)?.is_some();
        let (mut found, mut judged) = (Vec::new(), BTreeSet::new());
        for (spot, moved) in touched.into_values() {
            let key = alike_key(&spot.hash);
            let before = match is_any {
                true => rows::find(self.view, Tree::Meta, &key)?,
                false => None,
            };
            let before: AlikeRow = before.unwrap_or_default();
            let ids = self.standing_at(&spot, &moved)?;
            let groups = if ids.len() < 2 { Vec::new() } else { self.groups(&spot, ids)? };
            let (groups, instead): (_, Vec<_>) = groups.into_iter().unzip();
            let after = AlikeRow { groups };
            judged.extend(self.note_instead(&spot, [&before, &after], instead)?);
            if before != after {
                found.push((spot, before, after));
            }
        }
        // Nothing in the feed tells of a record that is shown otherwise by what is said of others.
        let places = |row: &AlikeRow| -> BTreeSet<(DocumentId, DocumentId)> {
            row.groups.iter().flat_map(|group| group.behind.iter().copied()).collect()
        };
        if found.iter().any(|(_, before, after)| places(before) != places(after)) {
            self.note_vanished();
        }
        // Records that move together take their item along.
        for (spot, before, _) in &found {
            for group in &before.groups {
                self.writes.delete(Tree::Inbox, rows::inbox_key(&group.item));
                for ((id, _), collection) in cross(&group.behind, spot) {
                    self.writes.delete(Tree::Meta, behind_key(collection, *id, &spot.hash));
                }
            }
            self.writes.delete(Tree::Meta, alike_key(&spot.hash));
        }
        for (spot, _, after) in found.iter().filter(|(_, _, after)| !after.groups.is_empty()) {
            for AlikeGroup { item, members, behind, .. } in &after.groups {
                let row = ConflictRow { document: members[0], open: true };
                self.writes.put(Tree::Inbox, rows::inbox_key(item), rows::encode(&row));
                for (id, first) in behind {
                    let key = behind_key(self.collection_at(spot, *id)?, *id, &spot.hash);
                    self.writes.put(Tree::Meta, key, rows::encode(first));
                }
            }
            self.writes.put(Tree::Meta, alike_key(&spot.hash), rows::encode(after));
        }
        judged.into_iter().try_for_each(|id| self.show_instead(id))
    }

    /// The collection of a record that stands at a place.
    fn collection_at(&self, spot: &Spot, id: DocumentId) -> Result<u16, Error> {
        let first = spot.groups[0].collection;
        match spot.groups.len() {
            1 => Ok(first),
            _ => Ok(self.row_after(id)?.map_or(first, |row| row.scope.collection)),
        }
    }

    /// The records that may stand at a place after this step: those of each collection in the order
    /// of its index.
    fn standing_at(&self, spot: &Spot, moved: &Standing) -> Result<Vec<DocumentId>, Error> {
        let mut all = Vec::new();
        for group in &spot.groups {
            all.extend(self.standing_in(group, moved)?);
        }
        Ok(all)
    }

    fn standing_in(&self, group: &Group, moved: &Standing) -> Result<Vec<DocumentId>, Error> {
        let count = LOOKED_AT_MAX + moved.len();
        let mut found: Option<(Vec<Vec<u8>>, bool)> = None;
        for Way { prefix, has_time } in &group.ways {
            let range = KeyRange::prefix(prefix);
            let keys = self.view.keys(Tree::Index, &range, Direction::Ascending, count);
            let keys = keys.map_err(|error| Error::store(&error))?;
            if found.as_ref().is_none_or(|(best, _)| keys.len() < best.len()) {
                found = Some((keys, *has_time));
            }
            // A further field can only tell records apart where there are several.
            if found.as_ref().is_some_and(|(best, _)| best.len() < 2) {
                break;
            }
        }
        let Some((keys, has_time)) = found else { return Ok(Vec::new()) };
        let placed = |time: Option<[u8; 8]>, id| (time.filter(|_| has_time), id);
        let stayed = keys.iter().filter_map(|key| {
            let id = rows::indexed_id(key).filter(|id| !moved.contains_key(id))?;
            Some(placed(rows::indexed_time(key), id))
        });
        let come = moved.iter().filter_map(|(id, at)| {
            let (_, time) = at.filter(|(collection, _)| *collection == group.collection)?;
            Some(placed(Some(rows::sortable(time)), *id))
        });
        let all: BTreeSet<_> = stayed.chain(come).collect();
        Ok(all.into_iter().take(LOOKED_AT_MAX).map(|(_, id)| id).collect())
    }

    /// The groups among these records about which somebody has to decide, each with the record
    /// that counts although it is deleted.
    fn groups(&self, spot: &Spot, ids: Vec<DocumentId>) -> Result<Vec<Judged>, Error> {
        let mut kin: BTreeMap<Vec<u8>, Vec<(DocumentId, DocumentRow)>> = BTreeMap::new();
        for id in ids {
            let Some(row) = self.row_after(id)? else { continue };
            let schema = self.schemas.after(row.scope.collection, &id);
            if spot.has(&schema, &row) {
                let extension = self.extension_of(&schema, spot, id, &row);
                kin.entry(extension).or_default().push((id, row));
            }
        }
        let several = kin.into_values().filter(|members| members.len() > 1);
        let groups = several.filter_map(|members| self.group(spot, members).transpose());
        groups.collect()
    }

    fn group(
        &self,
        spot: &Spot,
        members: Vec<(DocumentId, DocumentRow)>,
    ) -> Result<Option<Judged>, Error> {
        let collections = members.iter().map(|(id, row)| (*id, row.scope.collection));
        let collections: BTreeMap<DocumentId, u16> = collections.collect();
        // Of those that are gone one that nobody has to approve counts before others.
        let is_approved = |(_, row): &&(DocumentId, DocumentRow)| {
            let approval = row.record.as_ref().and_then(|record| record.approval.as_ref());
            approval.is_none_or(Approval::counts)
        };
        let approved = members.iter().filter(is_approved).map(|(id, _)| *id);
        let approved: BTreeSet<DocumentId> = approved.collect();
        // What does not count is no duplicate of what does.
        let is_gone = |(id, row)| Ok((self.is_gone(id, &row)? || lacks_approval(&row), id, row));
        let mut members = members.into_iter().map(is_gone).collect::<Result<Vec<_>, Error>>()?;
        members.sort_by_key(|(is_gone, id, _)| (*is_gone, *id));
        let more = members.len().saturating_sub(MEMBERS_MAX);
        members.truncate(MEMBERS_MAX);
        let judged: Vec<Member> = members
            .into_iter()
            .map(|(is_deleted, id, row)| {
                let kinship = Kinship { is_deleted, ..self.kinship_of(id, &row) };
                Member { id, kinship }
            })
            .collect();
        let verdict = judge(&judged);
        // Records of several collections are called an item of the first.
        let is_open = |group: &&Group| {
            verdict.open.iter().any(|id| collections.get(id) == Some(&group.collection))
        };
        let Some(first) = spot.groups.iter().find(is_open) else { return Ok(None) };
        let group = AlikeGroup {
            item: item_id(first.collection, first.unique, &verdict.open),
            behind: behind(spot, &judged, &collections),
            members: verdict.open.into_iter().collect(),
            more: u32::try_from(more).unwrap_or(u32::MAX),
        };
        let instead = verdict.instead;
        let counting = instead.intersection(&approved).next().or(instead.first()).copied();
        Ok(Some((group, counting)))
    }

    /// The row of a document as this step leaves it.
    fn row_after(&self, id: DocumentId) -> Result<Option<DocumentRow>, Error> {
        match self.writes.find(Tree::Document, id.as_bytes()) {
            Some(row) => row.map(rows::decode).transpose(),
            None => rows::find(self.view, Tree::Document, id.as_bytes()),
        }
    }

    /// What an import told a record apart by, where its key may have such a part.
    fn extension_of(
        &self,
        schema: &Collection,
        spot: &Spot,
        id: DocumentId,
        row: &DocumentRow,
    ) -> Vec<u8> {
        let unique = spot.group_of(schema.number).and_then(|group| schema.unique.get(group.unique));
        let is_extended = unique.is_some_and(|unique| unique.extended);
        let Some(record) = row.record.as_ref().filter(|_| is_extended) else { return Vec::new() };
        let Some(plain) = natural_key(schema, &record.fields, &[]) else { return Vec::new() };
        if id.is_derived_from(record.created_by, id.moment(), &plain) {
            return Vec::new();
        }
        let view = self.document_of(id, row).and_then(|document| document.view(schema).ok());
        view.map(|view| extension(schema, &record.fields, &view.key).to_vec()).unwrap_or_default()
    }

    fn kinship_of(&self, id: DocumentId, row: &DocumentRow) -> Kinship {
        // A first change says nothing of others.
        let document = (row.changes.len() > 1).then(|| self.document_of(id, row)).flatten();
        document.and_then(|document| document.kinship().ok()).unwrap_or_default()
    }

    fn document_of(
        &self,
        id: DocumentId,
        row: &DocumentRow,
    ) -> Option<fieldmesh_document::Document> {
        let (store, me) = (self.sources.store, self.sources.me);
        let (closure, _) = Closure::read_readable(store, &row.changes, me);
        closure.document(id, &self.sources.policy).ok()
    }
}

/// The records that do not count meanwhile. Lists and counts are of one collection each, so none is
/// hidden by a record of another one.
fn behind(
    spot: &Spot,
    members: &[Member],
    collections: &BTreeMap<DocumentId, u16>,
) -> Vec<(DocumentId, DocumentId)> {
    let mut behind = BTreeMap::new();
    for collection in spot.collections().filter(|_| spot.is_only) {
        let is_own = |member: &&Member| collections.get(&member.id) == Some(&collection);
        let own: Vec<Member> = members.iter().filter(is_own).cloned().collect();
        behind.extend(judge(&own).behind);
    }
    behind.into_iter().collect()
}

/// Each of these with each collection of a place.
fn cross<'a, T>(all: &'a [T], spot: &'a Spot) -> impl Iterator<Item = (&'a T, u16)> {
    all.iter().flat_map(|one| spot.collections().map(move |collection| (one, collection)))
}

fn lacks_approval(row: &DocumentRow) -> bool {
    row.record.as_ref().is_some_and(|record| !record.deleted && !record.is_live())
}
