//! The rows of damaged entries: what the view knows, and what this step has changed of it.

use std::collections::BTreeMap;

use fieldmesh_store::{Place, Tree, View, WriteSet};

use crate::error::Error;
use crate::harm::{self, Harm, Outcome};
use crate::rows;

/// The rows of damaged entries.
pub(super) struct Damage<'a> {
    view: &'a View,
    changed: BTreeMap<Place, Harm>,
}

impl<'a> Damage<'a> {
    pub(super) const fn new(view: &'a View) -> Self {
        Self { view, changed: BTreeMap::new() }
    }

    /// An entry was found damaged.
    pub(super) fn keep(&mut self, harm: Harm) {
        self.changed.insert(harm.place, harm);
    }

    /// Notes what became of those that are open and of which it `is_true`; gives them.
    pub(super) fn end(
        &mut self,
        places: &[Place],
        outcome: &Outcome,
        is_true: impl Fn(&Harm) -> bool,
    ) -> Result<Vec<Harm>, Error> {
        let mut ended = Vec::new();
        for place in places {
            let found = match self.changed.get(place) {
                Some(harm) => Some(harm.clone()),
                None => rows::find(self.view, Tree::Meta, &harm::key(*place))?,
            };
            let is_open = |harm: &Harm| harm.outcome == Outcome::Open && is_true(harm);
            let Some(mut harm) = found.filter(is_open) else {
                continue;
            };
            harm.outcome = outcome.clone();
            self.changed.insert(*place, harm.clone());
            ended.push(harm);
        }
        Ok(ended)
    }

    /// Whether the entry at `place` was found damaged.
    pub(super) fn knows(&self, place: Place) -> Result<bool, Error> {
        let is_known = |found: Option<Harm>| found.is_some();
        match self.changed.contains_key(&place) {
            true => Ok(true),
            false => rows::find(self.view, Tree::Meta, &harm::key(place)).map(is_known),
        }
    }

    /// Those of which an earlier pass has noted this outcome.
    pub(super) fn ended(&self, places: &[Place], outcome: &Outcome) -> Result<Vec<Harm>, Error> {
        let mut ended = Vec::new();
        for place in places {
            let found: Option<Harm> = rows::find(self.view, Tree::Meta, &harm::key(*place))?;
            ended.extend(found.filter(|harm| harm.outcome == *outcome));
        }
        Ok(ended)
    }

    pub(super) fn write(self, writes: &mut WriteSet) {
        for (place, harm) in self.changed {
            writes.put(Tree::Meta, harm::key(place), rows::encode(&harm));
        }
    }
}
