//! Which part of a tenant's data a replica holds: a union of regions of scopes.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::Scope;
use crate::limits::FILTER_REGIONS_MAX;

/// Any collection, in the encoding.
const ANY_COLLECTION: u16 = u16::MAX;
/// Any partition, in the encoding.
const ANY_PARTITION: u32 = 0xff_ffff;
/// The largest partition and month.
const HALF_MAX: u32 = 0xff_ffff;

/// The scopes that a replica wants to hold; no region at all means everything.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Filter {
    regions: BTreeSet<Region>,
}

/// Scopes that have something in common.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Region {
    /// The collection; any if `None`.
    pub collection: Option<u16>,
    /// The partition; any if `None`.
    pub partition: Option<u32>,
    /// The first month, counted as [`Scope::month`] is; 0 for all.
    pub since: u32,
}

/// A filter that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// More regions than a filter may have.
    #[error("filter has {count} regions, limit is {FILTER_REGIONS_MAX}")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// A region of another length than 2, 5 or 8 bytes.
    #[error("region {index} of the filter has {length} bytes, not 2, 5 or 8")]
    Length {
        /// Its position.
        index: usize,
        /// Its length.
        length: usize,
    },
    /// A collection, partition or month that stands for something else on the wire.
    #[error("region {index} of the filter has a number that is too large")]
    Number {
        /// Its position.
        index: usize,
    },
}

impl Filter {
    /// Everything.
    pub const fn everything() -> Self {
        Self { regions: BTreeSet::new() }
    }

    /// The union of `regions`; everything if there is none.
    ///
    /// # Errors
    ///
    /// Fails for too many regions, and for numbers beyond those of a scope.
    pub fn new(regions: impl IntoIterator<Item = Region>) -> Result<Self, FilterError> {
        let regions: BTreeSet<Region> = regions.into_iter().collect();
        if regions.len() > FILTER_REGIONS_MAX {
            return Err(FilterError::TooMany { count: regions.len() });
        }
        match regions.iter().position(|region| !region.is_sound()) {
            Some(index) => Err(FilterError::Number { index }),
            None => Ok(Self { regions }),
        }
    }

    /// No scope in use: the last month that the encoding knows lies a million years ahead.
    pub fn nothing() -> Self {
        let never = Region { since: HALF_MAX, ..Region::default() };
        Self { regions: BTreeSet::from([never]) }
    }

    /// What both admit; [`Self::nothing`] where they have nothing in common.
    ///
    /// # Errors
    ///
    /// Fails where that takes more regions than a filter may have.
    pub fn intersection(&self, other: &Self) -> Result<Self, FilterError> {
        if self.is_everything() || other.is_everything() {
            return Ok(if self.is_everything() { other.clone() } else { self.clone() });
        }
        let pairs = self
            .regions
            .iter()
            .flat_map(|one| other.regions.iter().filter_map(|other| one.intersection(other)));
        let regions: BTreeSet<Region> = pairs.collect();
        if regions.is_empty() { Ok(Self::nothing()) } else { Self::new(regions) }
    }

    /// Whether it admits everything because it says nothing.
    pub fn is_everything(&self) -> bool {
        self.regions.is_empty()
    }

    /// Whether `scope` lies inside.
    pub fn admits(&self, scope: &Scope) -> bool {
        self.is_everything() || self.regions.iter().any(|region| region.admits(scope))
    }

    /// The regions, in order.
    pub fn regions(&self) -> impl Iterator<Item = &Region> {
        self.regions.iter()
    }

    /// A byte string for each region: collection 2 bytes, then partition 3, then the first month 3,
    /// big-endian and without what is not restricted at the end. Ones stand for any.
    pub fn encode(&self) -> Vec<Vec<u8>> {
        self.regions.iter().map(|region| region.encode()).collect()
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    ///
    /// Fails for anything else, and for more regions than a filter may have.
    pub fn decode(encoded: &[Vec<u8>]) -> Result<Self, FilterError> {
        if encoded.len() > FILTER_REGIONS_MAX {
            return Err(FilterError::TooMany { count: encoded.len() });
        }
        let read = |(index, bytes): (usize, &Vec<u8>)| {
            let length = bytes.len();
            Region::decode(bytes).ok_or(FilterError::Length { index, length })
        };
        let regions = encoded.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
        Self::new(regions)
    }
}

impl Region {
    fn is_sound(&self) -> bool {
        self.collection != Some(ANY_COLLECTION)
            && self.partition.is_none_or(|partition| partition < ANY_PARTITION)
            && self.since <= HALF_MAX
    }

    /// Whether `scope` lies inside.
    pub fn admits(&self, scope: &Scope) -> bool {
        self.collection.is_none_or(|collection| collection == scope.collection)
            && self.partition.is_none_or(|partition| partition == scope.partition)
            && self.since <= scope.month
    }

    /// What lies inside of both; none where they are apart.
    fn intersection(&self, other: &Self) -> Option<Self> {
        let collection = narrower(self.collection, other.collection)?;
        let partition = narrower(self.partition, other.partition)?;
        Some(Self { collection, partition, since: self.since.max(other.since) })
    }

    fn encode(&self) -> Vec<u8> {
        let collection = self.collection.unwrap_or(ANY_COLLECTION);
        let partition = self.partition.unwrap_or(ANY_PARTITION);
        let mut bytes = Scope { collection, partition, month: self.since }.to_bytes().to_vec();
        if self.since == 0 {
            bytes.truncate(if self.partition.is_some() { 5 } else { 2 });
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut whole = [0; 8];
        whole.get_mut(..bytes.len())?.copy_from_slice(bytes);
        let Scope { collection, partition, month } = Scope::from_bytes(whole);
        if ![2, 5, 8].contains(&bytes.len()) {
            return None;
        }
        let partition = (bytes.len() > 2 && partition != ANY_PARTITION).then_some(partition);
        let collection = (collection != ANY_COLLECTION).then_some(collection);
        Some(Self { collection, partition, since: month })
    }
}

/// The narrower of two wishes, of which none means any; none where they are apart.
fn narrower<T: PartialEq>(one: Option<T>, other: Option<T>) -> Option<Option<T>> {
    match (one, other) {
        (Some(one), Some(other)) => (one == other).then_some(Some(one)),
        (one, None) => Some(one),
        (None, other) => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(collection: Option<u16>, partition: Option<u32>, since: u32) -> Region {
        Region { collection, partition, since }
    }

    fn scope(collection: u16, partition: u32, month: u32) -> Scope {
        Scope { collection, partition, month }
    }

    #[test]
    fn no_region_admits_everything_and_several_admit_what_any_does() {
        assert!(Filter::everything().admits(&scope(7, 8, 9)));
        let regions = [region(Some(3), None, 0), region(None, Some(7), 24_300)];
        let filter = Filter::new(regions).unwrap();
        assert!(filter.admits(&scope(3, 1, 0)) && filter.admits(&scope(9, 7, 24_300)));
        assert!(!filter.admits(&scope(9, 7, 24_299)) && !filter.admits(&scope(4, 8, 30_000)));
    }

    #[test]
    fn an_intersection_admits_what_both_do_and_nothing_is_a_filter_too() {
        let filter = |regions: &[Region]| Filter::new(regions.iter().copied()).unwrap();
        let one = filter(&[region(Some(3), None, 24_300), region(None, Some(7), 0)]);
        let other = filter(&[region(None, None, 24_310), region(Some(4), Some(7), 24_200)]);
        let filters = [one, other, Filter::everything(), Filter::nothing()];
        let scopes: Vec<Scope> = (3..6)
            .flat_map(|collection| {
                let at = move |month| [7, 8].map(|partition| scope(collection, partition, month));
                [0, 24_200, 24_299, 24_300, 24_310].into_iter().flat_map(at)
            })
            .collect();
        for (one, other) in filters.iter().flat_map(|one| filters.iter().map(move |it| (one, it))) {
            let both = one.intersection(other).unwrap();
            for scope in &scopes {
                assert_eq!(both.admits(scope), one.admits(scope) && other.admits(scope));
            }
            assert_eq!(Filter::decode(&both.encode()), Ok(both));
        }
        let apart = [region(Some(1), None, 0), region(Some(2), None, 0)].map(|it| filter(&[it]));
        assert_eq!(apart[0].intersection(&apart[1]), Ok(Filter::nothing()));
        assert!(!scopes.iter().any(|scope| Filter::nothing().admits(scope)));
    }

    #[test]
    fn a_filter_survives_its_bytes() {
        let regions = [
            region(Some(0x0102), None, 0),
            region(Some(3), Some(0x01_0203), 0),
            region(None, None, 24_300),
            region(None, Some(0), 0),
            region(Some(9), None, 1),
        ];
        let filter = Filter::new(regions).unwrap();
        assert_eq!(Filter::decode(&filter.encode()), Ok(filter));
        assert_eq!(region(Some(0x0102), None, 0).encode(), [1, 2]);
        assert_eq!(region(Some(3), Some(0x01_0203), 0).encode(), [0, 3, 1, 2, 3]);
        let since = [0xff, 0xff, 0xff, 0xff, 0xff, 0, 0x5e, 0xec];
        assert_eq!(region(None, None, 24_300).encode(), since);
    }

    #[test]
    fn a_filter_at_its_limits_is_read_and_beyond_them_refused() {
        let many = |count: u16| (0..count).map(|number| region(Some(number), None, 0));
        let limit = u16::try_from(FILTER_REGIONS_MAX).unwrap();
        let full = Filter::new(many(limit)).unwrap();
        assert!(Filter::decode(&full.encode()).is_ok());
        let count = FILTER_REGIONS_MAX + 1;
        assert_eq!(Filter::new(many(limit + 1)), Err(FilterError::TooMany { count }));
        assert_eq!(Filter::decode(&vec![vec![0, 1]; count]), Err(FilterError::TooMany { count }));
        for length in [0, 1, 3, 4, 6, 7, 9, 400] {
            let refused = Filter::decode(&[vec![0; length]]);
            assert_eq!(refused, Err(FilterError::Length { index: 0, length }));
        }
        let number = Err(FilterError::Number { index: 0 });
        assert_eq!(Filter::new([region(Some(u16::MAX), None, 0)]), number);
        assert_eq!(Filter::new([region(None, Some(ANY_PARTITION), 0)]), number);
        assert_eq!(Filter::new([region(None, None, 1 << 24)]), number);
    }
}
