//! Schema files: what they mean, and what is said of mistakes.

use super::*;
use crate::catalogue;
use crate::schema::{FIELDS_MAX, evolve};

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
fn a_rule_that_would_never_hold_is_refused_and_read_where_it_is_in_force() {
    let head = "name = \"round\"\n[[field]]\nkey = \"a\"\nkind = \"number\"\n[[field]]\n\
                key = \"b\"\nkind = \"bool\"\n";
    let with = |rule: &str| format!("{head}\n[[rule]]\nrule = {rule}\n");
    let when = "when = { b = true }";
    let never = "line 9, rule 1: no record fulfils this rule without a condition; add when = \
                 { FIELD = VALUE }, or say it of the field itself (min, max, default)";
    for (rule, told) in [
        ("\"range\"\nfield = \"a\"\nmax = 9\nmessage = \"No\"".to_owned(), never),
        ("\"derive\"\nfield = \"a\"\nvalue = 1".to_owned(), never),
        ("\"derive\"\nfield = \"a\"\nvalue = 1\nwhen = {}".to_owned(), "line 13, rule 1: no rec"),
        (
            format!("\"range\"\nfield = \"a\"\nmessage = \"No\"\n{when}"),
            "line 9, rule 1: the rule has no bound; add min, max or above",
        ),
    ] {
        let text = with(&rule);
        let told_of = lines(&text);
        assert!(told_of.len() == 1 && told_of[0].starts_with(told), "{told_of:?}");
        assert_eq!(decode(&text).unwrap().rules.len(), 1, "whoever has it goes on");
    }
    let good = format!("\"range\"\nfield = \"a\"\nmax = 9\nmessage = \"No\"\n{when}");
    assert_eq!(lines(&with(&good)), [""; 0]);
    assert_eq!(lines(&with("\"default_from\"\nfield = \"a\"\nfrom = \"b\"")), [""; 0]);
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
fn who_may_approve_is_said_in_the_words_of_who_may_resolve() {
    let round = |people: &str| ROUND.replace("name = ", &format!("approve = {people}\nname = "));
    assert!(!decode(ROUND).unwrap().asks_for_approval(), "by default records count at once");
    let asks = parse(&round("[\"manager\", \"author\"]"), catalogue::collections()).unwrap();
    assert_eq!(asks.approve_by, [Who::Manager, Who::Author]);
    assert_ne!(asks.reading(), decode(ROUND).unwrap().reading(), "rows are made anew by it");
    assert_eq!(decode(&round("[\"auditor\"]")).unwrap().approve_by, [Who::Unknown]);
    let told = lines(&round("[\"manger\"]"));
    assert!(told.iter().any(|it| it.contains("write author, crew, manager or admin")), "{told:?}");
    let told = lines(&round("[\"crew\"]"));
    assert!(told.iter().any(|it| it.contains("nothing would ever wait")), "{told:?}");
}

#[test]
fn a_word_that_is_unknown_hides_no_contradiction_elsewhere() {
    let text = ROUND
        .replace("kind = \"day\"", "kind = \"week\"")
        .replace("default = \"RUNNING\"", "default = \"RUN\"");
    let lines = lines(&text);
    assert!(lines[0].starts_with("line 50, field state, default: default is not allowed"));
    assert!(lines[1].starts_with("line 75, field nextRound, kind: \"week\" is unknown"));
    assert_eq!(lines.len(), 2, "{lines:?}");
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

/// Whoever changes what is hashed has every device read all records of all own collections anew:
/// once, at the first start of the next version.
#[test]
fn what_is_read_in_a_schema_has_the_same_hash_in_every_version() {
    let hash = beginning_of(decode(ROUND).unwrap().reading());
    assert_eq!(hash, "2e677877a668b156");
}

fn beginning_of(hash: [u8; 32]) -> String {
    hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
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
    let texts = [define(&one, 1), define(&two, 3)];
    let versions = [(&one, 1), (&two, 3)].into_iter().zip(&texts);
    let defined: Vec<Definition<'_>> =
        versions.map(|((name, version), text)| Definition { name, version, text }).collect();
    assert!(defined.iter().all(|it| it.number() == defined[0].number() && it.read().is_some()));
    assert!(!has_number_before(&one, &one));
    assert_ne!(has_number_before(&one, &two), has_number_before(&two, &one));
    // Whoever sees the first is told when he defines the second.
    let earlier = decode(&texts[0]).unwrap();
    let error = parse(&texts[1], &[earlier]).unwrap_err();
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

#[test]
fn what_contradicts_itself_is_not_read_whoever_signed_it() {
    let read = |text: &str| Definition { name: "round", version: 1, text }.read();
    let field = |key: &str, rest: &str| format!("[[field]]\nkey = \"{key}\"\n{rest}\n");
    let whole = |fields: String| format!("name = \"round\"\nversion = 1\n{fields}");
    assert!(read(&whole(field("a", "kind = \"bool\""))).is_some());
    // A reference leads to what this device may not have so far.
    let reference = "kind = \"reference\"\ncollection = \"elsewhere\"";
    assert!(read(&whole(field("a", reference))).is_some());
    for text in [
        whole(field("_createdBy", "kind = \"bool\"")),
        whole(field("a", "kind = \"bool\"\npolicy = \"sum\"")),
        whole(field("a", "kind = \"bool\"")).replace("round", "other"),
        whole(field("a", "kind = \"bool\"")).replace("version = 1", "version = 2"),
        whole(String::new()),
        whole("[[field]]\nkey = \"a\"\nkind = \"bool\"\n".repeat(FIELDS_MAX + 1)),
        whole(field("a", &format!("kind = \"text\"\ndefault = {}1", "[".repeat(20_000)))),
        whole(field("a", &format!("kind = \"bool\"\nlabel = \"{}\"", "x".repeat(70_000)))),
        "\0".repeat(300),
    ] {
        assert!(read(&text).is_none(), "{}", &text[..text.len().min(80)]);
    }
}

#[test]
fn a_field_with_an_index_is_told_and_a_later_version_may_give_or_drop_it() {
    let text = "name = \"round\"\n[[field]]\nkey = \"a\"\nkind = \"text\"\n";
    let old = parse(text, &[]).unwrap();
    let new = parse(&format!("version = 2\n{text}indexed = true\n"), &[]).unwrap();
    assert!(!old.fields[0].indexed && new.fields[0].indexed);
    assert_eq!(evolve(&old, &new).unwrap(), ["field a is found by an index"]);
    let newer = Collection { version: 3, ..old.clone() };
    assert_eq!(evolve(&new, &newer).unwrap(), ["field a is found without an index"]);
    let lists = text.replace("\"text\"", "\"texts\"\nindexed = true");
    assert_eq!(lines(&lists), ["line 5, field a, indexed: lists have no index; drop it"]);
}
