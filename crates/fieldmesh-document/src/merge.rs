//! What is shown of concurrent values: a pure rule, the same on every replica.

use std::cmp::Ordering;
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
    let Some(latest) = candidates.last() else { return (Value::Null, Contest::None) };
    let value = match policy {
        MergePolicy::Union => return (union(candidates), Contest::None),
        MergePolicy::Max => extreme(candidates, Ordering::Greater),
        MergePolicy::Min => extreme(candidates, Ordering::Less),
        _ => latest.value.clone(),
    };
    if candidates.iter().all(|one| one.value.is_same(&value)) {
        return (value, Contest::None);
    }
    let first = candidates.first().map_or(latest.at, |first| first.at);
    let is_near = latest.at.millis_since(first) <= LATEST_SPREAD_MAX_MILLIS;
    let contest = match policy {
        MergePolicy::Latest if is_near => Contest::Settled,
        // No clock has a part in these, so a wrong one spoils nothing.
        MergePolicy::Max | MergePolicy::Min | MergePolicy::Sum => Contest::Settled,
        _ => Contest::Open,
    };
    (value, contest)
}

// A cleared value is neither greatest nor least while there is another.
fn extreme(candidates: &[Candidate], wanted: Ordering) -> Value {
    let values = candidates.iter().map(|one| &one.value).filter(|value| !value.is_cleared());
    let best = values.reduce(|best, one| if one.order(best) == wanted { one } else { best });
    best.cloned().unwrap_or(Value::Null)
}

// Whoever clears a set beside somebody who adds to it has not seen the addition.
fn union(candidates: &[Candidate]) -> Value {
    let mut items = Vec::new();
    for one in candidates {
        match &one.value {
            Value::Null => {}
            Value::List(own) => items.extend(own.iter().cloned()),
            single => items.push(single.clone()),
        }
    }
    as_set(Value::List(items))
}

/// A value of a field that merges by union: a set, or null without items.
pub(crate) fn as_set(value: Value) -> Value {
    let items = match value {
        Value::Null => Vec::new(),
        Value::List(items) => items,
        single => vec![single],
    };
    let items: Vec<_> = items.into_iter().filter(|item| *item != Value::Null).collect();
    if items.is_empty() { Value::Null } else { Value::List(items).into_set() }
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
    fn a_policy_shows_one_value_and_says_whether_a_person_is_needed() {
        let day = LATEST_SPREAD_MAX_MILLIS;
        let (far, near) = (
            [candidate(2.0, 0), candidate(1.0, day + 1)],
            [candidate(2.0, 0), candidate(1.0, day)],
        );
        for (policy, values, shown, contest) in [
            (MergePolicy::Latest, &near, 1.0, Contest::Settled),
            (MergePolicy::Latest, &far, 1.0, Contest::Open),
            (
                MergePolicy::Latest,
                &[candidate(2.0, 0), candidate(2.0, day + 1)],
                2.0,
                Contest::None,
            ),
            (MergePolicy::Review, &near, 1.0, Contest::Open),
            (MergePolicy::Text, &near, 1.0, Contest::Open),
            (MergePolicy::Unknown, &near, 1.0, Contest::Open),
            (MergePolicy::Max, &far, 2.0, Contest::Settled),
            (MergePolicy::Min, &far, 1.0, Contest::Settled),
            (MergePolicy::Sum, &far, 1.0, Contest::Settled),
        ] {
            assert_eq!(merge(policy, values), (Value::Float(shown), contest), "{policy:?}");
        }
        assert_eq!(merge(MergePolicy::Review, &[]), (Value::Null, Contest::None));
    }

    #[test]
    fn a_cleared_value_is_no_extreme_and_adds_nothing_to_a_union() {
        let null = Candidate { value: Value::Null, ..candidate(0.0, 5) };
        for policy in [MergePolicy::Max, MergePolicy::Min] {
            let shown = merge(policy, &[candidate(-3.0, 0), null.clone()]);
            assert_eq!(shown, (Value::Float(-3.0), Contest::Settled));
            assert_eq!(merge(policy, std::slice::from_ref(&null)), (Value::Null, Contest::None));
        }
        let list = |items: &[&str]| Candidate { value: items.to_vec().into(), ..candidate(0.0, 1) };
        let all = [null, list(&["nuts", "milk"]), list(&["milk", "eggs"])];
        let expected = Value::from(vec!["eggs", "milk", "nuts"]);
        assert_eq!(merge(MergePolicy::Union, &all), (expected, Contest::None));
    }
}
