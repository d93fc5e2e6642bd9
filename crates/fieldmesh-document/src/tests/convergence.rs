//! Whatever a crew does in whatever order, replicas that hold the same changes show the same.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Set { who: usize, field: usize, value: i64, hours: i64 },
    Clear { who: usize, field: usize },
    Append { who: usize, value: i64 },
    Delete { who: usize },
    Restore { who: usize },
    Resolve { who: usize },
    Pull { who: usize, from: usize },
}

const FIELDS: [&str; 4] = ["data.oilVolume", "latitude", "notes", "photos"];

fn step() -> impl Strategy<Value = Step> {
    let (who, field, value) = (0..3_usize, 0..FIELDS.len(), 0..3_i64);
    prop_oneof![
        4 => (who.clone(), field.clone(), value.clone(), 0..60_i64).prop_map(
            |(who, field, value, hours)| Step::Set { who, field, value, hours }
        ),
        1 => (who.clone(), field).prop_map(|(who, field)| Step::Clear { who, field }),
        1 => (who.clone(), value).prop_map(|(who, value)| Step::Append { who, value }),
        1 => who.clone().prop_map(|who| Step::Delete { who }),
        1 => who.clone().prop_map(|who| Step::Restore { who }),
        1 => who.clone().prop_map(|who| Step::Resolve { who }),
        2 => (who.clone(), who).prop_map(|(who, from)| Step::Pull { who, from }),
    ]
}

fn value_of(field: usize, value: i64) -> Value {
    match FIELDS[field] {
        "notes" => format!("note {value}").into(),
        "photos" => vec![format!("/upload/{value}")].into(),
        _ => value.into(),
    }
}

fn run(step: &Step, crew: &mut [Replica; 3]) {
    match *step {
        Step::Set { who, field, value, hours } => {
            crew[who].edit(hours, &[Edit::set(FIELDS[field], value_of(field, value))]);
        }
        Step::Clear { who, field } => {
            crew[who].edit(1, &[Edit::clear(FIELDS[field])]);
        }
        Step::Append { who, value } => {
            let item = format!("/upload/{value}").into();
            crew[who].edit(1, &[Edit::Append { key: "photos".to_owned(), item }]);
        }
        Step::Delete { who } => {
            crew[who].delete(1);
        }
        Step::Restore { who } => {
            crew[who].restore(1);
        }
        Step::Resolve { who } => {
            if !crew[who].open_conflicts().is_empty() {
                crew[who].resolve(2, "B");
            }
        }
        Step::Pull { who, from } => {
            let other = crew[from].clone();
            crew[who].pull(&other);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn replicas_with_the_same_changes_show_the_same(
        steps in prop::collection::vec(step(), 1..24),
        seed in any::<u64>(),
    ) {
        let mut crew = crew::<3>();
        for step in &steps {
            run(step, &mut crew);
        }
        meet(&mut crew);
        let document = crew[0].document();
        // The same changes in another order of arrival.
        let mut order: Vec<_> = crew[0].changes.values().map(Vec::as_slice).collect();
        let mut state = seed | 1;
        for index in (1..order.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            order.swap(index, usize::try_from(state >> 33).unwrap() % (index + 1));
        }
        let shuffled = Document::load(crew[0].id, order).unwrap();
        prop_assert_eq!(document.heads_digest(), shuffled.heads_digest());
        let view = document.view(entries()).unwrap();
        prop_assert_eq!(&view, &shuffled.view(entries()).unwrap());
        let conflicts = document.conflicts(entries()).unwrap();
        prop_assert_eq!(&conflicts, &shuffled.conflicts(entries()).unwrap());
        let history = document.history(entries()).unwrap();
        prop_assert_eq!(history.len(), crew[0].changes.len());
        prop_assert_eq!(&history, &shuffled.history(entries()).unwrap());
        for conflict in conflicts {
            prop_assert!(conflict.values.len() > 1, "a conflict has more than one distinct value");
        }
    }

    #[test]
    fn an_edit_leaves_one_value(steps in prop::collection::vec(step(), 1..16)) {
        let mut crew = crew::<3>();
        for step in &steps {
            run(step, &mut crew);
        }
        meet(&mut crew);
        let edits: Vec<_> = (0..FIELDS.len()).map(|field| {
            Edit::set(FIELDS[field], value_of(field, 7))
        }).collect();
        crew[0].edit(99, &edits);
        let view = crew[0].document().view(entries()).unwrap();
        for (field, key) in FIELDS.iter().enumerate() {
            prop_assert_eq!(view.fields.get(*key), Some(&value_of(field, 7)));
        }
        prop_assert!(view.contested.is_empty());
        crew[0].restore(100);
        prop_assert!(crew[0].document().conflicts(entries()).unwrap().is_empty());
    }
}
