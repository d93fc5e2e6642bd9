//! Goal: what an index finds is what a look at every record finds, however it was made.
//! Method: a crew's edits of the fields that wells declare as indexed, with conflicts, verdicts and
//! copies strewn in; the answers of each index are compared with those of the records, as they
//! stand after every piece and after the index was lost and made anew.

use fieldmesh_store::WriteSet;

use super::*;
use fieldmesh_model::catalogue;
use fieldmesh_model::schema::Collection;

use crate::projection::{field_hash, indexing, is_declared, is_indexed};

/// The records by collection, field and value.
type Answers = BTreeMap<(String, String), BTreeSet<DocumentId>>;

fn by_looking(store: &Store) -> Answers {
    let mut answers = Answers::new();
    for row in rows::scan(store.view(), Tree::Document, KeyRange::all(), Direction::Ascending) {
        let (key, value) = row.unwrap();
        let row: DocumentRow = rows::decode(&value).unwrap();
        let id = rows::indexed_id(&key).unwrap();
        for (field, value) in row.record.into_iter().flat_map(|record| record.fields) {
            if is_declared(wells(), &field) && !value.is_cleared() {
                answers.entry((field, value.to_cell())).or_default().insert(id);
            }
        }
    }
    answers
}

/// What the indexes say, asked for every value that there ever was.
fn by_index(store: &Store, asked: &BTreeSet<(String, String)>) -> Answers {
    let mut answers = Answers::new();
    for (field, value) in asked {
        let hash = field_hash(store, wells().number, field, &Value::Text(value.clone()));
        let range = KeyRange::prefix(&rows::value_prefix(hash));
        for key in rows::keys(store.view(), Tree::Index, range, Direction::Ascending) {
            let id = rows::indexed_id(&key.unwrap()).unwrap();
            answers.entry((field.clone(), value.clone())).or_default().insert(id);
        }
    }
    answers
}

/// Takes away what a view of an earlier version would lack: all of the declared indexes.
fn lose(store: &Store) -> usize {
    let mut writes = WriteSet::new();
    writes.delete(Tree::Meta, b"indexes".to_vec());
    for (field, value) in by_looking(store).keys() {
        let hash = field_hash(store, wells().number, field, &Value::Text(value.clone()));
        let range = KeyRange::prefix(&rows::value_prefix(hash));
        for key in rows::keys(store.view(), Tree::Index, range, Direction::Ascending) {
            writes.delete(Tree::Index, key.unwrap());
        }
    }
    let lost = writes.len();
    store.view().apply(writes).unwrap();
    lost
}

#[test]
fn an_index_finds_what_a_look_at_every_record_finds() {
    let mut found = 0;
    for seed in 0..20 {
        let (mut crew, mut dice) = (Crew::new(), Dice(seed));
        let (log, _) = logs(&mut crew, &mut dice);
        let stage = Stage::new();
        let mut asked = BTreeSet::new();
        for piece in log.chunks(1 + dice.below(6)) {
            stage.project(&crew, piece);
            let expected = by_looking(&stage.store);
            asked.extend(expected.keys().cloned());
            assert_eq!(by_index(&stage.store, &asked), expected, "seed {seed}");
            found += expected.len();
        }
        assert!(indexing::is_whole(stage.store.view(), wells().number, "lease").unwrap());
    }
    assert!(found > 1_000, "only {found} answers were compared");
}

#[test]
fn an_index_that_a_view_lacks_is_made_and_not_asked_before() {
    let (mut crew, mut dice) = (Crew::new(), Dice(3));
    let (log, _) = logs(&mut crew, &mut dice);
    let (first, rest) = log.split_at(log.len() / 2);
    let stage = Stage::new();
    stage.project(&crew, first);
    let before = shown(&stage.store);
    assert!(lose(&stage.store) > 1);
    let view = stage.store.view();
    assert!(!indexing::is_whole(view, wells().number, "lease").unwrap());
    while indexing::step(&stage.store).unwrap() {}
    assert!(indexing::is_whole(view, wells().number, "lease").unwrap());
    assert_eq!(shown(&stage.store), before);
    // Records that change while it is made are in it too.
    lose(&stage.store);
    stage.project(&crew, rest);
    while indexing::step(&stage.store).unwrap() {}
    let expected = by_looking(&stage.store);
    let asked = expected.keys().cloned().collect();
    assert_eq!(by_index(&stage.store, &asked), expected);
}

/// A program of the same versions would read a view that lacks entries, or leave gaps in it.
#[test]
fn what_records_are_found_by_changes_only_with_the_version_of_the_view() {
    let found_by = |schema: &Collection| {
        let is_found = |key: &str| is_indexed(schema, key) || is_declared(schema, key);
        let keys = schema.fields.iter().map(|field| &*field.key).filter(|key| is_found(key));
        let by_time = schema.time_field.as_deref().unwrap_or("creation");
        let keys = keys.collect::<Vec<_>>().join(" ");
        format!("{} by {by_time}: {keys}\n", schema.number)
    };
    let mut today = format!("store version {}\n", fieldmesh_store::STORE_VERSION);
    today.extend(catalogue::collections().iter().map(found_by));
    assert_eq!(
        today,
        include_str!("indexed.txt"),
        "raise VIEW_VERSION and STORE_VERSION of fieldmesh-store, as its README says, then this file"
    );
}
