//! What may be done while records are made anew from the log.
//!
//! Whoever asks gets what is there and is told that it is not all, or waits for all of it. Nobody
//! writes what depends on other records, or on whether the same one is there, before all of them
//! are: what is decided by a part of them stays wrong for ever.

use std::time::Duration;

use fieldmesh_model::Fields;
use fieldmesh_model::schema::{Collection, Kind};

use crate::api::Remaking;
use crate::error::Error;

use super::Ledger;

/// How long whoever wants to write waits before he is told to come again.
const PATIENCE: Duration = Duration::from_secs(2);
/// Views that are read before whoever asks is told to come again.
const VIEWS_MAX: u32 = 4;

impl Ledger {
    /// How far the records have come, while they are made anew.
    pub(crate) fn remaking(&self) -> Option<Remaking> {
        self.projector.remaking()
    }

    /// As [`Ledger::settle`], but without waiting for records that are made anew: says whether they
    /// are, and so whether what is read from here on may be too little.
    pub(crate) fn settle_partly(&self) -> Result<Option<Remaking>, Error> {
        self.mend_view();
        match self.remaking() {
            Some(remaking) => {
                if self.projector.fault().is_some() {
                    // There may be room again; the next one who asks is told.
                    self.projector.hurry();
                }
                Ok(Some(remaking))
            }
            None => self.settle().map(|()| None),
        }
    }

    /// Why records that are to be made anew are not, in words.
    pub(crate) fn remaking_fault(&self) -> Option<String> {
        self.remaking()?;
        let fault = self.projector.fault()?;
        Some(format!(
            "the records cannot be made readable again from the log: {fault}; nothing of them is lost"
        ))
    }

    /// Fails if records that are made anew do not come any further.
    pub(super) fn check_remaking(&self) -> Result<(), Error> {
        match self.remaking_fault() {
            Some(reason) => Err(Error::Store { reason }),
            None => Ok(()),
        }
    }

    /// As [`Ledger::settle`], but gives up where records are being made anew for longer than
    /// anybody waits; `reason` says why all of them are needed.
    pub(super) fn settle_soon(&self, reason: &str) -> Result<(), Error> {
        self.mend_view();
        self.await_records(reason)?;
        self.settle()
    }

    /// Where records are being made anew, waits a moment for them.
    pub(crate) fn await_records(&self, reason: &str) -> Result<(), Error> {
        let Some(remaking) = self.remaking() else { return Ok(()) };
        if self.projector.wait_made_for(PATIENCE)? {
            return Ok(());
        }
        Err(remaking_error(self.remaking().unwrap_or(remaking), reason))
    }

    /// Reads from one view: once more where another one was begun meanwhile, which lacked what was
    /// not made so far.
    pub(crate) fn on_one_view<T>(
        &self,
        read: impl Fn(&Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        for _ in 0..VIEWS_MAX {
            let number = self.projector.view_number();
            let found = read(self);
            if self.projector.view_number() == number {
                return found;
            }
        }
        let remaking = self.remaking().unwrap_or_default();
        Err(remaking_error(remaking, "it is begun anew again and again"))
    }

    /// Fails if the view that was read is not the one there is, or has failed meanwhile: what was
    /// not found in it may be recorded all the same.
    pub(crate) fn check_view(&self, number: u64) -> Result<(), Error> {
        self.view().applied().map_err(|error| Error::store(&error))?;
        if self.projector.view_number() == number {
            return Ok(());
        }
        let remaking = self.remaking().unwrap_or_default();
        Err(remaking_error(remaking, "what is recorded already could not be read to its end"))
    }
}

/// Whether a new record with these fields is compared with others, or refers to one.
pub(super) fn depends_on_others(schema: &Collection, fields: &Fields) -> bool {
    let refers = |key: &String| {
        schema.field(key).is_some_and(|field| matches!(field.kind, Kind::Reference { .. }))
    };
    !schema.natural_key.is_empty() || !schema.unique.is_empty() || fields.keys().any(refers)
}

/// That something has to wait for records that are made anew.
pub(super) fn remaking_error(remaking: Remaking, reason: &str) -> Error {
    Error::Remaking { percent: remaking.percent(), reason: reason.into() }
}

#[cfg(test)]
mod tests;
