//! What devices sent and nobody could store: operations that failed, and parts of requests that are no
//! operations. The documented clients of two contracts take both for done, so it is kept for people.

use fieldmesh::Error;
use fieldmesh::gateway::Access;
use fieldmesh_dialect::Outcome;
use fieldmesh_dialect::command::RejectedQuery;
use fieldmesh_dialect::outcome::{Reason, Rejected, RejectedContent, RejectedPage};
use fieldmesh_model::Moment;

use crate::part::{Kept, PartRow};
use crate::stored::{self, EntryRow, StateRow};
use crate::{Failure, Task, fleet, keys};

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
    let mut page = RejectedPage { dropped, ..RejectedPage::default() };
    let after = query.after.as_ref().map(|after| decoded(after));
    let begun = |prefix: &Vec<u8>| after.as_ref().is_none_or(|after| after.starts_with(prefix));
    let Some(start) = prefixes.iter().position(begun) else { return Ok(page) };
    let mut last = None;
    for (index, prefix) in prefixes.iter().enumerate().skip(start) {
        let after = after.as_deref().filter(|_| index == start);
        // One more tells whether there are any.
        let wanted = query.count_max - page.rejected.len() + 1;
        for (key, note) in access.notes(prefix, after, wanted)? {
            if page.rejected.len() >= query.count_max {
                page.next = last;
                return Ok(page);
            }
            page.rejected.extend(shown(access, prefix, &key, &note)?);
            last = Some(data_encoding::HEXLOWER.encode(&key));
        }
    }
    Ok(page)
}

fn decoded(place: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(place.as_bytes()).unwrap_or_default()
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
