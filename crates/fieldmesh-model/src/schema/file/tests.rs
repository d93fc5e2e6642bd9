//! Schema files: what they mean, and what is said of mistakes.

use super::*;
use crate::catalogue;
use crate::schema::evolve;

const ROUND: &str = include_str!("../../../../../examples/pump_round.toml");

fn lines(text: &str) -> Vec<String> {
    match parse(text, catalogue::collections()) {
        Ok(_) => Vec::new(),
        Err(error) => error.faults.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn the_example_means_what_its_comments_say() {
    let round = parse(ROUND, catalogue::collections()).unwrap();
    assert_eq!(round.name, "pump_round");
    assert!(round.number >= BUILT_IN_END && round.number == tenant_number("pump_round"));
    assert_eq!(round.natural_key, ["pumpTag", "doneAt", "deviceId"]);
    assert_eq!(round.time_field.as_deref(), Some("doneAt"));
    assert_eq!(round.critical, Some(("state".to_owned(), "BROKEN".into())));
    assert_eq!(round.policy("greaseUsed"), MergePolicy::Sum);
    assert_eq!(round.policy("faults"), MergePolicy::Union);
    assert_eq!(round.policy("data.own"), MergePolicy::Review);
    let grease = round.field("greaseUsed").unwrap();
    assert_eq!(grease.kind, Kind::Number { range: Range::default(), decimals: Some(2) });
    assert_eq!(grease.label, "Grease used");
    assert_eq!(round.rules.len(), 1);
    assert_eq!(round.create_by, [Who::Crew]);
    assert_eq!(decode(ROUND).unwrap(), round, "a device that gets it reads the same");
}

#[test]
fn every_mistake_is_told_with_its_line_and_what_to_do() {
    let text = "name = \"round\"\nnatural_keys = [\"a\"]\n\n[[field]]\nkey = \"a\"\n\
                kind = \"txt\"\nmax = -1\n\n[[field]]\nkind = \"bool\"\nrequired = \"yes\"\n";
    assert_eq!(
        lines(text),
        [
            "line 2: unknown key \"natural_keys\"; did you mean natural_key?",
            "line 6, field a, kind: \"txt\" is unknown; write text, number, integer, bool, enum, \
             word, moment, day, reference, texts, set or integers",
            "line 9, field 2: key is missing; add key = \"...\"",
            "line 11, field 2, required: must be true or false",
        ]
    );
    let text =
        "name = \"round\"\n[[field]]\nkey = \"a\"\nkind = \"number\"\nmin = 5\ndefault = 3\n";
    assert_eq!(
        lines(text),
        ["line 6, field a, default: default is not allowed by the field itself: A must be at \
          least 5"]
    );
    assert_eq!(lines("name = \n").len(), 1);
    let rule =
        "name = \"round\"\n[[field]]\nkey = \"a\"\nkind = \"bool\"\n[[rule]]\nrule = \"if\"\n";
    let known = "together, not_before, any, derive, default_from, range, lookup or target";
    assert_eq!(lines(rule), [format!("line 6, rule 1, rule: \"if\" is unknown; write {known}")]);
}

#[test]
fn an_older_device_keeps_what_it_does_not_understand() {
    let newer = ROUND.replace("policy = \"max\"", "policy = \"median\"")
        + "\n[[field]]\nkey = \"track\"\nkind = \"polygon\"\nprecision = 3\n\
           [[rule]]\nrule = \"inside\"\nfield = \"track\"\n";
    assert!(parse(&newer, catalogue::collections()).is_err(), "its author would be told");
    let round = decode(&newer).unwrap();
    assert_eq!(round.policy("data.pressure"), MergePolicy::Unknown);
    assert!(matches!(round.field("track").unwrap().kind, Kind::Unknown(_)));
    assert!(matches!(round.rules[1], Rule::Unknown(_)));
    // In the form in which programs exchange it as well.
    let mut json = serde_json::to_value(&round).unwrap();
    json["fields"][0]["kind"] = serde_json::json!({ "Polygon": { "points": 3 } });
    json["fields"][0]["policy"] = "median".into();
    json["rules"][0] = serde_json::json!({ "Inside": { "field": "pumpTag" } });
    json["resolve_by"] = serde_json::json!(["auditor"]);
    let read: Collection = serde_json::from_value(json.clone()).unwrap();
    assert!(matches!(read.fields[0].kind, Kind::Unknown(_)));
    assert_eq!(read.resolve_by, [Who::Unknown]);
    let again = serde_json::to_value(&read).unwrap();
    assert_eq!(again["fields"][0]["kind"], json["fields"][0]["kind"]);
    assert_eq!(again["rules"][0], json["rules"][0]);
}

#[test]
fn numbers_follow_from_names_and_every_replica_settles_a_clash_alike() {
    let define = |name: &str, version: u32| {
        format!("name = \"{name}\"\nversion = {version}\n[[field]]\nkey = \"a\"\nkind = \"bool\"\n")
    };
    // Of so many names some two meet in one number.
    let mut names: BTreeMap<u16, String> = BTreeMap::new();
    let clash = (0..2_000).find_map(|index| {
        let name = format!("list_{index}");
        let earlier = names.insert(tenant_number(&name), name.clone())?;
        Some((earlier, name))
    });
    let (one, two) = clash.unwrap();
    let defined = [define(&one, 1), define(&two, 3), define(&one, 2)];
    let forwards = in_force(defined.iter().map(String::as_str));
    let backwards = in_force(defined.iter().rev().map(String::as_str));
    assert_eq!(forwards, backwards);
    assert_eq!(forwards.len(), 1);
    let counting = forwards.values().next().unwrap();
    assert_eq!(counting.version, if counting.name == one { 2 } else { 3 });
    // Whoever sees the first is told when he defines the second.
    let first = decode(&defined[0]).unwrap();
    let error = parse(&defined[1], &[first]).unwrap_err();
    assert!(error.to_string().contains("choose another name"), "{error}");
}

#[test]
fn the_example_can_grow() {
    let old = decode(ROUND).unwrap();
    let grown =
        ROUND.replace("version = 1", "version = 2").replace("\"BROKEN\"]", "\"BROKEN\", \"GONE\"]")
            + "\n[[field]]\nkey = \"weather\"\nkind = \"text\"\n";
    let new = parse(&grown, catalogue::collections()).unwrap();
    assert_eq!(evolve(&old, &new).unwrap(), ["field state allows more", "field weather is new"]);
}
