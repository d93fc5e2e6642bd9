//! Files of the home that were lost or damaged and are whole again: what an earlier run has found.

use fieldmesh_model::Moment;

use crate::clock;
use crate::entry::Fact;
use crate::error::Error;

use super::Ledger;

/// Files that are kept in mind, the newest ones.
const MENDED_MAX: usize = 16;

impl Ledger {
    /// Keeps in mind what was found wrong with files and was mended.
    pub(crate) fn note_mended(&self, found: &[String]) -> Result<(), Error> {
        if found.is_empty() {
            return Ok(());
        }
        let now = clock::now();
        let mut known = self.mended()?;
        known.retain(|(what, _)| !found.contains(what));
        known.extend(found.iter().map(|what| (what.clone(), now)));
        known.drain(..known.len().saturating_sub(MENDED_MAX));
        self.remember(Fact::Mended(known))
    }

    /// What was found wrong with files, and when last.
    pub(crate) fn mended(&self) -> Result<Vec<(String, Moment)>, Error> {
        Ok(match self.recall(&Fact::Mended(Vec::new()))? {
            Some(Fact::Mended(known)) => known,
            _ => Vec::new(),
        })
    }
}
