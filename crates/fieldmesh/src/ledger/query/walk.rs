//! Walking along an index, and what of it a plan admits.

use std::collections::BTreeSet;
use std::ops::{Bound, ControlFlow};

use fieldmesh_model::DocumentId;
use fieldmesh_store::{Direction, KeyRange, Tree};

use crate::error::Error;
use crate::ledger::Ledger;
use crate::projection::record_time;
use crate::readers::Kept;
use crate::rows::{self, DocumentRow, RecordRow};

use super::{Plan, Read};

/// The bytes of time and id at the end of an index key.
const END_LENGTH: usize = 24;

/// Keys of an index, in order.
type Keys<'a> = std::iter::Peekable<Box<dyn Iterator<Item = Result<Vec<u8>, Error>> + 'a>>;

impl Ledger {
    /// Hands every record that a plan admits to `take`, in the order of its index; gives how many
    /// were read. Of a snapshot those are left out that were written since.
    pub(in crate::ledger) fn walk(
        &self,
        plan: &Plan,
        kept: Option<&Kept>,
        mut take: impl FnMut(Read) -> Result<ControlFlow<()>, Error>,
    ) -> Result<u64, Error> {
        let (mut read, number) = (0, plan.schema.number);
        let is_sifted = !plan.shows_all_alike() && self.any_behind(kept, number)?;
        let is_marked = plan.in_conflict && self.any_alike()?;
        let mut indexes: Vec<Keys<'_>> =
            plan.prefixes.iter().map(|prefix| self.keys(plan, prefix)).collect();
        let mut last: Option<DocumentId> = None;
        while let Some(key) = next_of(&mut indexes, plan.is_down()) {
            let key = key?;
            // A list that holds two of the values that are asked for lies under both.
            let Some(id) = rows::indexed_id(&key).filter(|id| Some(*id) != last) else { continue };
            let Some(mut row) = self.row(id)? else { continue };
            read += 1;
            if kept.map_or(Ok(false), |kept| kept.has(&id))? {
                continue;
            }
            if row.scope.collection != plan.schema.number {
                continue;
            }
            let Some(mut record) = row.record.take() else { continue };
            if is_marked {
                self.mark_alike(id, &plan.schema, &mut record)?;
            }
            // An index that was not kept for a while may name a record under an earlier time too.
            let time = record_time(&plan.schema, &record);
            let is_current = rows::indexed_time(&key) == Some(rows::sortable(time));
            if is_current && plan.admits(&row, &record) && plan.is_behind(id, &record) {
                last = Some(id);
                if is_sifted && self.stands_behind(plan, kept, (id, &record))? {
                    continue;
                }
                if take((id, row, record))?.is_break() {
                    break;
                }
            }
        }
        kept.map_or(Ok(()), |kept| kept.check(plan.schema.number))?;
        Ok(read)
    }

    /// The keys under `prefix` within the bounds of time, behind the page before.
    fn keys<'a>(&'a self, plan: &Plan, prefix: &[u8]) -> Keys<'a> {
        let at = |time| [prefix, &rows::sortable(time)].concat();
        let mut from = Bound::Included(plan.since.map_or_else(|| prefix.to_vec(), at));
        let mut to = Bound::Excluded(plan.until.map_or_else(|| [prefix, &[0xff; 32]].concat(), at));
        if let Some(behind) = plan.behind.as_ref().filter(|_| plan.is_indexed()) {
            let edge = [prefix, &behind.time, &behind.id.as_bytes()[..]].concat();
            if plan.is_down() {
                to = Bound::Excluded(edge);
            } else {
                from = Bound::Excluded(edge);
            }
        }
        let direction = if plan.is_down() { Direction::Descending } else { Direction::Ascending };
        let range = KeyRange::new(from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice));
        let keys = rows::keys(self.view(), Tree::Index, range, direction);
        (Box::new(keys) as Box<dyn Iterator<Item = _>>).peekable()
    }

    /// Whether a record is left out for another one that is like it: for the first of them that is
    /// part of the answer.
    fn stands_behind(
        &self,
        plan: &Plan,
        kept: Option<&Kept>,
        (id, record): (DocumentId, &RecordRow),
    ) -> Result<bool, Error> {
        let is_behind = self.is_behind_another(kept, plan.schema.number, id)?;
        if !is_behind || !plan.tells_alike_apart() {
            return Ok(is_behind);
        }
        let before = self.shown_before(id, &plan.schema, record)?;
        // A snapshot is older than what somebody has decided about them since.
        if before.is_empty() {
            return Ok(true);
        }
        for other in before {
            let Some(mut row) = self.row_in(kept, other)? else { continue };
            let Some(mut record) = row.record.take() else { continue };
            if plan.in_conflict {
                self.mark_alike(other, &plan.schema, &mut record)?;
            }
            if plan.admits(&row, &record) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Adds those records of a snapshot that were written since; gives how many were read.
    pub(super) fn add_kept(
        &self,
        plan: &Plan,
        kept: &Kept,
        walked: &BTreeSet<DocumentId>,
        waiting: &mut Vec<Read>,
    ) -> Result<u64, Error> {
        let mut read = 0;
        for id in kept.ids()? {
            let Some(bytes) = kept.find(&id)?.flatten().filter(|_| !walked.contains(&id)) else {
                continue;
            };
            read += 1;
            let mut row: DocumentRow = rows::decode(&bytes)?;
            let Some(record) = row.record.take() else { continue };
            let is_purged = self.policy().is_purged(&id);
            let is_wanted = !is_purged && plan.admits(&row, &record);
            let is_shown = |ledger: &Self| {
                let is_all = plan.shows_all_alike();
                Ok::<_, Error>(is_all || !ledger.stands_behind(plan, Some(kept), (id, &record))?)
            };
            if is_wanted && plan.is_behind(id, &record) && is_shown(self)? {
                waiting.push((id, row, record));
            }
        }
        kept.check(plan.schema.number)?;
        Ok(read)
    }
}

/// The next key of all indexes by what their ends say: time, then id.
fn next_of(indexes: &mut [Keys<'_>], is_down: bool) -> Option<Result<Vec<u8>, Error>> {
    let mut best: Option<(usize, [u8; END_LENGTH])> = None;
    for (number, index) in indexes.iter_mut().enumerate() {
        let end = match index.peek() {
            None => continue,
            // Errors come first.
            Some(Err(_)) => return index.next(),
            Some(Ok(key)) => key.last_chunk::<END_LENGTH>().copied().unwrap_or_default(),
        };
        let is_next = best.is_none_or(|(_, other)| if is_down { end > other } else { end < other });
        if is_next {
            best = Some((number, end));
        }
    }
    indexes.get_mut(best?.0)?.next()
}
