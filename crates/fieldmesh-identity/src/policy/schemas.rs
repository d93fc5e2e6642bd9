//! The collections that a tenant has defined, put together from what its admins signed.

mod parts;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

use fieldmesh_model::Moment;
use fieldmesh_model::schema::{Collection, Definition};

pub(super) use self::parts::Parts;
pub use self::parts::{
    COLLECTIONS_PER_SIGNER_MAX, DEFINITIONS_PER_SIGNER_MAX, SCHEMA_BYTES_PER_SIGNER_MAX,
};

/// Definitions of which what was read in them is kept, so that not every policy item has all read
/// again.
const READINGS_KEPT_MAX: usize = 512;
/// Definitions that are tried in place of one that cannot be read.
const FALLBACKS_MAX: usize = 32;

/// What was read in a definition: its hash, version and name.
type Key = ([u8; 32], u32, Arc<str>);

static READINGS: LazyLock<Mutex<BTreeMap<Key, Option<Arc<Read>>>>> = LazyLock::new(Mutex::default);

/// The schema of a collection as an admin signed it.
#[derive(Debug, Clone)]
pub struct SignedSchema {
    /// The public key that signed it.
    pub by: [u8; 32],
    /// When, by the clock of whoever signed it.
    pub at: Moment,
    name: Arc<str>,
    version: u32,
    text: Arc<str>,
    hash: [u8; 32],
    /// What was in force for those who signed it.
    before: BTreeSet<[u8; 32]>,
    /// What this version reads in the text, once somebody asked.
    read: OnceLock<Option<Arc<Read>>>,
}

/// What this version reads in a definition.
#[derive(Debug)]
struct Read {
    collection: Arc<Collection>,
    reading: [u8; 32],
}

impl SignedSchema {
    /// The name of the collection.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of the collection.
    pub fn number(&self) -> u16 {
        self.definition().number()
    }

    /// The version of the schema.
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// The file.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The hash by which the next version names it.
    pub const fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// The collection, if this version can read it.
    pub fn collection(&self) -> Option<&Arc<Collection>> {
        self.read().map(|read| &read.collection)
    }

    /// The hash of what this version reads; see [`Collection::reading`].
    pub fn reading(&self) -> Option<[u8; 32]> {
        self.read().map(|read| read.reading)
    }

    fn read(&self) -> Option<&Read> {
        self.read.get_or_init(|| self.read_once()).as_deref()
    }

    fn read_once(&self) -> Option<Arc<Read>> {
        let key = (self.hash, self.version, Arc::clone(&self.name));
        // It guards whole values only, so one that panicked leaves nothing half done behind it.
        let known = || READINGS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(read) = known().get(&key) {
            return read.clone();
        }
        let read = self.definition().read().map(|collection| {
            let reading = collection.reading();
            Arc::new(Read { collection: Arc::new(collection), reading })
        });
        let mut known = known();
        if known.len() >= READINGS_KEPT_MAX {
            known.pop_first();
        }
        known.insert(key, read.clone());
        read
    }

    fn definition(&self) -> Definition<'_> {
        Definition { name: &self.name, version: self.version, text: &self.text }
    }
}

impl PartialEq for SignedSchema {
    /// What is read in it follows from the rest.
    fn eq(&self, other: &Self) -> bool {
        let rest = |it: &Self| (it.by, it.at, it.before.clone());
        rest(self) == rest(other) && self.definition() == other.definition()
    }
}

impl Eq for SignedSchema {}

/// The schemas of a tenant.
#[derive(Debug, Clone, Default)]
pub(super) struct Schemas {
    in_force: BTreeMap<u16, SignedSchema>,
    /// Those that count and that another one goes before.
    others: Vec<SignedSchema>,
    /// Those that do not count, since what they follow on is lacking.
    ahead: Vec<SignedSchema>,
    /// How many more count for which their signers have no room.
    left_out: usize,
    /// Where among the others that one stands that is read in place of one in force.
    fallbacks: OnceLock<BTreeMap<u16, usize>>,
}

impl PartialEq for Schemas {
    /// What is read follows from the rest.
    fn eq(&self, other: &Self) -> bool {
        let Self { in_force, others, ahead, left_out, fallbacks: _ } = self;
        let lists = (in_force, others, ahead, left_out);
        lists == (&other.in_force, &other.others, &other.ahead, &other.left_out)
    }
}

impl Eq for Schemas {}

impl Schemas {
    pub(super) fn numbered(&self, number: u16) -> Option<&SignedSchema> {
        self.in_force.get(&number)
    }

    /// That in force, or else the one that would be if this version's programs were all there are.
    pub(super) fn readable(&self, number: u16) -> Option<&SignedSchema> {
        let in_force = self.in_force.get(&number)?;
        if in_force.collection().is_some() {
            return Some(in_force);
        }
        let fallbacks = self.fallbacks.get_or_init(|| self.find_fallbacks());
        fallbacks.get(&number).and_then(|index| self.others.get(*index))
    }

    pub(super) fn in_force(&self) -> impl Iterator<Item = &SignedSchema> {
        self.in_force.values()
    }

    pub(super) fn others(&self) -> impl Iterator<Item = &SignedSchema> {
        self.others.iter()
    }

    pub(super) fn ahead(&self) -> impl Iterator<Item = &SignedSchema> {
        self.ahead.iter()
    }

    pub(super) const fn left_out(&self) -> usize {
        self.left_out
    }

    /// Others of the same name that did not lead to `signed`, the newest first.
    pub(super) fn apart(&self, signed: &SignedSchema) -> Vec<&SignedSchema> {
        let mut led = signed.before.clone();
        let mut apart = Vec::new();
        // A version leads to greater ones only, and they are in the order of versions.
        for other in self.others.iter().rev().filter(|other| other.name == signed.name) {
            if led.contains(&other.hash) {
                led.extend(&other.before);
            } else if other.definition() != signed.definition() {
                apart.push(other);
            }
        }
        apart
    }

    fn find_fallbacks(&self) -> BTreeMap<u16, usize> {
        let mut fallbacks = BTreeMap::new();
        for (number, signed) in &self.in_force {
            if signed.collection().is_some() {
                continue;
            }
            // They are in the order of name, version and text, so the greatest come first; where
            // none of the name can be read, its number is not lost to those of another one.
            let of_number = || self.others.iter().enumerate().rev();
            let of_number = || of_number().filter(|(_, other)| other.number() == *number);
            let own = of_number().filter(|(_, other)| other.name == signed.name);
            let foreign = of_number().filter(|(_, other)| other.name != signed.name);
            let tried = own.take(FALLBACKS_MAX).chain(foreign.take(FALLBACKS_MAX));
            let found = tried.map(|(index, other)| (index, other.collection().is_some()));
            if let Some((index, _)) = found.into_iter().find(|(_, is_readable)| *is_readable) {
                fallbacks.insert(*number, index);
            }
        }
        fallbacks
    }
}
