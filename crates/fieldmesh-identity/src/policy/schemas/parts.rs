//! Which definitions count, and which of them are in force: a function of the set of items alone.
//!
//! A version counts where a whole definition of the version before it is in the set, by whomever:
//! so nobody can take numbers of versions that are to come, and a revocation that takes the word
//! from whoever signed one takes away nothing that others have built on it. What a key says beyond
//! its cut opens the way for others and is in force never.
//!
//! Each signer has room for so many definitions, by its own sequence: whoever holds a stolen key
//! fills the room of that key, and no one else's.

use std::cmp::{Ordering, Reverse};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use fieldmesh_model::{ItemId, Moment};

use super::super::Rank;
use super::{Schemas, SignedSchema};
use crate::Item;
use crate::statement::{SchemaPart, Statement};

/// The most collections of which one signer's definitions are looked at.
pub const COLLECTIONS_PER_SIGNER_MAX: usize = 128;
/// The most definitions of one signer that are looked at.
pub const DEFINITIONS_PER_SIGNER_MAX: usize = 2_048;
/// The most bytes of them.
pub const SCHEMA_BYTES_PER_SIGNER_MAX: usize = 16 * 1024 * 1024;

/// One file as one signer made it: name, version, hash, that of the one before, signer and how many
/// parts there are.
type Whole<'a> = (&'a str, u32, [u8; 32], Option<[u8; 32]>, [u8; 32], u8);
/// A definition by whomever: name, version and hash.
type Named<'a> = (&'a str, u32, [u8; 32]);

/// Parts of files that anybody signed who ever could define a collection.
#[derive(Debug, Default)]
pub(in crate::policy) struct Parts<'a>(BTreeMap<Whole<'a>, BTreeMap<u8, Part<'a>>>);

/// A part and the item that holds it.
#[derive(Debug, Clone, Copy)]
struct Part<'a> {
    turn: Turn,
    rank: Rank,
    part: &'a SchemaPart,
}

/// The order in which definitions of one signer have room: first what counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    counts: Reverse<bool>,
    sequence: u64,
    item: ItemId,
}

/// A whole file of one signer.
struct File<'a> {
    turn: Turn,
    whole: Whole<'a>,
    parts: BTreeMap<u8, Part<'a>>,
}

/// What a signer has said so far.
#[derive(Default)]
struct Share<'a> {
    names: BTreeSet<&'a str>,
    count: usize,
    bytes: usize,
}

/// A definition by all who signed it.
struct Signed {
    schema: SignedSchema,
    /// Those of whom it counts.
    signers: BTreeSet<[u8; 32]>,
    /// The greatest rank of them.
    rank: Rank,
    /// What was in force for anybody who signed it.
    follows: BTreeSet<[u8; 32]>,
}

/// All definitions of a name that count.
#[derive(Default)]
struct Name {
    rank: Option<Rank>,
    signers: BTreeSet<[u8; 32]>,
    schemas: Vec<SignedSchema>,
}

impl<'a> Parts<'a> {
    /// Takes in what an `item` says whose signer has or had the `rank` to define a collection.
    pub(in crate::policy) fn add(&mut self, item: &'a Item, rank: Rank, counts: bool) {
        let Statement::Schema(part) = item.statement() else { return };
        let SchemaPart { collection, version, whole, before, parts, .. } = &**part;
        let whole = (collection.as_str(), *version, *whole, *before, *item.signer(), *parts);
        let (counts, sequence) = (Reverse(counts), item.place().sequence);
        let new = Part { turn: Turn { counts, sequence, item: item.id() }, rank, part };
        let known = self.0.entry(whole).or_default();
        // Whoever signs one part twice is at fault himself; replicas only have to agree.
        let found = known.entry(part.part).or_insert(new);
        if new.turn < found.turn {
            *found = new;
        }
    }

    /// The files of which all parts are there, and which of them are in force.
    pub(in crate::policy) fn put_together(self) -> Schemas {
        let mut schemas = Schemas::default();
        let files = self.within_shares(&mut schemas.left_out);
        let mut stands: BTreeSet<Named<'_>> = BTreeSet::new();
        let mut names: BTreeMap<&str, Name> = BTreeMap::new();
        // The versions of a name come in their order, so what arrived first is of no account.
        for (named, signed) in definitions(files) {
            let (name, version, _) = named;
            let follows =
                |hash: &[u8; 32]| stands.contains(&(name, version.wrapping_sub(1), *hash));
            let is_standing = version <= 1 || signed.follows.iter().any(follows);
            if is_standing {
                stands.insert(named);
            }
            if signed.signers.is_empty() {
                continue;
            }
            if !is_standing {
                schemas.ahead.push(signed.schema);
                continue;
            }
            let name = names.entry(name).or_default();
            name.rank = name.rank.max(Some(signed.rank));
            name.signers.extend(signed.signers);
            name.schemas.push(signed.schema);
        }
        schemas.choose(names.into_values());
        schemas
    }

    fn within_shares(self, left_out: &mut usize) -> Vec<File<'a>> {
        let is_whole =
            |whole: &Whole<'_>, parts: &BTreeMap<_, _>| parts.len() == usize::from(whole.5);
        let files = self.0.into_iter().filter(|(whole, parts)| is_whole(whole, parts));
        let mut files: Vec<File<'_>> = files
            .filter_map(|(whole, parts)| {
                let counts = Reverse(parts.values().all(|part| part.turn.counts.0));
                let turn = parts.values().map(|part| part.turn).min()?;
                Some(File { turn: Turn { counts, ..turn }, whole, parts })
            })
            .collect();
        files.sort_by_key(|file| file.turn);
        let mut shares: BTreeMap<[u8; 32], Share<'_>> = BTreeMap::new();
        files.retain(|file| {
            let has_room = shares.entry(file.whole.4).or_default().take(file);
            *left_out += usize::from(!has_room && file.turn.counts.0);
            has_room
        });
        files
    }
}

impl<'a> Share<'a> {
    fn take(&mut self, file: &File<'a>) -> bool {
        let bytes = file.parts.values().map(|part| part.part.text.len()).sum::<usize>();
        let is_known = self.names.contains(file.whole.0);
        let has_room = self.count < DEFINITIONS_PER_SIGNER_MAX
            && self.bytes + bytes <= SCHEMA_BYTES_PER_SIGNER_MAX
            && (is_known || self.names.len() < COLLECTIONS_PER_SIGNER_MAX);
        if has_room {
            self.names.insert(file.whole.0);
            self.count += 1;
            self.bytes += bytes;
        }
        has_room
    }
}

/// In the order of name, version and hash; several may have signed one.
fn definitions(files: Vec<File<'_>>) -> BTreeMap<Named<'_>, Signed> {
    let mut definitions: BTreeMap<Named<'_>, Signed> = BTreeMap::new();
    for File { turn, whole: (name, version, hash, before, by, _), parts } in files {
        let named = (name, version, hash);
        let signed = match definitions.entry(named) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let text: String = parts.values().map(|part| part.part.text.as_str()).collect();
                if SchemaPart::hash(&text) != hash {
                    continue;
                }
                place.insert(Signed::new(named, text.into()))
            }
        };
        signed.follows.extend(before);
        if turn.counts.0 {
            let at = parts.values().map(|part| part.part.at).min().unwrap_or(Moment::ZERO);
            let rank = parts.values().map(|part| part.rank).min().unwrap_or(Rank::Rest);
            signed.count(by, at, rank);
            signed.schema.before.extend(before);
        }
    }
    definitions
}

impl Signed {
    fn new((name, version, hash): Named<'_>, text: Arc<str>) -> Self {
        let (by, at, name) = ([0; 32], Moment::ZERO, name.into());
        let (before, read) = (BTreeSet::new(), OnceLock::new());
        let schema = SignedSchema { by, at, name, version, text, hash, before, read };
        let (signers, follows) = (BTreeSet::new(), BTreeSet::new());
        Self { schema, signers, rank: Rank::Rest, follows }
    }

    /// Adds one who signed it; what is shown is who did first.
    fn count(&mut self, by: [u8; 32], at: Moment, rank: Rank) {
        let first = (self.schema.at, self.schema.by);
        let is_first = self.signers.is_empty() || (at, by) < first;
        (self.schema.at, self.schema.by) = if is_first { (at, by) } else { first };
        self.signers.insert(by);
        self.rank = self.rank.max(rank);
    }
}

impl Schemas {
    /// Puts in force the greatest definition of each name, and of names that meet in one number
    /// the one that weighs most.
    fn choose(&mut self, names: impl Iterator<Item = Name>) {
        let mut numbers: BTreeMap<u16, Name> = BTreeMap::new();
        for name in names {
            let Some(number) = name.schemas.first().map(SignedSchema::number) else { continue };
            let displaced = match numbers.remove(&number) {
                Some(known) if known.goes_before(&name) => {
                    numbers.insert(number, known);
                    Some(name)
                }
                known => {
                    numbers.insert(number, name);
                    known
                }
            };
            self.others.extend(displaced.into_iter().flat_map(|name| name.schemas));
        }
        for (number, mut name) in numbers {
            name.schemas.sort_by(|one, other| one.key().cmp(&other.key()));
            let greatest = name.schemas.pop();
            self.in_force.extend(greatest.map(|signed| (number, signed)));
            self.others.extend(name.schemas);
        }
        self.others.sort_by(|one, other| one.key().cmp(&other.key()));
    }
}

impl Name {
    /// Whether this has the number that both meet in: by the rank of who signed it, by how many
    /// did, by how often it went on. A name that somebody made to meet another one has less of
    /// each, unless he holds the keys of those who use that one; then his key is revoked.
    fn goes_before(&self, other: &Self) -> bool {
        let weight = |it: &Self| (it.rank, it.signers.len(), it.schemas.len());
        let definition = |it: &Self| it.schemas.first().map(|it| it.name.clone());
        match weight(self).cmp(&weight(other)) {
            Ordering::Greater => true,
            Ordering::Less => false,
            Ordering::Equal => {
                let names = definition(self).zip(definition(other));
                names.is_some_and(|(own, other)| {
                    fieldmesh_model::schema::has_number_before(&own, &other)
                })
            }
        }
    }
}

impl SignedSchema {
    /// What they are sorted by.
    fn key(&self) -> (&str, u32, &str) {
        (&self.name, self.version, &self.text)
    }
}
