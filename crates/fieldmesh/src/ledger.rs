//! The records of one tenant on this device: everything that needs no network.
//!
//! All calls block, on the disk or on the projector; a node runs them on blocking threads. Local
//! changes are built one at a time under the author's lock and handed to the store in that order;
//! the wait for the disk happens outside, so that many writers share one sync of the disk.

mod adopted;
mod again;
mod alike;
mod approval;
mod aside;
mod backup;
mod breaches;
mod bulk;
mod comments;
mod conflicts;
mod copies;
mod create;
mod decided;
mod diagnosis;
mod dispute;
mod draft;
mod duplicates;
mod evict;
mod export;
mod feed;
mod import;
mod inbox;
mod indexes;
mod lacking;
mod live;
mod membership;
mod mend;
mod mended;
mod names;
mod notices;
mod past;
mod purge;
mod query;
mod record;
mod refused;
mod relays;
mod remaking;
mod reports;
mod resealed;
mod resolve_all;
mod revoke;
mod safety;
mod schemas;
mod scrub;
mod stranded;
mod sweep;
mod travel;
mod unproven;
mod upkeep;
mod verdict;
mod verify;
mod write;
mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, RwLock};
use std::time::{Duration, Instant};

use fieldmesh_batch::Priority;
use fieldmesh_document::Document;
use fieldmesh_identity::policy::Unheard;
use fieldmesh_identity::{Item, Member, Policy};
use fieldmesh_model::schema::Collection;
use fieldmesh_model::{DeviceId, DocumentId, Epoch, Filter, Moment, UserId};
use fieldmesh_replica::Input;
use fieldmesh_store::{Direction, KeyRange, Place, Store, Tree, View};

use crate::author::{Author, Unsealed, priority_of};
use crate::changes::Closure;
use crate::clock;
use crate::entry::{Entry, Fact, LocalChange};
use crate::error::Error;
use crate::harm::Harms;
use crate::home::Identity;
use crate::mesh::{Call, Mesh};
use crate::places::Places;
use crate::projection::fact_key;
use crate::projector::Projector;
use crate::rows::{self, ChainRow, DocumentRow};
use crate::schema;

pub(crate) use self::breaches::is_breach;
pub(crate) use self::evict::wanted;
pub(crate) use self::inbox::KIND_DELETED;
pub(crate) use self::live::Followed;
pub(crate) use self::membership::revoker;
pub(crate) use self::mend::Seen;
pub(crate) use self::past::Past;
pub(crate) use self::query::Names;
pub(crate) use self::relays::{RELAY_ADDRESSES_MAX, dialled_relays, is_relay, signer_of_address};
pub use self::written::{NOTE_SIZE_MAX, NewDocument, Write};

/// How long a read waits for what others have sent a moment ago.
const PATIENCE: Duration = Duration::from_millis(500);

/// Lines of found damage that are kept in mind.
const DAMAGE_LINES_MAX: usize = 50;

/// The records of one tenant on this device.
pub(crate) struct Ledger {
    pub(crate) store: Arc<Store>,
    pub(crate) projector: Projector,
    pub(crate) places: Arc<Places>,
    pub(crate) identity: Identity,
    /// Deriving it from the seed costs a point multiplication, so it is done once.
    device: DeviceId,
    policy: Arc<RwLock<Arc<Policy>>>,
    desk: Mutex<Desk>,
    /// Held while an invitation is issued or used.
    enrolment: Mutex<()>,
    /// Held while a policy item becomes durable and comes into force.
    saying: Mutex<()>,
    mesh: OnceLock<Mesh>,
    /// The part of the tenant's records that is exchanged.
    pub(crate) only: Filter,
    /// What of it is held: what is older was let go.
    keeping: evict::Keeping,
    counted: safety::Counted,
    unproven: unproven::Unproven,
    upkeep: upkeep::Upkeep,
    /// Damage that waits to be looked at.
    pub(crate) damaged: Arc<Harms>,
    /// Held by whoever looks at it, so that whoever asks what is damaged waits for that.
    mending: Mutex<()>,
    /// Lost batches whose changes were looked for elsewhere in the log.
    searched: Mutex<BTreeSet<Place>>,
    seen: Seen,
    scrubbed: scrub::Scrubbed,
    naming: Mutex<purge::Naming>,
    /// Held by the gateway that writes.
    gateway: Mutex<()>,
    /// Held by whoever changes or submits drafts.
    drafts: Mutex<()>,
    told: Mutex<notices::Told>,
}

/// What is locked while a local change is built.
struct Desk {
    author: Author,
    /// Changes that are handed to the store and may not be in the view so far, by document.
    recent: BTreeMap<DocumentId, Vec<Recent>>,
    /// How many of them were still needed when that was looked at last: looking costs, so it pays
    /// only when there are twice as many.
    recent_kept: usize,
    /// The newest place that a local change was written to.
    newest: Option<Place>,
    /// Groups of batches that are on their way to the disk.
    sealing: usize,
    /// The last time that a record was given because its input had none.
    given: Moment,
}

impl Desk {
    /// The time for a record whose input has none. No two records get the same: what two people
    /// record in one millisecond are two records.
    fn unused_now(&mut self) -> Moment {
        self.given = clock::now().max(self.given.plus_millis(1));
        self.given
    }

    /// Forgets a change that did not become durable.
    fn forget(&mut self, document: DocumentId, change: &[u8]) {
        if let Some(recent) = self.recent.get_mut(&document) {
            recent.retain(|recent| recent.change != change);
            if recent.is_empty() {
                self.recent.remove(&document);
            }
        }
    }
}

struct Recent {
    change: Vec<u8>,
    place: Option<Place>,
}

/// What a ledger is made of.
pub(crate) struct Parts {
    pub(crate) store: Arc<Store>,
    pub(crate) projector: Projector,
    pub(crate) places: Arc<Places>,
    pub(crate) identity: Identity,
    pub(crate) policy: Arc<RwLock<Arc<Policy>>>,
    pub(crate) only: Filter,
    pub(crate) since: u32,
    pub(crate) harms: Arc<Harms>,
    pub(crate) seen: Seen,
}

impl Ledger {
    /// Opens the ledger over a view that is in step with the log.
    pub(crate) fn open(parts: Parts, epoch: Epoch) -> Result<Self, Error> {
        let Parts { store, projector, places, identity, policy, only, since, harms, seen } = parts;
        let known = Arc::clone(&policy.read().expect("no holder of this lock panics"));
        let author = read_author(&store, &known, &identity, epoch)?;
        let device = author.device();
        let desk = Desk {
            author,
            recent: BTreeMap::new(),
            recent_kept: 0,
            newest: None,
            sealing: 0,
            given: Moment::ZERO,
        };
        Ok(Self {
            store,
            projector,
            places,
            identity,
            device,
            policy,
            desk: Mutex::new(desk),
            enrolment: Mutex::new(()),
            saying: Mutex::default(),
            mesh: OnceLock::new(),
            only,
            keeping: evict::Keeping::new(since, &known),
            counted: safety::Counted::default(),
            unproven: unproven::Unproven::default(),
            upkeep: upkeep::Upkeep::default(),
            damaged: harms,
            mending: Mutex::default(),
            searched: Mutex::default(),
            seen,
            scrubbed: scrub::Scrubbed::default(),
            naming: Mutex::default(),
            gateway: Mutex::default(),
            drafts: Mutex::default(),
            told: Mutex::default(),
        })
    }

    /// Tells the ledger whom to tell of sealed batches.
    pub(crate) fn set_mesh(&self, mesh: Mesh) {
        // A second mesh would be a mistake of ours; the first one stays.
        let _ = self.mesh.set(mesh);
    }

    pub(crate) fn view(&self) -> &View {
        self.store.view()
    }

    pub(crate) fn device(&self) -> DeviceId {
        self.device
    }

    pub(crate) fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.read().expect("no holder of this lock panics"))
    }

    /// This device as the policy knows it.
    pub(crate) fn me(&self) -> Result<Member, Error> {
        let policy = self.policy();
        let me = self.device();
        policy.member(&me).cloned().ok_or_else(|| Error::NotAllowed {
            reason: self
                .own_end()
                .unwrap_or_else(|| "this device is no member of its tenant any more".into()),
        })
    }

    /// The schema of a collection; one that nobody has defined keeps and shows everything.
    pub(crate) fn schema(&self, number: u16) -> Arc<Collection> {
        schema::numbered(&self.policy(), number)
    }

    /// The schema of the collection that a person calls `name`.
    pub(crate) fn schema_named(&self, name: &str) -> Result<Arc<Collection>, Error> {
        schema::named(&self.policy(), name)
    }

    pub(crate) fn user(&self) -> UserId {
        self.policy().known(&self.device()).map_or(self.identity.user, |member| member.user)
    }

    /// Writes a fact durably.
    pub(crate) fn remember(&self, fact: Fact) -> Result<(), Error> {
        let places = self
            .store
            .append(vec![Entry::Fact(fact).encode()])
            .map_err(|error| Error::store(&error))?;
        places.last().map_or(Ok(()), |place| self.projector.wait_noted(*place))
    }

    /// The last fact of the same kind as `example`.
    pub(crate) fn recall(&self, example: &Fact) -> Result<Option<Fact>, Error> {
        // What one that is begun anew has not come to was said all the same.
        self.projector.wait_known()?;
        rows::find(self.view(), Tree::Meta, fact_key(example))
    }

    /// Damage that was found, and that nobody has accepted and no check has seen mended.
    pub(crate) fn known_damage(&self) -> Result<Vec<String>, Error> {
        let mut lines = self.damage_at_open()?;
        for line in self.damage_by_check()? {
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        Ok(lines)
    }

    /// What opens have found: what it took along is in no log any more, so no check sees it mended.
    fn damage_at_open(&self) -> Result<Vec<String>, Error> {
        match self.recall(&Fact::Found(Vec::new()))? {
            Some(Fact::Found(lines)) => Ok(lines),
            _ => Ok(Vec::new()),
        }
    }

    /// What the last check has found.
    fn damage_by_check(&self) -> Result<Vec<String>, Error> {
        match self.recall(&Fact::Checked(Vec::new()))? {
            Some(Fact::Checked(lines)) => Ok(lines),
            _ => Ok(Vec::new()),
        }
    }

    /// Whether this device has written anything in its present epoch.
    pub(crate) fn has_written(&self) -> bool {
        self.desk().author.has_written()
    }

    /// As [`Self::start_epoch`], if anything was written in the present one.
    pub(crate) fn leave_epoch(&self) -> Result<(), Error> {
        if self.has_written() { self.start_epoch() } else { Ok(()) }
    }

    /// Leaves this device's chains behind: a batch of its own turned up that it does not know,
    /// because it was restored from a backup or cloned, or a write may or may not have happened.
    pub(crate) fn start_epoch(&self) -> Result<(), Error> {
        let epoch = u64::from_be_bytes(clock::random());
        self.desk().author.start_epoch(Epoch(epoch));
        tracing::warn!("this device cannot be sure of its own past: new epoch");
        self.remember(Fact::Epoch(epoch))
    }

    /// How many changes wait for a batch, and since when.
    pub(crate) fn unsealed(&self) -> (usize, Option<Instant>) {
        let desk = self.desk();
        (desk.author.unsealed(), desk.author.oldest_unsealed())
    }

    /// Waits until everything recorded here so far can be read, and a moment for what came from
    /// others: reading never waits for the end of a long synchronisation.
    ///
    /// Where records are being made anew it waits until those are there that were there before.
    pub(crate) fn settle(&self) -> Result<(), Error> {
        self.mend_view();
        self.projector.wait_made()?;
        let newest = self.desk().newest;
        newest.map_or(Ok(()), |place| self.projector.wait(place))?;
        if let Some(end) = self.store.end() {
            // Whether it is there or not, the caller reads what is.
            let _ = self.projector.wait_for(end, PATIENCE);
        }
        Ok(())
    }

    /// Has a view that an error broke opened again. Blocks for a moment, then.
    pub(crate) fn mend_view(&self) {
        if self.view().applied().is_err() {
            self.projector.reopen();
        }
    }

    /// How many entries of the log are on the disk and not in lists and numbers so far.
    pub(crate) fn behind(&self) -> u64 {
        self.projector.behind(self.store.end())
    }

    /// Waits until everything that is durable at the moment is in the view, records apart.
    pub(crate) fn catch_up_noted(&self) -> Result<(), Error> {
        self.store.end().map_or(Ok(()), |place| self.projector.wait_noted(place))
    }

    /// Waits until everything that is durable at the moment can be read.
    pub(crate) fn catch_up(&self) -> Result<(), Error> {
        self.store.end().map_or(Ok(()), |place| self.projector.wait(place))
    }

    /// The row of a document as the view has it.
    pub(crate) fn row(&self, id: DocumentId) -> Result<Option<DocumentRow>, Error> {
        rows::find(self.view(), Tree::Document, id.as_bytes())
    }

    /// The document with its newest local changes; `None` if there is no such record.
    pub(crate) fn document(&self, id: DocumentId) -> Result<Option<Document>, Error> {
        self.settle()?;
        self.load(&self.desk(), id)
    }

    fn load(&self, desk: &Desk, id: DocumentId) -> Result<Option<Document>, Error> {
        let closure = self.closure(desk, id)?;
        if closure.is_empty() {
            return Ok(None);
        }
        closure.document(id, &self.policy()).map(Some)
    }

    /// The changes of a document with its newest local ones; empty if there is no such record.
    fn closure(&self, desk: &Desk, id: DocumentId) -> Result<Closure, Error> {
        if self.policy().is_purged(&id) {
            return Ok(Closure::default());
        }
        let row = self.row(id)?;
        let mut closure = match &row {
            Some(row) => Closure::read(&self.store, &row.changes, self.device())?,
            None => Closure::default(),
        };
        for recent in desk.recent.get(&id).into_iter().flatten() {
            if let Ok(peeked) = fieldmesh_document::peek(&recent.change) {
                closure.insert(peeked, self.device(), recent.change.clone());
            }
        }
        Ok(closure)
    }

    /// Keeps others from issuing or using an invitation meanwhile.
    pub(crate) fn enrolment(&self) -> MutexGuard<'_, ()> {
        self.enrolment.lock().expect("no holder of this lock panics")
    }

    /// Every policy item of the store.
    pub(crate) fn policy_items(&self) -> Result<Vec<Item>, Error> {
        // Policy by a part of them would be another one.
        self.projector.wait_known()?;
        let mut items = Vec::new();
        let range = KeyRange::all();
        for row in rows::scan(self.view(), Tree::Item, range, Direction::Ascending) {
            let (key, value) = row?;
            match read_item(&self.store, &key, rows::decode(&value)?) {
                Ok(item) => items.push(item),
                Err(error) => tracing::error!(%error, "a policy item is passed over"),
            }
        }
        Ok(items)
    }

    /// Writes a policy item made here, durably, lets it count, and has everybody connected told.
    pub(crate) fn add_item(&self, item: &Item) -> Result<(), Error> {
        self.add_items(std::slice::from_ref(item))
    }

    /// As [`Self::add_item`] for items that belong together: where one has no room, in the policy
    /// or on the disk, none counts. A crash in between may leave some of them.
    pub(crate) fn add_items(&self, items: &[Item]) -> Result<(), Error> {
        // One at a time: the policy of the later one would else be replaced by that of the earlier.
        let _alone = self.saying.lock().expect("no holder of this lock panics");
        self.let_count(items)?;
        // Here, and not where it was asked for: whoever asked may have gone away meanwhile.
        if let Some(mesh) = self.mesh.get() {
            for item in items.iter().cloned() {
                mesh.urgent(Call::Input(Input::LocalItem { item }));
            }
        }
        Ok(())
    }

    fn let_count(&self, items: &[Item]) -> Result<(), Error> {
        self.check_share(items)?;
        let entry = |item: &Item| Entry::Item(item.encode().to_vec()).encode();
        let entries = items.iter().map(entry).collect();
        self.store.append(entries).map_err(|error| Error::store(&error))?;
        loop {
            // Whatever has led to the policy of now is in the log.
            let before = self.policy();
            if let Some(end) = self.store.end() {
                self.projector.wait_noted(end)?;
            }
            let policy = Policy::evaluate(self.identity.tenant, &self.policy_items()?);
            let is_in_force = match self.mesh.get() {
                Some(mesh) => mesh.publish_own(items, &before, policy),
                None => {
                    *self.policy.write().expect("no holder of this lock panics") = Arc::new(policy);
                    true
                }
            };
            if is_in_force {
                break;
            }
        }
        // It may have decided which of two changes counts.
        self.projector.wake();
        Ok(())
    }

    /// Fails where the policy has no room for what `items` of one signer would say together: one of
    /// them, or what was said before, would be dropped everywhere without a word.
    fn check_share(&self, items: &[Item]) -> Result<(), Error> {
        let Some((last, before)) = items.split_last() else { return Ok(()) };
        let policy = match before {
            [] => self.policy(),
            before => Arc::new(self.policy_with(before)?),
        };
        let full = match policy.admits(last) {
            Err(full @ (Unheard::ShareFull { .. } | Unheard::Full { .. })) => full.to_string(),
            Ok(()) if policy.displaces(last) => "it would drive out what was said before".into(),
            // A signer who is not known may become so by an item that follows.
            _ => return Ok(()),
        };
        let reason = format!("there is no room for what this would say: {full}");
        Err(Error::NotAllowed { reason })
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().expect("no holder of this lock panics")
    }
}

/// The author as the view knows it: the heads of its chains and what waits for a batch.
fn read_author(
    store: &Store,
    policy: &Policy,
    identity: &Identity,
    epoch: Epoch,
) -> Result<Author, Error> {
    let keys = identity.keys();
    let device = keys.device();
    let mut author = Author::new(keys, identity.tenant, epoch);
    let ascending = Direction::Ascending;
    for row in rows::scan(store.view(), Tree::Chain, KeyRange::prefix(device.as_bytes()), ascending)
    {
        let (key, value) = row?;
        let Some((_, epoch, scope)) = rows::parse_chain_key(&key) else { continue };
        let row: ChainRow = rows::decode(&value)?;
        author.resume((epoch, scope), row.sequence, row.head, row.last);
    }
    let mut open = Vec::new();
    let range = KeyRange::prefix(rows::UNSEALED_PREFIX);
    for row in rows::scan(store.view(), Tree::Meta, range, ascending) {
        open.push(rows::decode::<Place>(&row?.1)?);
    }
    open.sort_unstable();
    for place in open {
        let read = store.read(place).map_err(|error| Error::store(&error));
        match read.map(|entry| Entry::decode(&entry)) {
            Ok(Ok(Entry::Change(local))) => {
                let chain = (local.epoch, local.scope);
                let priority = stored_priority(store.view(), policy, &local)?;
                let LocalChange { document, at, change, .. } = local;
                author.add(chain, Unsealed { document, at, priority, change });
            }
            Ok(_) => {}
            // `verify` lists it; the rest of the home must open all the same.
            Err(error) => tracing::error!(%error, "a change that no batch holds is lost"),
        }
    }
    Ok(author)
}

/// How soon a change of the log travels, by its record as the view has it.
fn stored_priority(view: &View, policy: &Policy, local: &LocalChange) -> Result<Priority, Error> {
    let row: Option<DocumentRow> = rows::find(view, Tree::Document, local.document.as_bytes())?;
    let schema = schema::numbered(policy, local.scope.collection);
    let record = row.and_then(|row| row.record).or_else(|| {
        // No record has been made of it so far; a first change says all there is to say.
        let change = [local.change.as_slice()];
        let document = Document::load(local.document, change).ok()?;
        rows::RecordRow::of(&document, &schema).ok()
    });
    Ok(record.map_or(Priority::NORMAL, |record| priority_of(&schema, &record.fields)))
}

/// Reads the policy item at `place`, or the copy of it that the view has by the hash of its bytes.
pub(crate) fn read_item(store: &Store, hash: &[u8], place: Place) -> Result<Item, Error> {
    let read = read_item_at(store, place);
    let Err(error) = read else { return read };
    let copy = store.view().get(Tree::Meta, &rows::item_copy_key(hash));
    let copy = copy.map_err(|error| Error::store(&error))?;
    copy.and_then(|bytes| Item::decode(&bytes).ok()).ok_or(error)
}

fn read_item_at(store: &Store, place: Place) -> Result<Item, Error> {
    let entry = store.read(place).map_err(|error| Error::store(&error))?;
    match Entry::decode(&entry).map_err(|error| Error::store(&error))? {
        Entry::Item(bytes) => Item::decode(&bytes).map_err(|error| Error::store(&error)),
        Entry::Batch(_) | Entry::Change(_) | Entry::Fact(_) | Entry::Note(_) => {
            Err(Error::Store { reason: format!("no policy item lies at {place:?}") })
        }
    }
}
