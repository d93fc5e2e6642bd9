//! Queries as the part of an address behind the question mark.

use std::fmt::Write as _;

use fieldmesh::api::{ConflictQuery, ExportFormat, ExportQuery, ListQuery, Problem};

use crate::problem::usage;

/// Names and values, in order; names may repeat.
pub(crate) type Pairs = Vec<(String, String)>;

/// `text` with everything but unreserved characters escaped.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            _ => {
                // Writing to a string cannot fail.
                let _ = write!(escaped, "%{byte:02X}");
            }
        }
    }
    escaped
}

/// The pairs with a question mark in front, or nothing.
pub(crate) fn join(pairs: &[(String, String)]) -> String {
    let mut joined = String::new();
    for (name, value) in pairs {
        joined.push(if joined.is_empty() { '?' } else { '&' });
        joined.push_str(&escape(name));
        joined.push('=');
        joined.push_str(&escape(value));
    }
    joined
}

/// The pairs of a list query.
pub(crate) fn list_pairs(query: &ListQuery) -> Pairs {
    let mut pairs = vec![("collection".into(), query.collection.clone())];
    pairs.extend(query.filters.iter().map(|filter| ("where".into(), filter.clone())));
    pairs.extend(query.since.map(|since| ("since".into(), since.to_string())));
    pairs.extend(query.until.map(|until| ("until".into(), until.to_string())));
    pairs.extend(query.limit.map(|limit| ("limit".into(), limit.to_string())));
    if query.deleted {
        pairs.push(("deleted".into(), "true".into()));
    }
    if query.not_safe {
        pairs.push(("unsafe".into(), "true".into()));
    }
    if query.in_conflict {
        pairs.push(("conflict".into(), "true".into()));
    }
    if query.duplicates {
        pairs.push(("duplicates".into(), "true".into()));
    }
    if query.awaiting {
        pairs.push(("awaiting".into(), "true".into()));
    }
    if query.partial {
        pairs.push(("partial".into(), "true".into()));
    }
    let words = [
        ("site", &query.site),
        ("author", &query.author),
        ("device", &query.device),
        ("sort", &query.sort),
        ("cursor", &query.cursor),
    ];
    let given = words.into_iter().filter_map(|(name, word)| Some((name.into(), word.clone()?)));
    pairs.extend(given);
    pairs
}

/// The list query of some pairs.
pub(crate) fn list(pairs: Pairs) -> Result<ListQuery, Problem> {
    let mut query = ListQuery::default();
    for (name, value) in pairs {
        list_pair(&mut query, &name, value)?;
    }
    if query.collection.is_empty() {
        return Err(usage("name a collection, collection=field_entry for example"));
    }
    Ok(query)
}

fn list_pair(query: &mut ListQuery, name: &str, value: String) -> Result<(), Problem> {
    match name {
        "collection" => query.collection = value,
        "where" => query.filters.push(value),
        "since" => query.since = Some(parsed(name, &value)?),
        "until" => query.until = Some(parsed(name, &value)?),
        "limit" => query.limit = Some(parsed(name, &value)?),
        "deleted" => query.deleted = parsed(name, &value)?,
        "unsafe" => query.not_safe = parsed(name, &value)?,
        "conflict" => query.in_conflict = parsed(name, &value)?,
        "duplicates" => query.duplicates = parsed(name, &value)?,
        "awaiting" => query.awaiting = parsed(name, &value)?,
        "partial" => query.partial = parsed(name, &value)?,
        "site" => query.site = Some(value),
        "author" => query.author = Some(value),
        "device" => query.device = Some(value),
        "sort" => query.sort = Some(value),
        "cursor" => query.cursor = Some(value),
        _ => return Err(usage(format!("there is no parameter {name:?}"))),
    }
    Ok(())
}

/// The pairs of an export query.
pub(crate) fn export_pairs(query: &ExportQuery) -> Pairs {
    let mut pairs = list_pairs(&query.list);
    pairs.extend(query.also.iter().map(|collection| ("also".into(), collection.clone())));
    let format = match query.format {
        ExportFormat::Jsonl => "jsonl",
        ExportFormat::Csv => "csv",
    };
    pairs.push(("format".into(), format.into()));
    if query.history {
        pairs.push(("history".into(), "true".into()));
    }
    pairs
}

/// The export query of some pairs.
pub(crate) fn export(pairs: Pairs) -> Result<ExportQuery, Problem> {
    let mut query = ExportQuery::default();
    let mut rest = Pairs::new();
    for (name, value) in pairs {
        match name.as_str() {
            "format" => {
                query.format = match value.as_str() {
                    "jsonl" => ExportFormat::Jsonl,
                    "csv" => ExportFormat::Csv,
                    _ => return Err(usage("the format is jsonl or csv")),
                };
            }
            "history" => query.history = parsed(&name, &value)?,
            "also" => query.also.push(value),
            _ => rest.push((name, value)),
        }
    }
    query.list = list(rest)?;
    Ok(query)
}

/// The pairs of a conflict query.
pub(crate) fn conflict_pairs(query: &ConflictQuery) -> Pairs {
    let mut pairs = Pairs::new();
    pairs.extend(query.kind.iter().map(|kind| ("kind".into(), kind.clone())));
    if query.closed {
        pairs.push(("closed".into(), "true".into()));
    }
    pairs.extend(query.after.iter().map(|after| ("after".into(), after.clone())));
    pairs.extend(query.limit.map(|limit| ("limit".into(), limit.to_string())));
    pairs
}

/// The conflict query of some pairs.
pub(crate) fn conflicts(pairs: Pairs) -> Result<ConflictQuery, Problem> {
    let mut query = ConflictQuery::default();
    for (name, value) in pairs {
        match name.as_str() {
            "kind" => query.kind = Some(value),
            "closed" => query.closed = parsed(&name, &value)?,
            "after" => query.after = Some(value),
            "limit" => query.limit = Some(parsed(&name, &value)?),
            _ => return Err(usage(format!("there is no parameter {name:?}"))),
        }
    }
    Ok(query)
}

fn parsed<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, Problem> {
    value.parse().map_err(|_| usage(format!("{value:?} is no value for {name:?}")))
}

#[cfg(test)]
mod tests {
    use fieldmesh_model::Moment;

    use super::*;

    fn query() -> ListQuery {
        ListQuery {
            collection: "field_entry".into(),
            filters: vec!["wellId=State 12-4 & sons".into(), "notes=100%?".into()],
            since: Some(Moment::from_millis(1_700_000_000_000)),
            until: None,
            limit: Some(20),
            deleted: true,
            not_safe: true,
            in_conflict: true,
            duplicates: true,
            awaiting: true,
            site: Some("State 12-4".into()),
            author: Some("ana@example.org".into()),
            device: Some("truck".into()),
            sort: Some("oilVolume:down".into()),
            cursor: Some("01ab".into()),
            partial: true,
        }
    }

    #[test]
    fn queries_survive_their_pairs() {
        assert_eq!(list(list_pairs(&query())), Ok(query()));
        let asked = ExportQuery {
            list: query(),
            also: vec!["well".into()],
            format: ExportFormat::Csv,
            history: true,
        };
        assert_eq!(export(export_pairs(&asked)), Ok(asked));
        let asked = ConflictQuery {
            kind: Some("field".into()),
            closed: true,
            after: Some("7c21a9f0".into()),
            limit: Some(20),
        };
        assert_eq!(conflicts(conflict_pairs(&asked)), Ok(asked));
        assert_eq!(conflicts(Pairs::new()), Ok(ConflictQuery::default()));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let pair = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        assert!(list(Pairs::new()).is_err());
        assert!(list(pair("limit", "many")).is_err());
        assert!(list(pair("colection", "well")).is_err());
        assert!(export(pair("format", "xlsx")).is_err());
        assert!(conflicts(pair("closed", "maybe")).is_err());
    }

    #[test]
    fn nothing_in_a_value_ends_it() {
        let joined = join(&list_pairs(&query()));
        assert!(joined.contains("where=wellId%3DState%2012-4%20%26%20sons"), "{joined}");
        assert_eq!(escape("ü/?#"), "%C3%BC%2F%3F%23");
        assert_eq!(join(&[]), "");
    }
}
