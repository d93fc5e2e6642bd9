//! The collections that a tenant has defined, put together from what its admins signed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use fieldmesh_model::schema::{Collection, Definition};
use fieldmesh_model::{ItemId, Moment};

use crate::Item;
use crate::statement::SchemaPart;

/// The schema of a collection as an admin signed it.
#[derive(Debug, Clone)]
pub struct SignedSchema {
    /// The public key that signed it.
    pub by: [u8; 32],
    /// When, by the clock of whoever signed it.
    pub at: Moment,
    name: String,
    version: u32,
    text: String,
    hash: [u8; 32],
    /// What was in force for those who signed it.
    before: BTreeSet<[u8; 32]>,
    /// What this version reads in the text, once somebody asked; copies of it share the answer.
    read: Arc<OnceLock<Option<Read>>>,
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
        let read = || {
            let collection = Arc::new(self.definition().read()?);
            Some(Read { reading: collection.reading(), collection })
        };
        self.read.get_or_init(read).as_ref()
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
    /// Those that do not count, since versions before them are lacking.
    ahead: Vec<SignedSchema>,
    /// Where among the others that one stands that is read in place of one in force.
    fallbacks: OnceLock<BTreeMap<u16, usize>>,
}

impl PartialEq for Schemas {
    /// What is read follows from the rest.
    fn eq(&self, other: &Self) -> bool {
        let Self { in_force, others, ahead, .. } = self;
        *in_force == other.in_force && *others == other.others && *ahead == other.ahead
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

    /// Others of the same name that did not lead to `signed`.
    pub(super) fn apart(&self, signed: &SignedSchema) -> Vec<&SignedSchema> {
        let mut apart: Vec<_> = self
            .others
            .iter()
            .filter(|other| other.name == signed.name && other.definition() != signed.definition())
            .collect();
        let mut before: Vec<[u8; 32]> = signed.before.iter().copied().collect();
        let mut seen = BTreeSet::new();
        while let Some(hash) = before.pop() {
            if seen.insert(hash) {
                let led = apart.iter().filter(|other| other.hash == hash);
                before.extend(led.flat_map(|other| other.before.iter().copied()));
            }
        }
        apart.retain(|other| !seen.contains(&other.hash));
        apart
    }

    fn find_fallbacks(&self) -> BTreeMap<u16, usize> {
        let mut fallbacks = BTreeMap::new();
        // They are in the order of name, version and text, so the greatest come first.
        for (index, other) in self.others.iter().enumerate().rev() {
            let number = other.number();
            let is_asked = self
                .in_force
                .get(&number)
                .is_some_and(|signed| signed.name == other.name && signed.collection().is_none());
            if is_asked && !fallbacks.contains_key(&number) && other.collection().is_some() {
                fallbacks.insert(number, index);
            }
        }
        fallbacks
    }

    fn add(&mut self, signed: SignedSchema) {
        let number = signed.number();
        match self.in_force.remove(&number) {
            Some(known) if known.definition().goes_before(&signed.definition()) => {
                self.others.push(signed);
                self.in_force.insert(number, known);
            }
            known => {
                self.others.extend(known);
                self.in_force.insert(number, signed);
            }
        }
    }
}

/// One file as one signer made it: name, version, hash, that of the one before, signer and how many
/// parts there are.
type Whole<'a> = (&'a str, u32, [u8; 32], Option<[u8; 32]>, [u8; 32], u8);

/// Parts of files that count, each with the item that holds it.
#[derive(Debug, Default)]
pub(super) struct Parts<'a>(BTreeMap<Whole<'a>, BTreeMap<u8, (ItemId, &'a SchemaPart)>>);

impl<'a> Parts<'a> {
    /// Takes in what an `item` that counts says.
    pub(super) fn add(&mut self, item: &Item, part: &'a SchemaPart) {
        let SchemaPart { collection, version, whole, before, parts, .. } = part;
        let whole = (collection.as_str(), *version, *whole, *before, *item.signer(), *parts);
        let known = self.0.entry(whole).or_default();
        // Whoever signs one part twice is at fault himself; replicas only have to agree.
        let found = known.entry(part.part).or_insert((item.id(), part));
        if item.id() < found.0 {
            *found = (item.id(), part);
        }
    }

    /// The files of which all parts are there, and which of them are in force.
    pub(super) fn put_together(self) -> Schemas {
        let mut schemas = Schemas::default();
        let (mut name, mut count) = (String::new(), 0_u32);
        for signed in self.files() {
            if signed.name != name {
                (name, count) = (signed.name.clone(), 0);
            }
            // One item must not take all numbers of the versions that are to come. The versions of
            // a name come in their order, so what arrived first is of no account.
            if signed.version > count.saturating_add(1) {
                schemas.ahead.push(signed);
                continue;
            }
            count = count.saturating_add(1);
            schemas.add(signed);
        }
        // In an order that does not depend on which of them met which.
        let key = |it: &SignedSchema, other: &SignedSchema| {
            (&it.name, it.version, &it.text).cmp(&(&other.name, other.version, &other.text))
        };
        schemas.others.sort_by(key);
        schemas
    }

    /// In the order of name, version and text.
    fn files(self) -> impl Iterator<Item = SignedSchema> {
        // Several may have signed one file: what is shown is who did first.
        let mut files: BTreeMap<(&str, u32, String), SignedSchema> = BTreeMap::new();
        for ((name, version, hash, before, by, count), parts) in self.0 {
            if parts.len() != usize::from(count) {
                continue;
            }
            let text: String = parts.values().map(|(_, part)| part.text.as_str()).collect();
            let Some(at) = parts.values().map(|(_, part)| part.at).min() else { continue };
            if SchemaPart::hash(&text) != hash {
                continue;
            }
            let first = files.entry((name, version, text)).or_insert_with_key(|(_, _, text)| {
                let (name, text) = (name.to_owned(), text.clone());
                let (before, read) = (BTreeSet::new(), Arc::default());
                SignedSchema { by, at, name, version, text, hash, before, read }
            });
            (first.at, first.by) = (at, by).min((first.at, first.by));
            first.before.extend(before);
        }
        files.into_values()
    }
}
