//! Goal: a rule that was broken and put right is told like any other item that has ended, and whose
//! value was replaced hears of it.

use std::time::Duration;

use fieldmesh_model::Role;
use serde_json::Value as Json;

use crate::api::{
    BulkEdit, ConflictQuery, ConflictReport, Edits, InviteOptions, ListQuery, NewRecord,
    NoticeKind, Resolution, SchemaOptions, SchemaStep, SyncOptions, SyncResult,
};
use crate::{Error, Node, TenantOptions};

struct Crew {
    _folder: tempfile::TempDir,
    office: Node,
    truck: Node,
    address: String,
}

const PUMP: &str = "name = \"pump\"\n[[field]]\nkey = \"mode\"\nkind = \"text\"\n\
    [[field]]\nkey = \"speed\"\nkind = \"integer\"\n\
    [[rule]]\nrule = \"range\"\nfield = \"speed\"\nmax = 100\n\
    when = { mode = \"LOW\" }\nmessage = \"A slow pump has a speed up to 100\"\n";

impl Crew {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
        let builder = Node::builder(folder.path().join("office")).passphrase("one");
        let (office, _) = builder.create_tenant(options).await.unwrap();
        let address = office.listen(Some(([127, 0, 0, 1], 0).into())).await.unwrap().to_string();
        let (valid, user) = (Duration::from_secs(600), Some("ben@example.org".to_owned()));
        let options = InviteOptions { role: Role::Manager, user, valid, count: 1 };
        let invitation = office.invite(options).await.unwrap().remove(0).invitation;
        let builder = Node::builder(folder.path().join("truck")).passphrase("one");
        let (truck, _) = builder.join(&invitation, Some("truck".into())).await.unwrap();
        let (text, step) = (PUMP.to_owned(), SchemaStep::Apply);
        office.schema(SchemaOptions { text, step, ..SchemaOptions::default() }).await.unwrap();
        let crew = Self { _folder: folder, office, truck, address };
        crew.sync().await;
        crew
    }

    async fn sync(&self) {
        let with = vec![self.address.clone()];
        let options = SyncOptions { with, mdns: false, ..SyncOptions::default() };
        let report = self.truck.sync(options, |_| {}).await.unwrap();
        assert_eq!(report.result, SyncResult::Ok, "{report:?}");
    }

    /// A pump that the office calls slow and the truck makes fast; gives it and the item.
    async fn broken(&self) -> (String, ConflictReport) {
        let assignments = ["mode=HIGH", "speed=50"].map(String::from).to_vec();
        let collection = "pump".into();
        let new = NewRecord { collection, assignments, ..NewRecord::default() };
        let pump = self.office.record(new).await.unwrap().id.to_string();
        self.sync().await;
        self.office.edit(&pump, edits("mode=LOW")).await.unwrap();
        self.truck.edit(&pump, edits("speed=500")).await.unwrap();
        self.sync().await;
        let query = ConflictQuery { kind: Some("rule".into()), ..ConflictQuery::default() };
        let mut open = self.office.conflicts(query).await.unwrap();
        assert_eq!(open.len(), 1, "{open:?}");
        (pump, open.remove(0))
    }
}

fn edits(text: &str) -> Edits {
    Edits { assignments: vec![text.into()], ..Edits::default() }
}

async fn rules(node: &Node, closed: bool) -> Vec<ConflictReport> {
    let query = ConflictQuery { kind: Some("rule".into()), closed, ..ConflictQuery::default() };
    node.conflicts(query).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_rule_and_what_was_said_of_it_stay_told_when_the_record_is_deleted() {
    let crew = Crew::new().await;
    let (pump, item) = crew.broken().await;
    crew.truck.comment(&item.id, "it was wide open").await.unwrap();
    crew.sync().await;
    crew.office.delete(&pump).await.unwrap();
    crew.sync().await;
    assert_eq!(rules(&crew.office, false).await, []);
    let told = rules(&crew.office, true).await;
    assert_eq!((told.len(), &told), (1, &rules(&crew.truck, true).await), "{told:#?}");
    assert_eq!((&told[0].id, &told[0].faults), (&item.id, &item.faults));
    assert_eq!((told[0].open, told[0].comments.len()), (false, 1), "{told:#?}");
    let end = &told[0].ended[0];
    let by = crew.office.ledger().device();
    assert_eq!((end.deleted, end.settled, end.device), (true, false, Some(by)));
    assert_eq!(crew.truck.conflict(&item.id).await.unwrap(), told[0]);
    let again = Resolution::Set(vec!["speed=98".into()]);
    let again = crew.truck.resolve(&item.id, again).await.unwrap_err().to_string();
    assert!(again.contains("the record was deleted by"), "{again}");
    let notices = crew.truck.notices(false).await.unwrap();
    assert_eq!((notices.len(), &notices[0].wrote), (1, &500.into()), "{notices:#?}");
    assert_eq!(notices[0].reason.as_deref(), Some("the record was deleted"));
    assert_eq!(crew.office.notices(false).await.unwrap(), []);

    crew.office.restore(&pump).await.unwrap();
    crew.sync().await;
    for node in [&crew.office, &crew.truck] {
        let open = rules(node, false).await;
        assert_eq!((open.len(), &open[0].id, open[0].comments.len()), (1, &item.id, 1));
        assert_eq!(open[0].ended, []);
        assert_eq!(node.notices(false).await.unwrap(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_was_put_right_is_told_on_every_device_whichever_way_it_was() {
    let crew = Crew::new().await;
    for (number, way) in ["resolve", "edit", "bulk", "other field"].into_iter().enumerate() {
        let (pump, item) = crew.broken().await;
        let who = [crew.truck.ledger().device(), crew.office.ledger().device()].map(Some);
        let sides: Vec<_> = item.values.iter().map(|it| (it.value.clone(), it.device)).collect();
        assert_eq!(sides, [(500.into(), who[0]), (Json::Null, who[1])], "{item:#?}");
        assert_eq!(item.values[1].fields["mode"], "LOW", "who made it slow is told beside");
        crew.truck.comment(&item.id, "it was wide open").await.unwrap();
        crew.sync().await;
        match way {
            "resolve" => {
                let set = Resolution::Set(vec!["speed=99".into()]);
                crew.office.resolve(&item.id, set).await.unwrap();
            }
            "edit" => {
                crew.office.edit(&pump, edits("speed=99")).await.unwrap();
            }
            "bulk" => {
                let (collection, filters) = ("pump".into(), vec!["speed=500".into()]);
                let list = ListQuery { collection, filters, ..ListQuery::default() };
                let bulk = BulkEdit { list, edits: edits("speed=99"), ..BulkEdit::default() };
                assert!(crew.office.edit_all(bulk).await.unwrap().written);
            }
            _ => {
                crew.office.edit(&pump, edits("mode=HIGH")).await.unwrap();
            }
        }
        crew.sync().await;
        let (ours, theirs) = (rules(&crew.office, true).await, rules(&crew.truck, true).await);
        assert_eq!((ours.len(), &ours), (number + 1, &theirs), "{way}");
        assert_eq!(rules(&crew.office, false).await, []);
        let told = crew.truck.conflict(&item.id).await.unwrap();
        assert_eq!(told, crew.office.conflict(&item.id).await.unwrap());
        assert_eq!((told.open, &told.values, &told.faults), (false, &item.values, &item.faults));
        let end = &told.ended[0];
        let left = if way == "other field" { 500 } else { 99 };
        assert_eq!((end.settled, end.left.as_i64(), told.ended.len()), (true, Some(left), 1));
        assert_eq!(told.comments.len(), 1);
        let again = Resolution::Set(vec!["speed=98".into()]);
        let again = crew.truck.resolve(&item.id, again).await.unwrap_err();
        assert!(matches!(again, Error::Settled { .. }), "{again:?}");
        assert!(again.to_string().contains("nothing left to settle: settled by"), "{again}");
        let last = crew.truck.history(&pump).await.unwrap().pop();
        assert_eq!(last.unwrap().settled, [item.id]);
    }
    let notices = crew.truck.notices(false).await.unwrap();
    // Where the speed stayed nobody lost anything.
    assert_eq!(notices.len(), 3, "{notices:#?}");
    assert_eq!((notices[0].kind, &*notices[0].field), (NoticeKind::Overwritten, "speed"));
    assert_eq!((&notices[0].wrote, &notices[0].left), (&500.into(), &99.into()));
    assert_eq!(crew.office.notices(false).await.unwrap(), []);
}
