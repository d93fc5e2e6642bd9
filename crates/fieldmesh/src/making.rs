//! How far the records of a view are made, where that is less far than everything else in it.
//!
//! A view that lags far behind its log is brought up in two passes. The first one is quick and makes
//! all but the records: who is a member, which batches are held, how far the chains go, what was
//! noted. With that a home is open: it records, seals and syncs. The second pass makes the records,
//! which is where nearly all of the time goes, while whoever reads is told how far it has come.

use fieldmesh_store::{Place, Tree, View, WriteSet};

use crate::api::Remaking;
use crate::error::Error;
use crate::rows;

/// Where the view says so, in [`Tree::Meta`]; no such row where its records are as far as the rest.
const MAKING_KEY: &[u8] = b"making";

/// Entries that a view may lag behind without being brought up in two passes: a second's work.
pub(crate) const LAG_MAX: u64 = 64;

/// How far a view goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// The last entry that it knows of.
    pub(crate) noted: Option<Place>,
    /// How far its records go, where they lag behind that.
    pub(crate) making: Option<Made>,
}

/// The last entry that has been made into records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Made(pub(crate) Option<Place>);

impl Position {
    /// As the view says.
    pub(crate) fn read(view: &View) -> Result<Self, Error> {
        // The row first: the records may be further by then, never less far.
        let making = rows::find(view, Tree::Meta, MAKING_KEY)?.map(Made);
        let noted = view.applied().map_err(|error| Error::store(&error))?;
        Ok(Self { noted, making })
    }

    /// The same, in two passes if it lags behind `end` by more than `lag_max` entries.
    pub(crate) fn in_passes(self, end: Option<Place>, lag_max: u64) -> Self {
        let lag = number(end).saturating_sub(number(self.noted));
        let is_far = self.making.is_none() && lag > lag_max;
        Self { making: self.making.or(is_far.then_some(Made(self.noted))), ..self }
    }

    /// The last entry of which everything is in the view.
    pub(crate) fn shown(&self) -> Option<Place> {
        self.making.map_or(self.noted, |made| made.0)
    }

    /// What people are told, if the records lack anything up to `end`, which is where the log ended
    /// when the view was begun: what came later is on its way, as it always is.
    pub(crate) fn remaking(&self, end: Option<Place>) -> Option<Remaking> {
        let made = self.making.filter(|made| made.0 < end)?;
        Some(Remaking { done: number(made.0), of: number(end) })
    }
}

impl Made {
    /// Says in `writes` how far the records go.
    pub(crate) fn write(self, writes: &mut WriteSet) {
        writes.put(Tree::Meta, MAKING_KEY, rows::encode(&self.0));
    }
}

/// Says in `writes` that the records are as far as the rest.
pub(crate) fn end(writes: &mut WriteSet) {
    writes.delete(Tree::Meta, MAKING_KEY);
}

/// How many entries there are up to a place.
fn number(place: Option<Place>) -> u64 {
    place.map_or(0, |place| place.0.saturating_add(1))
}

/// What the records of a device come to, so that tests see what happens meanwhile.
#[cfg(test)]
#[derive(Debug, Clone, Copy)]
pub(crate) enum Hold {
    /// They are made no further than up to this entry.
    At(Option<Place>),
    /// They cannot be made.
    Fail,
}

#[cfg(test)]
static HELD: std::sync::Mutex<Vec<(fieldmesh_model::DeviceId, Hold)>> =
    std::sync::Mutex::new(Vec::new());

/// Has a device make no more records until they are released.
#[cfg(test)]
pub(crate) fn hold(device: fieldmesh_model::DeviceId, hold: Hold) {
    release(device);
    HELD.lock().unwrap().push((device, hold));
}

/// Has it make them again.
#[cfg(test)]
pub(crate) fn release(device: fieldmesh_model::DeviceId) {
    HELD.lock().unwrap().retain(|(held, _)| *held != device);
}

/// The last entry up to `end` that records are made of.
#[cfg(test)]
pub(crate) fn held_end(
    device: fieldmesh_model::DeviceId,
    end: Option<Place>,
) -> Result<Option<Place>, Error> {
    let held = HELD.lock().unwrap().iter().find(|(held, _)| *held == device).map(|it| it.1);
    match held {
        None => Ok(end),
        Some(Hold::At(last)) => Ok(end.min(last)),
        Some(Hold::Fail) => Err(Error::Store { reason: "the disk is full".into() }),
    }
}
