//! What merges by a rule alone: whatever a crew does in whatever order, replicas show the same, and
//! for sums and sets also the right thing.

use std::collections::BTreeSet;

use fieldmesh_model::schema::{Field, Form, Kind, MergePolicy, Range};
use proptest::prelude::*;

use super::*;

const STOCK: &str = "stock";
const TAGS: &str = "tags";
const HIGHEST: &str = "highest";
const LOWEST: &str = "lowest";

fn stores() -> Collection {
    let number = || Kind::Number { range: Range::default(), decimals: Some(2) };
    let tags = Kind::Set { items_max: 100, item_max: 100, form: Form::Name };
    Collection {
        name: "store".to_owned(),
        version: 1,
        fields: vec![
            Field::new(STOCK, number()).policy(MergePolicy::Sum),
            Field::new(TAGS, tags).policy(MergePolicy::Union),
            Field::new(HIGHEST, number()).policy(MergePolicy::Max),
            Field::new(LOWEST, number()).policy(MergePolicy::Min),
        ],
        ..Collection::unknown(wells::FIELD_ENTRY)
    }
}

fn crew_of(fields: &[(&str, Value)]) -> [Replica; 3] {
    let fields = fields.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    let stores = stores();
    let identity = identify(&stores, user(1), at(0), &fields, b"", [7; 16]);
    let root = CreateRecord { collection: &stores, ..record(&identity, &fields) };
    let root = root_change(&root).unwrap();
    std::array::from_fn(|index| Replica {
        number: u8::try_from(index + 1).unwrap(),
        id: identity.id,
        changes: BTreeMap::from([(root.hash, root.bytes.clone())]),
    })
}

impl Replica {
    fn change(&mut self, edit: Edit) -> bool {
        let mut document = self.document();
        let change = document.edit(&stores(), self.actor(), at(1), &[edit]).unwrap();
        self.keep(change)
    }

    fn add(&mut self, amount: impl Into<Value>) -> bool {
        self.change(Edit::Add { key: STOCK.to_owned(), amount: amount.into() })
    }

    fn shown(&self, key: &str) -> Value {
        self.document().view(&stores()).unwrap().fields.remove(key).unwrap_or(Value::Null)
    }
}

#[test]
fn what_two_devices_add_apart_counts_in_full() {
    // One record with a number from the start, and one that both begin.
    for (start, fields) in [(10, vec![(STOCK, Value::Int(10))]), (0, vec![])] {
        let mut crew = crew_of(&fields);
        crew[0].add(5);
        crew[1].add(7);
        crew[1].add(-2);
        meet(&mut crew);
        assert_eq!(crew[2].shown(STOCK), Value::Int(start + 10));
        // What is added to both later counts once.
        crew[2].add(1);
        meet(&mut crew);
        for replica in &crew {
            assert_eq!(replica.shown(STOCK), Value::Int(start + 11));
            assert_eq!(replica.document().conflicts(&stores()).unwrap(), []);
        }
    }
}

#[test]
fn a_count_that_is_set_keeps_what_others_add_meanwhile() {
    let mut crew = crew_of(&[(STOCK, Value::Int(10))]);
    crew[0].change(Edit::set(STOCK, 100));
    crew[1].add(-3);
    assert_eq!(crew[0].shown(STOCK), Value::Int(100));
    meet(&mut crew);
    assert_eq!(crew[2].shown(STOCK), Value::Int(97));
    crew[2].change(Edit::clear(STOCK));
    assert_eq!(crew[2].shown(STOCK), Value::Int(0));
    assert!(!crew[2].change(Edit::clear(STOCK)), "there is nothing left to clear");
    crew[1].add(0.1);
    crew[1].add(0.2);
    meet(&mut crew);
    assert_eq!(crew[0].shown(STOCK), Value::Float(0.3));
}

#[test]
fn a_count_of_nought_is_kept() {
    let mut crew = crew_of(&[]);
    assert!(crew[0].change(Edit::set(STOCK, 0)));
    assert_eq!(crew[0].shown(STOCK), Value::Int(0));
    assert!(!crew[0].change(Edit::set(STOCK, 0)), "it is there");
    assert!(!crew[1].change(Edit::clear(STOCK)), "there is nothing to clear");
}

#[test]
fn no_field_is_changed_by_what_only_looks_like_a_part_of_it() {
    let tags = Value::List(vec!["nuts".into()]);
    let mut crew = crew_of(&[(HIGHEST, Value::Int(5)), (TAGS, tags.clone())]);
    let zeros = "0".repeat(32);
    let foreign = [
        (format!("{HIGHEST}*{zeros}"), Value::from("forged")),
        (format!("{HIGHEST}+{zeros}"), Value::Int(900)),
        (format!("{TAGS}*{zeros}"), "penicillin".into()),
        (format!("{TAGS}+{zeros}"), Value::Int(1)),
        (format!("{STOCK}+{zeros}"), Value::Float(1e300)),
    ];
    for (key, value) in &foreign {
        let mut document = crew[1].document();
        let edits = [Edit::set(key.as_str(), value.clone())];
        let any = Collection::unknown(wells::FIELD_ENTRY);
        let change = document.edit(&any, crew[1].actor(), at(1), &edits).unwrap();
        crew[1].keep(change);
    }
    meet(&mut crew);
    assert_eq!(crew[0].shown(HIGHEST), Value::Int(5));
    assert_eq!(crew[0].shown(TAGS), tags);
    assert_eq!(crew[0].shown(STOCK), Value::Null);
    // It is seen as what it is.
    foreign.iter().for_each(|(key, value)| assert_eq!(crew[0].shown(key), *value));
    crew[0].change(Edit::clear(TAGS));
    crew[0].add(3);
    assert_eq!((crew[0].shown(TAGS), crew[0].shown(STOCK)), (Value::Null, Value::Int(3)));
}

#[test]
fn the_history_of_a_sum_shows_what_was_seen() {
    let mut crew = crew_of(&[(STOCK, Value::Int(10))]);
    crew[0].add(5);
    crew[1].add(7);
    meet(&mut crew);
    crew[2].add(1);
    let history = crew[2].document().history(&stores()).unwrap();
    let stock = |one: &crate::Revision| {
        let field = one.fields.iter().find(|field| field.key == STOCK)?;
        Some((field.before.clone(), field.after.clone()))
    };
    let rows: BTreeSet<String> =
        history.iter().filter_map(stock).map(|row| format!("{row:?}")).collect();
    let row = |before: Value, after: i64| format!("{:?}", (before, Value::Int(after)));
    let expected = [
        row(Value::Null, 10),
        row(Value::Int(10), 15),
        row(Value::Int(10), 17),
        row(Value::Int(22), 23),
    ];
    assert_eq!(rows, expected.into());
}

#[test]
fn an_allergy_is_never_lost() {
    let mut crew = crew_of(&[]);
    let item = |item: &str| Edit::Append { key: TAGS.to_owned(), item: item.into() };
    crew[0].change(item("penicillin"));
    crew[1].change(Edit::set(TAGS, vec!["nuts", "latex"]));
    meet(&mut crew);
    let all = Value::from(vec!["latex", "nuts", "penicillin"]);
    assert_eq!(crew[2].shown(TAGS), all);
    assert_eq!(crew[2].document().conflicts(&stores()).unwrap(), []);
    // One takes an item away while another adds two, one of them again.
    crew[0].change(Edit::RemoveItem { key: TAGS.to_owned(), item: "nuts".into() });
    crew[1].change(item("eggs"));
    crew[2].change(item("eggs"));
    meet(&mut crew);
    let left = crew[0].shown(TAGS);
    let Value::List(left) = left else { panic!("{left:?} is a list") };
    for item in ["eggs", "latex", "penicillin"] {
        assert_eq!(left.iter().filter(|one| **one == item.into()).count(), 1, "{item}");
    }
}

#[test]
fn the_greatest_and_the_least_win_whatever_the_clocks_say() {
    let mut crew = crew_of(&[(HIGHEST, Value::Int(5)), (LOWEST, Value::Int(5))]);
    for (replica, value) in crew.iter_mut().zip([9, 12, 7]) {
        replica.change(Edit::set(HIGHEST, value));
        replica.change(Edit::set(LOWEST, -value));
    }
    meet(&mut crew);
    assert_eq!(crew[0].shown(HIGHEST), Value::Int(12));
    assert_eq!(crew[0].shown(LOWEST), Value::Int(-12));
    let view = crew[0].document().view(&stores()).unwrap();
    assert_eq!(view.contested, [""; 0]);
    // A correction by somebody who saw them all stands.
    crew[1].change(Edit::set(HIGHEST, 8));
    assert_eq!(crew[1].shown(HIGHEST), Value::Int(8));
}

#[derive(Debug, Clone)]
enum Step {
    Add { who: usize, amount: i64 },
    Count { who: usize, value: i64 },
    Tag { who: usize, tag: i64 },
    Untag { who: usize, tag: i64 },
    Extreme { who: usize, value: i64 },
    Pull { who: usize, from: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let (who, tag, value) = (0..3_usize, 0..4_i64, -9..9_i64);
    prop_oneof![
        3 => (who.clone(), value.clone()).prop_map(|(who, amount)| Step::Add { who, amount }),
        1 => (who.clone(), value.clone()).prop_map(|(who, value)| Step::Count { who, value }),
        2 => (who.clone(), tag.clone()).prop_map(|(who, tag)| Step::Tag { who, tag }),
        1 => (who.clone(), tag).prop_map(|(who, tag)| Step::Untag { who, tag }),
        1 => (who.clone(), value).prop_map(|(who, value)| Step::Extreme { who, value }),
        2 => (who.clone(), who).prop_map(|(who, from)| Step::Pull { who, from }),
    ]
}

/// Runs a step; returns what it adds to the stock.
fn run(step: &Step, crew: &mut [Replica; 3]) -> i64 {
    match *step {
        Step::Add { who, amount } => {
            crew[who].add(amount);
            return amount;
        }
        Step::Count { who, value } => {
            let before = match crew[who].shown(STOCK) {
                Value::Int(before) => before,
                _ => 0,
            };
            crew[who].change(Edit::set(STOCK, value));
            return value - before;
        }
        Step::Tag { who, tag } => {
            let item = tag.to_string().into();
            crew[who].change(Edit::Append { key: TAGS.to_owned(), item });
        }
        Step::Untag { who, tag } => {
            let item = tag.to_string().into();
            crew[who].change(Edit::RemoveItem { key: TAGS.to_owned(), item });
        }
        Step::Extreme { who, value } => {
            crew[who].change(Edit::set(HIGHEST, value));
            crew[who].change(Edit::set(LOWEST, value));
        }
        Step::Pull { who, from } => {
            let other = crew[from].clone();
            crew[who].pull(&other);
        }
    }
    0
}

/// The items that every one of the values under the key could still hold.
fn tagged(steps: &[Step]) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut ever, mut untagged) = (BTreeSet::new(), BTreeSet::new());
    for step in steps {
        match step {
            Step::Tag { tag, .. } => ever.insert(tag.to_string()),
            Step::Untag { tag, .. } => untagged.insert(tag.to_string()),
            _ => false,
        };
    }
    let kept = ever.difference(&untagged).cloned().collect();
    (ever, kept)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_order_of_arrival_gives_the_same_answer(
        steps in prop::collection::vec(step(), 1..28),
        seed in any::<u64>(),
        has_start in any::<bool>(),
    ) {
        let start = if has_start { vec![(STOCK, Value::Int(50))] } else { Vec::new() };
        let mut crew = crew_of(&start);
        let mut stock = if has_start { 50 } else { 0 };
        for step in &steps {
            stock += run(step, &mut crew);
        }
        meet(&mut crew);
        let document = crew[0].document();
        let mut order: Vec<_> = crew[0].changes.values().map(Vec::as_slice).collect();
        let mut state = seed | 1;
        for index in (1..order.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            order.swap(index, usize::try_from(state >> 33).unwrap() % (index + 1));
        }
        let shuffled = Document::load(crew[0].id, order).unwrap();
        let (view, stores) = (document.view(&stores()).unwrap(), stores());
        prop_assert_eq!(&view, &shuffled.view(&stores).unwrap());
        prop_assert_eq!(document.conflicts(&stores).unwrap(), shuffled.conflicts(&stores).unwrap());
        prop_assert_eq!(document.history(&stores).unwrap(), shuffled.history(&stores).unwrap());
        let shown = view.fields.get(STOCK).cloned().unwrap_or(Value::Int(0));
        prop_assert_eq!(shown, Value::Int(stock), "each addition counts once");
        let tags: BTreeSet<String> = match view.fields.get(TAGS) {
            Some(Value::List(items)) => items.iter().map(Value::to_cell).collect(),
            _ => BTreeSet::new(),
        };
        let (ever, kept) = tagged(&steps);
        prop_assert!(tags.is_subset(&ever) && tags.is_superset(&kept), "{tags:?} {kept:?}");
        prop_assert!(view.contested.is_empty());
    }
}

#[test]
fn what_several_have_added_beyond_a_bound_names_each_of_them_and_what_he_added() {
    let mut stores = stores();
    stores.version = 2;
    let range = Range { max: Some(100.0), ..Range::default() };
    stores.fields[0].kind = Kind::Number { range, decimals: None };
    let mut crew = crew_of(&[(STOCK, Value::Int(40))]);
    crew[0].add(30);
    crew[1].add(50);
    meet(&mut crew);
    let found = |replica: &Replica| {
        let document = replica.document();
        document.breaches(&stores, &document.view(&stores).unwrap()).unwrap()
    };
    let broken = found(&crew[2]);
    assert_eq!((broken.len(), broken[0].key.as_str()), (1, STOCK), "{broken:?}");
    let sides = &broken[0].values;
    assert!(sides.iter().all(|side| side.value.is_same(&Value::Int(120))), "{sides:?}");
    // What its maker began with is his.
    let own: BTreeSet<_> = sides.iter().map(|side| side.edits[STOCK].to_cell()).collect();
    assert_eq!(own, BTreeSet::from(["50".to_owned(), "70".to_owned()]), "{sides:?}");
    let writers: BTreeSet<_> = sides.iter().map(|side| (&side.actor, side.hash)).collect();
    assert_eq!(writers.len(), sides.len(), "each by the change that wrote it");
    assert_eq!(found(&crew[0]), broken);
}
