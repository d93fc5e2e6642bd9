//! That another home signs with this device's key: it was copied and both are used, or it was put
//! back from an older copy of itself.

use fieldmesh_model::Moment;

use crate::clock;
use crate::entry::Fact;
use crate::error::Error;
use crate::harm::{self, Harm, Harmed};

use super::Ledger;

/// How long people are told: what shows it comes again as long as both homes are used.
const TOLD_FOR_MILLIS: i64 = 7 * 24 * 3_600 * 1_000;
/// How soon it is written again; each time costs room in the log.
const NOTED_AGAIN_MILLIS: i64 = 3_600 * 1_000;

impl Ledger {
    /// Writes that it was noticed. Blocks.
    ///
    /// A batch of its own that it does not know shows nothing where the home has lost what nobody
    /// knows: it may come back from there. Two that follow the same one were written by two homes.
    pub(crate) fn note_twice(&self, has_forked: bool) -> Result<(), Error> {
        if !has_forked && self.has_lost_unknown()? {
            return Ok(());
        }
        let now = clock::now();
        let is_fresh = |at: Moment| now.millis_since(at) < NOTED_AGAIN_MILLIS && at <= now;
        match self.noticed_twice()? {
            Some(at) if is_fresh(at) => Ok(()),
            _ => self.remember(Fact::Twice(now)),
        }
    }

    /// That this device runs twice, in words, for a while after it was noticed.
    pub(crate) fn runs_twice(&self) -> Option<String> {
        let at = self.noticed_twice().ok().flatten()?;
        if clock::now().millis_since(at) > TOLD_FOR_MILLIS {
            return None;
        }
        Some(format!(
            "this device runs twice: another home has signed with its key (noticed at {}). If \
             this home was copied, use one of the two only: delete the other, and `join` with a \
             new invitation where it was. If this home was put back from an older copy, nothing \
             is to be done. What both recorded is kept",
            clock::minute(at)
        ))
    }

    /// What is wrong with this device as a member of its tenant.
    pub(crate) fn own_notes(&self) -> Vec<String> {
        self.own_end().into_iter().chain(self.runs_twice()).collect()
    }

    /// Whether parts of the log were ever lost before the view had read them.
    fn has_lost_unknown(&self) -> Result<bool, Error> {
        let is_unknown = |harm: &Harm| harm.what == Harmed::Unknown;
        Ok(self.harms()?.iter().any(is_unknown)
            || !harm::passed_over(self.view())?.is_empty()
            || self.store.report().past_is_uncertain())
    }

    fn noticed_twice(&self) -> Result<Option<Moment>, Error> {
        Ok(match self.recall(&Fact::Twice(Moment::ZERO))? {
            Some(Fact::Twice(at)) => Some(at),
            _ => None,
        })
    }
}
