//! What follows from rulings: the same wherever the same changes are, and never more than the
//! people who may approve have seen.

use proptest::prelude::*;

use super::*;
use crate::{Answer, Approval, Standing};

/// Devices 2 and 3 may approve, device 1 may not.
fn may(author: &DeviceId) -> bool {
    [device(2), device(3)].contains(author)
}

impl Replica {
    fn rule(&mut self, hours: i64, answer: &Answer) {
        let mut document = self.document();
        let change = document.rule(self.actor(), at(hours), answer).unwrap();
        assert!(self.keep(change), "a ruling is a change");
    }

    fn approve(&mut self, hours: i64) {
        self.rule(hours, &Answer::Approved);
    }

    fn refuse(&mut self, hours: i64, reason: &str) {
        self.rule(hours, &Answer::Refused(reason.to_owned()));
    }

    fn authors(&self) -> BTreeMap<[u8; 32], DeviceId> {
        let known = (1..=4).map(|number| (actor(device(number), Epoch(1)), device(number)));
        let known: BTreeMap<_, _> = known.collect();
        let author = |bytes: &Vec<u8>| {
            let peeked = crate::peek(bytes).unwrap();
            known[&<[u8; 16]>::try_from(peeked.actor.as_slice()).unwrap()]
        };
        self.changes.iter().map(|(hash, bytes)| (*hash, author(bytes))).collect()
    }

    fn approval(&self) -> Approval {
        self.document().approval(&self.authors(), may).unwrap()
    }

    /// What people are told: a word, and the reason of a refusal.
    fn told(&self) -> String {
        let approval = self.approval();
        match (approval.standing, approval.last.map(|ruling| ruling.answer)) {
            (Standing::Own, None) => "own".to_owned(),
            (Standing::Awaiting, _) => "awaiting".to_owned(),
            (Standing::Approved, Some(Answer::Approved)) => "approved".to_owned(),
            (Standing::Refused, Some(Answer::Refused(reason))) => format!("refused: {reason}"),
            other => format!("{other:?} makes no sense"),
        }
    }
}

#[test]
fn a_record_waits_until_somebody_who_may_has_approved_what_it_says() {
    let [mut one, mut two, _] = crew();
    assert_eq!(one.told(), "awaiting");
    let before = one.document().view(entries()).unwrap();
    two.approve(1);
    one.pull(&two);
    assert_eq!(one.told(), "approved");
    assert_eq!(one.document().view(entries()).unwrap(), before, "a ruling is no edit");
    one.set(2, OIL, 90);
    assert_eq!(one.told(), "awaiting", "nobody has seen the edit");
    two.pull(&one);
    two.refuse(3, "90 is more than the tank holds");
    one.pull(&two);
    assert_eq!(one.told(), "refused: 90 is more than the tank holds");
    one.set(4, OIL, 80);
    assert_eq!(one.told(), "awaiting", "it is put right");
    two.pull(&one);
    two.approve(5);
    two.set(6, OIL, 81);
    assert_eq!(two.told(), "approved", "whoever may approve waits for nobody");
}

#[test]
fn an_edit_that_was_not_seen_waits_whatever_the_clocks_say() {
    let [mut one, mut two, _] = crew();
    one.set(1, OIL, 90);
    two.approve(50);
    one.pull(&two);
    assert_eq!(one.told(), "awaiting");
    two.pull(&one);
    two.approve(2);
    assert_eq!(two.told(), "approved");
}

#[test]
fn of_two_who_decide_without_knowing_of_each_other_the_one_who_refuses_is_heard() {
    let [mut one, mut two, mut three] = crew();
    two.refuse(1, "no");
    three.approve(9);
    one.pull(&two);
    one.pull(&three);
    assert_eq!(one.told(), "refused: no");
    three.pull(&one);
    three.approve(10);
    assert_eq!(three.told(), "approved", "he has seen the refusal");
}

#[test]
fn what_somebody_says_who_may_not_approve_is_no_approval_and_is_told() {
    let [mut one, mut two, _] = crew();
    one.approve(1);
    assert_eq!(one.told(), "awaiting");
    two.pull(&one);
    two.approve(2);
    one.pull(&two);
    one.refuse(3, "I say so");
    assert_eq!(one.told(), "approved");
    let all = one.document().rulings().unwrap();
    assert_eq!(all.len(), 3, "the history has them all the same");
}

#[test]
fn what_was_said_last_stays_said_where_something_is_written_since() {
    let [mut one, mut two, _] = crew();
    assert!(!one.approval().has_stood, "nobody has seen anything of it");
    two.refuse(1, "which tank?");
    one.set(2, OIL, 90);
    one.pull(&two);
    assert_eq!(one.told(), "awaiting", "he did not know of the refusal");
    let refused = Answer::Refused("which tank?".to_owned());
    assert_eq!(one.approval().last.map(|it| it.answer), Some(refused));
    assert!(!one.approval().has_stood, "nothing was ever approved");
    two.pull(&one);
    two.approve(3);
    one.pull(&two);
    one.delete(4);
    let approval = one.approval();
    assert_eq!(approval.standing, Standing::Awaiting, "nobody has seen the deletion");
    assert_eq!(approval.last.map(|it| it.answer), Some(Answer::Approved));
    assert!(approval.has_stood, "it counted until then");
    two.pull(&one);
    two.refuse(5, "bring it back");
    two.pull(&one);
    assert!(two.approval().has_stood, "it has counted all the same");
}

#[test]
fn an_edit_that_also_approves_is_an_edit() {
    let [mut one, _, _] = crew();
    let mut document = one.document();
    let change = document.change(one.actor(), at(5), |transaction| {
        crate::edit::force(transaction, crate::keys::APPROVAL, true.into())?;
        crate::edit::write(transaction, entries(), &[0; 16], &Edit::set(OIL, 91))
    });
    assert!(one.keep(change.unwrap()));
    let approval = one.document().approval(&one.authors(), |_| true).unwrap();
    assert_eq!(approval, Approval::begun(true), "nothing was ruled");
    assert_eq!(one.document().view(entries()).unwrap().updated_at, at(5));
}

#[derive(Debug, Clone)]
enum Step {
    Set { who: usize, value: i64, hours: i64 },
    Approve { who: usize, hours: i64 },
    Refuse { who: usize, hours: i64 },
    Pull { who: usize, from: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let (who, hours) = (0..3_usize, 0..60_i64);
    prop_oneof![
        2 => (who.clone(), 100..200_i64, hours.clone())
            .prop_map(|(who, value, hours)| Step::Set { who, value, hours }),
        2 => (who.clone(), hours.clone()).prop_map(|(who, hours)| Step::Approve { who, hours }),
        1 => (who.clone(), hours).prop_map(|(who, hours)| Step::Refuse { who, hours }),
        3 => (who.clone(), who).prop_map(|(who, from)| Step::Pull { who, from }),
    ]
}

fn run(step: &Step, crew: &mut [Replica; 3]) {
    match *step {
        Step::Set { who, value, hours } => {
            crew[who].edit(hours, &[Edit::set(OIL, value)]);
        }
        Step::Approve { who, hours } => crew[who].approve(hours),
        Step::Refuse { who, hours } => crew[who].refuse(hours, &format!("at {hours}")),
        Step::Pull { who, from } => {
            let other = crew[from].clone();
            crew[who].pull(&other);
        }
    }
}

/// The rule without anything left out: every change of somebody who may not is in the past of a
/// ruling of somebody who may, and no last ruling of those refuses.
fn counts(replica: &Replica) -> bool {
    let (authors, document) = (replica.authors(), replica.document());
    let metas = document.metas();
    let hashed = crate::document::by_hash(&metas);
    let said = document.said();
    let past = |hash: &[u8; 32]| {
        let deps = hashed[hash].deps.iter().copied();
        crate::ancestry::closure(deps, &hashed)
    };
    let rulings: Vec<_> = said.iter().filter(|(hash, _)| may(&authors[*hash])).collect();
    let is_covered = |hash: &[u8; 32]| {
        said.contains_key(hash)
            || may(&authors[hash])
            || rulings.iter().any(|(ruling, _)| past(ruling).contains(hash))
    };
    let is_last = |hash: &[u8; 32]| rulings.iter().all(|(other, _)| !past(other).contains(hash));
    hashed.keys().all(is_covered)
        && rulings.iter().all(|(hash, answer)| !is_last(hash) || **answer == Answer::Approved)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_came_first_all_replicas_say_the_same_and_what_the_rule_says(
        steps in prop::collection::vec(step(), 1..24),
    ) {
        let mut crew = crew::<3>();
        for step in &steps {
            run(step, &mut crew);
            for replica in &crew {
                let told = replica.told();
                prop_assert_eq!(counts(replica), told == "own" || told == "approved", "{}", told);
            }
        }
        meet(&mut crew);
        let mut order: Vec<_> = crew[0].changes.values().map(Vec::as_slice).collect();
        order.reverse();
        let other = Document::load(crew[0].id, order).unwrap();
        let authors = crew[0].authors();
        prop_assert_eq!(crew[0].approval(), other.approval(&authors, may).unwrap());
    }
}
