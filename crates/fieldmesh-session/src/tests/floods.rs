//! A peer that talks without end and reads nothing: what is kept for it stays below the ceiling.

use fieldmesh_trie::{Form, KEY_LENGTH, Node, Prefix, encode};

use super::ends::{End, at, content, pair, say, start};
use super::transcript::{Entry, Thing};
use crate::limits::{
    CHECKS_PER_SECOND_MAX, CONTROL_UNWRITTEN_MAX, INGEST_WINDOW_DEFAULT, KEYS_PER_MESSAGE_MAX,
    UNPROVEN_MAX, held_max,
};
use crate::wire::Message;
use crate::wire::message::WireSet;
use crate::{CloseReason, Input, Output, SessionError, Set};

/// An accepting side after the greeting, whose peer takes nothing from here on.
fn unread() -> End {
    let mut ends = pair();
    start(&mut ends);
    let [_, mut end] = ends;
    assert_eq!(end.fault, None);
    end.is_slow = true;
    end.step(Input::ControlWritten(0));
    end
}

fn keys(from: u32, count: usize) -> Vec<u8> {
    (from..).take(count).flat_map(|number| content(number, 0)[..KEY_LENGTH].to_vec()).collect()
}

fn flood(mut end: End, times: u32, message: impl Fn(u32) -> Message) -> End {
    for number in 0..times {
        if end.fault.is_none() {
            say(&mut end, &message(number));
        }
        end.seen.clear();
        end.log.clear();
        end.wires[0].clear();
    }
    assert!(end.held_peak <= held_max(INGEST_WINDOW_DEFAULT), "{}", end.held_peak);
    end
}

#[test]
fn names_and_questions_without_end_are_handed_on_and_not_kept() {
    let have = |_| Message::Have { keys: keys(0, KEYS_PER_MESSAGE_MAX) };
    let unproven = |_| Message::Unproven { keys: keys(0, UNPROVEN_MAX) };
    let mut end = unread();
    end.wants_nothing = true;
    end = flood(end, 200, have);
    end = flood(end, 200, unproven);
    assert_eq!(end.fault, None);
    assert!(end.held_peak < 1 << 18, "{}", end.held_peak);
}

#[test]
fn pings_without_end_end_the_conversation_when_nobody_reads_the_answers() {
    let mut end = unread();
    let mut pings = 0;
    while end.fault.is_none() {
        say(&mut end, &Message::Ping);
        end.log.clear();
        end.wires[0].clear();
        pings += 1;
        assert!(pings <= CONTROL_UNWRITTEN_MAX);
    }
    assert!(matches!(end.fault, Some(CloseReason::Fault(SessionError::Unread { .. }))));
    // All pings of one step have one answer.
    let mut end = unread();
    let before = end.session.stats().control_bytes_out;
    end.step(Input::Control([1, 0x0a].repeat(1_000)));
    assert_eq!(end.session.stats().control_bytes_out, before + 2);
}

#[test]
fn roots_without_end_cost_no_more_than_a_few_of_them_a_second() {
    let mut end = unread();
    let root = |number: u32| {
        let [.., low] = number.to_be_bytes();
        Message::Root { both: [low; 8], policy: [low; 3] }
    };
    let before = end.session.roots_computed();
    // The first one begins an exchange, and while that goes on all others are put off.
    end = flood(end, 5_000, root);
    assert_eq!(end.fault, None);
    assert!(end.session.roots_computed() <= before + 1, "nothing has changed");
    // Whatever changes meanwhile, the peer gets so many answers a second.
    for second in 1..=3 {
        end.now = at(second * 1_000);
        let before = end.session.roots_computed();
        for number in 0..100 {
            end.hold(Set::Data, content(100 * second as u32 + number, 4));
            say(&mut end, &root(number));
        }
        let computed = end.session.roots_computed() - before;
        assert_eq!(computed, CHECKS_PER_SECOND_MAX as usize);
    }
    assert_eq!(end.fault, None);
}

#[test]
fn wants_without_end_are_limited_while_nothing_is_read() {
    let mut end = unread();
    for number in 0..6_000 {
        end.hold(Set::Data, content(number, 400));
    }
    let want = |number| Message::WantId { keys: keys(number % 6 * 1_000, 1_000) };
    let end = flood(end, 100, want);
    assert_eq!(end.fault, None);
    assert!(end.held_peak < 2 << 20, "{}", end.held_peak);
}

#[test]
fn exchanges_without_end_have_nothing_sent_twice() {
    let mut ends = pair();
    for number in 0..2_000 {
        ends[1].play(Entry::Holds(Set::Data, Thing(number, 400)));
    }
    ends[0].hold(Set::Data, content(9_000, 4));
    ends[1].is_slow = true;
    for end in &mut ends {
        end.step(Input::Start);
    }
    let hello = ends[0].wires[0].pop_front().unwrap();
    let [_, mut end] = ends;
    end.step(Input::Control(hello));
    end.step(Input::ControlWritten(0));
    // It lacks all, again and again, and something differs, so that the exchange goes on.
    let prefix = Prefix::from_bytes(&[1]);
    let nodes = [Node::Kids { prefix, within: 0, kids: vec![(1, 9)], rest: None }];
    let nodes = encode(&nodes, Form::Summed);
    let turn = |_| Message::Nodes {
        set: WireSet::Data,
        sends: 0,
        nodes: nodes.clone(),
        wants: Vec::new(),
    };
    let end = flood(end, 200, turn);
    assert_eq!(end.fault, Some(CloseReason::Fault(SessionError::TooManyRounds)));
    assert!(end.session.stats().batches_sent <= 2_000);
    assert!(end.held_peak < 2 << 20, "{}", end.held_peak);
}

#[test]
fn own_work_for_a_peer_that_takes_nothing_is_left_to_a_comparison() {
    let mut end = unread();
    for number in 0..40_000 {
        end.play(Entry::New(Set::Data, Thing(number, 10)));
        end.disk.clear();
    }
    assert_eq!(end.fault, None);
    assert!(end.held_peak < 4 << 20, "{}", end.held_peak);
}

#[test]
fn names_for_a_peer_that_reads_nothing_are_left_to_a_comparison() {
    let mut end = unread();
    for number in 0..30_000 {
        end.play(Entry::Named(Thing(number, 10)));
        end.disk.clear();
    }
    assert_eq!(end.fault, None);
    assert!(end.held_peak < 1 << 20, "{}", end.held_peak);
}

#[test]
fn bytes_before_the_greeting_are_limited_however_small_their_pieces() {
    let mut end = End::new(crate::Side::Accepted);
    end.now = at(1);
    for _ in 0..3_000 {
        end.step(Input::Data(crate::Lane::Recent, vec![0; 1_000]));
        if end.fault.is_some() {
            break;
        }
    }
    assert!(matches!(end.fault, Some(CloseReason::Fault(SessionError::Flood { .. }))));
    assert!(end.held_peak <= held_max(INGEST_WINDOW_DEFAULT));
    assert!(!end.seen.iter().any(|output| matches!(output, Output::Greeted(_))));
}
