//! What a new version may change, and what it may not.

use super::*;
use crate::schema::{Who, tenant_number};

fn field(key: &str, kind: Kind) -> Field {
    Field::new(key, kind)
}

fn number(min: f64, max: f64) -> Kind {
    Kind::Number { range: Range::between(min, max), decimals: Some(2) }
}

fn words(words: &[&str]) -> Kind {
    Kind::Enum(words.iter().copied().map(str::to_owned).collect())
}

fn round(change: impl FnOnce(&mut Collection)) -> Collection {
    let mut round = Collection {
        name: "round".to_owned(),
        version: 1,
        fields: vec![
            field("tag", Kind::Text { min: 1, max: 32, form: Form::Name }).required().immutable(),
            field("state", words(&["ON", "OFF"])).policy(MergePolicy::Review),
            field("count", number(0.0, 9.0)),
            field("used", number(0.0, 9.0)).policy(MergePolicy::Sum),
        ],
        natural_key: vec!["tag".to_owned()],
        open: vec!["data".to_owned()],
        ..Collection::unknown(tenant_number("round"))
    };
    change(&mut round);
    round
}

fn next(change: impl FnOnce(&mut Collection)) -> Result<Vec<String>, Vec<Fault>> {
    let new = round(|it| {
        it.version = 2;
        change(it);
    });
    evolve(&round(|_| {}), &new)
}

#[test]
fn what_makes_room_is_allowed() {
    type Change = fn(&mut Collection);
    let changes: [(Change, &str); 10] = [
        (|it| it.fields.push(field("more", Kind::Bool)), "field more is new"),
        (|it| it.fields.push(field("more", Kind::Bool).required().default(true)), "more is new"),
        (|it| it.fields[1].kind = words(&["ON", "OFF", "BROKEN"]), "state allows more"),
        (|it| it.fields[2].kind = number(-1.0, 10.0), "count allows more"),
        (|it| it.fields[2].policy = MergePolicy::Max, "count merges otherwise"),
        (|it| it.fields[0].kind = Kind::Text { min: 0, max: 64, form: Form::Free }, "tag allows"),
        (|it| it.fields[0].label = "Pump".to_owned(), "tag is described otherwise"),
        (|it| it.names = vec!["tag".to_owned()], "names changes"),
        (|it| it.approve_by = vec![Who::Manager], "those that are there as well"),
        (|it| it.open.push("more".to_owned()), ""),
    ];
    for (change, said) in changes {
        let changes = next(change).unwrap();
        assert!(said.is_empty() || changes.iter().any(|it| it.contains(said)), "{changes:?}");
    }
    assert_eq!(evolve(&round(|_| {}), &round(|_| {})), Ok(Vec::new()));
}

#[test]
fn what_would_hide_or_lose_something_is_refused_with_words() {
    type Change = fn(&mut Collection);
    let changes: [(Change, &str, &str); 16] = [
        (|it| it.name = "tour".to_owned(), "name", "keeps its name"),
        (|it| it.natural_key.clear(), "natural_key", "part of the ids"),
        (|it| it.time_field = Some("tag".to_owned()), "time", "filed by"),
        (|it| it.open.clear(), "open", "unknown keys"),
        (|it| drop(it.fields.remove(2)), "field count", "keep it"),
        (|it| it.fields.push(field("more", Kind::Bool).required()), "field more", "default"),
        (|it| it.fields[2].required = true, "field count, required", "default"),
        (|it| it.fields[2].immutable = true, "field count, immutable", "hidden"),
        (|it| it.fields[0].immutable = false, "field tag, immutable", "natural key"),
        (|it| it.fields[1].kind = words(&["ON"]), "field state, kind", "widen it"),
        (|it| it.fields[2].kind = number(1.0, 9.0), "field count, kind", "widen it"),
        (|it| it.fields[2].kind = Kind::Bool, "field count, kind", "another field"),
        (
            |it| it.fields[0].kind = Kind::Text { min: 1, max: 8, form: Form::Name },
            "field tag, kind",
            "widen it",
        ),
        (|it| it.fields[1].policy = MergePolicy::Latest, "field state, policy", "unseen"),
        (|it| it.fields[3].policy = MergePolicy::Review, "field used, policy", "no longer count"),
        (
            |it| {
                it.version = 1;
                it.names.push("tag".to_owned());
            },
            "version",
            "version = 2",
        ),
    ];
    for (change, place, said) in changes {
        let faults = next(change).unwrap_err();
        let is_told = faults.iter().any(|it| it.field == place && it.message.contains(said));
        assert!(is_told, "{place}, {said}: {faults:?}");
    }
}

#[test]
fn a_range_holds_another_at_its_very_ends() {
    let above = Range::more_than(0.0);
    assert!(holds(&Range::at_least(0.0), &above));
    assert!(!holds(&above, &Range::at_least(0.0)));
    assert!(holds(&above, &above));
    assert!(holds(&Range::default(), &above) && !holds(&above, &Range::default()));
    assert!(!holds(&Range::between(0.0, 5.0), &Range::at_least(0.0)));
}
