//! The collections that a tenant has defined, put together from what its admins signed.

use std::collections::BTreeMap;
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
    /// What this version reads in the text, once somebody asked.
    collection: OnceLock<Option<Arc<Collection>>>,
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

    /// The collection, if this version can read it.
    pub fn collection(&self) -> Option<&Arc<Collection>> {
        self.collection.get_or_init(|| self.definition().read().map(Arc::new)).as_ref()
    }

    fn definition(&self) -> Definition<'_> {
        Definition { name: &self.name, version: self.version, text: &self.text }
    }
}

impl PartialEq for SignedSchema {
    /// What is read in it follows from the rest.
    fn eq(&self, other: &Self) -> bool {
        (self.by, self.at, self.definition()) == (other.by, other.at, other.definition())
    }
}

impl Eq for SignedSchema {}

/// The schemas of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Schemas {
    in_force: BTreeMap<u16, SignedSchema>,
    others: Vec<SignedSchema>,
}

impl Schemas {
    pub(super) fn numbered(&self, number: u16) -> Option<&SignedSchema> {
        self.in_force.get(&number)
    }

    pub(super) fn in_force(&self) -> impl Iterator<Item = &SignedSchema> {
        self.in_force.values()
    }

    pub(super) fn others(&self) -> impl Iterator<Item = &SignedSchema> {
        self.others.iter()
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

/// One file as one signer defined it: name, version, hash, signer and how many parts there are.
type Whole<'a> = (&'a str, u32, [u8; 32], [u8; 32], u8);

/// Parts of files that count, each with the item that holds it.
#[derive(Debug, Default)]
pub(super) struct Parts<'a>(BTreeMap<Whole<'a>, BTreeMap<u8, (ItemId, &'a SchemaPart)>>);

impl<'a> Parts<'a> {
    /// Takes in what an `item` that counts says.
    pub(super) fn add(&mut self, item: &Item, part: &'a SchemaPart) {
        let SchemaPart { collection, version, whole, parts, .. } = part;
        let whole = (collection.as_str(), *version, *whole, *item.signer(), *parts);
        let known = self.0.entry(whole).or_default();
        // Whoever signs one part twice is at fault himself; replicas only have to agree.
        let found = known.entry(part.part).or_insert((item.id(), part));
        if item.id() < found.0 {
            *found = (item.id(), part);
        }
    }

    /// The files of which all parts are there, and which of them are in force.
    pub(super) fn put_together(self) -> Schemas {
        // Several may have signed one file: what is shown is who did first.
        let mut files: BTreeMap<(&str, u32, String), (Moment, [u8; 32])> = BTreeMap::new();
        for ((name, version, hash, by, count), parts) in self.0 {
            if parts.len() != usize::from(count) {
                continue;
            }
            let text: String = parts.values().map(|(_, part)| part.text.as_str()).collect();
            let Some(at) = parts.values().map(|(_, part)| part.at).min() else { continue };
            if SchemaPart::hash(&text) == hash {
                let first = files.entry((name, version, text)).or_insert((at, by));
                *first = (at, by).min(*first);
            }
        }
        let mut schemas = Schemas::default();
        for ((name, version, text), (at, by)) in files {
            let (name, collection) = (name.to_owned(), OnceLock::new());
            schemas.add(SignedSchema { by, at, name, version, text, collection });
        }
        // In an order that does not depend on which of them met which.
        schemas.others.sort_by(|a, b| {
            let key = |it: &SignedSchema| (it.name.clone(), it.version, it.text.clone());
            key(a).cmp(&key(b))
        });
        schemas
    }
}
