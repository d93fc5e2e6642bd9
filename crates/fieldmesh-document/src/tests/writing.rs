//! Creating, editing and reading back.

use automerge::transaction::{CommitOptions, Transactable};
use automerge::{ActorId, Automerge, ObjType, ROOT};

use super::*;
use crate::create::system_values;
use crate::scalar;

/// The id and the hash of the root change of the entry that these tests use.
const GOLDEN: (&str, &str) = (
    "019c1c38-a400-8c2c-8bef-bdd75f99ff10",
    "ae66876c2a00111ab6baf504c9eb54fab5ce8d31f04cce122f46614c62731d78",
);

#[test]
fn a_root_change_is_what_a_transaction_would_have_written() {
    let fields = production();
    let identity = identity(&fields);
    let record = record(&identity, &fields);
    let mut reference = Automerge::new().with_actor(ActorId::from(record.actor));
    let mut transaction = reference.transaction();
    for (key, value) in system_values(&record) {
        transaction.put(ROOT, key, value).unwrap();
    }
    for (key, value) in &fields {
        match value {
            Value::List(items) => {
                let list = transaction.put_object(ROOT, key, ObjType::List).unwrap();
                for (index, item) in items.iter().enumerate() {
                    transaction.insert(&list, index, scalar::to_scalar(item)).unwrap();
                }
            }
            Value::Text(text) if key == "notes" => {
                let object = transaction.put_object(ROOT, key, ObjType::Text).unwrap();
                transaction.splice_text(&object, 0, 0, text).unwrap();
            }
            value => transaction.put(ROOT, key, scalar::to_scalar(value)).unwrap(),
        }
    }
    transaction.commit_with(CommitOptions::default().with_time(record.at.as_millis()));
    let expected = reference.get_last_local_change().unwrap();
    let root = root_change(&record).unwrap();
    assert_eq!(root.hash, expected.hash().0);
    assert_eq!(root.bytes, expected.raw_bytes());
    // Ids, actors, keys and values are the format of documents: this changes only with a version.
    let hash: String = root.hash.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((identity.id.to_string().as_str(), hash.as_str()), GOLDEN);
}

#[test]
fn a_record_is_read_back_as_it_was_created() {
    let fields = production();
    let identity = identity(&fields);
    let (document, bytes) = Document::create(&record(&identity, &fields)).unwrap();
    let view = document.view(entries()).unwrap();
    let loaded = Document::load_all(identity.id, &bytes).unwrap();
    assert_eq!(loaded.view(entries()).unwrap(), view, "read with and without Automerge");
    assert_eq!(loaded.heads_digest(), document.heads_digest());
    assert_eq!(view.fields, fields);
    assert_eq!(view.id, identity.id);
    assert_eq!(view.collection, wells::FIELD_ENTRY);
    assert_eq!(view.scope, Scope::of(wells::FIELD_ENTRY, 0, at(0)));
    assert_eq!((view.created_by, view.created_at, view.device), (user(1), at(0), device(1)));
    assert_eq!((view.updated_at, view.deleted), (at(0), None));
    assert_eq!(view.key, identity.key);
    assert_eq!(view.zone.as_deref(), Some("+01:00"));
    assert_eq!(document.collection().unwrap(), wells::FIELD_ENTRY);
    assert!(view.contested.is_empty() && view.ignored.is_empty());
}

#[test]
fn the_same_entry_recorded_again_is_the_same_document() {
    let mut fields = production();
    let first = identify(entries(), user(1), at(0), &fields, b"", [1; 16]);
    fields.insert("notes".to_owned(), "other".into());
    let again = identify(entries(), user(1), at(9), &fields, b"", [2; 16]);
    assert_eq!(first, again);
    assert_ne!(first.id, identify(entries(), user(2), at(0), &fields, b"", [1; 16]).id);
    assert_ne!(first.id, identify(entries(), user(1), at(0), &fields, b"gas", [1; 16]).id);
    assert_eq!(first.id.moment(), at(0));
}

#[test]
fn an_edit_that_changes_nothing_writes_nothing() {
    let [mut device] = crew();
    assert!(!device.edit(1, &[Edit::set("data.oilVolume", 82.5)]));
    assert!(!device.edit(1, &[Edit::set("data.runtime", Value::Float(24.0))]));
    assert!(!device.edit(1, &[Edit::set("notes", "pump ran smoothly")]));
    assert!(!device.edit(1, &[Edit::set("photos", vec!["/upload/1", "/upload/2"])]));
    assert!(!device.edit(1, &[Edit::clear("data.gasVolume")]));
    assert!(!device.restore(1));
    assert!(device.edit(1, &[Edit::set("data.oilVolume", 83.0)]));
    assert_eq!(device.field("data.oilVolume"), Some(Value::Int(83)));
}

#[test]
fn cleared_fields_are_absent_and_lists_change_by_item() {
    let [mut device] = crew();
    assert!(device.edit(
        1,
        &[
            Edit::clear("data.runtime"),
            Edit::clear("notes"),
            Edit::Append { key: "photos".to_owned(), item: "/upload/3".into() },
            Edit::RemoveItem { key: "photos".to_owned(), item: "/upload/1".into() },
            Edit::set("latitude", 1.5),
        ],
    ));
    assert_eq!(device.field("data.runtime"), None);
    assert_eq!(device.field("notes"), None);
    assert_eq!(device.field("photos"), Some(vec!["/upload/2", "/upload/3"].into()));
    assert_eq!(device.field("latitude"), Some(Value::Float(1.5)));
    assert!(device.edit(2, &[Edit::clear("photos")]));
    assert_eq!(device.field("photos"), None);
    let key = "data.workPerformed".to_owned();
    assert!(device.edit(3, &[Edit::Append { key, item: "oiled".into() }]));
    assert_eq!(device.field("data.workPerformed"), Some(vec!["oiled"].into()));
}

#[test]
fn reserved_keys_are_refused_and_leave_the_document_as_it_was() {
    let [device] = crew();
    let mut document = device.document();
    let heads = document.heads_digest();
    let edits = [Edit::set("notes", "x"), Edit::set("_deletedAt", "x")];
    assert!(document.edit(entries(), device.actor(), at(1), &edits).is_err());
    assert_eq!(document.heads_digest(), heads);
}

#[test]
fn history_shows_who_saw_what() {
    let [mut one, mut two] = crew();
    one.set(1, "data.oilVolume", 90.0);
    two.set(2, "data.oilVolume", 95.0);
    two.edit(3, &[Edit::set("notes", "pump ran very smoothly"), Edit::clear("data.runtime")]);
    one.pull(&two);
    one.delete(4);
    let history = one.document().history(entries()).unwrap();
    assert_eq!(history.len(), 5);
    assert!(history[0].deps.is_empty());
    assert_eq!(history[0].fields.len(), production().len());
    assert!(history[0].fields.iter().all(|field| field.before == Value::Null));
    let rows: Vec<_> = history[1..]
        .iter()
        .flat_map(|revision| {
            revision.fields.iter().map(|field| {
                let key = field.key.as_str();
                (revision.at, key, field.before.clone(), field.after.clone())
            })
        })
        .collect();
    for row in [
        (at(1), "data.oilVolume", Value::Float(82.5), Value::Int(90)),
        (at(2), "data.oilVolume", Value::Float(82.5), Value::Int(95)),
        (at(3), "notes", "pump ran smoothly".into(), "pump ran very smoothly".into()),
        (at(3), "data.runtime", Value::Int(24), Value::Null),
        (at(4), "_deletedAt", Value::Null, at(4).into()),
    ] {
        assert!(rows.contains(&row), "{row:?} in {rows:?}");
    }
    assert_eq!(rows.len(), 5);
}
