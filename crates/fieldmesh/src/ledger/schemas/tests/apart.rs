//! Definitions that are not here, cannot be read, or were made by people who did not know of each
//! other: no number changes unseen, nothing is narrowed, and somebody is told.

use fieldmesh_model::Moment;
use fieldmesh_replica::Input;

use super::*;
use crate::api::{Finding, Record};
use crate::mesh::Call;

fn next(version: u32) -> String {
    ROUND.replace("version = 1", &format!("version = {version}"))
}

fn with(version: u32, key: &str, kind: &str) -> String {
    format!("{}\n[[field]]\nkey = \"{key}\"\nkind = \"{kind}\"\n", next(version))
}

/// Leaves a device with the records alone, as before it hears of any definition.
pub(super) fn forget_schemas(node: &Node) {
    let ledger = node.ledger();
    let mut items = ledger.policy_items().unwrap();
    items.retain(|item| !matches!(item.statement(), Statement::Schema(_)));
    take(node, &items);
}

fn remember_schemas(node: &Node) {
    take(node, &node.ledger().policy_items().unwrap());
}

pub(super) fn take(node: &Node, items: &[Item]) {
    let ledger = node.ledger();
    let policy = Policy::evaluate(ledger.identity.tenant, items);
    *ledger.policy.write().unwrap() = Arc::new(policy);
    ledger.projector.wake();
}

async fn assign(node: &Node, id: &str, text: &str) -> Result<Record, Error> {
    let edits = Edits { assignments: vec![text.to_owned()], ..Edits::default() };
    node.edit(id, edits).await
}

async fn grease(node: &Node, id: &str) -> Option<f64> {
    node.show(id).await.unwrap().fields["greaseUsed"].as_f64()
}

/// What stands there until somebody does something.
pub(super) fn findings(node: &Node) -> Vec<Finding> {
    let mut found = all_findings(node);
    found.retain(|finding| !finding.what.contains("are being read"));
    found
}

pub(super) fn all_findings(node: &Node) -> Vec<Finding> {
    let report = node.ledger().diagnose(Vec::new()).unwrap();
    report.findings.into_iter().filter(|finding| finding.kind == "collection").collect()
}

fn places(error: &Error) -> Vec<&str> {
    let Error::Schema { faults } = error else { panic!("{error}") };
    faults.iter().map(|fault| fault.field.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_edits_a_record_without_its_schema_never_writes_another_number_than_he_typed() {
    let crew = Crew::new().await;
    apply(&crew.office, ROUND).await.unwrap();
    let record = crew.office.record(round("P-1", 1, &["greaseUsed=3", "faults=leak"])).await;
    let id = record.unwrap().id.to_string();
    assign(&crew.office, &id, "greaseUsed+=4").await.unwrap();
    assert_eq!(grease(&crew.office, &id).await, Some(7.0));
    forget_schemas(&crew.office);
    for text in ["greaseUsed=5", "faults=rust", "pumpTag=P-2", "notes=wet"] {
        let error = assign(&crew.office, &id, text).await.unwrap_err();
        assert!(error.to_string().contains("definition"), "{text}: {error}");
    }
    // What says nothing about fields goes on.
    crew.office.delete(&id).await.unwrap();
    crew.office.restore(&id).await.unwrap();
    remember_schemas(&crew.office);
    assert_eq!(grease(&crew.office, &id).await, Some(7.0));
    assign(&crew.office, &id, "greaseUsed=5").await.unwrap();
    assert_eq!(grease(&crew.office, &id).await, Some(5.0));
    crew.office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_that_comes_while_somebody_edits_changes_no_number_that_he_typed() {
    let crew = Crew::new().await;
    apply(&crew.office, ROUND).await.unwrap();
    let id = crew.office.record(round("P-1", 1, &["greaseUsed=3"])).await.unwrap().id;
    assign(&crew.office, &id.to_string(), "greaseUsed+=4").await.unwrap();
    let ledger = crew.office.ledger();
    let mut items = ledger.policy_items().unwrap();
    items.retain(|item| !matches!(item.statement(), Statement::Schema(_)));
    let before = Policy::evaluate(ledger.identity.tenant, &items);
    let edits = Edits { assignments: vec!["greaseUsed=5".to_owned()], ..Edits::default() };
    let edit = || ledger.edit_by(&before, ledger.target(id, None), &edits);
    let error = tokio::task::block_in_place(edit).unwrap_err();
    assert!(error.to_string().contains("definition"), "{error}");
    assert_eq!(grease(&crew.office, &id.to_string()).await, Some(7.0));
    crew.office.shutdown().await.unwrap();
}

/// Two admins who define a second version apart, and meet.
async fn apart(office: &str, deputy: &str) -> (Crew, Node) {
    let crew = Crew::new().await;
    apply(&crew.office, ROUND).await.unwrap();
    let other = crew.device("deputy", Role::Admin).await;
    crew.sync(&other).await;
    assert!(apply(&crew.office, office).await.unwrap().applied);
    assert!(apply(&other, deputy).await.unwrap().applied);
    crew.sync(&other).await;
    crew.sync(&other).await;
    (crew, other)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_of_a_definition_that_lost_is_not_narrowed_by_the_next_one() {
    let (crew, deputy) = apart(&with(2, "weather", "text"), &with(2, "mood", "text")).await;
    let error = apply(&crew.office, &with(3, "mood", "number")).await.unwrap_err();
    assert!(places(&error).iter().any(|place| place.ends_with("field weather")), "{error}");
    let both = |kind| with(3, "weather", "text") + &field("mood", kind);
    let error = apply(&crew.office, &both("number")).await.unwrap_err();
    assert!(places(&error).iter().any(|it| it.ends_with("field mood, kind")), "{error}");
    let told = findings(&crew.office);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].what.contains("pump_round"), "{}", told[0].what);
    assert!(apply(&crew.office, &both("text")).await.unwrap().applied);
    assert!(findings(&crew.office).is_empty(), "nothing of either is lacking");
    deputy.shutdown().await.unwrap();
    crew.office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_evolves_a_definition_that_lost_is_told_what_the_other_had() {
    let crew = Crew::new().await;
    apply(&crew.office, ROUND).await.unwrap();
    let deputy = crew.device("deputy", Role::Admin).await;
    crew.sync(&deputy).await;
    apply(&crew.office, &with(2, "weather", "text")).await.unwrap();
    apply(&deputy, &with(2, "mood", "text")).await.unwrap();
    let third = with(3, "mood", "text") + &field("wind", "number");
    apply(&deputy, &third).await.unwrap();
    crew.sync(&deputy).await;
    crew.sync(&deputy).await;
    for node in [&crew.office, &deputy] {
        let told = findings(node);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].means.contains("weather"), "{}", told[0].means);
    }
    deputy.shutdown().await.unwrap();
    crew.office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_apply_at_once_on_one_device_each_is_told_the_truth() {
    let crew = Crew::new().await;
    apply(&crew.office, ROUND).await.unwrap();
    let texts = ["weather", "mood"].map(|key| with(2, key, "text"));
    let [one, two] = texts.each_ref().map(|text| apply(&crew.office, text));
    let (one, two) = tokio::join!(one, two);
    let applied = [&one, &two].map(|it| it.as_ref().is_ok_and(|report| report.applied));
    let shown = crew.office.schemas(Some("pump_round".into())).await.unwrap();
    let is_shown = texts.each_ref().map(|text| shown[0].text.as_ref() == Some(text));
    assert_eq!(applied, is_shown);
    assert_ne!(applied[0], applied[1], "one of them");
    let error = if applied[0] { two } else { one }.unwrap_err();
    assert!(error.to_string().contains("version"), "{error}");
    assert!(apply(&crew.office, &with(9, "mood", "text")).await.is_err(), "they go one by one");
    crew.office.shutdown().await.unwrap();
}

fn field(key: &str, kind: &str) -> String {
    format!("\n[[field]]\nkey = \"{key}\"\nkind = \"{kind}\"\n")
}

/// Signs a definition, as a newer program or a thief does it.
pub(super) fn said(node: &Node, name: &str, version: u32, text: &str) {
    let (policy, number) = (node.ledger().policy(), model::tenant_number(name));
    let before = policy.schema(number).filter(|it| it.name() == name).map(SignedSchema::hash);
    said_after(node, name, version, text, before);
}

fn said_after(node: &Node, name: &str, version: u32, text: &str, before: Option<[u8; 32]>) {
    let item = in_force(node, name, version, text, before);
    let ledger = node.ledger();
    ledger.mesh.get().unwrap().urgent(Call::Input(Input::LocalItem { item }));
}

/// Signs a definition and lets it count here; nobody else hears of it.
fn in_force(node: &Node, name: &str, version: u32, text: &str, before: Option<[u8; 32]>) -> Item {
    let ledger = node.ledger();
    let part = SchemaPart::of(name, version, Moment::ZERO, text, before).remove(0);
    let item = ledger.sign(&ledger.policy(), &Statement::Schema(Box::new(part))).unwrap();
    ledger.let_count(std::slice::from_ref(&item)).unwrap();
    item
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_last_counts_also_while_others_hear_of_what_was_said_before() {
    let crew = Crew::new().await;
    let text = |name: &str| format!("name = \"{name}\"\n[[field]]\nkey = \"a\"\nkind = \"bool\"\n");
    let [first, last] =
        ["first", "last"].map(|name| in_force(&crew.office, name, 1, &text(name), None));
    let ledger = crew.office.ledger();
    let mesh = ledger.mesh.get().unwrap();
    for item in [first, last] {
        mesh.urgent(Call::Input(Input::LocalItem { item }));
        // It answers once it has taken what came before.
        mesh.snapshot().await.unwrap();
        let policy = ledger.policy();
        assert!(policy.schema(model::tenant_number("last")).is_some());
    }
    crew.office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_several_say_at_once_is_all_in_force_and_told() {
    let crew = Crew::new().await;
    let ledger = crew.office.ledger();
    let text = |name: &str| format!("name = \"{name}\"\n[[field]]\nkey = \"a\"\nkind = \"bool\"\n");
    let names: Vec<String> = (0..8).map(|number| format!("round_{number}")).collect();
    let mut items: Vec<Item> = Vec::new();
    for name in &names {
        let part = SchemaPart::of(name, 1, Moment::ZERO, &text(name), None).remove(0);
        let policy = ledger.policy_with(&items).unwrap();
        items.push(ledger.sign(&policy, &Statement::Schema(Box::new(part))).unwrap());
    }
    std::thread::scope(|scope| {
        for item in &items {
            scope.spawn(|| {
                ledger.add_item(item).unwrap();
                // Nobody puts back an older policy behind it.
                assert!(ledger.policy().holds(&item.id()));
            });
        }
    });
    let policy = ledger.policy();
    assert!(items.iter().all(|item| policy.holds(&item.id())));
    let snapshot = ledger.mesh.get().unwrap().snapshot().await;
    assert!(snapshot.is_some());
    let policy = ledger.policy();
    assert!(items.iter().all(|item| policy.holds(&item.id())), "also once they are heard");
    crew.office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crew_goes_on_recording_while_its_program_cannot_read_the_newest_definition() {
    let crew = Crew::new().await;
    apply(&crew.office, ROUND).await.unwrap();
    crew.office.record(round("P-1", 1, &["state=BROKEN"])).await.unwrap();
    said(&crew.office, "pump_round", 2, "what a newer program would read");
    crew.office.record(round("P-2", 2, &["greaseUsed=1"])).await.unwrap();
    assert_eq!(tags(&crew.office, &["state=BROKEN"]).await, ["P-1"]);
    assert_eq!(grease(&crew.office, "P-2").await, Some(1.0));
    let told = findings(&crew.office);
    assert!(told.iter().any(|it| it.what.contains("version 2")), "{told:?}");
    let refused = apply(&crew.office, &next(3)).await.unwrap_err();
    assert!(refused.to_string().contains("--replace-unreadable"), "{refused}");
    let told = told.iter().find(|it| it.next.contains("--replace-unreadable"));
    assert!(told.is_some_and(|it| it.next.contains("version = 3")), "{told:?}");
    crew.office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_goes_on_after_somebody_signed_what_no_program_reads() {
    let crew = Crew::new().await;
    apply(&crew.office, ROUND).await.unwrap();
    said(&crew.office, "pump_round", 2, "\0");
    let over = |text: &str| SchemaOptions {
        text: text.to_owned(),
        step: SchemaStep::Apply,
        unreadable: Unreadable::Replace,
    };
    let narrowed = next(3).replace("kind = \"day\"", "kind = \"bool\"");
    let error = crew.office.schema(over(&narrowed)).await.unwrap_err();
    assert!(places(&error).iter().any(|it| it.contains("nextRound")), "as version 1 was: {error}");
    let report = crew.office.schema(over(&next(3))).await.unwrap();
    assert!(report.applied && report.before == Some(2), "{report:?}");
    crew.office.record(round("P-1", 1, &["state=BROKEN"])).await.unwrap();
    assert!(apply(&crew.office, &next(4)).await.unwrap().applied, "and on");
    crew.office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_that_a_stolen_key_signed_in_advance_stop_no_collection() {
    let crew = Crew::new().await;
    said_after(&crew.office, "pump_round", 2, "\0", None);
    assert!(apply(&crew.office, ROUND).await.unwrap().applied, "the first definition");
    let first = Some(SchemaPart::hash(ROUND));
    for version in [3, 4, u32::MAX] {
        let text = format!("# in advance\n{}", next(version));
        said_after(&crew.office, "pump_round", version, &text, first);
    }
    for version in 2..6 {
        assert!(apply(&crew.office, &next(version)).await.unwrap().applied, "{version}");
        assert_eq!(states(&crew.office).await[0], (version, SchemaState::InForce));
    }
    let told = findings(&crew.office);
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told.iter().any(|it| it.what.contains("the version 2 that it follows on")), "{told:?}");
    crew.office.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_lost_a_number_to_another_name_is_told() {
    let crew = Crew::new().await;
    let mut names = std::collections::BTreeMap::new();
    let number = |name: &String| model::tenant_number(name);
    let pair = (0..).map(|it| format!("list_{it}")).find_map(|name| {
        let known = names.insert(number(&name), name.clone());
        known.map(|known| [known, name])
    });
    let pair = pair.unwrap();
    for name in &pair {
        let text = format!("name = \"{name}\"\n[[field]]\nkey = \"a\"\nkind = \"bool\"\n");
        said(&crew.office, name, 1, &text);
    }
    let told = findings(&crew.office);
    assert_eq!(told.len(), 1, "{told:?}");
    let shown = crew.office.schemas(None).await.unwrap();
    let lost = shown.iter().find(|one| one.state == SchemaState::Replaced).unwrap();
    assert!(told[0].what.contains(&format!("{} does not count", lost.name)), "{}", told[0].what);
    assert!(pair.contains(&lost.name));
    let again = format!("name = \"{}\"\n[[field]]\nkey = \"a\"\nkind = \"bool\"\n", lost.name);
    let error = apply(&crew.office, &again).await.unwrap_err();
    assert!(error.to_string().contains("choose another name"), "{error}");
    crew.office.shutdown().await.unwrap();
}
