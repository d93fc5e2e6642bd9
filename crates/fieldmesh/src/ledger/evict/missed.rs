//! Records that were let go and that may be lost: what is wanted once more and is not here, and
//! what rests on a relay that has lost something since.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use fieldmesh_model::Moment;
use fieldmesh_store::{Direction, KeyRange, Place, Tree};

use crate::api::Finding;
use crate::clock::minute;
use crate::entry::Fact;
use crate::error::Error;
use crate::filter::month_text;
use crate::keep::{self, LetGo};
use crate::ledger::Ledger;
use crate::ledger::diagnosis::counted;
use crate::rows;

/// Records that were let go and of which nobody can say that they are somewhere.
#[derive(Debug)]
pub(in crate::ledger) struct Missed {
    records: usize,
    /// The first month of them.
    oldest: u32,
    /// Where in the log it is said that they were let go.
    pub(in crate::ledger) places: BTreeSet<Place>,
}

impl Missed {
    fn counted(&self) -> String {
        counted(self.records, "record", "records")
    }

    fn are(&self) -> &'static str {
        if self.records == 1 { "is" } else { "are" }
    }

    fn were(&self) -> &'static str {
        if self.records == 1 { "was" } else { "were" }
    }
}

impl Ledger {
    /// What is known of records that were let go and may be lost, a line for each kind.
    pub(crate) fn missed_lines(&self) -> Result<Vec<String>, Error> {
        let (wanted, doubted) = (self.wanted_back()?, self.doubted()?);
        let wanted = wanted.map(|it| format!("{}: sync with a relay", wanted_words(&it)));
        let doubted = doubted.map(|(at, it)| doubted_words(at, &it));
        Ok(wanted.into_iter().chain(doubted).collect())
    }

    /// The same, with what can be done.
    pub(in crate::ledger) fn missed_findings(&self) -> Result<Vec<Finding>, Error> {
        let wanted = self.wanted_back()?.map(|it| Finding {
            kind: "wanted-back".into(),
            open: true,
            what: wanted_words(&it),
            means: "A relay had signed for them when they were let go. Until they are back, \
                    nothing shows that it still holds them."
                .into(),
            done: "This device asks everybody it meets for them.".into(),
            next: "Run `fieldmesh sync` with the relay. What does not come is not there any more: \
                   meet the other devices, then say `fieldmesh doctor --accept`."
                .into(),
            record: None,
        });
        let doubted = self.doubted()?.map(|(at, it)| Finding {
            kind: "let-go-in-doubt".into(),
            open: true,
            what: doubted_words(at, &it),
            means: "Whether it still holds them is not known; a device that holds them brings \
                    them to it again."
                .into(),
            done: "Nothing more is let go that it has not signed for anew.".into(),
            next: format!(
                "`fieldmesh evict --back-to {}` and a sync bring back what it holds, and `doctor` \
                 says how many are missing. Or say `fieldmesh doctor --accept`.",
                month_text(it.oldest)
            ),
            record: None,
        });
        Ok(wanted.into_iter().chain(doubted).collect())
    }

    /// Records that were let go, are wanted once more and are not here.
    pub(in crate::ledger) fn wanted_back(&self) -> Result<Option<Missed>, Error> {
        let since = self.keeping.since();
        // Records that are being made anew are here, and not to be seen.
        let is_whole = self.keeping.whole_since.load(Ordering::SeqCst) == since;
        if is_whole || self.remaking().is_some() {
            return Ok(None);
        }
        let is_wanted =
            |piece: &LetGo| piece.scope.month >= since && self.only.admits(&piece.scope);
        let missed = self.missed(is_wanted)?;
        if missed.is_none() {
            // Nothing leaves a month that is wanted.
            self.keeping.whole_since.store(since, Ordering::SeqCst);
        }
        Ok(missed)
    }

    /// Records that were let go before a relay was found to have lost something, and when that was.
    pub(in crate::ledger) fn doubted(&self) -> Result<Option<(Moment, Missed)>, Error> {
        let Some(Fact::RelayLost(at)) = self.recall(&Fact::RelayLost(Moment::ZERO))? else {
            return Ok(None);
        };
        let since = self.keeping.since();
        if at == Moment::ZERO || since == 0 {
            return Ok(None);
        }
        let missed = self.missed(|piece| piece.scope.month < since && piece.at <= at)?;
        Ok(missed.map(|missed| (at, missed)))
    }

    /// What was let go with those pieces that are `meant`, and is neither here, nor purged, nor
    /// given up, nor was let go once more later.
    fn missed(&self, is_meant: impl Fn(&LetGo) -> bool) -> Result<Option<Missed>, Error> {
        let view = self.view();
        let mut missed: BTreeMap<[u8; 8], (u32, BTreeSet<Place>)> = BTreeMap::new();
        let mut later = Vec::new();
        for piece in keep::pieces(view) {
            let (place, piece) = piece?;
            let given_up: Option<Moment> =
                rows::find(view, Tree::Meta, &rows::given_up_key(place))?;
            if given_up.is_some() {
                continue;
            }
            if !is_meant(&piece) {
                later.push(piece);
                continue;
            }
            for end in piece.records {
                let (_, places) = missed.entry(end).or_insert((piece.scope.month, BTreeSet::new()));
                places.insert(place);
            }
        }
        // A record stays in its month, so whatever is not meant of it was let go later.
        later.iter().flat_map(|piece| &piece.records).for_each(|end| drop(missed.remove(end)));
        if missed.is_empty() {
            return Ok(None);
        }
        for id in self.policy().purged_documents() {
            missed.remove(&keep::end_of(&id));
        }
        for key in rows::keys(view, Tree::Document, KeyRange::all(), Direction::Ascending) {
            let id = rows::indexed_id(&key?);
            id.map(|id| missed.remove(&keep::end_of(&id)));
        }
        let Some(oldest) = missed.values().map(|(month, _)| *month).min() else { return Ok(None) };
        let records = missed.len();
        let places = missed.into_values().flat_map(|(_, places)| places).collect();
        Ok(Some(Missed { records, oldest, places }))
    }
}

fn wanted_words(missed: &Missed) -> String {
    let (records, were, are) = (missed.counted(), missed.were(), missed.are());
    format!("{records} that {were} let go {are} wanted back and {are} not here")
}

fn doubted_words(at: Moment, missed: &Missed) -> String {
    let (records, were) = (missed.counted(), missed.were());
    format!(
        "{records} of {} and later {were} let go, and a relay was found at {} to have lost something",
        month_text(missed.oldest),
        minute(at)
    )
}
