//! Names in edits mean the same as where records are made.

use serde_json::json;

use crate::api::{BulkEdit, Edits, ListQuery, NewRecord, SchemaOptions, SchemaStep};
use crate::error::Error;
use crate::{Node, TenantOptions};

const ROUND: &str = "name = \"round\"\n[[field]]\nkey = \"well\"\nkind = \"reference\"\n\
                     collection = \"well\"\n";

async fn record(node: &Node, collection: &str, assignments: &[&str]) -> String {
    let assignments = assignments.iter().map(|text| (*text).to_owned()).collect();
    let new = NewRecord { collection: collection.into(), assignments, ..NewRecord::default() };
    node.record(new).await.unwrap().id.to_string()
}

fn edits(text: &str) -> Edits {
    Edits { assignments: vec![text.into()], ..Edits::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_is_given_by_name_or_ending_wherever_it_is_edited() {
    let folder = tempfile::tempdir().unwrap();
    let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
    let builder = Node::builder(folder.path().join("office")).passphrase("one");
    let (node, _) = builder.create_tenant(options).await.unwrap();
    let (text, step) = (ROUND.to_owned(), SchemaStep::Apply);
    node.schema(SchemaOptions { text, step, ..SchemaOptions::default() }).await.unwrap();
    let alder = ["name=Alder 1", "apiNumber=42-227-30001", "status=ACTIVE"];
    let alder = record(&node, "well", &alder).await;
    let birch = ["name=Birch 2", "apiNumber=42-227-30002", "status=ACTIVE"];
    let birch = record(&node, "well", &birch).await;
    let round = record(&node, "round", &["well=Alder 1"]).await;
    let well = |record: crate::api::Record| record.fields["well"].as_str().unwrap().to_owned();

    assert_eq!(well(node.edit(&round, edits("well=Birch 2")).await.unwrap()), birch);
    let ending = format!("well={}", &alder[alder.len() - 8..]);
    assert_eq!(well(node.edit(&round, edits(&ending)).await.unwrap()), alder);
    let fields = json!({ "well": "birch 2" }).as_object().unwrap().clone();
    let by_fields = Edits { fields, ..Edits::default() };
    assert_eq!(well(node.edit(&round, by_fields).await.unwrap()), birch);
    let list = ListQuery { collection: "round".into(), ..ListQuery::default() };
    let bulk = BulkEdit { list, edits: edits("well=Alder 1"), ..BulkEdit::default() };
    assert_eq!(node.edit_all(bulk).await.unwrap().changed.len(), 1);
    assert_eq!(well(node.show(&round).await.unwrap()), alder);
    let refused = node.edit(&round, edits("well=Cedar 3")).await.unwrap_err();
    assert!(matches!(refused, Error::Invalid { .. }), "{refused:?}");
    node.shutdown().await.unwrap();
}
