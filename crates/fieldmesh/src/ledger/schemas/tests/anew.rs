//! While records are read anew because another definition counts: nothing is answered from an index
//! that is not whole, and nothing is called damage that is none.

use super::apart::{all_findings, findings, forget_schemas, said, take};
use super::*;
use crate::api::ChangesQuery;
use crate::ledger::Followed;
use crate::projection::schemas::is_shown;
use crate::readers::Taken;

/// More than the view reads anew in all turns that anybody might give up after.
const RECORDS: usize = 1_200;

/// Two collections, so that one waits while the other is read anew.
fn definition(name: &str) -> String {
    format!(
        "name = \"{name}\"\nnames = [\"code\"]\n[[field]]\nkey = \"code\"\nkind = \"text\"\n\
         [[field]]\nkey = \"hours\"\nkind = \"number\"\npolicy = \"sum\"\n\
         [[unique]]\nfields = [\"code\"]\nmessage = \"code is taken\"\n"
    )
}

/// The names, in the order in which they are read anew.
fn names() -> [&'static str; 2] {
    let mut names = ["pump", "valve"];
    names.sort_by_key(|name| model::tenant_number(name));
    names
}

fn coded(collection: &str, code: &str) -> NewRecord {
    let assignments = vec![format!("code={code}"), "hours=2".to_owned()];
    NewRecord { collection: collection.into(), assignments, ..NewRecord::default() }
}

/// A crew with many records of two collections, on a device that has just heard of both.
async fn just_heard() -> Crew {
    let crew = Crew::new().await;
    let [first, last] = names();
    for name in [first, last] {
        apply(&crew.office, &definition(name)).await.unwrap();
    }
    crew.office.record(coded(first, "a")).await.unwrap();
    let rows: Vec<String> = (0..RECORDS).map(|number| format!("c-{number},2\n")).collect();
    let text = format!("code,hours\n{}", rows.concat());
    let options = ImportOptions { collection: Some(last.into()), ..ImportOptions::default() };
    let bytes = std::io::Cursor::new(text.into_bytes());
    let report = crew.office.import(Box::new(bytes), options, |_| {}).await.unwrap();
    assert_eq!(report.imported, RECORDS as u64);
    forget_schemas(&crew.office);
    let number = model::tenant_number(last);
    await_shown(&crew.office, number);
    take(&crew.office, &ledger(&crew).policy_items().unwrap());
    crew
}

fn await_shown(node: &Node, number: u16) {
    let ledger = node.ledger();
    while !is_shown(ledger.view(), &ledger.policy(), number).unwrap() {
        ledger.projector.turn_over().unwrap();
    }
}

fn ledger(crew: &Crew) -> &Ledger {
    crew.office.ledger()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_second_record_gets_a_unique_value_while_records_are_read_anew() {
    let crew = just_heard().await;
    let [_, last] = names();
    let error = crew.office.record(coded(last, "c-1199")).await.unwrap_err();
    assert!(error.to_string().contains("taken"), "{error}");
    crew.office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_found_by_its_name_while_records_are_read_anew() {
    let crew = just_heard().await;
    let find = || ledger(&crew).show_in(names()[1], "c-1198");
    let record = tokio::task::block_in_place(find).unwrap();
    assert_eq!(record.fields["code"], "c-1198");
    crew.office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_by_an_index_is_whole_while_records_are_read_anew() {
    let crew = just_heard().await;
    let filters = vec!["code=c-1197".to_owned()];
    let query = ListQuery { collection: names()[1].into(), filters, ..ListQuery::default() };
    assert_eq!(crew.office.list(query).await.unwrap().len(), 1);
    crew.office.shutdown().await.unwrap();
}

/// A record with hours 9 and, later, 3 written apart, of a collection that shows the greatest; its
/// device has just heard so and does not come to read it anew.
async fn not_read_anew() -> (Crew, String) {
    let crew = Crew::new().await;
    let deepest = "policy = \"max\"\n[[unique]]";
    let text = definition("valve").replace("policy = \"sum\"\n[[unique]]", deepest);
    apply(&crew.office, &text).await.unwrap();
    let deputy = crew.device("deputy", Role::Admin).await;
    let id = crew.office.record(coded("valve", "a")).await.unwrap().id.to_string();
    crew.sync(&deputy).await;
    for (node, text) in [(&crew.office, "hours=9"), (&deputy, "hours=3")] {
        let edits = Edits { assignments: vec![text.to_owned()], ..Edits::default() };
        node.edit(&id, edits).await.unwrap();
    }
    crew.sync(&deputy).await;
    crew.sync(&deputy).await;
    deputy.shutdown().await.unwrap();
    assert_eq!(crew.office.show(&id).await.unwrap().fields["hours"], 9);
    forget_schemas(&crew.office);
    await_shown(&crew.office, model::tenant_number("valve"));
    assert_eq!(crew.office.show(&id).await.unwrap().fields["hours"], 3);
    // Its view does not follow any more, so the row stays as it is.
    ledger(&crew).projector.stop();
    take(&crew.office, &ledger(&crew).policy_items().unwrap());
    assert!(!is_shown(ledger(&crew).view(), &ledger(&crew).policy(), number_of("valve")).unwrap());
    (crew, id)
}

fn number_of(name: &str) -> u16 {
    model::tenant_number(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_calls_no_record_damaged_that_is_not_read_anew_yet() {
    let (crew, _) = not_read_anew().await;
    let report = tokio::task::block_in_place(|| ledger(&crew).verify()).unwrap();
    assert_eq!((report.records, report.faults), (1, Vec::<String>::new()));
    crew.office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_builds_on_the_numbers_that_the_definition_of_now_shows() {
    let (crew, id) = not_read_anew().await;
    let id: fieldmesh_model::DocumentId = id.parse().unwrap();
    tokio::task::block_in_place(|| {
        assert_eq!(ledger(&crew).show(id).unwrap().fields["hours"], 9);
        let edits = Edits { assignments: vec!["hours+=1".to_owned()], ..Edits::default() };
        assert_eq!(ledger(&crew).edit(id, &edits).unwrap().fields["hours"], 10);
    });
    crew.office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_for_records_that_are_read_anew_is_not_kept_waiting_for_ever() {
    let (crew, _) = not_read_anew().await;
    let now = std::time::Instant::now();
    let waited =
        tokio::task::block_in_place(|| ledger(&crew).await_schema(number_of("valve"), now));
    assert!(matches!(waited, Err(Error::Remaking { percent: 0, .. })), "{:?}", waited.err());
    let told = all_findings(&crew.office);
    assert!(told.iter().any(|it| it.what.contains("are being read")), "{told:?}");
    crew.office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_or_reads_one_collection_is_not_disturbed_by_definitions_of_another() {
    let crew = Crew::new().await;
    for name in ["valve", "pump"] {
        apply(&crew.office, &definition(name)).await.unwrap();
        crew.office.record(coded(name, "a")).await.unwrap();
    }
    let query = ListQuery { collection: "valve".into(), ..ListQuery::default() };
    let ledger = crew.office.ledger();
    let (kept, Followed { queue, .. }) =
        tokio::task::block_in_place(|| (ledger.keep().unwrap(), ledger.follow(&query).unwrap()));
    let next = definition("pump").replace("\"pump\"", "\"pump\"\nversion = 2");
    apply(&crew.office, &next.replace("\"number\"", "\"number\"\nunit = \"h\"")).await.unwrap();
    apply(&crew.office, &definition("third")).await.unwrap();
    tokio::task::block_in_place(|| {
        await_shown(&crew.office, number_of("pump"));
        await_shown(&crew.office, number_of("third"));
        assert!(matches!(queue.take(), Taken::Changes(changes) if changes.is_empty()));
        assert_eq!(ledger.page_in(&query, Some(&kept)).unwrap().records.len(), 1);
        let other = ListQuery { collection: "pump".into(), ..ListQuery::default() };
        let page = ledger.page_in(&other, Some(&kept));
        assert!(matches!(page, Err(Error::SnapshotLost)), "of two schemas");
    });
    crew.office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_the_feed_hears_of_records_that_a_definition_has_named() {
    let crew = Crew::new().await;
    apply(&crew.office, ROUND).await.unwrap();
    for minute in 0..3 {
        crew.office.record(round("P-1", minute, &[])).await.unwrap();
    }
    forget_schemas(&crew.office);
    await_shown(&crew.office, number_of("pump_round"));
    let changes = |after: Option<String>| {
        let query = ChangesQuery { after, ..ChangesQuery::default() };
        tokio::task::block_in_place(|| ledger(&crew).changes(&query)).unwrap()
    };
    let before = changes(None);
    assert!(before.changes.iter().all(|it| it.collection.starts_with("collection_")));
    take(&crew.office, &ledger(&crew).policy_items().unwrap());
    await_shown(&crew.office, number_of("pump_round"));
    let after = changes(Some(before.next));
    let told: Vec<&str> = after.changes.iter().map(|it| it.collection.as_str()).collect();
    assert_eq!(told, ["pump_round"; 3], "each once");
    assert!(changes(Some(after.next)).changes.is_empty());
    crew.office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_does_not_go_on_in_the_order_of_another_definition() {
    let crew = Crew::new().await;
    apply(&crew.office, ROUND).await.unwrap();
    for minute in 0..3 {
        crew.office.record(round("P-1", minute, &[])).await.unwrap();
    }
    let limit = Some(1);
    let query = ListQuery { collection: "pump_round".into(), limit, ..ListQuery::default() };
    let page = crew.office.page(query.clone()).await.unwrap();
    let query = ListQuery { cursor: page.next, ..query };
    crew.office.page(query.clone()).await.unwrap();
    let next = ROUND.replace("version = 1", "version = 2");
    let more = format!("{next}\n[[field]]\nkey = \"mood\"\nkind = \"text\"\n");
    apply(&crew.office, &more).await.unwrap();
    let error = crew.office.page(query).await.unwrap_err();
    assert!(error.to_string().contains("defined anew"), "{error}");
    crew.office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_made_again_where_its_index_went_away_meanwhile() {
    let crew = Crew::new().await;
    let [one, two] = indexed_and_not();
    apply(&crew.office, &one).await.unwrap();
    for code in ["a", "b"] {
        crew.office.record(coded("valve", code)).await.unwrap();
    }
    let filters = vec!["code=b".to_owned()];
    let query = ListQuery { collection: "valve".into(), filters, ..ListQuery::default() };
    let mut asked = 0;
    let (_, found) = tokio::task::block_in_place(|| {
        ledger(&crew).settle().unwrap();
        ledger(&crew).planned(&query, |plan| {
            asked += 1;
            if asked == 1 {
                let options = asked_for(&two);
                assert!(ledger(&crew).take_schema(&options).unwrap().applied);
                await_shown(&crew.office, model::tenant_number("valve"));
            }
            ledger(&crew).find(plan, None)
        })
    })
    .unwrap();
    assert_eq!((found.records.len(), asked), (1, 2));
    crew.office.shutdown().await.unwrap();
}

/// A collection with an index, and the next version without.
fn indexed_and_not() -> [String; 2] {
    let one = definition("valve").replace("names = [\"code\"]\n", "");
    let one = one.replace("kind = \"text\"", "kind = \"text\"\nindexed = true");
    let one = one[..one.find("[[unique]]").unwrap()].to_owned();
    let two = one.replace("indexed = true", "").replace("\"valve\"", "\"valve\"\nversion = 2");
    [one, two]
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_or_reads_a_snapshot_begins_again_once_another_schema_counts() {
    let crew = Crew::new().await;
    let [one, two] = indexed_and_not();
    apply(&crew.office, &one).await.unwrap();
    crew.office.record(coded("valve", "a")).await.unwrap();
    let query = ListQuery { collection: "valve".into(), ..ListQuery::default() };
    let ledger = crew.office.ledger();
    let (kept, Followed { present, queue, .. }) =
        tokio::task::block_in_place(|| (ledger.keep().unwrap(), ledger.follow(&query).unwrap()));
    assert_eq!(present.len(), 1);
    apply(&crew.office, &two).await.unwrap();
    tokio::task::block_in_place(|| await_shown(&crew.office, model::tenant_number("valve")));
    assert!(matches!(queue.take(), Taken::Lagged), "its conditions are those of before");
    tokio::task::block_in_place(|| {
        assert_eq!(ledger.refollow(&query, &queue).unwrap().present.len(), 1);
        let page = ledger.page_in(&query, Some(&kept));
        assert!(matches!(page, Err(Error::SnapshotLost)), "rows of two schemas are no snapshot");
    });
    crew.office.shutdown().await.unwrap();
}

fn asked_for(text: &str) -> SchemaOptions {
    asked(text, SchemaStep::Apply)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_only_forwards_answers_without_records_and_without_waiting() {
    let crew = Crew::new().await;
    apply(&crew.office, ROUND).await.unwrap();
    let valid = Duration::from_secs(600);
    let options = InviteOptions { role: Role::Relay, user: None, valid, count: 1 };
    let invitation = crew.office.invite(options).await.unwrap().remove(0).invitation;
    let home = crew.folder.path().join("relay");
    let builder = Node::builder(&home).passphrase("one").forward_only();
    let (relay, _) = builder.join(&invitation, Some("relay".into())).await.unwrap();
    assert!(tags(&relay, &["pumpTag=P-1"]).await.is_empty());
    assert!(matches!(relay.show("P-1").await, Err(Error::NotFound { .. })));
    relay.shutdown().await.unwrap();
    crew.office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_keeps_its_collection_beside_a_built_in_one_of_the_same_name() {
    let crew = Crew::new().await;
    let text = definition("well");
    said(&crew.office, "well", 1, &text);
    crew.office.record(coded("well.own", "c-1")).await.unwrap();
    let refused = crew.office.record(coded("well", "c-1")).await.unwrap_err();
    assert!(refused.to_string().contains("apiNumber"), "the built-in one stays: {refused}");
    let record = crew.office.show("c-1").await.unwrap();
    assert_eq!(record.collection, "well.own");
    assert_eq!(crew.office.status().await.unwrap().records["well.own"], 1);
    let next = text.replace("name = \"well\"", "name = \"well\"\nversion = 2");
    assert!(apply(&crew.office, &next).await.unwrap().applied, "it goes on");
    let shown = crew.office.schemas(Some("well.own".into())).await.unwrap();
    let found: Vec<_> = shown.iter().map(|it| (it.version, it.state, it.records)).collect();
    let expected = [(2, SchemaState::InForce, 1), (1, SchemaState::Replaced, 0)];
    assert_eq!(found, expected);
    assert!(findings(&crew.office).is_empty());
    crew.office.shutdown().await.unwrap();
}
