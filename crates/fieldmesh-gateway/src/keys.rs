//! The keys of the gateway's notes. They are on the disk of a home, so they are for ever.
//!
//! A key shows kinds, ids and numbers; whatever a client or a person wrote is hashed.

use fieldmesh::gateway::Access;
use fieldmesh_dialect::Dialect;
use fieldmesh_model::DocumentId;

/// The number of the last thing that was given one.
pub(crate) const SEQUENCE: &[u8] = b"sequence";

/// What belongs to a name that only a device or a user knows.
pub(crate) fn temporary(
    access: &Access,
    dialect: Option<Dialect>,
    owner: &str,
    collection: &str,
    name: &str,
) -> Vec<u8> {
    let dialect = dialect.map_or("", Dialect::as_str);
    let parts = [dialect.as_bytes(), owner.as_bytes(), collection.as_bytes(), name.as_bytes()];
    keyed(b"temporary/", access, &parts)
}

/// The form of names that a user's app understands: on a device, or wherever none is known.
pub(crate) fn form(
    access: &Access,
    dialect: Option<Dialect>,
    user: &str,
    device: Option<&str>,
) -> Vec<u8> {
    let dialect = dialect.map_or("", Dialect::as_str);
    let parts = [Some(dialect), Some(user), device].into_iter().flatten().map(str::as_bytes);
    keyed(b"form/", access, &parts.collect::<Vec<_>>())
}

/// What a user's app calls a collection of the tenant's own: on a device, or wherever none is known.
pub(crate) fn spelled(
    access: &Access,
    dialect: Option<Dialect>,
    user: &str,
    device: Option<&str>,
    collection: u16,
) -> Vec<u8> {
    let dialect = dialect.map_or("", Dialect::as_str).as_bytes();
    let number = collection.to_be_bytes();
    let named = [dialect, &number, user.as_bytes()].into_iter().chain(device.map(str::as_bytes));
    keyed(b"spelled/", access, &named.collect::<Vec<_>>())
}

/// Where the first gateways noted what all apps of a contract call it, by the first that did so.
pub(crate) fn spelling(dialect: Option<Dialect>, collection: u16) -> Vec<u8> {
    let dialect = dialect.map_or("", Dialect::as_str);
    [b"spelling/", dialect.as_bytes(), b"/", &collection.to_be_bytes()].concat()
}

/// That the records of a collection are listed which were there before apps were given any.
pub(crate) fn listed(collection: u16) -> Vec<u8> {
    [&b"late-listed/"[..], &collection.to_be_bytes()].concat()
}

/// The lists of them, in order.
pub(crate) fn late(collection: u16) -> Vec<u8> {
    [&b"late/"[..], &collection.to_be_bytes(), b"/"].concat()
}

pub(crate) fn late_part(collection: u16, number: u64) -> Vec<u8> {
    [&late(collection)[..], &number.to_be_bytes()].concat()
}

/// What a user wrote last of a record with a device.
pub(crate) fn written(access: &Access, user: &str, device: &str, id: DocumentId) -> Vec<u8> {
    keyed(b"wrote-own/", access, &[user.as_bytes(), device.as_bytes(), id.as_bytes()])
}

/// What a user sent of a record without saying with which device.
pub(crate) fn sent(access: &Access, user: &str, id: DocumentId) -> Vec<u8> {
    keyed(b"sent-own/", access, &[user.as_bytes(), id.as_bytes()])
}

pub(crate) fn conflict(access: &Access, id: &str) -> Vec<u8> {
    keyed(b"conflict/", access, &[id.as_bytes()])
}

/// What somebody asked others to do about a conflict.
pub(crate) fn asked(access: &Access, id: &str) -> Vec<u8> {
    keyed(b"conflict-asked/", access, &[id.as_bytes()])
}

/// That what the client of a conflict brought stands in no record.
pub(crate) fn unwritten(access: &Access, id: &str) -> Vec<u8> {
    keyed(b"conflict-unwritten/", access, &[id.as_bytes()])
}

/// That what the client of a conflict brought competes in the record, as devices see it.
pub(crate) fn stood(access: &Access, id: &str) -> Vec<u8> {
    keyed(b"conflict-stood/", access, &[id.as_bytes()])
}

/// The conflicts that an edit of a user made in a record which was taken in parts.
pub(crate) fn parts(access: &Access, user: &str, id: DocumentId, edit: &[&[u8]]) -> Vec<u8> {
    let named = [user.as_bytes(), id.as_bytes()];
    keyed(b"conflict-parts/", access, &[&named, edit].concat())
}

/// The conflict that an operation of a user on a record came to.
pub(crate) fn contested(access: &Access, user: &str, id: DocumentId, edit: &[&[u8]]) -> Vec<u8> {
    let named = [user.as_bytes(), id.as_bytes()];
    keyed(b"conflict-came/", access, &[&named, edit].concat())
}

/// Open conflicts in the order in which they came.
pub(crate) const OPEN: &[u8] = b"conflict-open/";

pub(crate) fn open(sequence: u64) -> Vec<u8> {
    [OPEN, &sequence.to_be_bytes()].concat()
}

/// The number of an open conflict, by its key.
pub(crate) fn sequence_of(key: &[u8]) -> u64 {
    key.last_chunk().map_or(0, |sequence| u64::from_be_bytes(*sequence))
}

/// The open conflicts of a record.
pub(crate) fn of_record(id: DocumentId) -> Vec<u8> {
    [&b"conflict-of/"[..], id.as_bytes(), b"/"].concat()
}

pub(crate) fn conflict_of(id: DocumentId, sequence: u64) -> Vec<u8> {
    [&of_record(id)[..], &sequence.to_be_bytes()].concat()
}

/// Devices of everybody.
pub(crate) const DEVICES: &[u8] = b"device/";

pub(crate) fn device(access: &Access, user: &str, device: &str) -> Vec<u8> {
    keyed(DEVICES, access, &[user.as_bytes(), device.as_bytes()])
}

/// Where the first gateways noted a device, whoever else used one of this name.
pub(crate) fn first_device(access: &Access, device: &str) -> Vec<u8> {
    keyed(DEVICES, access, &[device.as_bytes()])
}

/// How far a user has read with a device.
pub(crate) fn read(access: &Access, user: &str, device: &str) -> Vec<u8> {
    keyed(b"read/", access, &[user.as_bytes(), device.as_bytes()])
}

/// The devices of a user.
pub(crate) fn devices(access: &Access, user: &str) -> Vec<u8> {
    [&keyed(b"device-of/", access, &[user.as_bytes()])[..], b"/"].concat()
}

pub(crate) fn device_of(access: &Access, user: &str, device: &str) -> Vec<u8> {
    let hash = access.hidden(&[device.as_bytes()]);
    [&devices(access, user)[..], &hash].concat()
}

pub(crate) fn entry(access: &Access, id: &str) -> Vec<u8> {
    keyed(b"entry/", access, &[id.as_bytes()])
}

/// The conflict in which an entry of the journal was before it was decided.
pub(crate) fn decided(access: &Access, id: &str) -> Vec<u8> {
    keyed(b"entry-decided/", access, &[id.as_bytes()])
}

/// The other conflicts in which an entry of the journal is, beside that of its state.
pub(crate) fn beside(access: &Access, id: &str) -> Vec<u8> {
    keyed(b"entry-beside/", access, &[id.as_bytes()])
}

/// The version of its record that the edit of an entry of the journal made.
pub(crate) fn made(access: &Access, id: &str) -> Vec<u8> {
    keyed(b"entry-made/", access, &[id.as_bytes()])
}

/// Entries of everybody, user by user.
pub(crate) const ENTRIES: &[u8] = b"entry-of/";
/// How much of the key of an entry says whose it is.
pub(crate) const ENTRIES_OF_USER_LENGTH: usize = ENTRIES.len() + 16;

/// The entries of a user that are in a state, oldest first.
pub(crate) fn entries(access: &Access, user: &str, state: u8) -> Vec<u8> {
    of_state(&keyed(ENTRIES, access, &[user.as_bytes()]), state)
}

/// The same, of whom the keys of his entries begin so.
pub(crate) fn of_state(user: &[u8], state: u8) -> Vec<u8> {
    [user, &[b'/', state]].concat()
}

pub(crate) fn entry_of(access: &Access, user: &str, state: u8, sequence: u64) -> Vec<u8> {
    [&entries(access, user, state)[..], &sequence.to_be_bytes()].concat()
}

/// How many entries there are in each state: of a user, or of all.
pub(crate) fn tally(access: &Access, user: Option<&str>) -> Vec<u8> {
    match user {
        Some(user) => keyed(b"tally/", access, &[user.as_bytes()]),
        None => b"tally".to_vec(),
    }
}

/// The same by the contract over which they came: of a user, or of all.
pub(crate) fn tallies(access: &Access, user: Option<&str>) -> Vec<u8> {
    match user {
        Some(user) => keyed(b"tallies/", access, &[user.as_bytes()]),
        None => b"tallies".to_vec(),
    }
}

/// Photos.
pub(crate) const PHOTOS: &[u8] = b"photo/";

/// A photo, by the hash of its bytes.
pub(crate) fn photo(id: &str) -> Vec<u8> {
    [PHOTOS, id.as_bytes()].concat()
}

/// Records that break rules.
pub(crate) const VIOLATIONS: &[u8] = b"violation/";

pub(crate) fn violation(id: DocumentId) -> Vec<u8> {
    [VIOLATIONS, id.as_bytes()].concat()
}

/// Parts of requests that are no operations, kept for a person to look at: by whoever sent them, in
/// their order.
pub(crate) const PARTS: &[u8] = b"refused-part/";
/// Where the first gateways kept them, without saying whose they are.
pub(crate) const FIRST_PARTS: &[u8] = b"refused/";
/// Which of them are kept, person by person.
pub(crate) const PARTS_KEPT: &[u8] = b"refused-parts-of";
/// The same while they were kept without telling people apart.
pub(crate) const PARTS_KEPT_BEFORE: &[u8] = b"refused-parts";

/// A part of whoever `person` stands for; nothing stands for all while nobody told people apart.
pub(crate) fn part(person: &[u8], number: u64) -> Vec<u8> {
    [PARTS, person, &number.to_be_bytes()].concat()
}

/// What stands for a user in the keys of his parts.
pub(crate) fn person_of_parts(access: &Access, user: &str) -> Vec<u8> {
    keyed(b"", access, &[PARTS, user.as_bytes()])
}

/// What says that a part of a user is kept already.
pub(crate) fn part_known(access: &Access, user: &str, content: &str) -> Vec<u8> {
    keyed(b"refused-known/", access, &[user.as_bytes(), content.as_bytes()])
}

fn keyed(kind: &[u8], access: &Access, parts: &[&[u8]]) -> Vec<u8> {
    // Lengths, so that no two lists of parts are one.
    let lengths: Vec<[u8; 8]> =
        parts.iter().map(|part| (part.len() as u64).to_be_bytes()).collect();
    let mut framed: Vec<&[u8]> = vec![kind];
    for (length, part) in lengths.iter().zip(parts) {
        framed.push(length);
        framed.push(part);
    }
    [kind, &access.hidden(&framed)].concat()
}
