//! Records that are alike as devices found them, told as conflicts of two.
//!
//! The item that devices have about them stays the same while records of it are edited and while
//! some of several are told apart. So apps are given an id of their own for each two as they are:
//! nobody settles what he was not shown.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh::gateway::{Competing, Held};
use fieldmesh_model::natural_key::unique_keys;
use fieldmesh_model::{DocumentId, Fields};

use crate::conflict::side_of;
use crate::stored::{ConflictRow, Kind, SideRow};
use crate::{Failure, Task};

/// What stands between the id of an item and that of two records in it; no other id has it.
const OF_TWO: char = '.';

/// The item that devices have, of the id that an app was given.
pub(crate) fn item_of(id: &str) -> &str {
    id.rsplit_once(OF_TWO).map_or(id, |(item, _)| item)
}

impl Task<'_> {
    /// Records about which devices ask which of them stay: of several the newest two of which nobody
    /// said that both are meant and which no note lists already, else of which one is deleted. Where
    /// they lie in different collections, that with the higher number is the client's, whoever asks.
    pub(crate) fn row_of_alike(
        &self,
        competing: &Competing,
    ) -> Result<Option<ConflictRow>, Failure> {
        let (mut held, mut apart) = (Vec::with_capacity(competing.alike.len()), BTreeMap::new());
        for id in &competing.alike {
            held.extend(self.access.held(*id)?);
            apart.insert(*id, self.access.apart_from(*id)?);
        }
        held.sort_by_key(|held| (held.collection, held.created_at, held.id));
        let says = |id: DocumentId, other| apart.get(&id).is_some_and(|it| it.contains(&other));
        let is_open = |one: &Held, other: &Held| {
            let is_gone = one.deleted || other.deleted;
            !is_gone && !says(one.id, other.id) && !says(other.id, one.id)
        };
        if let Some(row) = self.newest_two(&competing.id, &held, is_open)? {
            return Ok(Some(row));
        }
        // Where both of any two that are there are meant, people have said contrary things of those
        // that are gone: each deleted another one, or one deleted what another kept. What records
        // say of themselves counts, since one of them is shown meanwhile as if it were there.
        let mut given = BTreeMap::new();
        for held in &held {
            let kept = self.access.deleted_for(held.id)?;
            given.extend((!kept.is_empty()).then_some((held.id, kept)));
        }
        let gave_way = |one: &Held, other: &Held| {
            let is_gone = given.contains_key(&other.id);
            let is_denied = is_gone || says(one.id, other.id) || says(other.id, one.id);
            is_denied && given.get(&one.id).is_some_and(|kept| kept.contains(&other.id))
        };
        let each_for_other =
            |one: &Held, other: &Held| gave_way(one, other) && gave_way(other, one);
        let one_for_other = |one: &Held, other: &Held| gave_way(one, other) || gave_way(other, one);
        let is_either_gone = |one: &Held, other: &Held| one.deleted || other.deleted;
        // Those who said it of each other come before those of whom others said so.
        if let Some(row) = self.newest_two(&competing.id, &held, each_for_other)? {
            return Ok(Some(row));
        }
        if let Some(row) = self.newest_two(&competing.id, &held, one_for_other)? {
            return Ok(Some(row));
        }
        self.newest_two(&competing.id, &held, is_either_gone)
    }

    /// The deleted records beside the two of a conflict that people kept over one of these, as
    /// others kept that over them: who settles the conflict was not shown them.
    pub(crate) fn kept_over(
        &self,
        row: &ConflictRow,
        kept: &[DocumentId],
    ) -> Result<Vec<DocumentId>, Failure> {
        let item = match row.tells_of_deletion() {
            true => self.access.inbox_item(item_of(&row.id))?,
            false => None,
        };
        let (told, mut found) = (row.documents(), Vec::new());
        for id in item.into_iter().flat_map(|item| item.alike).filter(|id| !told.contains(id)) {
            let given = self.access.deleted_for(id)?;
            for kept in kept.iter().filter(|kept| given.contains(*kept)) {
                if self.access.deleted_for(*kept)?.contains(&id) && !found.contains(&id) {
                    found.push(id);
                }
            }
        }
        Ok(found)
    }

    /// The newest two of which it is asked which stays, and which no note lists.
    fn newest_two(
        &self,
        item: &str,
        held: &[Held],
        is_asked: impl Fn(&Held, &Held) -> bool,
    ) -> Result<Option<ConflictRow>, Failure> {
        for (place, client) in held.iter().enumerate().rev() {
            let older = held[..place].iter().rev();
            for server in older.filter(|server| is_asked(client, server)) {
                let row = row_of_two(item, client, server);
                if !self.is_noted(&row)? {
                    return Ok(Some(row));
                }
            }
        }
        Ok(None)
    }

    /// Whether two records of which an app was told that they are alike are so no more: one was
    /// edited, or somebody said that both are meant.
    pub(crate) fn is_apart(
        &self,
        row: &ConflictRow,
        client: &Held,
        server: &Held,
    ) -> Result<bool, Failure> {
        // Of what is deleted as well people have said contrary things, that both are meant among them.
        if row.kind != Kind::Duplicate || row.tells_of_deletion() {
            return Ok(false);
        }
        // What devices found is so as long as they say so.
        if row.sequence != 0 && !self.share_values(client, server) {
            return Ok(true);
        }
        self.are_apart(client.id, server.id)
    }

    /// Whether somebody said of either record that it is meant beside the other.
    pub(crate) fn are_apart(&self, one: DocumentId, other: DocumentId) -> Result<bool, Failure> {
        Ok(self.access.apart_from(one)?.contains(&other)
            || self.access.apart_from(other)?.contains(&one))
    }

    /// Whether two records of one collection share values of which it wants one of a kind.
    pub(crate) fn share_values(&self, one: &Held, other: &Held) -> bool {
        let groups =
            |held: &Held| self.access.groups(&self.access.schema(held.collection), &held.fields);
        let theirs = groups(other);
        groups(one).iter().any(|group| theirs.contains(group))
    }

    /// The fields whose values two records share though one of a kind is wanted, as they were when
    /// that was noted.
    pub(crate) fn keys_shared(&self, row: &ConflictRow) -> Vec<String> {
        let schema = self.access.schema(row.collection);
        let theirs = unique_keys(&schema, &row.server.fields, &[]);
        let mut shared = unique_keys(&schema, &row.client.fields, &[]);
        shared.retain(|group| theirs.contains(group));
        let keys = shared.iter().flat_map(|(number, _)| &schema.unique[*number].fields);
        keys.collect::<BTreeSet<_>>().into_iter().cloned().collect()
    }
}

fn row_of_two(item: &str, client: &Held, server: &Held) -> ConflictRow {
    let side = |held: &Held| SideRow {
        at: Some(held.created_at),
        user: held.made_for.clone().or_else(|| Some(held.created_by.to_string())),
        ..side_of(held)
    };
    let mut hasher = blake3::Hasher::new_derive_key("fieldmesh/gateway-alike/1");
    for held in [client, server] {
        hasher.update(held.id.as_bytes());
        hasher.update(&held.version.to_be_bytes());
    }
    let of_two = data_encoding::HEXLOWER.encode(&hasher.finalize().as_bytes()[..8]);
    ConflictRow {
        id: format!("{item}{OF_TWO}{of_two}"),
        sequence: 0,
        kind: Kind::Duplicate,
        collection: client.collection,
        client: side(client),
        server: side(server),
        keys: Vec::new(),
        since: client.created_at.max(server.created_at),
        settled: None,
        contract: None,
    }
}

impl ConflictRow {
    /// Whether it tells of records of which people have deleted one for the other.
    pub(crate) fn tells_of_deletion(&self) -> bool {
        self.kind == Kind::Duplicate && (self.client.deleted || self.server.deleted)
    }

    /// The fields that say of which type the record is that the conflict is listed by.
    pub(crate) fn told_fields(&self) -> &Fields {
        match self.kind {
            Kind::Duplicate => &self.client.fields,
            Kind::Field | Kind::DeletedAndEdited => &self.server.fields,
        }
    }
}
