//! What a request says: words behind the question mark, and JSON. Everything wrong is told at once.

use std::str::FromStr;

use axum::http::HeaderMap;
use axum::http::header::{CONTENT_TYPE, IF_MATCH};
use fieldmesh::api::ListQuery;
use fieldmesh_model::validate::Fault;
use serde::de::DeserializeOwned;

use crate::refusal::{Kind, Refusal};

/// The records of a page whose reader does not say how many.
const LIMIT_DEFAULT: usize = 50;
/// The most records of a page.
pub(crate) const LIMIT_MAX: usize = 1_000;

/// The words behind the question mark; what is taken is understood.
pub(crate) struct Words {
    pairs: Vec<(String, String)>,
    faults: Vec<Fault>,
}

impl Words {
    pub(crate) fn new(pairs: Vec<(String, String)>) -> Self {
        Self { pairs, faults: Vec::new() }
    }

    /// Every value under a name.
    fn all(&mut self, name: &str) -> Vec<String> {
        let (taken, rest) =
            std::mem::take(&mut self.pairs).into_iter().partition(|pair| pair.0 == name);
        self.pairs = rest;
        let taken: Vec<(String, String)> = taken;
        taken.into_iter().map(|pair| pair.1).collect()
    }

    /// The one value under a name.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        let mut values = self.all(name);
        if values.len() > 1 {
            self.fault(name, "is given more than once");
        }
        values.pop()
    }

    /// The one value under a name, as what `wanted` says.
    pub(crate) fn parsed<T: FromStr>(&mut self, name: &str, wanted: &str) -> Option<T> {
        let text = self.text(name)?;
        let value = text.parse().ok();
        if value.is_none() {
            self.fault(name, &format!("{text:?} is not {wanted}"));
        }
        value
    }

    /// A number of at most `max`, and at least one.
    pub(crate) fn count(&mut self, name: &str, max: usize) -> Option<usize> {
        let count = self.parsed::<usize>(name, "a number")?;
        if (1..=max).contains(&count) {
            return Some(count);
        }
        self.fault(name, &format!("is from 1 to {max}"));
        None
    }

    fn is(&mut self, name: &str) -> bool {
        self.parsed(name, "true or false").unwrap_or(false)
    }

    pub(crate) fn fault(&mut self, name: &str, message: &str) {
        self.faults.push(Fault { field: name.into(), message: message.into() });
    }

    /// Refuses what nobody has taken.
    pub(crate) fn end(mut self) -> Result<(), Refusal> {
        for (name, _) in std::mem::take(&mut self.pairs) {
            self.fault(&name, "there is no such parameter");
        }
        if self.faults.is_empty() { Ok(()) } else { Err(Refusal::usage(self.faults)) }
    }

    /// What is asked of many records, without limit and cursor.
    pub(crate) fn records(&mut self) -> ListQuery {
        let collection = self.text("collection").filter(|name| !name.is_empty());
        if collection.is_none() {
            self.fault("collection", "is missing; name one, field_entry for example");
        }
        ListQuery {
            collection: collection.unwrap_or_default(),
            filters: self.all("where"),
            since: self.parsed("since", "a time like 2026-03-01T08:30:00Z"),
            until: self.parsed("until", "a time like 2026-03-01T08:30:00Z"),
            limit: None,
            deleted: self.is("deleted"),
            not_safe: self.is("unsafe"),
            in_conflict: self.is("conflict"),
            duplicates: self.is("duplicates"),
            awaiting: self.is("awaiting"),
            site: self.text("site"),
            author: self.text("author"),
            device: self.text("device"),
            sort: self.text("sort"),
            cursor: None,
            partial: false,
        }
    }

    /// A page of them.
    pub(crate) fn page(&mut self) -> ListQuery {
        let limit = self.count("limit", LIMIT_MAX).unwrap_or(LIMIT_DEFAULT);
        ListQuery { limit: Some(limit), cursor: self.text("cursor"), ..self.records() }
    }
}

/// What a body of JSON says.
pub(crate) fn json<T: DeserializeOwned>(headers: &HeaderMap, bytes: &[u8]) -> Result<T, Refusal> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if media != "application/json" && media != "application/merge-patch+json" {
        return Err(Refusal::new(Kind::WrongType, "send application/json"));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        Refusal::usage(vec![Fault { field: String::new(), message: error.to_string() }])
    })
}

/// The version that a change is based on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Base {
    /// Whatever is there, as the client says in so many words.
    Any,
    /// This one.
    Version(String),
}

impl Base {
    /// What `If-Match` says; `None` where it is not there.
    pub(crate) fn given(headers: &HeaderMap) -> Result<Option<Self>, Refusal> {
        let mut values = headers.get_all(IF_MATCH).iter();
        let Some(first) = values.next() else { return Ok(None) };
        let text = first.to_str().unwrap_or_default().trim();
        let tag = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        match (text, tag) {
            ("*", _) if values.next().is_none() => Ok(Some(Self::Any)),
            (_, Some(version)) if values.next().is_none() && !version.contains('"') => {
                Ok(Some(Self::Version(version.into())))
            }
            _ => Err(Refusal::usage(vec![Fault {
                field: "If-Match".into(),
                message: "is * or one version in quotes, as ETag gives it".into(),
            }])),
        }
    }

    /// What `If-Match` says; it has to be there.
    pub(crate) fn required(headers: &HeaderMap) -> Result<Self, Refusal> {
        Self::given(headers)?.ok_or_else(|| {
            let detail = "say by If-Match which version of the record you have read (its ETag), so \
                          that nothing is overwritten unseen; * stands for any";
            Refusal::new(Kind::Unconditional, detail)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Words {
        Words::new(pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
    }

    #[test]
    fn everything_that_is_wrong_with_a_query_is_told_at_once() {
        let mut words = pairs(&[
            ("limit", "0"),
            ("since", "soon"),
            ("colour", "red"),
            ("site", "a"),
            ("site", "b"),
        ]);
        let _ = words.page();
        let refusal = words.end().unwrap_err();
        let fields: Vec<&str> = refusal.faults().iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(fields, ["limit", "collection", "since", "site", "colour"]);
    }

    #[test]
    fn a_version_is_one_tag_in_quotes() {
        let given = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(IF_MATCH, text.parse().unwrap());
            Base::given(&headers)
        };
        assert_eq!(given("\"ab\"").unwrap(), Some(Base::Version("ab".into())));
        assert_eq!(given(" * ").unwrap(), Some(Base::Any));
        assert_eq!(Base::given(&HeaderMap::new()).unwrap(), None);
        for text in ["ab", "\"a\", \"b\"", "W/\"a\"", "\"", ""] {
            assert!(given(text).is_err(), "{text}");
        }
    }
}
