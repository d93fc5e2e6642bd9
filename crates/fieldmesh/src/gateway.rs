//! Records for programs that answer clients of their own: a gateway of existing apps, or a device
//! with such apps on it, which writes as its owner.
//!
//! A gateway writes many records at once, in the names of its users and under the names that their
//! apps gave, on the versions that these have seen. It reads what arrived in the order of arrival,
//! and keeps notes of its own that survive a restart. All calls block: run them on a thread for
//! such calls.
//!
//! What is global is in the records themselves and replicates: the name that a client gave and the
//! user who created. So every gateway of a tenant finds a record by the same name. A version is the
//! number of changes that have arrived here, so it belongs to one gateway, as cursors do.

mod feed;
mod files;
mod held;
mod inbox;

use std::sync::Arc;

use fieldmesh_model::schema::{Collection, Unique};
use fieldmesh_model::{DocumentId, Moment, Role, TenantId, UserId, Value};
use fieldmesh_store::{Direction, KeyRange, Tree};

use crate::Node;
use crate::error::Error;
use crate::home::Home;
use crate::ledger::Ledger;
use crate::projection::alike::{LOOKED_AT_MAX, beside};
use crate::projection::{NoteRow, alike_hashes, is_covered, name_hash, number_of};
use crate::rows;
use crate::schema;

pub(crate) use self::feed::mark_at;
pub use self::feed::{Mark, Moments};
pub use self::held::Held;
pub use self::inbox::{Competing, CompetingValue, InboxPart};
pub use crate::ledger::{NOTE_SIZE_MAX, NewDocument, Write};

/// A note of a gateway: what it lies under, and what it says.
pub type Noted = (Vec<u8>, Vec<u8>);

/// What a gateway noted, with when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteAt {
    /// What the note says.
    pub value: Vec<u8>,
    /// When it arrived; none where nothing arrived with it.
    pub at: Option<Moment>,
}

/// The records of a node, for a gateway. Cheap to clone; all calls block.
#[derive(Clone)]
pub struct Access {
    pub(crate) ledger: Arc<Ledger>,
    home: Arc<Home>,
}

/// The person whose device it is, and what he may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The person.
    pub user: UserId,
    /// What the person is called.
    pub name: String,
    /// The e-mail address; may be empty.
    pub email: String,
    /// What the device's certificate says.
    pub role: Role,
}

impl Access {
    /// Access to the records of `node`, as long as that runs.
    pub fn new(node: &Node) -> Self {
        Self { ledger: node.shared_ledger(), home: node.shared_home() }
    }

    /// The tenant.
    pub fn tenant(&self) -> TenantId {
        self.ledger.identity.tenant
    }

    /// As whom this device writes, now.
    ///
    /// # Errors
    ///
    /// It is no member, or no longer.
    pub fn owner(&self) -> Result<Owner, Error> {
        let me = self.ledger.me()?;
        Ok(Owner { user: me.user, name: me.user_name, email: me.email, role: me.role })
    }

    /// Whether this device's member may settle what competes in the record.
    ///
    /// # Errors
    ///
    /// [`Error::NotAllowed`] where he may not.
    pub fn check_settles(&self, held: &Held) -> Result<(), Error> {
        let schema = self.schema(held.collection);
        self.ledger.check(&schema.resolve_by, held.created_by, "settle conflicts of", &schema)
    }

    /// Whether the record can be here.
    ///
    /// # Errors
    ///
    /// [`Error::LetGo`] where this device let it go.
    pub fn check_not_let_go(&self, id: DocumentId) -> Result<(), Error> {
        self.ledger.check_not_let_go(id)
    }

    /// What tells the order of arrival here from that of any other store, or of this one before it
    /// was put back from an older copy.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn feed_id(&self) -> Result<[u8; 8], Error> {
        self.ledger.feed_id()
    }

    /// The same, if it can be told without waiting.
    pub fn feed_id_now(&self) -> Option<[u8; 8]> {
        let is_known = self.ledger.projector.is_known();
        is_known.then(|| self.ledger.feed_id().ok()).flatten()
    }

    /// Waits until everything that is durable can be read.
    ///
    /// # Errors
    ///
    /// The view cannot follow.
    pub fn catch_up(&self) -> Result<(), Error> {
        self.ledger.mend_view();
        self.ledger.catch_up()
    }

    /// Waits, a moment at the most, until what others have sent can be read.
    ///
    /// # Errors
    ///
    /// The view cannot follow.
    pub fn settle(&self) -> Result<(), Error> {
        self.ledger.settle()
    }

    /// Waits, a moment at the most, where records are being made anew.
    ///
    /// # Errors
    ///
    /// [`Error::Remaking`] where it takes longer.
    pub fn await_records(&self) -> Result<(), Error> {
        self.ledger.await_records("apps are answered once all of it is there")
    }

    /// Does something with one view that has all records; fails where records are being made anew
    /// for longer than anybody waits, or begin to be meanwhile.
    ///
    /// # Errors
    ///
    /// Those of `work`, and [`Error::Remaking`].
    pub fn on_one_view<T, E: From<Error>>(
        &self,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let number = self.ledger.projector.view_number();
        self.await_records()?;
        let done = work()?;
        self.ledger.check_view(number)?;
        Ok(done)
    }

    /// The record, deleted or not.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn held(&self, id: DocumentId) -> Result<Option<Held>, Error> {
        Ok(self.ledger.row(id)?.and_then(|row| Held::of_row(id, row, &self.ledger)))
    }

    /// The record as it was after the first `version` changes of it that arrived.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn held_at(&self, id: DocumentId, version: u64) -> Result<Option<Held>, Error> {
        let Some(mut row) = self.ledger.row(id)? else { return Ok(None) };
        if usize::try_from(version).is_ok_and(|version| version >= row.changes.len()) {
            return Ok(Held::of_row(id, row, &self.ledger));
        }
        row.changes.truncate(usize::try_from(version).unwrap_or(usize::MAX).max(1));
        row.arrived.truncate(row.changes.len());
        row.record = Some(self.ledger.record_of(id, &row)?);
        Ok(Held::of_row(id, row, &self.ledger))
    }

    /// The record of `collection` that a client calls `name`; of several the oldest id of those that
    /// may be meant.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn named(
        &self,
        collection: u16,
        name: &Value,
        is_meant: impl Fn(&Held) -> bool,
    ) -> Result<Option<DocumentId>, Error> {
        let hash = name_hash(&self.ledger.store, collection, name);
        for id in self.indexed(&rows::name_prefix(hash))? {
            let held = self.held(id)?;
            let is_so = |known: &Value| is_same_name(known, name);
            if held.is_some_and(|held| held.name.as_ref().is_some_and(is_so) && is_meant(&held)) {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// The record of `collection` for which `number` stands.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn numbered(&self, collection: u16, number: i64) -> Result<Option<DocumentId>, Error> {
        Ok(self.indexed(&rows::number_prefix(collection, number))?.first().copied())
    }

    /// The number that stands for a record that has no name; the same on every gateway.
    pub fn number_of(&self, id: DocumentId) -> i64 {
        number_of(id)
    }

    /// The records that hold the same values as `fields` where the collection wants one of a kind.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn alike(
        &self,
        collection: &Collection,
        fields: &fieldmesh_model::Fields,
    ) -> Result<Vec<DocumentId>, Error> {
        let (wanted, mut alike) = (self.groups(collection, fields), Vec::new());
        if wanted.is_empty() {
            return Ok(alike);
        }
        let index = (&*self.ledger.store, self.ledger.view());
        let is_meant = |unique: &Unique| !is_covered(collection, unique);
        for id in beside(index, collection, fields, is_meant, LOOKED_AT_MAX)? {
            let Some(held) = self.held(id)? else { continue };
            if self.groups(collection, &held.fields).iter().any(|group| wanted.contains(group)) {
                alike.push(id);
            }
        }
        Ok(alike)
    }

    /// What stands for the values of which the collection wants one of a kind: two records that
    /// share one of these are alike.
    pub fn groups(
        &self,
        collection: &Collection,
        fields: &fieldmesh_model::Fields,
    ) -> Vec<[u8; 16]> {
        alike_hashes(&self.ledger.store, collection, fields)
    }

    /// What the gateway noted under `key`.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn note(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let row: Option<NoteRow> =
            rows::find(self.ledger.view(), Tree::Meta, &rows::note_key(key))?;
        Ok(row.map(|row| row.value))
    }

    /// What the gateway noted under `key`, and when that arrived, where the note has a moment.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn note_and_moment(&self, key: &[u8]) -> Result<Option<NoteAt>, Error> {
        let view = self.ledger.view();
        let row: Option<NoteRow> = rows::find(view, Tree::Meta, &rows::note_key(key))?;
        let Some(row) = row else { return Ok(None) };
        let at = rows::find(view, Tree::Meta, &rows::mark_key(row.place))?;
        Ok(Some(NoteAt { value: row.value, at }))
    }

    /// What the gateway noted under keys that begin with `prefix`, with the first position of the
    /// entry of the log in which it did.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn placed_notes(&self, prefix: &[u8]) -> Result<Vec<(u64, Vec<u8>)>, Error> {
        let range = KeyRange::prefix(&rows::note_key(prefix));
        let rows = rows::scan(self.ledger.view(), Tree::Meta, range, Direction::Ascending);
        let placed = |row: Result<Noted, Error>| {
            let NoteRow { place, value } = rows::decode(&row?.1)?;
            Ok((rows::position(place, rows::LOCAL_LEAF), value))
        };
        rows.map(placed).collect()
    }

    /// What changes whenever anything that can be read does.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn stamp(&self) -> Result<(u64, u64), Error> {
        let applied = self.ledger.view().applied().map_err(|error| Error::store(&error))?;
        let steps = *self.ledger.projector.grown().borrow();
        Ok((applied.map_or(0, |place| place.0), steps))
    }

    /// What the gateway noted under keys that begin with `prefix`, from behind `after` on; at most
    /// `count`.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn notes(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<Noted>, Error> {
        let mut range = KeyRange::prefix(&rows::note_key(prefix));
        if let Some(after) = after {
            range = range.after(&rows::note_key(after));
        }
        let skipped = rows::note_key(&[]).len();
        let rows = rows::scan(self.ledger.view(), Tree::Meta, range, Direction::Ascending);
        let own = |row: Result<Noted, Error>| {
            let (key, value) = row?;
            Ok((key[skipped..].to_vec(), rows::decode::<NoteRow>(&value)?.value))
        };
        rows.take(count).map(own).collect()
    }

    /// A keyed hash of what should not stand in the key of a note as it is.
    pub fn hidden(&self, parts: &[&[u8]]) -> [u8; 16] {
        let hash = self.ledger.store.keyed_hash("gateway", parts);
        *hash.first_chunk().expect("32 bytes have a first sixteen")
    }

    /// Tells whenever records can be read that could not be before.
    pub fn growth(&self) -> Growth {
        Growth(self.ledger.projector.grown())
    }

    /// Every collection that the tenant may have records of: the built-in ones and its own.
    pub fn collections(&self) -> Vec<Arc<Collection>> {
        schema::all(&self.ledger.policy())
    }

    /// The collection that people call `name`, built in or the tenant's own.
    pub fn collection_named(&self, name: &str) -> Option<Arc<Collection>> {
        schema::find(&self.ledger.policy(), name)
    }

    /// The collection that a field of the collection `of` means by `name`.
    pub fn referred(&self, of: u16, name: &str) -> Option<Arc<Collection>> {
        schema::referred(&self.ledger.policy(), of, name)
    }

    /// The schema of a collection.
    pub fn schema(&self, collection: u16) -> Arc<Collection> {
        self.ledger.schema(collection)
    }

    fn indexed(&self, prefix: &[u8]) -> Result<Vec<DocumentId>, Error> {
        let range = KeyRange::prefix(prefix);
        let keys = rows::keys(self.ledger.view(), Tree::Index, range, Direction::Ascending);
        keys.map(|key| key.map(|key| rows::indexed_id(&key)))
            .filter_map(Result::transpose)
            .collect()
    }
}

/// Tells that records can be read that could not be before.
#[derive(Debug, Clone)]
pub struct Growth(tokio::sync::watch::Receiver<u64>);

impl Growth {
    /// What can be read by now counts as seen.
    pub fn mark_seen(&mut self) {
        self.0.mark_unchanged();
    }

    /// Waits until there is more than was seen; false where no more will come.
    pub async fn more(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}

/// Whether two names are one: a number and the text of it are, and so are two spellings of a UUID.
pub(crate) fn is_same_name(known: &Value, name: &Value) -> bool {
    let (known, name) = (known.to_cell(), name.to_cell());
    known == name || (known.eq_ignore_ascii_case(&name) && known.parse::<DocumentId>().is_ok())
}
