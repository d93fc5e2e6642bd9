//! Goal: production that one app tells as an entry and another as an event is one item of the
//! inbox, whoever settles it.

use super::*;
use crate::api::ListQuery;

async fn logged(crew: &Crew, node: &Node, minute: u32, volume: u32) -> DocumentId {
    let at = format!("2026-03-01T08:{minute:02}:00Z");
    let assignments = [
        "type=PRODUCTION_LOGGED".to_owned(),
        format!("timestamp={at}"),
        format!("payload.wellId={}", crew.well),
        format!("payload.recordedAt={at}"),
        format!("payload.volume={volume}"),
    ];
    let assignments: Vec<&str> = assignments.iter().map(String::as_str).collect();
    node.record(record("field_event", &assignments)).await.unwrap().id
}

async fn shown(node: &Node, collection: &str) -> Vec<DocumentId> {
    let query = ListQuery { collection: collection.into(), ..ListQuery::default() };
    node.list(query).await.unwrap().into_iter().map(|record| record.id).collect()
}

fn about(item: &ConflictReport) -> Vec<DocumentId> {
    item.duplicate.as_ref().unwrap().records.iter().map(|record| record.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_and_an_event_of_one_production_are_one_item_on_every_device() {
    for way in ["entry", "event", "both", "delete"] {
        let crew = Crew::new().await;
        let entry = crew.entry(&crew.office, 0, 80).await;
        let event = logged(&crew, &crew.truck, 0, 81).await;
        crew.entry(&crew.office, 1, 80).await;
        logged(&crew, &crew.truck, 2, 80).await;
        crew.sync().await;
        let found = open(&crew.office).await;
        assert_eq!(open(&crew.truck).await, found);
        let mut ids = [entry, event];
        ids.sort();
        assert_eq!((found.len(), about(&found[0])), (1, ids.to_vec()), "{found:#?}");
        // Each stands in a list of its own, where it counts once.
        assert_eq!(shown(&crew.truck, "field_entry").await.len(), 2);
        assert_eq!(shown(&crew.truck, "field_event").await.len(), 2);
        assert!(crew.truck.verify().await.unwrap().faults.is_empty());
        let side = |id| found[0].values[usize::from(ids[1] == id)].label.clone();
        let (item, left) = (
            &found[0].id,
            match way {
                "entry" => vec![entry],
                "event" | "delete" => vec![event],
                _ => ids.to_vec(),
            },
        );
        match way {
            "both" => crew.truck.resolve(item, Resolution::Take(Choice::Both)).await,
            "delete" => crew.truck.delete(&entry.to_string()).await,
            _ => crew.truck.resolve(item, take(&side(left[0]))).await,
        }
        .unwrap();
        crew.sync().await;
        for node in [&crew.office, &crew.truck] {
            assert_eq!(open(node).await, [], "{way}");
            let gone = [entry, event].into_iter().filter(|id| !left.contains(id));
            for gone in gone {
                let shown = node.show(&gone.to_string()).await.unwrap();
                assert_eq!((shown.deleted, shown.superseded_by), (true, Some(left[0])), "{way}");
                let kept = node.show(&left[0].to_string()).await.unwrap();
                assert_eq!((kept.deleted, kept.replaces), (false, vec![gone]), "{way}");
            }
            let query = ConflictQuery { closed: true, ..ConflictQuery::default() };
            let told = node.conflicts(query).await.unwrap();
            assert_eq!((told.len(), &told[0].id, told[0].open), (1, item, false), "{way}");
            let told = told[0].ended[0].left.as_array().unwrap();
            assert_eq!(told.len(), left.len(), "{way}: {told:?}");
            assert!(node.verify().await.unwrap().faults.is_empty());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_entries_and_an_event_are_one_item_and_the_entries_count_once() {
    let crew = Crew::new().await;
    crew.twins().await;
    let event = logged(&crew, &crew.truck, 0, 81).await;
    crew.sync().await;
    let found = open(&crew.office).await;
    assert_eq!((found.len(), about(&found[0]).len()), (1, 3), "{found:#?}");
    for node in [&crew.office, &crew.truck] {
        assert_eq!(shown(node, "field_entry").await.len(), 1);
        assert_eq!(shown(node, "field_event").await, [event]);
    }
    // What is no production is another thing.
    let well = format!("wellId={}", crew.well);
    let assignments =
        [&*well, "entryType=INSPECTION", "recordedAt=2026-03-01T08:00:00Z", "leaksDetected=false"];
    crew.office.record(record("field_entry", &assignments)).await.unwrap();
    assert_eq!(open(&crew.office).await, found);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_entry_and_an_event_that_two_people_settled_apart_one_counts_until_it_is_decided() {
    let crew = Crew::new().await;
    let entry = crew.entry(&crew.office, 0, 80).await;
    let event = logged(&crew, &crew.truck, 0, 81).await;
    crew.sync().await;
    let item = open(&crew.office).await.remove(0).id;
    crew.office.resolve(&item, take("A")).await.unwrap();
    crew.truck.resolve(&item, take("B")).await.unwrap();
    crew.sync().await;
    for node in [&crew.office, &crew.truck] {
        assert_eq!(open(node).await.len(), 1);
        let mut counted = shown(node, "field_entry").await;
        counted.extend(shown(node, "field_event").await);
        assert_eq!(counted, [entry.min(event)]);
        assert!(node.verify().await.unwrap().faults.is_empty());
    }
    crew.truck.resolve(&item, take("B")).await.unwrap();
    crew.sync().await;
    for node in [&crew.office, &crew.truck] {
        assert_eq!(open(node).await, []);
        let mut counted = shown(node, "field_entry").await;
        counted.extend(shown(node, "field_event").await);
        assert_eq!(counted, [entry.max(event)]);
    }
}
