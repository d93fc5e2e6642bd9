//! Lists by an index against lists by a look at everything, by what they read.

use super::*;
use crate::api::{Edits, NewRecord};
use crate::{Moment, Node, TenantOptions};

const WELLS: usize = 40;
const OPERATORS: usize = 8;

fn assignments(pairs: &[(&str, String)]) -> Vec<String> {
    pairs.iter().map(|(key, value)| format!("{key}={value}")).collect()
}

fn query(filters: &[&str], deleted: bool) -> ListQuery {
    let filters = filters.iter().map(|text| (*text).to_owned()).collect();
    ListQuery { collection: "well".into(), filters, deleted, ..ListQuery::default() }
}

/// The wells of an operator by a look at all of them.
fn looked_at(ledger: &Ledger, operator: usize, deleted: bool) -> Vec<DocumentId> {
    let all = ledger.list(&query(&[], deleted)).unwrap();
    let name = format!("Operator {operator}");
    all.into_iter().filter(|it| it.fields["operator"] == *name).map(|it| it.id).collect()
}

/// Records wells, some of which are edited, deleted and restored.
fn record_wells(ledger: &Ledger) {
    for number in 0..WELLS {
        let fields = [
            ("name", format!("Alder {number}")),
            ("apiNumber", format!("42-227-3{number:04}")),
            ("status", "ACTIVE".to_owned()),
            ("operator", format!("Operator {}", number % OPERATORS)),
        ];
        let assignments = assignments(&fields);
        let well = NewRecord { collection: "well".into(), assignments, ..NewRecord::default() };
        let id = ledger.create(&well).unwrap().id;
        if number % 3 == 0 {
            let fields = [("operator", format!("Operator {}", (number + 1) % OPERATORS))];
            let assignments = self::assignments(&fields);
            ledger.edit(id, &Edits { assignments, ..Edits::default() }).unwrap();
        }
        if number % 5 == 0 {
            ledger.delete(id).unwrap();
        }
        if number % 10 == 0 {
            ledger.restore(id).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_by_an_indexed_field_reads_no_record_that_lacks_its_value() {
    let folder = tempfile::tempdir().unwrap();
    let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
    let builder = Node::builder(folder.path().join("home")).passphrase("one");
    let (node, _) = builder.create_tenant(options).await.unwrap();
    tokio::task::block_in_place(|| {
        record_wells(node.ledger());
        check_operators(node.ledger());
    });
    node.shutdown().await.unwrap();
}

fn check_operators(ledger: &Ledger) {
    ledger.settle().unwrap();
    for operator in 0..OPERATORS {
        let asked = format!("operator= operator {operator}");
        let mut read = 0;
        for deleted in [false, true] {
            let plan = ledger.plan(&query(&[&asked], deleted)).unwrap();
            let answer = ledger.find(&plan, None).unwrap();
            let found: Vec<DocumentId> = answer.records.into_iter().map(|it| it.0).collect();
            read = answer.read;
            assert_eq!(found, looked_at(ledger, operator, deleted), "{asked}, {deleted}");
        }
        let held = [false, true].map(|deleted| looked_at(ledger, operator, deleted).len());
        assert_eq!(read, held.iter().sum::<usize>() as u64, "{asked}");
    }
}

/// An entry of a well with so much oil, recorded at this minute of a day.
fn entry(ledger: &Ledger, well: &str, oil: f64, minute: i64) -> DocumentId {
    let at = Moment::from_millis(1_773_100_000_000 + minute * 60_000);
    let fields = [
        ("wellId", well.to_owned()),
        ("entryType", "PRODUCTION".to_owned()),
        ("oilVolume", oil.to_string()),
        ("runtime", "24".to_owned()),
    ];
    let assignments = assignments(&fields);
    let collection = "field_entry".into();
    let new = NewRecord { collection, assignments, at: Some(at), ..NewRecord::default() };
    ledger.create(&new).unwrap().id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_nothing_is_refused_rather_than_said_to_be_empty() {
    let folder = tempfile::tempdir().unwrap();
    let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
    let builder = Node::builder(folder.path().join("home")).passphrase("one");
    let (node, _) = builder.create_tenant(options).await.unwrap();
    let none = ListQuery { limit: Some(0), ..query(&[], false) };
    let refused = node.list(none).await.unwrap_err();
    assert!(refused.to_string().contains("limit of 0"), "{refused}");
}

fn entries(filters: &[&str]) -> ListQuery {
    ListQuery { collection: "field_entry".into(), ..query(filters, false) }
}

/// Whether a volume is asked for.
type Fits = fn(f64) -> bool;

fn oil(record: &Record) -> f64 {
    record.fields["data"]["oilVolume"].as_f64().unwrap()
}

/// A node with two wells and 60 entries, three of four about the first.
async fn with_entries(folder: &tempfile::TempDir) -> Node {
    let options = TenantOptions { name: "Crew".into(), ..TenantOptions::default() };
    let builder = Node::builder(folder.path().join("home")).passphrase("one");
    let (node, _) = builder.create_tenant(options).await.unwrap();
    tokio::task::block_in_place(|| {
        let ledger = node.ledger();
        for number in 1..=2 {
            let fields = [
                ("name", format!("Alder {number}")),
                ("apiNumber", format!("42-227-3000{number}")),
                ("status", "ACTIVE".to_owned()),
            ];
            let assignments = assignments(&fields);
            let collection = "well".into();
            let well = NewRecord { collection, assignments, ..NewRecord::default() };
            ledger.create(&well).unwrap();
        }
        for number in 0..60_i64 {
            let well = if number % 4 == 0 { "Alder 2" } else { "Alder 1" };
            entry(ledger, well, 50.0 + (number * 7 % 60) as f64, number);
        }
    });
    node
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_of_every_sign_give_what_a_look_at_everything_gives() {
    let folder = tempfile::tempdir().unwrap();
    let node = with_entries(&folder).await;
    tokio::task::block_in_place(|| {
        let ledger = node.ledger();
        let all = ledger.list(&entries(&[])).unwrap();
        let fits: [(&str, Fits); 8] = [
            ("oilVolume>80", |oil| oil > 80.0),
            ("oilVolume>=80", |oil| oil >= 80.0),
            ("oilVolume<80", |oil| oil < 80.0),
            ("data.oilVolume<=80", |oil| oil <= 80.0),
            ("oilVolume=80", |oil| oil == 80.0),
            ("oilVolume!=80", |oil| oil != 80.0),
            ("oilVolume:=[80, 81.0]", |oil| oil == 80.0 || oil == 81.0),
            ("oilVolume!:=[80, 81]", |oil| oil != 80.0 && oil != 81.0),
        ];
        for (text, is_wanted) in fits {
            let found = ledger.list(&entries(&[text])).unwrap();
            let wanted: Vec<&Record> = all.iter().filter(|it| is_wanted(oil(it))).collect();
            assert_eq!(found.iter().collect::<Vec<_>>(), wanted, "{text}");
            assert_eq!(ledger.count(&entries(&[text])).unwrap(), wanted.len() as u64, "{text}");
            assert!(!wanted.is_empty() && wanted.len() < all.len(), "{text} tells nothing");
        }
        let both = entries(&["wellId:=[\"Alder 1\", \"Alder 2\"]"]);
        assert_eq!(ledger.list(&both).unwrap(), all, "two places of one index, in one order");
        assert_eq!(ledger.count(&entries(&[])).unwrap(), 60);
        assert_eq!(ledger.count(&entries(&["notes="])).unwrap(), 60);
        assert_eq!(ledger.count(&entries(&["notes!=lost"])).unwrap(), 60);
        assert_eq!(ledger.count(&entries(&["notes>a"])).unwrap(), 0);
    });
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn people_devices_and_sites_are_found_by_what_people_call_them() {
    let folder = tempfile::tempdir().unwrap();
    let node = with_entries(&folder).await;
    let member = node.ledger().me().unwrap();
    let (user, name) = (member.user.to_string(), member.name);
    tokio::task::block_in_place(|| {
        let count = |list: ListQuery| node.ledger().count(&list);
        let all = || entries(&[]);
        let at_alder = || ListQuery { site: Some("Alder 2".into()), ..all() };
        assert_eq!(count(at_alder()).unwrap(), 15);
        // What was recorded about a well stays when the well goes.
        let well = node.ledger().resolve("Alder 2").unwrap();
        node.ledger().delete(well).unwrap();
        assert_eq!(count(at_alder()).unwrap(), 15);
        assert_eq!(count(ListQuery { author: Some(user), ..all() }).unwrap(), 60);
        assert_eq!(count(ListQuery { device: Some(name), ..all() }).unwrap(), 60);
        assert_eq!(count(ListQuery { in_conflict: true, ..all() }).unwrap(), 0);
        assert_eq!(count(ListQuery { not_safe: true, ..all() }).unwrap(), 60);
        let nobody = || Some("nobody".to_owned());
        for list in [
            ListQuery { site: nobody(), ..all() },
            ListQuery { author: nobody(), ..all() },
            ListQuery { device: nobody(), ..all() },
        ] {
            assert!(matches!(count(list), Err(Error::NotFound { .. })));
        }
    });
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_understood_is_refused_rather_than_taken_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let node = with_entries(&folder).await;
    tokio::task::block_in_place(|| {
        let wrong = [
            ("oilVolumes>80", "no such field; near it: oilVolume"),
            ("oilVolume>lots", "holds a number"),
            ("oilVolume=lots", "holds a number"),
            ("oilVolume>", "neither more nor less"),
            ("leaksDetected>true", "neither more nor less"),
            ("recordedAt<soon", "holds a time"),
            ("oilVolume:=[", "is no JSON"),
            ("entryType=PRODUCTIO", "is none of PRODUCTION"),
            ("entryType:=[\"PRODUCTION\",\"PRODUCTIO\"]", "is none of PRODUCTION"),
            ("wellId=Aldr 2", "there is no record \"Aldr 2\""),
            ("oilVolume", "is no condition"),
            (">80", "is no condition"),
        ];
        for (text, why) in wrong {
            let error = node.ledger().list(&entries(&[text])).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        for sort in ["oilVolumes", "oilVolume:sideways"] {
            let list = ListQuery { sort: Some(sort.into()), ..entries(&[]) };
            assert!(node.ledger().list(&list).is_err(), "{sort}");
        }
    });
    node.shutdown().await.unwrap();
}

/// The pages of a query, and how many records each of them read.
fn pages(ledger: &Ledger, query: &ListQuery, limit: usize) -> (Vec<DocumentId>, Vec<u64>) {
    let (mut ids, mut costs, mut cursor) = (Vec::new(), Vec::new(), None);
    // What was recorded a moment ago is in the view before what it costs is counted.
    ledger.settle().unwrap();
    loop {
        let page = ListQuery { limit: Some(limit), cursor, ..query.clone() };
        costs.push(ledger.find(&ledger.plan(&page).unwrap(), None).unwrap().read);
        let Page { records, next, .. } = ledger.page(&page).unwrap();
        ids.extend(records.into_iter().map(|record| record.id));
        cursor = next;
        if cursor.is_none() {
            return (ids, costs);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_in_every_order_give_each_record_once() {
    let folder = tempfile::tempdir().unwrap();
    let node = with_entries(&folder).await;
    tokio::task::block_in_place(|| {
        let ledger = node.ledger();
        for sort in
            [None, Some("time:up"), Some("oilVolume"), Some("oilVolume:down"), Some("updated")]
        {
            for filters in [vec![], vec!["oilVolume>70"], vec!["wellId=Alder 1"]] {
                let list = ListQuery { sort: sort.map(Into::into), ..entries(&filters) };
                let whole = ledger.list(&list).unwrap();
                let ids: Vec<DocumentId> = whole.iter().map(|record| record.id).collect();
                assert_eq!(pages(ledger, &list, 7).0, ids, "{sort:?} {filters:?}");
                if sort == Some("oilVolume:down") {
                    assert!(whole.is_sorted_by(|one, other| oil(one) >= oil(other)));
                }
            }
        }
    });
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_entries_of_a_well_are_found_without_a_look_at_others() {
    let folder = tempfile::tempdir().unwrap();
    let node = with_entries(&folder).await;
    tokio::task::block_in_place(|| {
        let list = ListQuery { site: Some("Alder 2".into()), ..entries(&[]) };
        let (_, costs) = pages(node.ledger(), &list, 5);
        // One more is read to know whether there is more.
        assert_eq!(costs, [6, 6, 5]);
    });
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_another_store_or_another_query_is_told_from_one_that_fits() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (node, other) = (with_entries(&folders[0]).await, with_entries(&folders[1]).await);
    tokio::task::block_in_place(|| {
        let first = ListQuery { limit: Some(5), ..entries(&["oilVolume>60"]) };
        let cursor = node.ledger().page(&first).unwrap().next.unwrap();
        let next = |cursor: &str| ListQuery { cursor: Some(cursor.into()), ..first.clone() };
        assert!(node.ledger().page(&next(&cursor)).is_ok());
        let told = |ledger: &Ledger, query: &ListQuery| match ledger.page(query) {
            Err(Error::Cursor { reason }) => reason,
            answer => panic!("{answer:?}"),
        };
        assert!(told(other.ledger(), &next(&cursor)).contains("another store"));
        let changed = ListQuery { filters: vec!["oilVolume>61".into()], ..next(&cursor) };
        assert!(told(node.ledger(), &changed).contains("another query"));
        for end in 0..cursor.len() {
            told(node.ledger(), &next(&cursor[..end]));
        }
        for at in 0..cursor.len() {
            let mut text = cursor.clone();
            text.replace_range(at..=at, if &cursor[at..=at] == "0" { "1" } else { "0" });
            told(node.ledger(), &next(&text));
        }
    });
    node.shutdown().await.unwrap();
    other.shutdown().await.unwrap();
}
