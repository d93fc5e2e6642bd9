//! What devices sent and nobody could store: operations that failed, and parts of requests that are no
//! operations. The documented clients of two contracts take both for done, so it is kept for people.

use fieldmesh::Error;
use fieldmesh::gateway::Access;
use fieldmesh_dialect::Outcome;
use fieldmesh_dialect::command::RejectedQuery;
use fieldmesh_dialect::outcome::{Reason, Rejected, RejectedContent, RejectedPage};
use fieldmesh_model::{Fault, Moment};

use crate::part::{Kept, PartRow};
use crate::stored::{self, EntryRow, StateRow};
use crate::{Failure, Task, fleet, keys};

/// Entries of the list that are read at a time.
const READ_AT_ONCE: usize = 16;
/// The most bytes of one page, beyond its first entry.
const PAGE_SIZE_MAX: usize = 1 << 20;

impl Task<'_> {
    pub(crate) fn rejected(&self, query: &RejectedQuery) -> Result<Outcome, Failure> {
        // Whoever asks by a token; the operator of the server asks without one.
        if !self.caller.is_admin() {
            return Err(Failure::forbidden("Only an admin reads what could not be stored"));
        }
        Ok(Outcome::Rejected(list(self.access, query)?))
    }
}

/// A page of what could not be stored: parts first, then operations, both person by person.
pub(crate) fn list(access: &Access, query: &RejectedQuery) -> Result<RejectedPage, Error> {
    let dropped = Kept::read(|key| access.note(key))?.dropped;
    let mut prefixes = vec![keys::PARTS.to_vec(), keys::FIRST_PARTS.to_vec()];
    for user in fleet::users(access)? {
        prefixes.push(keys::of_state(&user, StateRow::FAILED));
    }
    let (start, after) = match &query.after {
        Some(place) => {
            let (start, after) = place_in(&prefixes, place)?;
            (start, Some(after))
        }
        None => (0, None),
    };
    let mut page = RejectedPage { dropped, ..RejectedPage::default() };
    let (mut size, mut last) = (0, None);
    for (index, prefix) in prefixes.iter().enumerate().skip(start) {
        let mut after = after.clone().filter(|_| index == start);
        loop {
            let notes = access.notes(prefix, after.as_deref(), READ_AT_ONCE)?;
            let Some((behind, _)) = notes.last() else { break };
            after = Some(behind.clone());
            for (key, note) in notes {
                let Some(one) = shown(access, prefix, &key, &note)? else { continue };
                size += one.to_json().to_string().len();
                let has_room = page.rejected.is_empty()
                    || (page.rejected.len() < query.count_max && size <= PAGE_SIZE_MAX);
                if !has_room {
                    page.next = last;
                    return Ok(page);
                }
                page.rejected.push(one);
                last = Some(data_encoding::HEXLOWER.encode(&key));
            }
        }
    }
    Ok(page)
}

/// Where `place` is: in the list with which of `prefixes`, behind which key.
fn place_in(prefixes: &[Vec<u8>], place: &str) -> Result<(usize, Vec<u8>), Error> {
    let key = data_encoding::HEXLOWER.decode(place.as_bytes()).unwrap_or_default();
    match prefixes.iter().position(|prefix| key.starts_with(prefix)) {
        Some(start) => Ok((start, key)),
        None => {
            let faults = vec![Fault::new("cursor", "cursor is none of this endpoint")];
            Err(Error::Invalid { faults })
        }
    }
}

fn shown(
    access: &Access,
    prefix: &[u8],
    key: &[u8],
    note: &[u8],
) -> Result<Option<Rejected>, Error> {
    let id = data_encoding::HEXLOWER.encode(&key[prefix.len()..]);
    match prefix {
        keys::PARTS => stored::decode(note).map(|row| Some(of_part(id, row))),
        keys::FIRST_PARTS => PartRow::decode_first(note).map(|row| Some(of_part(id, row))),
        _ => {
            let id: String = stored::decode(note)?;
            let noted = access.note_and_moment(&keys::entry(access, &id))?;
            let Some(noted) = noted else { return Ok(None) };
            Ok(of_entry(EntryRow::decode(&noted.value)?, noted.at))
        }
    }
}

fn of_part(id: String, row: PartRow) -> Rejected {
    let reason = |(field, message): (String, String)| match field.is_empty() {
        true => message,
        false => format!("{field}: {message}"),
    };
    let reasons: Vec<String> = row.faults.into_iter().map(reason).collect();
    Rejected {
        id,
        contract: row.contract,
        user: something(row.user),
        device: something(row.device),
        at: Some(row.at).filter(|at| *at != Moment::ZERO),
        reason: reasons.join("; "),
        what: RejectedContent::Part { text: row.content },
    }
}

fn of_entry(row: EntryRow, at: Option<Moment>) -> Option<Rejected> {
    let StateRow::Failed(reason) = &row.state else { return None };
    Some(Rejected {
        reason: Reason::from(reason).sentence(),
        id: row.id,
        contract: row.contract,
        user: something(row.user),
        device: something(row.device),
        at,
        what: RejectedContent::Operation {
            action: row.operation.action(),
            collection: row.operation.collection.clone(),
            name: row.operation.name(),
            done_at: row.operation.at,
            fields: row.operation.fields,
            retries: row.retries,
        },
    })
}

fn something(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}
