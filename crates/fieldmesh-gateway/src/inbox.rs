//! What every replica finds to be decided, told as conflicts of an app.

use fieldmesh::gateway::{Competing, CompetingValue};
use fieldmesh_model::Fields;

use crate::conflict::side_of;
use crate::stored::{ConflictRow, Kind, SideRow};
use crate::{Failure, Task};

/// Places in the list behind all that have a number: those of the inbox, by the start of their ids.
const INBOX: u64 = 1 << 63;

pub(crate) fn place_in_inbox(id: &str) -> u64 {
    let digits: String = id.chars().filter(char::is_ascii_hexdigit).take(16).collect();
    INBOX | (u64::from_str_radix(&digits, 16).unwrap_or(0) >> 1)
}

/// The id behind which such a place goes on.
pub(crate) fn inbox_place(place: u64) -> Option<String> {
    let start = (place & !INBOX) << 1;
    let digits = format!("{:016x}", start | 1);
    let text = format!("{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16]);
    (place & INBOX != 0).then(|| format!("{text}-ffff"))
}

impl Task<'_> {
    /// What competes in a record, told as a conflict: what is shown is the store's.
    pub(crate) fn row_of(&self, competing: &Competing) -> Result<Option<ConflictRow>, Failure> {
        if !competing.alike.is_empty() {
            return self.row_of_alike(competing);
        }
        let Some(held) = self.access.held(competing.document)? else { return Ok(None) };
        let null = fieldmesh_model::Value::Null;
        let shown = held.fields.get(&competing.field).unwrap_or(&null);
        let is_other = |it: &&CompetingValue| {
            if competing.is_deletion { it.value == null } else { !it.value.is_same(shown) }
        };
        let Some(other) = competing.values.iter().rev().find(is_other) else { return Ok(None) };
        let of_store = competing.values.iter().find(|it| !is_other(it));
        let (kind, keys) = match competing.is_deletion {
            true => (Kind::DeletedAndEdited, Vec::new()),
            false => (Kind::Field, vec![competing.field.clone()]),
        };
        let fields = match competing.is_deletion {
            true => held.fields.clone(),
            false => Fields::from([(competing.field.clone(), other.value.clone())]),
        };
        let client = SideRow {
            document: held.id,
            version: held.version,
            fields,
            at: Some(other.at),
            user: other.user.clone(),
            deleted: false,
        };
        let mut server = SideRow {
            at: of_store.map(|it| it.at),
            user: of_store.and_then(|it| it.user.clone()),
            ..side_of(&held)
        };
        server.fields.extend(competing.before.clone());
        server.fields.retain(|_, field| *field != null);
        Ok(Some(ConflictRow {
            id: competing.id.clone(),
            sequence: 0,
            kind,
            collection: held.collection,
            client,
            server,
            keys,
            since: competing.values.iter().map(|it| it.at).max().unwrap_or(self.at),
            settled: None,
            contract: None,
        }))
    }
}
