//! What people who were asked say of a record: that it is approved, or why it is not.
//!
//! It is read from the changes alone. A ruling is a change that does nothing else, and it is about
//! what it builds on: whatever its author had not seen is not covered by it. Who may rule is no
//! matter here; [`Rulings::standing`] is told.

use std::collections::{BTreeMap, BTreeSet};

use automerge::legacy::{Key, ObjectId, OpType};
use automerge::{Change, ROOT, ReadDoc, ScalarValue};
use fieldmesh_model::{DeviceId, Moment};
use serde::{Deserialize, Serialize};

use crate::document::{Document, EditError, Meta, by_hash};
use crate::guard::{Panicked, guard};
use crate::{ancestry, edit, keys};

/// The longest reason of a refusal, in characters.
pub const REASON_MAX: usize = 2_000;
/// The most rulings of one author that are looked at, the newest ones: each of his knows all that
/// he made before, unless somebody copied his home.
const RULINGS_OF_ONE_MAX: usize = 8;
/// The most rulings of a record that are looked at, the newest ones.
const RULINGS_MAX: usize = 64;

/// What somebody says of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It counts as it is.
    Approved,
    /// It does not count, for this reason.
    Refused(String),
}

/// An answer, by whom and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ruling {
    /// The change that says it.
    pub hash: [u8; 32],
    /// Its author.
    pub author: DeviceId,
    /// When, by its author's clock.
    pub at: Moment,
    /// What he says.
    pub answer: Answer,
    /// The rulings that he knew, by their places in the list.
    knows: Vec<u16>,
}

/// Work of one author, and the rulings that cover it, by their places in the list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Written {
    author: DeviceId,
    covered_by: Vec<u16>,
}

/// Everything that says whether a record is approved, whoever may do that.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rulings {
    given: Vec<Ruling>,
    written: Vec<Written>,
}

/// What follows from the rulings of those who may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing<'a> {
    /// All of it is by people who may approve, and nobody has said anything.
    Own,
    /// Some of it is covered by no ruling.
    Awaiting,
    /// Somebody has approved all of it.
    Approved(&'a Ruling),
    /// Somebody has refused it, and nobody who knew of that has said otherwise.
    Refused(&'a Ruling),
}

impl Rulings {
    /// Of a record that `author` has begun a moment ago.
    pub fn begun_by(author: DeviceId) -> Self {
        Self { given: Vec::new(), written: vec![Written { author, covered_by: Vec::new() }] }
    }

    /// Whether `is_meant` of anybody who has written in the record.
    pub fn is_work_of(&self, is_meant: impl Fn(&DeviceId) -> bool) -> bool {
        self.written.iter().any(|written| is_meant(&written.author))
    }

    /// What follows where `may` says who may approve.
    ///
    /// Of people who decide without knowing of each other the one who refuses is heard: what counts
    /// is what nobody objects to.
    pub fn standing(&self, may: impl Fn(&DeviceId) -> bool) -> Standing<'_> {
        let allowed: BTreeMap<u16, &Ruling> =
            (0..).zip(&self.given).filter(|(_, ruling)| may(&ruling.author)).collect();
        let is_covered = |written: &Written| {
            may(&written.author) || written.covered_by.iter().any(|it| allowed.contains_key(it))
        };
        if !self.written.iter().all(is_covered) {
            return Standing::Awaiting;
        }
        let known: BTreeSet<u16> =
            allowed.values().flat_map(|ruling| ruling.knows.iter().copied()).collect();
        let last = allowed.iter().filter(|(place, _)| !known.contains(place)).map(|(_, it)| *it);
        let newest = last.max_by_key(|it| (it.answer != Answer::Approved, it.at, it.hash));
        match newest {
            None => Standing::Own,
            Some(ruling) if ruling.answer == Answer::Approved => Standing::Approved(ruling),
            Some(ruling) => Standing::Refused(ruling),
        }
    }

    /// What was said by people of whom `may` says that they may not approve, the newest first.
    pub fn uncounted(&self, may: impl Fn(&DeviceId) -> bool) -> Vec<&Ruling> {
        let mut found: Vec<_> = self.given.iter().filter(|ruling| !may(&ruling.author)).collect();
        found.sort_by_key(|ruling| std::cmp::Reverse((ruling.at, ruling.hash)));
        found
    }
}

impl Document {
    /// Says that the record is approved as it is here, or refused; `None` is never given.
    ///
    /// # Errors
    ///
    /// The change cannot be written; the document is as before.
    pub fn rule(
        &mut self,
        actor: [u8; 16],
        at: Moment,
        answer: &Answer,
    ) -> Result<Option<Vec<u8>>, EditError> {
        let value = match answer {
            Answer::Approved => ScalarValue::Boolean(true),
            Answer::Refused(reason) => ScalarValue::Str(reason.as_str().into()),
        };
        self.change(actor, at, |transaction| edit::force(transaction, keys::APPROVAL, value))
    }

    /// What was said of the record and of what, by the authors of its changes.
    ///
    /// # Errors
    ///
    /// Automerge panicked on the document.
    pub fn rulings(&self, authors: &BTreeMap<[u8; 32], DeviceId>) -> Result<Rulings, Panicked> {
        let author = |hash: &[u8; 32]| authors.get(hash).copied().unwrap_or_default();
        if let Some(first) = &self.first {
            return Ok(Rulings::begun_by(author(&first.hash())));
        }
        guard(|| {
            let (metas, said, remarks) = (self.metas(), self.said(), self.remarks());
            let is_work = |meta: &&Meta| !remarks.contains(&meta.hash);
            let hashed = by_hash(&metas);
            let mut given = latest(&said, &hashed, author);
            let sight = |ruling: &Ruling| {
                let deps = hashed.get(&ruling.hash).map(|meta| meta.deps.iter().copied());
                ancestry::closure(deps.into_iter().flatten(), &hashed)
            };
            let sights: Vec<BTreeSet<[u8; 32]>> = given.iter().map(sight).collect();
            let hashes: Vec<[u8; 32]> = given.iter().map(|ruling| ruling.hash).collect();
            for (ruling, sight) in given.iter_mut().zip(&sights) {
                let known = (0..).zip(&hashes).filter(|(_, hash)| sight.contains(*hash));
                ruling.knows = known.map(|(place, _)| place).collect();
            }
            let cover = |hash: &[u8; 32]| {
                let covering = (0..).zip(&sights).filter(|(_, sight)| sight.contains(hash));
                covering.map(|(place, _)| place).collect()
            };
            let written: BTreeSet<Written> = metas
                .iter()
                .filter(is_work)
                .map(|meta| Written { author: author(&meta.hash), covered_by: cover(&meta.hash) })
                .collect();
            Rulings { given, written: least(&written) }
        })
    }

    /// The changes that rule and do nothing else, with what they say. Call it inside [`guard`]
    /// only.
    pub(crate) fn said(&self) -> BTreeMap<[u8; 32], Answer> {
        if !matches!(self.inner().get(ROOT, keys::APPROVAL), Ok(Some(_))) {
            return BTreeMap::new();
        }
        let changes = self.inner().get_changes(&[]).into_iter();
        changes.filter_map(|change| Some((change.hash().0, answer_of(&change)?))).collect()
    }
}

/// What a change says, if it does nothing else and stands on something.
fn answer_of(change: &Change) -> Option<Answer> {
    let operations = change.decode().operations;
    let is_said = operations.iter().all(|operation| {
        let is_root = operation.obj == ObjectId::Root;
        is_root && matches!(&operation.key, Key::Map(key) if key.as_str() == keys::APPROVAL)
    });
    if !is_said || change.deps().is_empty() {
        return None;
    }
    match &operations.last()?.action {
        OpType::Put(ScalarValue::Boolean(true)) => Some(Answer::Approved),
        OpType::Put(ScalarValue::Str(reason)) => {
            Some(Answer::Refused(reason.chars().take(REASON_MAX).collect()))
        }
        _ => None,
    }
}

/// The rulings that no other one of the same author knows: a later one covers what an earlier one
/// did, and counts if that does.
fn latest(
    said: &BTreeMap<[u8; 32], Answer>,
    hashed: &BTreeMap<[u8; 32], &Meta>,
    author: impl Fn(&[u8; 32]) -> DeviceId,
) -> Vec<Ruling> {
    let mut by_author: BTreeMap<DeviceId, Vec<(Moment, [u8; 32])>> = BTreeMap::new();
    for hash in said.keys() {
        let at = hashed.get(hash).map_or(Moment::ZERO, |meta| meta.at);
        by_author.entry(author(hash)).or_default().push((at, *hash));
    }
    let mut given = Vec::new();
    for (author, mut rulings) in by_author {
        let known: BTreeSet<[u8; 32]> = rulings
            .iter()
            .filter_map(|(_, hash)| hashed.get(hash))
            .flat_map(|meta| ancestry::closure(meta.deps.iter().copied(), hashed))
            .collect();
        rulings.retain(|(_, hash)| !known.contains(hash));
        rulings.sort_unstable();
        for (at, hash) in rulings.into_iter().rev().take(RULINGS_OF_ONE_MAX) {
            let answer = said.get(&hash).cloned().unwrap_or(Answer::Approved);
            given.push(Ruling { hash, author, at, answer, knows: Vec::new() });
        }
    }
    given.sort_by_key(|ruling| std::cmp::Reverse((ruling.at, ruling.hash)));
    given.truncate(RULINGS_MAX);
    given
}

/// Of each author the work that the fewest rulings cover: where that is covered, all of it is.
fn least(written: &BTreeSet<Written>) -> Vec<Written> {
    let is_more = |one: &Written, other: &Written| {
        let has = |place: &u16| one.covered_by.contains(place);
        one != other && one.author == other.author && other.covered_by.iter().all(has)
    };
    let is_least = |one: &&Written| !written.iter().any(|other| is_more(one, other));
    written.iter().filter(is_least).cloned().collect()
}
