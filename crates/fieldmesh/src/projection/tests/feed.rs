//! Goal: whoever reads on from where he was gets everything that counts from then on.

use super::*;

fn row(stage: &Stage, id: DocumentId) -> DocumentRow {
    rows::find(stage.store.view(), Tree::Document, id.as_bytes()).unwrap().unwrap()
}

fn read(stage: &Stage) -> u64 {
    rows::position_end(stage.store.end().unwrap())
}

/// A well, an edit of it by the other device, and one more by this one.
fn story(crew: &mut Crew) -> (DocumentId, [Batch; 3]) {
    let first = crew.create(0);
    let id = first.document;
    let base = crew.seal(0, vec![first], 0);
    let mut edit = |device: usize, step: usize| {
        let before = crew.wells[&id].clone();
        let leaf = crew.edit(device, step, &mut Dice(1)).unwrap();
        // Neither knows of the other.
        crew.wells.insert(id, before);
        crew.seal(device, vec![leaf], step)
    };
    let theirs = edit(1, 1);
    let ours = edit(0, 2);
    (id, [base, theirs, ours])
}

#[test]
fn an_edit_that_is_admitted_late_comes_to_who_has_read_on() {
    let mut crew = Crew::new();
    let (id, [base, theirs, ours]) = story(&mut crew);
    let stage = Stage::new();
    stage.project(&crew, &[Entry::Batch(base.encode())]);
    stage.project(&crew, &[Entry::Fact(Fact::Aside(vec![theirs.id()]))]);
    stage.project(&crew, &[Entry::Batch(theirs.encode())]);
    stage.project(&crew, &[Entry::Batch(ours.encode())]);
    let before = row(&stage, id);
    assert_eq!(before.changes.len(), 2);
    let read = read(&stage);
    stage.project(&crew, &[Entry::Fact(Fact::Admitted(vec![theirs.id()]))]);
    let after = row(&stage, id);
    assert_eq!(after.changes.len(), 3);
    assert!(after.feed > read, "{} {read}", after.feed);
    let news = after.arrived.iter().filter(|arrived| !before.arrived.contains(arrived));
    assert!(news.copied().eq([after.feed]));
    assert_eq!(after.arrived[..2], before.arrived);
    assert!(after.arrived[2] > read);
    // The versions that clients know stay what they were.
    let hashes = |row: &DocumentRow| row.changes.iter().map(|it| it.hash).collect::<Vec<_>>();
    assert_eq!(hashes(&after)[..2], hashes(&before));
}
