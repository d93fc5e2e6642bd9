//! The words in which people name a part of a tenant's records: `COLLECTION[/PARTITION][@YYYY-MM]`.

use fieldmesh_model::{Filter, Region, catalogue};

use crate::error::Error;

/// The filter that admits what one of `texts` names, and everything where there is none.
///
/// A collection is given by its name or its number, `*` stands for all of them; a partition is a
/// number; the month is the first one that is wanted.
///
/// # Errors
///
/// [`Error::UnknownCollection`] and [`Error::Usage`] say which text is not understood.
///
/// # Examples
///
/// ```
/// let filter = fieldmesh::filter::parse(&["well".into(), "field_entry@2026-03".into()]).unwrap();
/// assert_eq!(fieldmesh::filter::words(&filter), ["well", "field_entry@2026-03"]);
/// ```
pub fn parse(texts: &[String]) -> Result<Filter, Error> {
    let regions = texts.iter().map(|text| region(text)).collect::<Result<Vec<_>, _>>()?;
    Filter::new(regions).map_err(|error| Error::Usage { reason: format!("--only: {error}") })
}

/// The texts that mean `filter`; none where it admits everything.
pub fn words(filter: &Filter) -> Vec<String> {
    filter.regions().map(text).collect()
}

fn region(text: &str) -> Result<Region, Error> {
    let (place, since) = match text.trim().split_once('@') {
        Some((place, month)) => (place, Some(month)),
        None => (text.trim(), None),
    };
    let (collection, partition) = match place.split_once('/') {
        Some((collection, partition)) => (collection, Some(partition)),
        None => (place, None),
    };
    let wrong = |what: &str| Error::Usage {
        reason: format!(
            "{text:?} names no part of the records: {what}; write COLLECTION[/PARTITION][@YYYY-MM]"
        ),
    };
    let collection = match (collection, collection.parse::<u16>()) {
        ("*", _) => None,
        (_, Ok(number)) => Some(number),
        (name, Err(_)) => Some(built_in(name)?),
    };
    let partition = partition
        .map(|number| number.parse::<u32>().map_err(|_| wrong("a partition is a number")))
        .transpose()?;
    if collection.is_none() && partition.is_some() {
        return Err(wrong("a partition belongs to one collection"));
    }
    let since = match since.map(month) {
        None => 0,
        Some(Some(month)) => month,
        Some(None) => return Err(wrong("the month is like 2026-03")),
    };
    Ok(Region { collection, partition, since })
}

fn built_in(name: &str) -> Result<u16, Error> {
    let known = || {
        let names = catalogue::collections().iter().map(|known| known.name.as_str());
        let names = names.collect::<Vec<_>>().join(", ");
        format!("{names}, or the number that `fieldmesh schema show` tells of one of your own")
    };
    let found = catalogue::named(name).map(|known| known.number);
    found.ok_or_else(|| Error::UnknownCollection { name: name.to_owned(), known: known() })
}

/// The number of a month: 12 for each year, and the months before it.
pub(crate) fn month(text: &str) -> Option<u32> {
    let (year, month) = text.split_once('-')?;
    let (year, month) = (year.parse::<u32>().ok()?, month.parse::<u32>().ok()?);
    let is_month = (1970..=9_999).contains(&year) && (1..=12).contains(&month);
    is_month.then(|| year * 12 + month - 1)
}

/// The month of this number, like `2026-03`.
pub(crate) fn month_text(month: u32) -> String {
    format!("{:04}-{:02}", month / 12, month % 12 + 1)
}

fn text(region: &Region) -> String {
    let mut text = match region.collection {
        None => "*".to_owned(),
        Some(number) => match catalogue::numbered(number) {
            Some(collection) => collection.name.clone(),
            None => number.to_string(),
        },
    };
    if let Some(partition) = region.partition {
        text.push_str(&format!("/{partition}"));
    }
    if region.since > 0 {
        text.push_str(&format!("@{}", month_text(region.since)));
    }
    text
}

#[cfg(test)]
mod tests {
    use fieldmesh_model::Scope;

    use super::*;

    fn filter(texts: &[&str]) -> Filter {
        parse(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn what_people_name_is_what_is_exchanged() {
        let wells = catalogue::named("well").unwrap().number;
        let entries = catalogue::named("field_entry").unwrap().number;
        let march = 2026 * 12 + 2;
        let scope = |collection, partition, month| Scope { collection, partition, month };
        let some = filter(&["well", "field_entry/3@2026-03"]);
        assert!(some.admits(&scope(wells, 9, 5)));
        assert!(some.admits(&scope(entries, 3, march)));
        assert!(!some.admits(&scope(entries, 3, march - 1)));
        assert!(!some.admits(&scope(entries, 4, march)));
        assert!(filter(&["*@2026-03"]).admits(&scope(wells, 9, march)));
        assert!(filter(&[]).admits(&scope(wells, 9, 5)));
    }

    #[test]
    fn a_filter_is_shown_as_it_was_typed() {
        for text in ["well", "field_entry/3", "field_entry@2026-03", "well/7@2025-12", "*@2026-01"]
        {
            assert_eq!(words(&filter(&[text])), [text]);
        }
    }

    #[test]
    fn a_part_that_is_not_understood_is_refused_rather_than_taken_for_nothing() {
        for text in ["", "welles", "well/a", "well@2026", "well@2026-13", "well@march", "*/3"] {
            assert!(parse(&[text.to_owned()]).is_err(), "{text:?}");
        }
    }
}
