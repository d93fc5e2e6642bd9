//! Goal: which changes count depends on what has arrived, never on when (P17).
//! Method: the batches of small stories are projected in every kind of order, in pieces.

use fieldmesh_identity::{Item, Pin, Statement};

use super::*;

#[test]
fn a_record_keeps_every_edit_however_many_come_before_what_they_build_on() {
    const EDITS: u64 = 300;
    let mut crew = Crew::new();
    let first = crew.create(0);
    let edits = (2..2 + EDITS).map(|epoch| (epoch, edit(&crew, 1, epoch, &epoch.to_string(), &[])));
    let mut log: Vec<Entry> =
        edits.map(|(epoch, leaf)| entry(&seal(&crew, 1, epoch, &leaf))).collect();
    let early = project(&crew, &log, || 100);
    assert_eq!((only(&early).waiting.len(), early.refused.len()), (300, 0));
    log.push(entry(&seal(&crew, 0, 1, &first)));
    let shown = project(&crew, &log, || 100);
    assert_eq!(only(&shown).changes.len(), 301);
    assert!(only(&shown).waiting.is_empty() && shown.refused.is_empty());
}

#[test]
fn an_edit_is_not_lost_to_somebody_who_signs_a_copy_of_it() {
    let mut crew = Crew::new();
    let first = crew.create(0);
    let honest = edit(&crew, 1, 2, "honest", &[]);
    let later = edit(&crew, 0, 3, "later", &[&honest]);
    let again = crew.seal_at(0, (2, BatchId::from_bytes([3; 32])), vec![first.clone()], 1);
    let batches = [
        seal(&crew, 0, 1, &first),
        seal(&crew, 1, 2, &honest),
        seal(&crew, 0, 3, &later),
        // Copies in batches of another device or epoch, and one that is as good as the first.
        seal(&crew, 1, 5, &first),
        seal(&crew, 0, 6, &honest),
        seal(&crew, 1, 7, &honest),
        again,
    ];
    assert_one_view(&crew, &batches, |shown| {
        assert_eq!(lease(shown).as_deref(), Some("later"));
        assert_eq!((only(shown).changes.len(), shown.refused.len()), (3, 3));
    });
}

#[test]
fn of_two_edits_by_a_copied_device_the_list_names_the_one_that_does_not_count() {
    let mut crew = Crew::new();
    let (_, batches) = forked(&mut crew);
    assert_one_view(&crew, &batches, |shown| {
        assert_eq!((lease(shown).as_deref(), shown.refused.len()), (Some("built"), 1));
    });
}

#[test]
fn an_edit_that_an_admin_pinned_counts_whenever_the_pin_comes() {
    let mut crew = Crew::new();
    let ([one, _], batches) = forked(&mut crew);
    let peeked = fieldmesh_document::peek(&one.change).unwrap();
    let pin = Statement::Pin(Pin {
        document: one.document,
        actor: peeked.actor.as_slice().try_into().unwrap(),
        sequence: peeked.seq,
        change: peeked.hash,
    });
    let place = crew.policy.next_place(&crew.keys[0].public_key());
    let item = Item::sign(&crew.keys[0], crew.tenant, place, &pin).unwrap();
    crew.items.push(item.clone());
    let pinned = Policy::evaluate(crew.tenant, &crew.items);

    // The policy counts an item some time after the log has it.
    let mut log: Vec<Entry> = batches.iter().map(entry).collect();
    log.push(Entry::Item(item.encode().to_vec()));
    let stage = Stage::new();
    stage.project(&crew, &log);
    assert_eq!(lease(&shown(&stage.store)).as_deref(), Some("built"));
    crew.policy = pinned;
    stage.project(&crew, &[Entry::Fact(Fact::Restores(0))]);
    let late = shown(&stage.store);
    assert_eq!(lease(&late).as_deref(), Some("one"));
    assert_eq!(late.refused.len(), 2, "the other, and what builds on it");
    assert_eq!(project(&crew, &log, || usize::MAX), late);
    assert_one_view(&crew, &batches, |shown| assert_eq!(*shown, late));
}

/// Projects the batches in many orders and pieces; the view is always the same.
fn assert_one_view(crew: &Crew, batches: &[Batch], check: impl Fn(&Shown)) {
    let mut log: Vec<Entry> = batches.iter().map(entry).collect();
    let expected = project(crew, &log, || usize::MAX);
    check(&expected);
    for seed in 0..40 {
        let mut dice = Dice(seed);
        for last in (1..log.len()).rev() {
            log.swap(last, dice.below(last + 1));
        }
        assert_eq!(project(crew, &log, || 1 + dice.below(4)), expected, "seed {seed}");
    }
}

/// Two edits that a copied device made for one place, and an edit of another on the second.
fn forked(crew: &mut Crew) -> ([Leaf; 2], Vec<Batch>) {
    let first = crew.create(0);
    let fork = ["one", "other"].map(|value| edit(crew, 1, 2, value, &[]));
    let builds = edit(crew, 0, 3, "built", &[&fork[1]]);
    let mut batches = vec![seal(crew, 0, 1, &first), seal(crew, 0, 3, &builds)];
    batches.extend(fork.iter().map(|leaf| seal(crew, 1, 2, leaf)));
    (fork, batches)
}

/// A change of the only well by `device`, which knows its first change and those in `known`.
fn edit(crew: &Crew, device: usize, epoch: u64, value: &str, known: &[&Leaf]) -> Leaf {
    let (id, changes) = crew.wells.first_key_value().unwrap();
    let known = known.iter().map(|leaf| leaf.change.as_slice());
    let all = [changes[0].as_slice()].into_iter().chain(known);
    let mut document = Document::load(*id, all).unwrap();
    let edit = Edit::Set { key: "lease".into(), value: Value::Text(value.into()) };
    let actor = actor(crew.keys[device].device(), Epoch(epoch));
    let at = at(usize::try_from(epoch).unwrap());
    let change = document.edit(wells(), actor, at, &[edit]).unwrap().unwrap();
    Leaf { document: *id, change }
}

fn seal(crew: &Crew, device: usize, epoch: u64, leaf: &Leaf) -> Batch {
    let draft = Draft {
        tenant: crew.tenant,
        scope: crew.scope,
        author: crew.keys[device].device(),
        epoch: Epoch(epoch),
        sequence: 1,
        previous: BatchId::default(),
        priority: Priority::default(),
        first: at(1),
        last: at(usize::try_from(epoch).unwrap()),
        leaves: vec![leaf.clone()],
    };
    Batch::seal(draft, crew.keys[device].signing_key(), [7; 16]).unwrap()
}

fn entry(batch: &Batch) -> Entry {
    Entry::Batch(batch.encode())
}

fn only(shown: &Shown) -> &ShownDocument {
    shown.documents.values().next().unwrap()
}

fn lease(shown: &Shown) -> Option<String> {
    let fields = &only(shown).record.as_ref().unwrap().fields;
    fields.get("lease").map(Value::to_cell)
}
