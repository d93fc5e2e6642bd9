//! What holds a conversation back, what it compares last, and what it survives.

use super::ends::{at, content, first_hello, key_of, pair, say, settle, start};
use super::transcript::{Entry, Thing};
use crate::limits::QUARANTINE_EARLIEST_MILLIS;
use crate::wire::message::WireSet;
use crate::wire::{ControlReader, Hello, Message};
use crate::{CloseReason, Input, Output, SessionError, Set};

#[test]
fn nothing_is_shown_to_a_peer_before_the_sets_are_granted() {
    let mut ends = pair();
    ends[1].grants = false;
    ends[1].play(Entry::Holds(Set::Data, Thing(1, 100)));
    start(&mut ends);
    assert!(matches!(ends[1].seen[..], [Output::Greeted(_)]));
    assert!(ends[1].log.is_empty() && ends[0].data.is_empty());
    ends[1].step(Input::Granted);
    settle(&mut ends);
    assert_eq!(ends[0].data.len(), 1);
}

#[test]
fn batches_set_aside_reach_the_peer_once_the_rest_is_equal() {
    let mut ends = pair();
    ends[0].play(Entry::Holds(Set::Quarantine, Thing(1, 100)));
    start(&mut ends);
    for end in &ends {
        assert_eq!(end.fault, None);
        assert!(end.seen.iter().any(|output| matches!(output, Output::InStep)));
    }
    assert_eq!(ends[1].quarantine.len(), 1);
    // A second exchange has to wait.
    for (millis, count) in [(9_999, 1), (10_000, 2)] {
        ends[1].hold(Set::Quarantine, content(2, 100));
        for end in &mut ends {
            end.now = at(millis);
        }
        ends[0].step(Input::Check);
        settle(&mut ends);
        assert_eq!(ends[0].quarantine.len(), count);
    }
}

#[test]
fn a_batch_that_could_not_be_read_for_a_while_still_arrives() {
    let mut ends = pair();
    ends[0].play(Entry::Holds(Set::Data, Thing(1, 100)));
    ends[0].play(Entry::Lost(Thing(1, 100)));
    start(&mut ends);
    assert!(ends[0].seen.contains(&Output::Stalled));
    ends[0].play(Entry::Holds(Set::Data, Thing(1, 100)));
    for millis in [70_000, 140_000] {
        for side in [1, 0] {
            ends[side].play(Entry::Time(millis));
            settle(&mut ends);
        }
    }
    assert_eq!(ends[1].data.len(), 1);
}

#[test]
fn a_question_or_a_receipt_while_the_disk_delays_the_greeting_does_not_cost_the_link() {
    for early in [Input::Prove(vec![key_of(&content(1, 1))]), Input::Receipts(vec![vec![7; 100]])] {
        let mut ends = pair();
        ends[1].is_slow = true;
        ends[1].grants = false;
        start(&mut ends);
        ends[1].step(early);
        ends[1].step(Input::Granted);
        settle(&mut ends);
        assert!(ends.iter().all(|end| end.fault.is_none()), "{:?}", ends[0].fault);
    }
}

#[test]
fn something_is_owed_until_the_peer_has_all_that_it_lacks_for_good() {
    let mut ends = pair();
    for number in 0..40 {
        ends[1].hold(Set::Data, content(number, 4_000));
    }
    ends[0].is_slow = true;
    start(&mut ends);
    // Everything was handed over and written, and nothing of it is durable there.
    assert!(!ends[0].unsettled.is_empty() && !ends[1].session.owes_nothing());
    while let Some(settled) = ends[0].unsettled.pop() {
        ends[0].step(settled);
        settle(&mut ends);
    }
    assert!(ends[1].session.owes_nothing() && ends[0].data.len() == 40);
    // A hello alone says nothing of what is lacking.
    let mut early = pair();
    early[0].step(Input::Start);
    assert!(!early[0].session.owes_nothing());
}

#[test]
fn a_peer_is_told_of_a_quota_by_a_number_that_it_knows() {
    for (features, code) in [(0, 17), (1, 17), (2, 21), (u64::MAX, 21)] {
        let mut ends = pair();
        ends[0].step(Input::Start);
        let hello = first_hello(&mut ends[0]);
        assert_eq!(hello.features & 2, 2);
        say(&mut ends[1], &Message::Hello(Hello { features, ..hello }));
        let mut reader = ControlReader::default();
        reader.extend(&ends[1].session.farewell(&SessionError::NotGranted.into()));
        let said = reader.next().unwrap();
        assert!(matches!(said, Some(Message::Error { code: it, .. }) if it == code), "{said:?}");
    }
}

#[test]
fn questions_and_receipts_arrive() {
    let mut ends = pair();
    start(&mut ends);
    let key = key_of(&content(1, 1));
    ends[0].step(Input::Prove(vec![key]));
    ends[1].step(Input::Receipts(vec![vec![7; 16_384], vec![8; 16_385]]));
    settle(&mut ends);
    assert!(ends[1].seen.contains(&Output::Unproven(vec![key])));
    assert!(ends[0].seen.contains(&Output::Receipts(vec![vec![7; 16_384]])));
}

#[test]
fn a_peer_that_compares_what_is_set_aside_all_the_time_is_refused() {
    for (millis, is_refused) in
        [(QUARANTINE_EARLIEST_MILLIS - 1, true), (QUARANTINE_EARLIEST_MILLIS, false)]
    {
        let mut ends = pair();
        start(&mut ends);
        for millis in [0, millis] {
            ends[0].now = at(millis);
            ends[0].step(Input::Check);
            let set = WireSet::Quarantine;
            say(&mut ends[0], &Message::Nodes { set, sends: 0, nodes: vec![], wants: vec![] });
        }
        let fault = CloseReason::Fault(SessionError::TooOften { millis });
        assert_eq!(ends[0].fault, is_refused.then_some(fault));
    }
}
