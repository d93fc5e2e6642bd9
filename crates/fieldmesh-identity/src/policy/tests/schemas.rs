//! Who defines collections, which definition is in force, and what hostile ones come to.

use super::*;
use crate::{ItemError, SCHEMA_PART_SIZE_MAX, SCHEMA_PARTS_MAX, SchemaPart};
use fieldmesh_model::schema::SCHEMA_SIZE_MAX;

fn round(version: u32, comment: &str) -> String {
    let fields = "[[field]]\nkey = \"a\"\nkind = \"bool\"\n";
    format!("# {comment}\nname = \"round\"\nversion = {version}\n{fields}")
}

fn parts(name: &str, version: u32, text: &str) -> Vec<Statement> {
    following(name, version, text, None)
}

fn following(name: &str, version: u32, text: &str, before: Option<&str>) -> Vec<Statement> {
    let before = before.map(SchemaPart::hash);
    let parts = SchemaPart::of(name, version, Moment::from_millis(5), text, before);
    parts.into_iter().map(|part| Statement::Schema(Box::new(part))).collect()
}

fn shuffled(crew: &Crew, seed: u64) -> Vec<Item> {
    let (mut items, mut state) = (crew.items.clone(), seed);
    for at in (1..items.len()).rev() {
        items.swap(at, draw(&mut state) % (at + 1));
    }
    items
}

fn in_force(policy: &Policy) -> Vec<(&str, u32)> {
    policy.schemas().map(|it| (it.name(), it.version())).collect()
}

#[test]
fn only_an_administrator_defines_a_collection_and_only_until_it_is_revoked() {
    let mut crew = Crew::new();
    let authority = crew.authority.clone();
    let [admin, lead, operator, stranger] = [10, 11, 12, 13].map(device);
    crew.authorise(&admin, Role::Admin);
    crew.say(&authority, &issuer(&lead));
    crew.certify(&admin, &operator, Role::Operator);
    let part = &parts("round", 1, &round(1, ""))[0];
    for signer in [&lead, &operator, &stranger] {
        let item = crew.say(signer, part);
        assert!(!crew.policy().counts(&item) && crew.policy().schemas().next().is_none());
    }
    let item = crew.say(&admin, part);
    let policy = crew.policy();
    assert!(policy.counts(&item));
    let signed = policy.schemas().next().unwrap();
    assert_eq!(policy.schema(signed.number()), Some(signed));
    assert_eq!((signed.by, signed.at), (admin.public_key(), Moment::from_millis(5)));
    assert_eq!(signed.collection().unwrap().fields.len(), 1);
    let revocation = Revocation {
        device: admin.device(),
        version: 1,
        heads: BTreeSet::new(),
        items: policy.head(&admin.public_key()),
        remaining: None,
        wipe: false,
        reason: String::new(),
    };
    crew.say(&authority, &Statement::Revocation(Box::new(revocation)));
    crew.say(&admin, &parts("round", 2, &round(2, ""))[0]);
    for seed in 1..=50 {
        let policy = Policy::evaluate(crew.tenant, &shuffled(&crew, seed));
        assert_eq!(in_force(&policy), [("round", 1)], "what it said before stays, seed {seed}");
        assert_eq!(policy.other_schemas().count(), 0);
    }
}

#[test]
fn admins_who_define_one_collection_apart_agree_on_one_and_the_other_is_listed() {
    let mut crew = Crew::new();
    let [one, two] = [10, 11].map(device);
    crew.authorise(&one, Role::Admin);
    crew.authorise(&two, Role::Admin);
    crew.say(&one, &parts("round", 1, &round(1, "of one"))[0]);
    let first = round(1, "of one");
    crew.say(&one, &following("round", 2, &round(2, "of one"), Some(&first))[0]);
    crew.say(&two, &following("round", 2, &round(2, "of two"), Some(&first))[0]);
    let expected = crew.policy();
    let chosen = expected.schemas().next().unwrap();
    assert_eq!((chosen.version(), chosen.by), (2, two.public_key()), "the greater text");
    let others: Vec<_> = expected.other_schemas().map(|it| (it.version(), it.by)).collect();
    assert_eq!(others, [(1, one.public_key()), (2, one.public_key())]);
    for seed in 1..=100 {
        assert_eq!(Policy::evaluate(crew.tenant, &shuffled(&crew, seed)), expected, "seed {seed}");
    }
}

#[test]
fn a_long_schema_counts_once_all_of_it_is_there() {
    let mut crew = Crew::new();
    let admin = device(10);
    crew.authorise(&admin, Role::Admin);
    let text = round(1, &"\u{1f6e2}".repeat(10_000));
    let said = parts("round", 1, &text);
    assert_eq!(said.len(), 6);
    let ids: Vec<_> = said.iter().map(|part| crew.say(&admin, part)).collect();
    let policy = crew.policy();
    assert_eq!(policy.schemas().next().map(|it| it.text()), Some(text.as_str()));
    for id in ids {
        let rest: Vec<Item> = crew.items.iter().filter(|it| it.id() != id).cloned().collect();
        assert_eq!(Policy::evaluate(crew.tenant, &rest).schemas().count(), 0);
    }
    // Parts of two files make none, and neither do those of two signers.
    let other = device(11);
    crew.authorise(&other, Role::Admin);
    let half = parts("round", 2, &round(2, &"x".repeat(10_000)));
    crew.say(&admin, &half[0]);
    crew.say(&other, &half[1]);
    assert_eq!(in_force(&crew.policy()), [("round", 1)]);
}

#[test]
fn hostile_definitions_change_nothing_that_is_built_in_and_nothing_else() {
    let mut crew = Crew::new();
    let admin = device(10);
    crew.authorise(&admin, Role::Admin);
    let sign = |statement: &Statement| {
        Item::sign(&admin, TenantId::default(), ItemPlace::FIRST, statement)
    };
    for name in ["", "Round", "a b", "\u{1b}[2J", "_x"] {
        assert_eq!(sign(&parts(name, 1, "x")[0]), Err(ItemError::Unclean), "{name:?}");
    }
    let longest = "#".repeat(SCHEMA_SIZE_MAX);
    let fitting = parts("round", 1, &longest);
    assert!(fitting.len() <= usize::from(SCHEMA_PARTS_MAX));
    assert!(fitting.iter().all(|part| sign(part).is_ok()));
    let beyond = "#".repeat(SCHEMA_PART_SIZE_MAX * usize::from(SCHEMA_PARTS_MAX) + 1);
    assert!(parts("round", 1, &beyond).iter().all(|part| sign(part).is_err()));
    // Whoever signs what a program of ours never would: all of it is kept, none of it is read.
    let nested = format!("name = \"deep\"\na = {}", "[".repeat(7_000));
    for (name, text) in [
        ("deep", nested.as_str()),
        ("other", &round(1, "")),
        ("none", "\0\0"),
        ("built", "name = \"well\"\n[[field]]\nkey = \"a\"\nkind = \"bool\"\n"),
    ] {
        crew.say(&admin, &parts(name, 1, text)[0]);
    }
    let policy = crew.policy();
    assert_eq!(policy.schemas().count(), 4);
    assert!(policy.schemas().all(|signed| signed.collection().is_none()));
    assert!(policy.schema(1).is_none());
    let mut torn = SchemaPart::of("round", 1, Moment::ZERO, "x", None).remove(0);
    torn.whole = [7; 32];
    crew.say(&admin, &Statement::Schema(Box::new(torn)));
    assert_eq!(crew.policy().schemas().count(), 4);
}

#[test]
fn what_counts_does_not_depend_on_which_collections_a_program_has_built_in() {
    let mut crew = Crew::new();
    let admin = device(10);
    crew.authorise(&admin, Role::Admin);
    let text = round(1, "").replace("\"round\"", "\"well\"");
    let item = crew.say(&admin, &parts("well", 1, &text)[0]);
    let policy = crew.policy();
    assert!(policy.counts(&item));
    let signed = policy.schemas().next().unwrap();
    assert_eq!(signed.collection().unwrap().name, "well", "a program without wells reads it too");
}

#[test]
fn one_item_cannot_close_a_collection_for_ever() {
    let mut crew = Crew::new();
    let [admin, thief] = [10, 11].map(device);
    crew.authorise(&admin, Role::Admin);
    crew.authorise(&thief, Role::Admin);
    let [first, second] = [1, 2].map(|version| round(version, ""));
    crew.say(&thief, &parts("round", 2, "\0")[0]);
    crew.say(&admin, &parts("round", 1, &first)[0]);
    for version in [3, 4, u32::MAX] {
        crew.say(&thief, &following("round", version, "\0", Some(&first))[0]);
    }
    assert_eq!(in_force(&crew.policy()), [("round", 1)], "none of them is the next version");
    crew.say(&admin, &following("round", 2, &second, Some(&first))[0]);
    assert_eq!(in_force(&crew.policy()), [("round", 2)], "none of them follows on it");
    crew.say(&thief, &following("round", 3, "\0\0", Some(&second))[0]);
    let expected = crew.policy();
    assert_eq!(in_force(&expected), [("round", 3)], "this one does");
    let number = expected.schemas().next().unwrap().number();
    for seed in 1..=50 {
        let policy = Policy::evaluate(crew.tenant, &shuffled(&crew, seed));
        assert_eq!(policy, expected, "seed {seed}");
        let read = policy.readable_schema(number).map(SignedSchema::version);
        assert_eq!(read, Some(2), "what can be read goes on");
        let ahead: Vec<_> = policy.schemas_ahead().map(SignedSchema::version).collect();
        assert_eq!(ahead, [2, 3, 4, u32::MAX]);
    }
    crew.say(&admin, &following("round", 4, &round(4, ""), Some("\0\0"))[0]);
    assert_eq!(in_force(&crew.policy()), [("round", 4)], "and there is always a next one");
}

fn revoke(crew: &mut Crew, keys: &DeviceKeys, items: Option<Cut>) {
    let revocation = Revocation {
        device: keys.device(),
        version: 1,
        heads: BTreeSet::new(),
        items,
        remaining: None,
        wipe: false,
        reason: String::new(),
    };
    let authority = crew.authority.clone();
    crew.say(&authority, &Statement::Revocation(Box::new(revocation)));
}

#[test]
fn a_revoked_author_of_one_version_does_not_take_the_collection_away_from_all_others() {
    for revoked in [0, 1] {
        let mut crew = Crew::new();
        let signers = [10, 11, 12].map(device);
        for keys in &signers {
            crew.authorise(keys, Role::Admin);
        }
        let texts = [1, 2, 3].map(|version| round(version, ""));
        for (index, keys) in signers.iter().enumerate() {
            let before = index.checked_sub(1).map(|before| texts[before].as_str());
            let version = u32::try_from(index).unwrap() + 1;
            crew.say(keys, &following("round", version, &texts[index], before)[0]);
        }
        // The office had not heard of what it signed.
        revoke(&mut crew, &signers[revoked], None);
        crew.say(&signers[2], &following("round", 4, &round(4, ""), Some(&texts[2]))[0]);
        for seed in 1..=50 {
            let policy = Policy::evaluate(crew.tenant, &shuffled(&crew, seed));
            assert_eq!(in_force(&policy), [("round", 4)], "seed {seed}");
            let others: Vec<u32> = policy.other_schemas().map(SignedSchema::version).collect();
            assert_eq!(others, if revoked == 0 { [2, 3] } else { [1, 3] }, "its own are no word");
        }
        revoke(&mut crew, &signers[2], None);
        let left = if revoked == 0 { ("round", 2) } else { ("round", 1) };
        assert_eq!(in_force(&crew.policy()), [left]);
    }
}

/// Two names that meet in one number.
fn meeting() -> [String; 2] {
    let mut names = BTreeMap::new();
    let number = |name: &String| fieldmesh_model::schema::tenant_number(name);
    let pair = (0..).map(|it| format!("list_{it}")).find_map(|name| {
        let known = names.insert(number(&name), name.clone());
        known.map(|known| [known, name])
    });
    pair.unwrap()
}

fn named(name: &str, version: u32) -> String {
    round(version, "").replace("\"round\"", &format!("{name:?}"))
}

#[test]
fn a_name_that_was_ground_to_meet_a_collection_in_use_does_not_get_its_records() {
    let mut crew = Crew::new();
    let [admin, thief] = [10, 11].map(device);
    crew.authorise(&admin, Role::Admin);
    crew.authorise(&thief, Role::Admin);
    let pair = meeting();
    for name in &pair {
        crew.say(&thief, &parts(name, 1, &named(name, 1))[0]);
    }
    let equal = crew.policy();
    let ground = equal.schemas().next().unwrap().name().to_owned();
    let used = pair.iter().find(|name| **name != ground).unwrap();
    // One that went on is in use.
    let mut on = Crew { items: crew.items.clone(), authority: crew.authority.clone(), ..crew };
    let first = named(used, 1);
    on.say(&admin, &following(used, 2, &named(used, 2), Some(&first))[0]);
    assert_eq!(in_force(&on.policy()), [(used.as_str(), 2)]);
    // What the authority defined is nothing that an admin's key takes away.
    let authority = crew.authority.clone();
    crew.say(&authority, &parts(used, 1, &named(used, 1))[0]);
    let mut before = named(&ground, 1);
    for version in 2..6 {
        let text = named(&ground, version);
        crew.say(&thief, &following(&ground, version, &text, Some(&before))[0]);
        before = text;
    }
    let expected = crew.policy();
    assert_eq!(in_force(&expected), [(used.as_str(), 1)]);
    for seed in 1..=50 {
        assert_eq!(Policy::evaluate(crew.tenant, &shuffled(&crew, seed)), expected, "seed {seed}");
    }
}

#[test]
fn a_name_that_cannot_be_read_leaves_the_records_of_the_other_one_readable() {
    let mut crew = Crew::new();
    let thief = device(11);
    crew.authorise(&thief, Role::Admin);
    let pair = meeting();
    for name in &pair {
        crew.say(&thief, &parts(name, 1, &named(name, 1))[0]);
    }
    let ground = crew.policy().schemas().next().unwrap().name().to_owned();
    crew.items.truncate(crew.items.len() - 2);
    for name in &pair {
        let text = if *name == ground { "\0".to_owned() } else { named(name, 1) };
        crew.say(&thief, &parts(name, 1, &text)[0]);
    }
    let policy = crew.policy();
    assert_eq!(in_force(&policy), [(ground.as_str(), 1)]);
    let number = policy.schemas().next().unwrap().number();
    assert!(pair.iter().any(|name| policy.readable_schema(number).unwrap().name() == name));
    assert!(policy.readable_schema(number).is_some_and(|it| it.name() != ground));
}

/// Signs one after the other without asking the whole policy each time.
fn say_many(crew: &mut Crew, signer: &DeviceKeys, said: impl Iterator<Item = Statement>) {
    let mut place = crew.policy().next_place(&signer.public_key());
    for statement in said {
        let item = Item::sign(signer, crew.tenant, place, &statement).unwrap();
        place = ItemPlace::after(Some(Cut { sequence: place.sequence, item: item.id() }));
        crew.items.push(item);
    }
}

#[test]
fn a_stolen_key_fills_the_room_of_no_definitions_but_its_own() {
    let mut crew = Crew::new();
    let [admin, thief] = [10, 11].map(device);
    crew.authorise(&admin, Role::Admin);
    crew.authorise(&thief, Role::Admin);
    crew.say(&admin, &parts("round", 1, &round(1, ""))[0]);
    let many = (0..300).map(|it| format!("list_{it}"));
    say_many(&mut crew, &thief, many.flat_map(|name| parts(&name, 1, "\0")));
    let policy = crew.policy();
    assert_eq!(policy.schemas().count() + policy.other_schemas().count(), 129);
    assert!(policy.schemas().any(|it| it.name() == "round"));
    for seed in 1..=5 {
        assert_eq!(Policy::evaluate(crew.tenant, &shuffled(&crew, seed)), policy, "seed {seed}");
    }
}

#[test]
fn a_definition_is_read_once_however_many_policy_items_come() {
    let mut crew = Crew::new();
    let admin = device(10);
    crew.authorise(&admin, Role::Admin);
    crew.say(&admin, &parts("round", 1, &round(1, "read once"))[0]);
    let read = |crew: &Crew| {
        let policy = crew.policy();
        Arc::clone(policy.schemas().next().unwrap().collection().unwrap())
    };
    assert!(Arc::ptr_eq(&read(&crew), &read(&crew)));
}

#[test]
fn definitions_that_did_not_know_of_each_other_are_told_apart_from_earlier_ones() {
    let mut crew = Crew::new();
    let [one, two] = [10, 11].map(device);
    crew.authorise(&one, Role::Admin);
    crew.authorise(&two, Role::Admin);
    let mut define = |signer: &DeviceKeys, version, comment: &str, before: Option<&str>| {
        let text = round(version, comment);
        let before = before.map(SchemaPart::hash);
        let part = SchemaPart::of("round", version, Moment::ZERO, &text, before).remove(0);
        crew.say(signer, &Statement::Schema(Box::new(part)));
        text
    };
    let first = define(&one, 1, "", None);
    let second = define(&one, 2, "of one", Some(&first));
    let other = define(&two, 2, "of two", Some(&first));
    let third = define(&two, 3, "of two", Some(&other));
    let apart = |crew: &Crew| -> Vec<String> {
        let policy = crew.policy();
        let signed = policy.schemas().next().unwrap();
        policy.schemas_apart(signed).map(|it| it.text().to_owned()).collect()
    };
    assert_eq!(apart(&crew), [second], "the others led to it");
    assert_eq!(crew.policy().schemas().next().unwrap().text(), third);
}

#[test]
fn the_bytes_of_a_schema_part_never_change() {
    let part = SchemaPart {
        collection: "round".into(),
        version: 300,
        at: Moment::from_millis(300),
        whole: [7; 32],
        before: Some([8; 32]),
        part: 1,
        parts: 2,
        text: "a".into(),
    };
    let statement = Statement::Schema(Box::new(part));
    let expected = format!("05726f756e64ac02d804{}01{}01020161", "07".repeat(32), "08".repeat(32));
    assert_eq!(statement.kind(), 70);
    assert_eq!(data_encoding::HEXLOWER.encode(&statement.body()), expected);
    assert_eq!(Statement::read(70, &statement.body()), statement);
}
