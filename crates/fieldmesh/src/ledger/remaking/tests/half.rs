//! Goal: nothing is decided by a part of the records as if it were all of them.
//! Method: the view of a home is taken away and made anew up to an entry in the middle of its log,
//! or not at all because it fails; what is asked or written then is refused, or says so.

use fieldmesh_store::{Direction, KeyRange, Place, Tree};

use super::*;
use crate::harm::Harmed;
use crate::rows;

/// A home that is as `begin` left it up to the place that this gives, and went on as `go_on` does.
async fn two_halves(
    path: &Path,
    begin: impl AsyncFnOnce(&Node),
    go_on: impl AsyncFnOnce(&Node),
) -> (Vec<Record>, Vec<Record>, DeviceId, Option<Place>) {
    let (wells, entries, device) = home(path).await;
    let node = open(path).await;
    begin(&node).await;
    node.ledger().seal_all().unwrap();
    let middle = node.ledger().store.end();
    go_on(&node).await;
    node.shutdown().await.unwrap();
    lose_view(path);
    (wells, entries, device, middle)
}

/// Opens a home, and waits until the first half is there.
async fn open_half(path: &Path, middle: Option<Place>) -> Node {
    let node = open(path).await;
    node.ledger().projector.wait(middle.unwrap()).unwrap();
    assert_eq!(node.status().await.unwrap().state, "remaking");
    node
}

fn twin(api: usize) -> NewRecord {
    let NewRecord { mut fields, collection, .. } = well(api);
    fields.insert("name".into(), "Twin".into());
    NewRecord { fields, collection, ..NewRecord::default() }
}

/// A reading at whatever `well` says.
fn reading(well: &str) -> NewRecord {
    let fields = json!({"wellId": well, "entryType": "PRODUCTION", "data": {"oilVolume": 1}});
    let fields = fields.as_object().unwrap().clone();
    let at = Some(crate::Moment::from_millis(1_770_000_900_000));
    NewRecord { collection: "field_entry".into(), fields, at, ..NewRecord::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_is_not_written_to_the_one_of_two_wells_of_a_name_that_is_there_so_far() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("home");
    let first = async |node: &Node| drop(node.record(twin(90_001)).await.unwrap());
    let second = async |node: &Node| drop(node.record(twin(90_002)).await.unwrap());
    let (_, _, device, middle) = two_halves(&path, first, second).await;
    let held = Held::with(device, Hold::At(middle));
    let node = open_half(&path, middle).await;
    let written = node.record(reading("Twin")).await;
    assert!(matches!(written, Err(Error::Remaking { .. })), "{written:?}");
    // Nor is one of the two shown as if there were no other.
    let shown = node.show("Twin").await;
    assert!(matches!(shown, Err(Error::Remaking { .. })), "{shown:?}");
    drop(held);
    node.count(all("well")).await.unwrap();
    let written = node.record(reading("Twin")).await;
    assert!(matches!(written, Err(Error::Ambiguous { .. })), "{written:?}");
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_of_a_well_that_was_deleted_or_is_none_is_not_taken_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("home");
    let delete = async |node: &Node| drop(node.delete("Alder 1").await.unwrap());
    let (wells, entries, device, middle) = two_halves(&path, async |_| {}, delete).await;
    let unfit = [wells[1].id.to_string(), entries[0].id.to_string()];
    for hold in [Hold::At(None), Hold::At(middle)] {
        let held = Held::with(device, hold);
        let node = open(&path).await;
        for id in &unfit {
            let written = node.record(reading(id)).await;
            assert!(matches!(written, Err(Error::Remaking { .. })), "{written:?}");
        }
        node.shutdown().await.unwrap();
        drop(held);
    }
    let node = open(&path).await;
    node.count(all("well")).await.unwrap();
    for id in &unfit {
        let written = node.record(reading(id)).await;
        assert!(matches!(written, Err(Error::Invalid { .. })), "{written:?}");
    }
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crew_whose_records_cannot_be_made_readable_is_told_why_and_not_to_come_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("home");
    let (_, entries, device) = home(&path).await;
    lose_view(&path);
    let held = Held::with(device, Hold::Fail);
    let node = open(&path).await;
    // Whoever waits is told once it has been tried twice.
    let listed = node.list(all("well")).await;
    assert!(matches!(listed, Err(Error::Store { .. })), "{listed:?}");
    for turn in 0..2 {
        let status = node.status().await.unwrap();
        assert_eq!(status.state, "damaged", "turn {turn}");
        assert!(status.notes.iter().any(|note| note.contains("the disk is full")), "{status:?}");
        let edited = node.edit(&entries[0].id.to_string(), oil(90)).await;
        assert!(matches!(edited, Err(Error::Store { .. })), "{edited:?}");
        let page = node.page(partial("well")).await;
        assert!(matches!(page, Err(Error::Store { .. })), "{page:?}");
        // What is recorded meanwhile does not make it look well again.
        node.record(pump(turn)).await.unwrap();
        node.ledger().catch_up_noted().unwrap();
    }
    drop(held);
    // It is tried again as soon as somebody asks, who gets no answer of before.
    assert_eq!(node.list(all("well")).await.unwrap().len(), WELLS);
    assert_eq!(node.status().await.unwrap().state, "ready");
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_only_looks_sees_that_there_is_room_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("home");
    let (_, _, device) = home(&path).await;
    lose_view(&path);
    let held = Held::with(device, Hold::Fail);
    let node = open(&path).await;
    node.list(all("well")).await.unwrap_err();
    assert_eq!(node.status().await.unwrap().state, "damaged");
    drop(held);
    while node.status().await.unwrap().state != "ready" {
        tokio::task::yield_now().await;
    }
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_opens_a_home_itself_waits_until_all_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("home");
    home(&path).await;
    lose_view(&path);
    let node = open(&path).await;
    node.until_made(|_| {}).await;
    assert_eq!(node.page(partial("well")).await.unwrap().remaking, None);
    assert_eq!(node.page(partial("well")).await.unwrap().records.len(), WELLS);
    node.shutdown().await.unwrap();
    // Nobody has anything to make again then.
    let held = Held::begin(node_device(&path).await);
    let node = open(&path).await;
    assert_eq!(node.status().await.unwrap().state, "ready");
    drop(held);
    node.shutdown().await.unwrap();
}

async fn node_device(path: &Path) -> DeviceId {
    let node = open(path).await;
    let device = node.ledger().device();
    node.shutdown().await.unwrap();
    device
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_part_is_never_followed_by_a_last_one_that_looks_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("home");
    let more = async |node: &Node| drop(node.record(twin(90_001)).await.unwrap());
    let (_, _, device, middle) = two_halves(&path, async |_| {}, more).await;
    let held = Held::with(device, Hold::At(middle));
    let node = open_half(&path, middle).await;
    let two = |partial| ListQuery { limit: Some(2), partial, ..all("well") };
    let page = node.page(two(true)).await.unwrap();
    assert_eq!((page.records.len(), page.next), (2, None));
    assert!(page.remaking.is_some());
    drop(held);
    let page = node.page(two(false)).await.unwrap();
    // A cursor belongs to the question, however long somebody would wait for the answer.
    let next = ListQuery { cursor: page.next, ..two(true) };
    assert_eq!(node.page(next).await.unwrap().records.len(), 2);
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_found_damaged_is_claimed_no_longer_although_records_are_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("home");
    let (_, _, device, _) = two_halves(&path, async |_| {}, async |_| {}).await;
    let held = Held::begin(device);
    let node = open(&path).await;
    let ledger = node.ledger();
    let first = rows::scan(ledger.view(), Tree::Leaf, KeyRange::all(), Direction::Ascending).next();
    let place: Place = rows::decode(&first.unwrap().unwrap().1).unwrap();
    for file in std::fs::read_dir(path.join("store").join("log")).unwrap() {
        let file = file.unwrap().path();
        let mut bytes = std::fs::read(&file).unwrap();
        // The head stays.
        bytes.iter_mut().skip(4_096).for_each(|byte| *byte ^= 1);
        std::fs::write(file, bytes).unwrap();
    }
    ledger.store.read(place).unwrap_err();
    let is_told = || {
        let harms = ledger.harms().unwrap();
        harms.iter().any(|it| it.place == place && matches!(it.what, Harmed::Batch { .. }))
    };
    while !is_told() {
        tokio::task::yield_now().await;
    }
    assert!(ledger.remaking().is_some());
    node.shutdown().await.unwrap();
    drop(held);
}
