//! What people who were asked say of a record: that it is approved, or why it is not.
//!
//! It is read from the changes alone. A ruling is a change that does nothing else, and it is about
//! what it builds on: whatever its author had not seen is not covered by it.

use std::collections::BTreeMap;

use automerge::legacy::{Key, ObjectId, OpType};
use automerge::{Change, ROOT, ReadDoc, ScalarValue};
use fieldmesh_model::{DeviceId, Moment};
use serde::{Deserialize, Serialize};

use crate::document::{Document, EditError, Meta, by_hash};
use crate::guard::{Panicked, guard};
use crate::{ancestry, edit, keys};

/// The longest reason of a refusal, in characters.
pub const REASON_MAX: usize = 500;

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
}

/// Where a record stands by the rulings of those who may approve it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// All of it is by people who may approve, and nobody has said anything.
    Own,
    /// Some of it was seen by nobody who may approve.
    Awaiting,
    /// Somebody has approved all of it.
    Approved,
    /// Somebody has refused it, and nobody who knew of that has said otherwise.
    Refused,
}

/// Whether a record is approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Where it stands.
    pub standing: Standing,
    /// What was said last by somebody who may, also where something was written since.
    pub last: Option<Ruling>,
    /// Whether it has counted once: somebody who may approve has begun it, or approved it.
    pub has_stood: bool,
}

impl Approval {
    /// Of a record that somebody has begun a moment ago; `may` says whether he may approve it.
    pub const fn begun(may: bool) -> Self {
        let standing = if may { Standing::Own } else { Standing::Awaiting };
        Self { standing, last: None, has_stood: may }
    }

    /// Whether the record counts.
    pub fn counts(&self) -> bool {
        matches!(self.standing, Standing::Own | Standing::Approved)
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

    /// Whether the record is approved, where `authors` wrote its changes and `may` says who may
    /// approve.
    ///
    /// Of people who decide without knowing of each other the one who refuses is heard: what counts
    /// is what nobody objects to.
    ///
    /// # Errors
    ///
    /// Automerge panicked on the document.
    pub fn approval(
        &self,
        authors: &BTreeMap<[u8; 32], DeviceId>,
        may: impl Fn(&DeviceId) -> bool,
    ) -> Result<Approval, Panicked> {
        let author = |hash: &[u8; 32]| authors.get(hash).copied().unwrap_or_default();
        if let Some(first) = &self.first {
            return Ok(Approval::begun(may(&author(&first.hash()))));
        }
        guard(|| {
            let (metas, said, remarks) = (self.metas(), self.said(), self.remarks());
            let hashed = by_hash(&metas);
            let by = |hash: &[u8; 32]| hashed.get(hash).copied();
            let rulings = || said.keys().filter(|hash| may(&author(hash))).filter_map(by);
            let seen = ancestry::closure(rulings().flat_map(|it| it.deps.iter().copied()), &hashed);
            let is_settled = |meta: &&Meta| may(&author(&meta.hash)) || seen.contains(&meta.hash);
            let work = || metas.iter().filter(|meta| !remarks.contains(&meta.hash));
            let ruling = |meta: &Meta| {
                let Meta { hash, at, .. } = *meta;
                let answer = said.get(&hash).cloned()?;
                Some(Ruling { hash, author: author(&hash), at, answer })
            };
            let last = rulings().filter(|meta| !seen.contains(&meta.hash)).filter_map(ruling);
            let last = last.max_by_key(|it| (it.answer != Answer::Approved, it.at, it.hash));
            let answer = last.as_ref().map(|it| &it.answer);
            let standing = match answer {
                _ if !work().all(|meta| is_settled(&meta)) => Standing::Awaiting,
                None => Standing::Own,
                Some(Answer::Approved) => Standing::Approved,
                Some(Answer::Refused(_)) => Standing::Refused,
            };
            let is_approval = |meta: &Meta| said.get(&meta.hash) == Some(&Answer::Approved);
            let is_begun = |meta: &Meta| meta.deps.is_empty() && may(&author(&meta.hash));
            let has_stood = rulings().any(is_approval) || work().any(is_begun);
            Approval { standing, last, has_stood }
        })
    }

    /// The changes that rule and do nothing else, with what they say, whoever says it.
    ///
    /// # Errors
    ///
    /// Automerge panicked on the document.
    pub fn rulings(&self) -> Result<BTreeMap<[u8; 32], Answer>, Panicked> {
        guard(|| self.said())
    }

    /// The same; call it inside [`guard`] only.
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
