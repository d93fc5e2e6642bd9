//! What is shown of concurrent values: a pure rule, the same on every replica.

use std::collections::BTreeMap;

use automerge::{AutomergeError, ChangeHash, ObjType, ROOT, ReadDoc};
use fieldmesh_model::schema::MergePolicy;
use fieldmesh_model::{Moment, Value};

use crate::document::{Document, Meta};
use crate::{edit, scalar};

/// Concurrent writes further apart than this are shown to a person whatever the policy, because
/// one of the clocks may be wrong.
pub const LATEST_SPREAD_MAX_MILLIS: i64 = 24 * 60 * 60 * 1_000;

/// One of the concurrent values of a field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) value: Value,
    pub(crate) at: Moment,
    pub(crate) actor: Vec<u8>,
    pub(crate) hash: [u8; 32],
}

/// How much a field needs a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contest {
    /// All concurrent values are the same.
    None,
    /// The policy chose; the other values stay visible.
    Settled,
    /// A person has to choose.
    Open,
}

/// The value to show of candidates in order, and whether they compete.
pub(crate) fn merge(policy: MergePolicy, candidates: &[Candidate]) -> (Value, Contest) {
    let Some(winner) = candidates.last() else { return (Value::Null, Contest::None) };
    let value = winner.value.clone();
    if candidates.iter().all(|one| one.value.is_same(&value)) {
        return (value, Contest::None);
    }
    let first = candidates.first().map_or(winner.at, |first| first.at);
    let contest = match policy {
        MergePolicy::Latest if winner.at.millis_since(first) <= LATEST_SPREAD_MAX_MILLIS => {
            Contest::Settled
        }
        _ => Contest::Open,
    };
    (value, contest)
}

impl Document {
    /// The concurrent values under a key, the one that `latest` shows last.
    pub(crate) fn candidates(
        &self,
        key: &str,
        metas: &BTreeMap<[u8; 32], &Meta>,
    ) -> Result<Vec<Candidate>, AutomergeError> {
        self.candidates_of(self.inner().get_all(ROOT, key)?, None, metas)
    }

    /// As [`Self::candidates`], at earlier heads.
    pub(crate) fn candidates_at(
        &self,
        key: &str,
        heads: &[ChangeHash],
        metas: &BTreeMap<[u8; 32], &Meta>,
    ) -> Result<Vec<Candidate>, AutomergeError> {
        self.candidates_of(self.inner().get_all_at(ROOT, key, heads)?, Some(heads), metas)
    }

    fn candidates_of(
        &self,
        values: Vec<(automerge::Value<'_>, automerge::ObjId)>,
        heads: Option<&[ChangeHash]>,
        metas: &BTreeMap<[u8; 32], &Meta>,
    ) -> Result<Vec<Candidate>, AutomergeError> {
        let mut candidates = Vec::with_capacity(values.len());
        for (value, id) in values {
            let value = match value {
                automerge::Value::Scalar(scalar) => scalar::from_scalar(&scalar),
                automerge::Value::Object(kind) => self.object(kind, &id, heads)?,
            };
            let hash = self.inner().hash_for_opid(&id).map_or([0; 32], |hash| hash.0);
            let meta = metas.get(&hash);
            candidates.push(Candidate {
                value,
                at: meta.map_or(Moment::ZERO, |meta| meta.at),
                actor: meta.map(|meta| meta.actor.clone()).unwrap_or_default(),
                hash,
            });
        }
        candidates.sort_by(|a, b| (a.at, &a.actor, a.hash).cmp(&(b.at, &b.actor, b.hash)));
        Ok(candidates)
    }

    /// The value of an object: a text, a list of scalars, or null for what nobody writes.
    ///
    /// An empty text or list is a cleared one.
    pub(crate) fn object(
        &self,
        kind: ObjType,
        id: &automerge::ObjId,
        heads: Option<&[ChangeHash]>,
    ) -> Result<Value, AutomergeError> {
        let value = match (kind, heads) {
            (ObjType::Text, None) => Value::Text(self.inner().text(id)?),
            (ObjType::Text, Some(heads)) => Value::Text(self.inner().text_at(id, heads)?),
            (ObjType::List, None) => Value::List(edit::read_list(self.inner(), id)),
            (ObjType::List, Some(heads)) => {
                let items =
                    self.inner().list_range_at(id, .., heads).map(|item| match item.value {
                        automerge::ValueRef::Scalar(scalar) => scalar::from_scalar_ref(&scalar),
                        automerge::ValueRef::Object(_) => Value::Null,
                    });
                Value::List(items.collect())
            }
            (ObjType::Map | ObjType::Table, _) => Value::Null,
        };
        Ok(match value {
            Value::Text(text) if text.is_empty() => Value::Null,
            Value::List(items) if items.is_empty() => Value::Null,
            value => value,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(value: f64, at: i64) -> Candidate {
        let at = Moment::from_millis(at);
        Candidate { value: Value::Float(value), at, actor: vec![1], hash: [1; 32] }
    }

    #[test]
    fn a_policy_shows_the_latest_and_says_whether_a_person_is_needed() {
        let day = LATEST_SPREAD_MAX_MILLIS;
        for (policy, values, contest) in [
            (MergePolicy::Latest, [candidate(1.0, 0), candidate(2.0, day)], Contest::Settled),
            (MergePolicy::Latest, [candidate(1.0, 0), candidate(2.0, day + 1)], Contest::Open),
            (MergePolicy::Latest, [candidate(2.0, 0), candidate(2.0, day + 1)], Contest::None),
            (MergePolicy::Review, [candidate(1.0, 0), candidate(2.0, 1)], Contest::Open),
            (MergePolicy::Text, [candidate(1.0, 0), candidate(2.0, 1)], Contest::Open),
        ] {
            assert_eq!(merge(policy, &values), (Value::Float(2.0), contest), "{policy:?}");
        }
        assert_eq!(merge(MergePolicy::Review, &[]), (Value::Null, Contest::None));
    }
}
