//! Goal: what the view shows of a tenant's own collection, and what it is found by, follows from
//! what has arrived and from the schema that counts, never from which of them came first.
//! Method: two devices write records apart, by whatever schema each knows; the log is projected in
//! pieces while the policy changes between them, and compared with a view that was made at once
//! under the last policy.

use fieldmesh_identity::{Item, SchemaPart, Statement};
use fieldmesh_model::schema::tenant_number;
use fieldmesh_store::WriteSet;

use super::*;
use crate::projection::schemas::{Stand, is_shown};
use crate::rows::RecordRow;
use crate::schema;

const ONE: &str = r#"
name = "round"
version = 1
time = "doneAt"
names = ["tag"]
[[field]]
key = "tag"
kind = "text"
[[field]]
key = "doneAt"
kind = "moment"
[[field]]
key = "grease"
kind = "number"
policy = "sum"
[[field]]
key = "faults"
kind = "set"
policy = "union"
[[field]]
key = "state"
kind = "text"
policy = "review"
"#;

/// The same with an index and a field that records may hold already.
fn two() -> String {
    let indexed = ONE.replace("version = 1", "version = 2") + "indexed = true\n";
    indexed + "[[field]]\nkey = \"level\"\nkind = \"number\"\npolicy = \"max\"\n"
}

/// Only an index more.
fn three() -> String {
    two().replace("version = 2", "version = 3") + "indexed = true\n"
}

/// What an admin defines who does not know of the first.
const OTHER: &str = "name = \"round\"\nversion = 1\nnames = [\"state\"]\n\
                     [[field]]\nkey = \"state\"\nkind = \"text\"\npolicy = \"min\"\n";

fn number() -> u16 {
    tenant_number("round")
}

impl Crew {
    /// The policy once these schemas are signed too.
    fn with_schemas(&self, texts: &[(u32, &str)]) -> Policy {
        let authority = Authority::from_seed(&Seed::from_bytes([1; 32]));
        let mut items = self.items.clone();
        for (version, text) in texts {
            let before = texts.iter().find(|(other, _)| other + 1 == *version);
            let before = before.map(|(_, text)| SchemaPart::hash(text));
            for part in SchemaPart::of("round", *version, at(0), text, before) {
                let policy = Policy::evaluate(self.tenant, &items);
                let place = policy.next_place(&authority.public_key());
                let statement = Statement::Schema(Box::new(part));
                items.push(Item::sign(&authority, self.tenant, place, &statement).unwrap());
            }
        }
        Policy::evaluate(self.tenant, &items)
    }

    /// Batches of records of the collection, written by two devices that know each other's at
    /// times.
    fn rounds(&mut self, schemas: &[Arc<Collection>], dice: &mut Dice) -> Vec<Entry> {
        self.scope = Scope::of(number(), 0, at(0));
        let mut known: [BTreeMap<DocumentId, Vec<Vec<u8>>>; 2] = Default::default();
        let mut log = Vec::new();
        for step in 0..30 {
            let (device, schema) = (dice.below(2), &schemas[dice.below(schemas.len())]);
            let leaf = match step < 4 || dice.one_in(6) {
                true => self.round(device, step, schema, dice),
                false => self.edit_round(&known[device], device, step, schema, dice),
            };
            let Some(leaf) = leaf else { continue };
            let changes = known[device].entry(leaf.document).or_default();
            changes.push(leaf.change.clone());
            log.push(Entry::Batch(self.seal(device, vec![leaf], step).encode()));
            if dice.one_in(3) {
                let (from, to) = (known[device].clone(), &mut known[1 - device]);
                for (id, changes) in from {
                    let here = to.entry(id).or_default();
                    let new = changes.into_iter().filter(|it| !here.contains(it));
                    here.extend(new.collect::<Vec<_>>());
                }
            }
        }
        log
    }

    fn round(
        &self,
        device: usize,
        step: usize,
        schema: &Collection,
        dice: &mut Dice,
    ) -> Option<Leaf> {
        let user = UserId::from_bytes([4; 16]);
        let fields = Fields::from([
            ("tag".to_owned(), Value::Text(format!("P-{}", dice.below(3)))),
            ("doneAt".to_owned(), Value::Moment(at(dice.below(1_000)))),
            ("grease".to_owned(), Value::Float(1.5)),
            ("state".to_owned(), Value::Text("new".into())),
        ]);
        let chance = (step as u128 + 1).to_be_bytes();
        let identity = identify(schema, user, at(step), &fields, b"", chance);
        let author = self.keys[device].device();
        let record = CreateRecord {
            id: identity.id,
            key: &identity.key,
            collection: schema,
            scope: self.scope,
            user,
            device: author,
            actor: actor(author, EPOCH),
            at: at(step),
            created_at: None,
            zone: None,
            replaces: None,
            name: None,
            made_for: None,
            fields: &fields,
        };
        let (_, change) = Document::create(&record).ok()?;
        Some(Leaf { document: identity.id, change })
    }

    fn edit_round(
        &self,
        known: &BTreeMap<DocumentId, Vec<Vec<u8>>>,
        device: usize,
        step: usize,
        schema: &Collection,
        dice: &mut Dice,
    ) -> Option<Leaf> {
        let (id, changes) = known.iter().nth(dice.below(known.len().max(1)))?;
        let mut document = Document::load(*id, changes.iter().map(Vec::as_slice)).ok()?;
        let (key, value) = match dice.below(4) {
            0 => ("state", Value::Text(format!("{device}-{}", step % 3))),
            1 => ("faults", Value::List(vec![Value::Text(format!("f{}", step % 5))])),
            2 => ("level", Value::Int(i64::try_from(step).ok()?)),
            _ => ("tag", Value::Text(format!("P-{}", dice.below(3)))),
        };
        let edit = Edit::Set { key: key.into(), value };
        let actor = actor(self.keys[device].device(), EPOCH);
        let change = document.edit(schema, actor, at(step), &[edit]).ok()??;
        Some(Leaf { document: *id, change })
    }
}

/// Brings the view up to the end of the log and under the schema of the crew's policy.
fn settle(stage: &Stage, crew: &Crew) {
    while let Some(end) = stage.store.end() {
        stage.catch_up(crew, Some(end));
        if is_shown(stage.store.view(), &crew.policy, number()).unwrap() {
            return;
        }
        // Nothing of the log is left, so the next start goes on with the rows.
        let (projector, thread) = stage.start(crew);
        projector.turn_over().unwrap();
        projector.stop();
        thread.join();
    }
}

fn policies(crew: &Crew) -> Vec<Policy> {
    let (two, three) = (two(), three());
    vec![
        crew.policy.clone(),
        crew.with_schemas(&[(1, ONE)]),
        crew.with_schemas(&[(1, ONE), (1, OTHER)]),
        crew.with_schemas(&[(1, ONE), (1, OTHER), (2, &two)]),
        crew.with_schemas(&[(1, ONE), (1, OTHER), (2, &two), (3, &three)]),
    ]
}

#[test]
fn records_and_their_schema_may_arrive_in_any_order() {
    let mut found = 0;
    for seed in 0..40 {
        let (mut crew, mut dice) = (Crew::new(), Dice(seed));
        let policies = policies(&crew);
        let schemas: Vec<_> =
            policies.iter().map(|policy| schema::numbered(policy, number())).collect();
        let log = crew.rounds(&schemas, &mut dice);
        let last = policies[dice.below(policies.len())].clone();
        crew.policy = last.clone();
        let at_once = Stage::new();
        at_once.project(&crew, &log);
        settle(&at_once, &crew);
        let expected = shown(&at_once.store);
        let in_pieces = Stage::new();
        for piece in log.chunks(1 + dice.below(9)) {
            crew.policy = policies[dice.below(policies.len())].clone();
            in_pieces.project(&crew, piece);
        }
        crew.policy = last;
        settle(&in_pieces, &crew);
        assert_eq!(shown(&in_pieces.store), expected, "seed {seed}");
        let records = expected.documents.values().filter_map(|it| it.record.as_ref());
        found += records.filter(|record| record.fields.contains_key("level")).count();
    }
    assert!(found > 20, "only {found} records held the later field");
}

#[test]
fn what_no_schema_explains_is_kept_and_shown_as_it_came() {
    let (mut crew, mut dice) = (Crew::new(), Dice(5));
    let one = schema::numbered(&crew.with_schemas(&[(1, ONE)]), number());
    let log = crew.rounds(&[one], &mut dice);
    let stage = Stage::new();
    stage.project(&crew, &log);
    settle(&stage, &crew);
    let before = shown(&stage.store);
    assert!(before.refused.is_empty(), "{:?}", before.refused.len());
    let records: Vec<&RecordRow> =
        before.documents.values().filter_map(|it| it.record.as_ref()).collect();
    assert!(records.len() > 3 && records.iter().all(|it| it.fields.contains_key("tag")));
    let changes = |shown: &Shown| -> Vec<_> {
        shown.documents.values().map(|it| it.changes.clone()).collect()
    };
    crew.policy = crew.with_schemas(&[(1, ONE)]);
    settle(&stage, &crew);
    let after = shown(&stage.store);
    assert_eq!(changes(&after), changes(&before), "no record is rewritten");
    assert!(after.index.len() > before.index.len(), "records are found by their names");
}

#[test]
fn rows_are_read_anew_some_at_a_time_and_a_restart_goes_on() {
    let mut crew = Crew::new();
    crew.scope = Scope::of(number(), 0, at(0));
    let one = schema::numbered(&crew.with_schemas(&[(1, ONE)]), number());
    let mut dice = Dice(1);
    let mut log = Vec::new();
    for step in 0..1_300 {
        let leaf = crew.round(0, step, &one, &mut dice).unwrap();
        log.push(Entry::Batch(crew.seal(0, vec![leaf], step).encode()));
    }
    let stage = Stage::new();
    stage.project(&crew, &log);
    let unknown = crew.policy.clone();
    let known = crew.with_schemas(&[(1, ONE)]);
    let mut rounds = 0;
    crew.policy = known.clone();
    while !is_shown(stage.store.view(), &known, number()).unwrap() {
        // Stopped again and again while it is at it.
        let (projector, thread) = stage.start(&crew);
        projector.stop();
        thread.join();
        rounds += 1;
        let (projector, thread) = stage.start(&crew);
        projector.turn_over().unwrap();
        projector.stop();
        thread.join();
        assert!(rounds < 200);
    }
    let expected = {
        let fresh = Stage::new();
        fresh.project(&crew, &log);
        settle(&fresh, &crew);
        shown(&fresh.store)
    };
    assert_eq!(shown(&stage.store), expected);
    // And back, where whoever signed it was revoked.
    crew.policy = unknown;
    settle(&stage, &crew);
    assert!(shown(&stage.store).index.len() < expected.index.len());
}

#[test]
fn rows_stand_under_what_was_read_and_not_under_a_file() {
    let (mut crew, mut dice) = (Crew::new(), Dice(7));
    let one = schema::numbered(&crew.with_schemas(&[(1, ONE)]), number());
    let log = crew.rounds(&[one], &mut dice);
    crew.policy = crew.with_schemas(&[(1, ONE)]);
    let stage = Stage::new();
    stage.project(&crew, &log);
    settle(&stage, &crew);
    let expected = shown(&stage.store);
    let comment = format!("# other words\n{ONE}");
    let same = crew.with_schemas(&[(1, ONE), (1, &comment)]);
    assert_ne!(same.schema(number()), crew.policy.schema(number()));
    assert!(is_shown(stage.store.view(), &same, number()).unwrap(), "nothing is read anew");
    // What an earlier program read of a file may be in a form that this one cannot read.
    let keys = rows::scan(
        stage.store.view(),
        Tree::Meta,
        KeyRange::prefix(b"schema-reading/"),
        Direction::Ascending,
    );
    let mut writes = WriteSet::new();
    let keys: Vec<_> = keys.map(|row| row.unwrap().0).collect();
    assert_eq!(keys.len(), 1);
    writes.put(Tree::Meta, keys[0].clone(), b"of another form".to_vec());
    stage.store.view().apply(writes).unwrap();
    crew.policy = crew.with_schemas(&[(1, ONE), (2, &two())]);
    settle(&stage, &crew);
    let documents = |shown: &Shown| -> Vec<_> {
        shown.documents.values().map(|it| it.changes.clone()).collect()
    };
    assert_eq!(documents(&shown(&stage.store)), documents(&expected), "the view goes on");
}

#[test]
fn a_definition_costs_a_look_at_its_own_records_and_not_at_all_others() {
    let mut crew = Crew::new();
    let one = schema::numbered(&crew.with_schemas(&[(1, ONE)]), number());
    let wells: Vec<Leaf> = (0..60).map(|number| crew.create(number)).collect();
    let mut log = vec![Entry::Batch(crew.seal(0, wells, 0).encode())];
    crew.scope = Scope::of(number(), 0, at(0));
    crew.heads[0] = (0, BatchId::default());
    for step in 0..3 {
        let leaf = crew.round(0, step, &one, &mut Dice(3)).unwrap();
        log.push(Entry::Batch(crew.seal(0, vec![leaf], step).encode()));
    }
    let stage = Stage::new();
    stage.project(&crew, &log);
    crew.policy = crew.with_schemas(&[(1, ONE)]);
    assert!(!is_shown(stage.store.view(), &crew.policy, number()).unwrap());
    stage.work(&crew).after_steps(1, || {});
    assert!(is_shown(stage.store.view(), &crew.policy, number()).unwrap());
    let held = shown(&stage.store).documents;
    let read = held.values().filter(|it| it.record.as_ref().is_some_and(|it| !it.deleted));
    assert_eq!(read.count(), 63);
}

#[test]
fn definitions_by_the_hundred_do_not_come_in_one_step() {
    let mut crew = Crew::new();
    let well = crew.create(0);
    let log = [Entry::Batch(crew.seal(0, vec![well], 0).encode())];
    let stage = Stage::new();
    stage.project(&crew, &log);
    let authority = Authority::from_seed(&Seed::from_bytes([1; 32]));
    for index in 0..40 {
        let name = format!("list_{index}");
        let text = ONE.replace("\"round\"", &format!("{name:?}"));
        let part = SchemaPart::of(&name, 1, at(0), &text, None).remove(0);
        let place = Policy::evaluate(crew.tenant, &crew.items).next_place(&authority.public_key());
        let statement = Statement::Schema(Box::new(part));
        crew.items.push(Item::sign(&authority, crew.tenant, place, &statement).unwrap());
    }
    crew.policy = Policy::evaluate(crew.tenant, &crew.items);
    let all = crew.policy.schemas().count();
    let after = |steps: usize| {
        stage.work(&crew).after_steps(steps, || {});
        Stand::numbers(stage.store.view()).unwrap().len()
    };
    assert_eq!(after(1), 16);
    assert_eq!(after(3), all);
}
