//! Documents of the crew's entries in memory, for the floors: changes without a disk or a network.

use fieldmesh_document::{CreateRecord, Document, actor, identify, root_change};
use fieldmesh_model::catalogue::{self, wells};
use fieldmesh_model::schema::Collection;
use fieldmesh_model::{DeviceId, DocumentId, Edit, Epoch, Scope, UserId, Value};

use super::entries::Entry;

const WELL: &str = "019c1c38-a400-8c2c-8bef-bdd75f99ff10";
const EPOCH: Epoch = Epoch(1);

/// One entry as its first change, and an edit of it by another device.
pub(crate) struct Pair {
    pub(crate) id: DocumentId,
    pub(crate) first: Vec<u8>,
    pub(crate) edit: Vec<u8>,
}

/// The device that writes all first changes.
pub(crate) fn author() -> DeviceId {
    DeviceId::from_bytes([1; 32])
}

/// The device that writes all edits.
pub(crate) fn editor() -> DeviceId {
    DeviceId::from_bytes([2; 32])
}

/// The user of both.
pub(crate) fn user() -> UserId {
    UserId::from_bytes([3; 16])
}

/// The epoch of both.
pub(crate) fn epoch() -> Epoch {
    EPOCH
}

/// The scope of an entry's changes, whatever its month.
pub(crate) fn scope() -> Scope {
    Scope { collection: wells::FIELD_ENTRY, ..Scope::default() }
}

/// The collection of the entries.
pub(crate) fn collection() -> &'static Collection {
    catalogue::numbered(wells::FIELD_ENTRY).expect("the catalogue has field entries")
}

/// Every entry as a first change and one edit.
pub(crate) fn pairs(entries: &[Entry]) -> Result<Vec<Pair>, Box<dyn std::error::Error>> {
    entries.iter().map(pair).collect()
}

fn pair(entry: &Entry) -> Result<Pair, Box<dyn std::error::Error>> {
    let fields = entry.fields(WELL, &author().to_string());
    let at = entry.recorded_at();
    let identity = identify(collection(), user(), at, &fields, b"", [0; 16]);
    let record = CreateRecord {
        id: identity.id,
        key: &identity.key,
        collection: collection(),
        scope: Scope::of(wells::FIELD_ENTRY, 0, at),
        user: user(),
        device: author(),
        actor: actor(author(), EPOCH),
        at,
        created_at: None,
        zone: None,
        replaces: None,
        name: None,
        made_for: None,
        fields: &fields,
    };
    let first = root_change(&record)?.bytes;
    let mut document = Document::load(identity.id, [first.as_slice()])?;
    let edit = Edit::Set { key: "data.oilVolume".to_owned(), value: Value::Float(1_000.5) };
    let edit = document.edit(collection(), actor(editor(), EPOCH), at, &[edit])?;
    Ok(Pair { id: identity.id, first, edit: edit.ok_or("the edit changes nothing")? })
}

/// The bytes of both changes, one behind the other.
pub(crate) fn load_both(pair: &Pair) -> Result<Document, fieldmesh_document::LoadError> {
    Document::load(pair.id, [pair.first.as_slice(), pair.edit.as_slice()])
}
