//! A small executor in memory: the least that can answer the commands of all dialects.
//!
//! It keeps every version of a record as its whole fields. It knows no permissions, no merging of
//! texts and no restart; it shows that the commands say enough, and plays the acceptance checks.

use std::collections::BTreeMap;
use std::sync::Arc;

use fieldmesh_dialect::command::{
    Action, Base, Identity, NameForm, Operation, Pull, Push, Queue, Resolution, Resolve, Then,
};
use fieldmesh_dialect::outcome::{
    Conflict, ConflictKind, Entry, Fate, Happened, Item, Page, Pushed, Reading, Reason, Record,
    Resolved, Side, State, Stored, Tally, Unread,
};
use fieldmesh_dialect::{Caller, Command, Dialect, Name, Outcome, Since};
use fieldmesh_model::{Fields, Moment, Value};

use super::executor::Executor;

/// A record with all of its versions.
struct Document {
    name: Name,
    collection: String,
    versions: Vec<Version>,
    deleted: bool,
}

struct Version {
    fields: Fields,
    place: u64,
    arrived: Moment,
}

/// An operation that waits for someone to settle it.
struct Open {
    document: usize,
    fields: Fields,
    conflict: Conflict,
}

/// The tenant of the tests.
pub(crate) struct Memory {
    documents: Vec<Document>,
    /// A name, in the tenant (`""`) or of one user, and the record that it means.
    aliases: BTreeMap<(String, String), usize>,
    /// The keys of operations and what became of them.
    known: BTreeMap<String, Fate>,
    open: BTreeMap<String, Open>,
    journal: BTreeMap<String, (Operation, Entry)>,
    /// Up to where each device has read, and when it synced.
    read: BTreeMap<String, (Moment, Option<u64>)>,
    place: u64,
    clock: Moment,
    /// How many milliseconds pass with each change.
    pace: i64,
    user: String,
}

impl Executor for Memory {
    fn put(&mut self, collection: &str, name: Name, fields: Fields) {
        let id = match self.aliases.get(&(String::new(), name.to_string())) {
            Some(id) => *id,
            None => self.make(collection, name),
        };
        self.write(id, fields);
    }

    fn count(&self, collection: &str) -> usize {
        self.documents.iter().filter(|document| document.collection == collection).count()
    }

    fn fields(&self, _collection: &str, name: &str) -> Fields {
        self.current(self.aliases[&(String::new(), name.to_owned())])
    }

    fn execute(
        &mut self,
        _caller: &Caller,
        _dialect: Option<Dialect>,
        command: Command,
    ) -> Outcome {
        match command {
            Command::Push(push) => Outcome::Pushed(self.push(push)),
            Command::Pull(pull) => Outcome::Page(self.pull(&pull, self.place)),
            Command::Exchange { push, pull } => {
                // What the request itself writes lies behind this place.
                let end = self.place;
                let pushed = self.push(push);
                let mut page = self.pull(&pull, end);
                page.place = if page.more { page.place } else { self.place };
                Outcome::Exchanged { pushed, page }
            }
            Command::Reading { device } => Outcome::Reading(self.reading(&device)),
            Command::Queue(queue) => self.queue(queue),
            Command::Process { entries } => {
                Outcome::Entries(entries.iter().map(|id| self.process(id)).collect())
            }
            Command::Resolve(resolve) => self.resolve(&resolve),
            Command::Tally(_) => Outcome::Tally(self.tally()),
            other => panic!("{other:?} is not needed here"),
        }
    }

    fn set_pace(&mut self, millis: i64) {
        self.pace = millis;
    }
}

impl Memory {
    pub(crate) fn new(user: &str) -> Self {
        Self {
            documents: Vec::new(),
            aliases: BTreeMap::new(),
            known: BTreeMap::new(),
            open: BTreeMap::new(),
            journal: BTreeMap::new(),
            read: BTreeMap::new(),
            place: 0,
            clock: "2025-10-25T12:00:00.000Z".parse().unwrap(),
            pace: 1,
            user: user.to_owned(),
        }
    }

    fn push(&mut self, push: Push) -> Pushed {
        let mut fates = Vec::new();
        let mut stores_left = push.stores_max.unwrap_or(usize::MAX);
        for operation in push.operations {
            let is_known = operation.key.as_ref().is_some_and(|key| self.known.contains_key(key));
            if stores_left == 0 && !is_known {
                fates.push(Fate::Deferred);
                continue;
            }
            let before = self.place;
            fates.push(self.once(&operation));
            stores_left -= usize::from(self.place > before);
        }
        if let Some(device) = push.device {
            self.read.entry(device.id).or_insert((self.clock, None)).0 = self.clock;
        }
        Pushed { fates, at: self.clock }
    }

    /// Applies an operation, or tells again what became of it.
    fn once(&mut self, operation: &Operation) -> Fate {
        let Some(key) = &operation.key else { return self.apply(operation) };
        if let Some(fate) = self.known.get(key) {
            return match fate {
                Fate::Stored(stored) => {
                    let record = stored.record.clone();
                    Fate::Stored(Box::new(Stored { record, again: true }))
                }
                Fate::Conflict(conflict) if !self.open.contains_key(&conflict.id) => {
                    let id = self.aliases[&(String::new(), conflict.name.to_string())];
                    self.stored(id, true)
                }
                other => other.clone(),
            };
        }
        let fate = self.apply(operation);
        if !matches!(fate, Fate::Rejected(_)) {
            self.known.insert(key.clone(), fate.clone());
        }
        fate
    }

    fn apply(&mut self, operation: &Operation) -> Fate {
        let mut fields = operation.fields.clone();
        for reference in &operation.references {
            let Some(name) = fields.get(&reference.key) else { continue };
            let found = self.find_name(&name.to_cell());
            if let (None, true) = (found, reference.must_exist) {
                return Fate::Rejected(Reason::NoReference { key: reference.key.clone() });
            }
            if let (Some(copied), Some(found)) = (&reference.copied, found) {
                let Some(value) = self.current(found).get(&copied.from).cloned() else {
                    let lacks = copied.from.clone();
                    return Fate::Rejected(Reason::IncompleteReference {
                        key: reference.key.clone(),
                        lacks,
                    });
                };
                fields.insert(copied.to.clone(), value);
            }
        }
        match (self.find(operation), operation.action) {
            (None, Action::Create) => self.create(operation, fields),
            (None, Action::Update | Action::Delete) => Fate::Rejected(Reason::NoRecord),
            (Some(id), Action::Create) => self.again(id, operation, fields),
            (Some(id), Action::Update) => self.update(id, operation, fields),
            (Some(id), Action::Delete) => {
                self.documents[id].deleted = true;
                let fields = self.current(id);
                self.write(id, fields);
                self.stored(id, false)
            }
        }
    }

    fn create(&mut self, operation: &Operation, fields: Fields) -> Fate {
        let number = i64::try_from(self.documents.len()).unwrap() + 700;
        let fresh = |wants: &NameForm| match wants {
            NameForm::Number => Name::Number(number),
            NameForm::Text | NameForm::Unsaid => Name::Text(format!("made-{number}")),
        };
        let name = match &operation.identity {
            Identity::Named(name) => name.clone(),
            Identity::Temporary { wants, .. } | Identity::Unnamed { wants } => fresh(wants),
            Identity::Key => fresh(&NameForm::Text),
        };
        let other = self.collision(&fields);
        let id = self.make(&operation.collection, name);
        match &operation.identity {
            Identity::Temporary { name, .. } => {
                self.aliases.insert((self.user.clone(), name.clone()), id);
            }
            Identity::Named(_) | Identity::Key => {
                self.aliases.insert(("key".to_owned(), natural_key(&fields)), id);
            }
            Identity::Unnamed { .. } => {}
        }
        self.write(id, fields.clone());
        match other {
            None => self.stored(id, false),
            Some(other) => self.conflict(id, ConflictKind::Duplicate, other, fields, Vec::new()),
        }
    }

    /// Another event of production at the same well and time.
    fn collision(&self, fields: &Fields) -> Option<usize> {
        let produced: Value = "PRODUCTION_LOGGED".into();
        if fields.get("type") != Some(&produced) {
            return None;
        }
        let keys = ["type", "payload.wellId", "payload.recordedAt"];
        self.documents.iter().position(|document| {
            let theirs = document.versions.last().map(|version| &version.fields);
            theirs.is_some_and(|theirs| keys.iter().all(|key| theirs.get(*key) == fields.get(*key)))
        })
    }

    /// A create of what is there: the same one, or a conflict that the dialect's rule settles.
    fn again(&mut self, id: usize, operation: &Operation, fields: Fields) -> Fate {
        let is_temporary = matches!(operation.identity, Identity::Temporary { .. });
        if is_temporary || self.current(id) == fields {
            return self.stored(id, true);
        }
        let keys = fields.keys().cloned().collect();
        let fate = self.conflict(id, ConflictKind::Field, id, fields, keys);
        match (operation.collection.as_str(), fate) {
            ("field_entry", Fate::Conflict(conflict)) => {
                Fate::Settled { by: Resolution::ServerWins, conflict }
            }
            (_, fate) => fate,
        }
    }

    fn update(&mut self, id: usize, operation: &Operation, fields: Fields) -> Fate {
        let base = self.base(id, operation.base);
        let current = self.current(id);
        let differs = |key: &String, value: &Value| base.get(key) != Some(value);
        let changed: Fields =
            fields.into_iter().filter(|(key, value)| differs(key, value)).collect();
        let is_contested = |(key, value): &(&String, &Value)| {
            let theirs = current.get(*key);
            theirs != base.get(*key) && theirs != Some(*value)
        };
        let keys: Vec<String> =
            changed.iter().filter(is_contested).map(|(key, _)| key.clone()).collect();
        if !keys.is_empty() {
            return self.conflict(id, ConflictKind::Field, id, changed, keys);
        }
        let mut merged = current.clone();
        merged.extend(changed);
        if merged != current {
            self.write(id, merged);
        }
        self.stored(id, false)
    }

    fn base(&self, id: usize, base: Base) -> Fields {
        let versions = &self.documents[id].versions;
        let index = match base {
            Base::New => return Fields::new(),
            Base::Version(version) | Base::Exactly(version) => {
                usize::try_from(version).unwrap().clamp(1, versions.len()) - 1
            }
            Base::Seen { at } => {
                versions.iter().rposition(|version| version.arrived <= at).unwrap_or(0)
            }
            Base::Current => versions.len() - 1,
        };
        versions[index].fields.clone()
    }

    fn conflict(
        &mut self,
        id: usize,
        kind: ConflictKind,
        other: usize,
        fields: Fields,
        keys: Vec<String>,
    ) -> Fate {
        let side = |name: &Name, version: usize, fields: Fields| Side {
            name: Some(name.clone()),
            version: u64::try_from(version).unwrap(),
            fields,
            at: Some(self.clock),
            arrived_at: None,
            user: None,
            deleted: false,
        };
        let (ours, theirs) = (&self.documents[id], &self.documents[other]);
        let conflict = Conflict {
            id: format!("conflict-{}-{:?}", ours.name, fields),
            kind,
            collection: ours.collection.clone(),
            name: ours.name.clone(),
            client: side(&ours.name, ours.versions.len() - 1, fields.clone()),
            server: side(&theirs.name, theirs.versions.len(), self.current(other)),
            keys,
            since: self.clock,
            asked: None,
            beside: Vec::new(),
        };
        let open = Open { document: id, fields, conflict: conflict.clone() };
        self.open.insert(conflict.id.clone(), open);
        Fate::Conflict(Box::new(conflict))
    }

    fn pull(&mut self, pull: &Pull, end: u64) -> Page {
        let mut found: Vec<(u64, Moment, usize)> = self
            .documents
            .iter()
            .enumerate()
            .filter_map(|(id, document)| {
                let last = document.versions.last()?;
                Some((last.place, last.arrived, id))
            })
            .filter(|(place, arrived, _)| match pull.since {
                Since::Start => true,
                Since::Now => false,
                Since::Place(since) | Since::Sent(since) => *place > since,
                Since::Arrival(since) => *arrived > since,
            })
            .filter(|(place, _, id)| *place <= end && self.is_wanted(pull, *id))
            .collect();
        found.sort_unstable();
        let kept = self.page_size(pull, &found);
        let more = kept < found.len();
        found.truncate(kept);
        let place = found.last().filter(|_| more).map_or(end, |(place, _, _)| *place);
        let until = found.last().map_or(self.clock, |(_, arrived, _)| *arrived);
        if let Some(device) = &pull.device {
            let entry = self.read.entry(device.clone()).or_insert((self.clock, None));
            *entry = (self.clock, Some(place));
        }
        let items = found.iter().map(|(place, _, id)| Arc::new(self.item(*id, *place))).collect();
        Page { items, place, until, more, at: self.clock }
    }

    fn is_wanted(&self, pull: &Pull, id: usize) -> bool {
        let document = &self.documents[id];
        let fields = self.current(id);
        let holds = |wanted: &fieldmesh_dialect::command::Wanted| {
            wanted.collection == document.collection
                && wanted.conditions.iter().all(|one| one.test.holds(fields.get(&one.key)))
        };
        pull.wanted.is_empty() || pull.wanted.iter().any(holds)
    }

    /// How many of `found` are on the page: none beyond a limit, and no split millisecond.
    fn page_size(&self, pull: &Pull, found: &[(u64, Moment, usize)]) -> usize {
        let mut each: BTreeMap<&str, usize> = BTreeMap::new();
        let is_full = |(index, (_, _, id)): (usize, &(u64, Moment, usize))| {
            let collection = self.documents[*id].collection.as_str();
            let count = each.entry(collection).or_default();
            *count += 1;
            pull.records_max.is_some_and(|most| index >= most)
                || pull.each_max.is_some_and(|most| *count > most)
        };
        let Some(cut) = found.iter().enumerate().position(is_full) else { return found.len() };
        if !pull.by_time {
            return cut;
        }
        let at = found[cut].1;
        match found.iter().position(|(_, arrived, _)| *arrived == at) {
            // A millisecond that is larger than a page is given out whole.
            Some(0) | None => found.iter().take_while(|(_, arrived, _)| *arrived == at).count(),
            Some(start) => start,
        }
    }

    fn item(&self, id: usize, place: u64) -> Item {
        let document = &self.documents[id];
        let happened = match (document.deleted, document.versions.len()) {
            (true, _) => Happened::Removed,
            (false, 1) => Happened::Created,
            (false, _) => Happened::Updated,
        };
        Item::new(happened, place, self.record(id))
    }

    fn reading(&self, device: &str) -> Reading {
        let is_entry = |document: &&Document| document.collection == "field_entry";
        let beyond = |place: u64| {
            let last = |document: &&Document| {
                document.versions.last().is_some_and(|version| version.place > place)
            };
            self.documents.iter().filter(is_entry).filter(last).count() as u64
        };
        match self.read.get(device) {
            None => Reading { synced_at: None, unread: Unread::Entries(beyond(0)) },
            Some((at, None)) => Reading { synced_at: Some(*at), unread: Unread::NeverReads },
            Some((at, Some(place))) => {
                Reading { synced_at: Some(*at), unread: Unread::Entries(beyond(*place)) }
            }
        }
    }

    fn queue(&mut self, queue: Queue) -> Outcome {
        let mut ids = Vec::new();
        for queued in queue.operations {
            let key = queued.operation.key.clone().unwrap();
            let id = queued.id.unwrap_or_else(|| format!("entry-{key}"));
            let known = self.journal.contains_key(&id);
            let entry = Entry {
                id: id.clone(),
                user: queued.user,
                action: queued.operation.action,
                collection: queued.operation.collection.clone(),
                name: None,
                fields: queued.operation.fields.clone(),
                at: queued.operation.at,
                retries: 0,
                known: false,
                state: State::Pending,
            };
            let kept = self.journal.entry(id.clone()).or_insert((queued.operation, entry));
            kept.1.known = known;
            ids.push(id);
        }
        let show = |memory: &mut Self, id: &String| match queue.then {
            Then::Wait => memory.journal.get(id).map(|(_, entry)| entry.clone()),
            Then::Process => memory.process(id),
        };
        Outcome::Entries(ids.iter().map(|id| show(self, id)).collect())
    }

    fn process(&mut self, id: &str) -> Option<Entry> {
        let (operation, mut entry) = self.journal.remove(id)?;
        if entry.state == State::Pending {
            entry.state = match self.once(&operation) {
                Fate::Stored(stored) => State::Synced(Box::new(stored.record)),
                Fate::Conflict(conflict) => State::Conflict(conflict),
                Fate::Rejected(reason) => State::Failed(reason),
                other => panic!("{other:?} is not for the journal"),
            };
        }
        self.journal.insert(id.to_owned(), (operation, entry.clone()));
        Some(entry)
    }

    fn resolve(&mut self, resolve: &Resolve) -> Outcome {
        let entry = self.journal.get(&resolve.conflict).map(|(_, entry)| entry.state.clone());
        let id = match entry {
            Some(State::Conflict(conflict)) => conflict.id,
            _ => resolve.conflict.clone(),
        };
        let missing = fieldmesh_dialect::Refusal::Missing { what: "Conflict".to_owned() };
        let Some(open) = self.open.remove(&id) else { return Outcome::Refused(missing) };
        let mut fields = self.current(open.document);
        match resolve.resolution {
            Resolution::ServerWins => {}
            Resolution::ClientWins | Resolution::LastWriteWins => fields.extend(open.fields),
            Resolution::Merge | Resolution::Manual => fields.extend(resolve.fields.clone()),
        }
        self.write(open.document, fields);
        let record = self.record(open.document);
        if let Some((_, entry)) = self.journal.get_mut(&resolve.conflict) {
            entry.state = State::Synced(Box::new(record.clone()));
        }
        assert_eq!(open.conflict.id, id);
        Outcome::Resolved(Resolved {
            id: resolve.conflict.clone(),
            resolution: resolve.resolution,
            review: None,
            by: Some(self.user.clone()),
            at: Some(self.clock),
            since: None,
            emergency: resolve.emergency.clone(),
            record: Some(record),
        })
    }

    fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for (_, entry) in self.journal.values() {
            match entry.state {
                State::Pending => tally.pending += 1,
                State::Synced(_) => tally.synced += 1,
                State::Conflict(_) => tally.conflicts += 1,
                State::Failed(_) => tally.failed += 1,
            }
        }
        tally
    }

    fn find(&self, operation: &Operation) -> Option<usize> {
        match &operation.identity {
            Identity::Named(name) => self.find_name(&name.to_string()),
            Identity::Temporary { name, .. } => self.find_name(name),
            Identity::Key => {
                let key = natural_key(&operation.fields);
                self.aliases.get(&("key".to_owned(), key)).copied()
            }
            Identity::Unnamed { .. } => None,
        }
    }

    /// A name of the tenant, or else one that the user gave for the time being.
    fn find_name(&self, name: &str) -> Option<usize> {
        let of = |owner: &str| self.aliases.get(&(owner.to_owned(), name.to_owned())).copied();
        of("").or_else(|| of(&self.user))
    }

    fn make(&mut self, collection: &str, name: Name) -> usize {
        let id = self.documents.len();
        self.aliases.insert((String::new(), name.to_string()), id);
        let collection = collection.to_owned();
        self.documents.push(Document { name, collection, versions: Vec::new(), deleted: false });
        id
    }

    fn write(&mut self, id: usize, fields: Fields) {
        self.place += 1;
        self.clock = self.clock.plus_millis(self.pace);
        let (place, arrived) = (self.place, self.clock);
        self.documents[id].versions.push(Version { fields, place, arrived });
    }

    fn current(&self, id: usize) -> Fields {
        let last = self.documents[id].versions.last();
        last.map(|version| version.fields.clone()).unwrap_or_default()
    }

    fn record(&self, id: usize) -> Record {
        let document = &self.documents[id];
        Record {
            name: document.name.clone(),
            collection: document.collection.clone(),
            fields: self.current(id),
            version: document.versions.len() as u64,
            deleted: document.deleted,
            arrived_at: document.versions.last().map_or(self.clock, |version| version.arrived),
            changed_at: None,
            changed_by: None,
            created_at: None,
            created_by: None,
        }
    }

    fn stored(&self, id: usize, again: bool) -> Fate {
        Fate::Stored(Box::new(Stored { record: self.record(id), again }))
    }
}

fn natural_key(fields: &Fields) -> String {
    ["wellId", "entryType", "recordedAt", "deviceId"]
        .iter()
        .map(|key| fields.get(*key).map(Value::to_cell).unwrap_or_default())
        .collect::<Vec<_>>()
        .join("|")
}
