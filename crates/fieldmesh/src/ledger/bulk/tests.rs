//! Goal: changes of many records are made while others write, and none takes the place of another.
//! Method: somebody writes between the changes being made and being handed to the store.

use serde_json::{Map, Value as Json, json};

use super::*;
use crate::api::{Edits, ListQuery};
use crate::{Node, TenantOptions};

async fn office(wells: u32) -> (tempfile::TempDir, Node) {
    let folder = tempfile::tempdir().unwrap();
    let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
    let builder = Node::builder(folder.path().join("home")).passphrase("one");
    let (node, _) = builder.create_tenant(options).await.unwrap();
    for number in 1..=wells {
        let api = format!("42-227-{number:05}");
        let name = format!("Alder {number}");
        let well = json!({"name": name, "apiNumber": api, "status": "ACTIVE"});
        node.collection("well").insert(well.as_object().unwrap()).await.unwrap();
    }
    (folder, node)
}

fn edits(text: &str) -> Edits {
    Edits { assignments: vec![text.to_owned()], ..Edits::default() }
}

fn bulk(text: &str) -> BulkEdit {
    let list = ListQuery { collection: "well".into(), ..ListQuery::default() };
    BulkEdit { list, edits: edits(text), ..BulkEdit::default() }
}

async fn fields(node: &Node, name: &str) -> Map<String, Json> {
    node.show(name).await.unwrap().fields
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_writes_while_changes_are_made_is_passed_over_and_stays() {
    let (_folder, node) = office(3).await;
    let ledger = node.ledger();
    let view = ledger.projector.view_number();
    let bulk = bulk("operator=Cedar");
    ledger.settle().unwrap();
    let (schema, mut report, wanted) = ledger.looked_over(&bulk).unwrap();
    let made = ledger.make_all(view, &schema, &wanted, BYTES_MAX).unwrap();
    // Nobody waits for the desk meanwhile, and what is written is in no view so far.
    let second = node.show("Alder 2").await.unwrap().id;
    ledger.edit_if(second, &edits("operator=Beech"), None).unwrap();
    ledger.edit_if(second, &edits("lease=North"), None).unwrap();
    let all = wanted.into_iter().zip(made);
    let pending = ledger.line_up_all(&mut ledger.desk(), view, all, &mut report).unwrap();
    ledger.finish_all(pending.unwrap()).unwrap();
    assert_eq!(report.changed.len(), 2);
    assert_eq!((report.skipped.len(), report.skipped[0].id), (1, second), "{report:?}");
    for (name, operator) in [("Alder 1", "Cedar"), ("Alder 2", "Beech"), ("Alder 3", "Cedar")] {
        assert_eq!(fields(&node, name).await["operator"], operator);
    }
    assert_eq!(fields(&node, "Alder 2").await["lease"], "North");
    let again = node.edit_all(bulk).await.unwrap();
    assert_eq!((again.changed.len(), again.unchanged, again.skipped.len()), (1, 2, 0));
    assert_eq!(fields(&node, "Alder 2").await["operator"], "Cedar");
    assert!(node.verify().await.unwrap().faults.is_empty());
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_says_what_is_more_than_one_call_writes() {
    let (_folder, node) = office(4).await;
    let ledger = node.ledger();
    let looked = BulkEdit { dry_run: true, ..bulk("operator=Cedar") };
    assert_eq!(ledger.edit_within(&looked, BYTES_MAX).unwrap().changed.len(), 4);
    let told = |bulk: &BulkEdit| ledger.edit_within(bulk, 300).unwrap_err().to_string();
    let refused = told(&looked);
    assert!(refused.contains("16 MiB") && refused.contains("--where"), "{refused}");
    assert_eq!(told(&bulk("operator=Cedar")), refused);
    assert!(!fields(&node, "Alder 1").await.contains_key("operator"));
    node.shutdown().await.unwrap();
}
