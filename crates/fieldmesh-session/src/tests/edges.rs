//! Each limit of a conversation: what just keeps it passes, one more does not.

use fieldmesh_trie::{Form, KEY_LENGTH, Node, Prefix, encode};

use super::ends::{End, at, content, first_hello, key_of, pair, say, settle, start};
use super::transcript::{Entry, Thing};
use crate::limits::*;
use crate::wire::control::{self, ControlReader};
use crate::wire::message::WireSet;
use crate::wire::{DataReader, DataWriter, Frame, FrameKind, Hello, Message};
use crate::{CloseReason, Input, SessionError, Set, WireError};

/// Both sides, with all control messages delivered and no data.
fn talk(ends: &mut [End; 2]) {
    for end in ends.iter_mut() {
        end.step(Input::Start);
    }
    for from in [0, 1].repeat(20) {
        while let Some(bytes) = ends[from].wires[0].pop_front() {
            ends[1 - from].step(Input::Control(bytes));
        }
    }
}

#[test]
fn control_bytes_before_the_grant() {
    for over in [0, 1] {
        let mut ends = pair();
        ends[1].grants = false;
        start(&mut ends);
        let pings = [1, 0x0a].repeat(CONTROL_HELD_MAX / 2);
        ends[1].step(Input::Control([pings, vec![1; over]].concat()));
        assert_eq!(ends[1].fault.is_some(), over > 0);
    }
}

#[test]
fn backfill_takes_three_quarters_of_the_window_and_no_more() {
    let share = INGEST_WINDOW_DEFAULT as usize / 4;
    for (last, sent) in [(share, 3), (share + 1, 2)] {
        let mut ends = pair();
        for (number, length) in [(1, share), (2, share), (3, last)] {
            ends[0].hold(Set::Data, content(number, length - KEY_LENGTH));
        }
        talk(&mut ends);
        assert_eq!(ends[0].session.stats().batches_sent, sent);
    }
}

#[test]
fn wants_that_wait() {
    for over in [0, 1] {
        let mut ends = pair();
        start(&mut ends);
        let [_, mut end] = ends;
        let count = WANTS_IN_FLIGHT_MAX + over;
        let batches: Vec<Vec<u8>> = (0..count as u32).map(|number| content(number, 4)).collect();
        let mut wants = Vec::new();
        for batches in batches.chunks(KEYS_PER_MESSAGE_MAX) {
            let keys = batches.iter().flat_map(|batch| *key_of(batch).as_bytes()).collect();
            control::write(&Message::WantId { keys }, &mut wants).unwrap();
        }
        batches.into_iter().for_each(|batch| end.hold(Set::Data, batch));
        end.step(Input::Control(wants));
        assert_eq!(end.session.stats().batches_sent, WANTS_IN_FLIGHT_MAX as u64);
    }
}

#[test]
fn offers_during_a_comparison() {
    for over in [0, 1] {
        let mut ends = pair();
        start(&mut ends);
        ends[0].step(Input::Check);
        for number in 0..(OFFERS_QUEUED_MAX + over) as u32 {
            ends[0].play(Entry::New(Set::Data, Thing(number, 4)));
        }
        assert_eq!(ends[0].session.stats().batches_sent, 0);
        settle(&mut ends);
        // What was one too many is found by comparing.
        assert_eq!(ends[0].session.stats().exchanges, over as u64);
        assert_eq!(ends[1].data.len(), OFFERS_QUEUED_MAX + over);
    }
}

#[test]
fn comparisons_within_a_second() {
    let mut ends = pair();
    start(&mut ends);
    ends[0].step(Input::Check);
    let root = ends[0].wires[0].pop_back().unwrap();
    ends[1].now = at(1_000);
    for _ in 0..CHECKS_PER_SECOND_MAX {
        ends[1].step(Input::Control(root.clone()));
        assert_eq!(ends[1].wires[0].pop_front(), Some(vec![0]));
    }
    ends[1].step(Input::Control(root.clone()));
    assert_eq!(ends[1].wires[0].pop_front(), Some(vec![1, 6]));
    ends[1].now = at(2_000);
    ends[1].step(Input::Control(root));
    assert_eq!(ends[1].wires[0].pop_front(), Some(vec![0]));
}

#[test]
fn turns_of_an_exchange() {
    let mut ends = pair();
    ends[1].hold(Set::Data, content(1, 4));
    // A dialler that holds nothing needs no turns.
    ends[0].hold(Set::Data, content(2, 4));
    for end in &mut ends {
        end.step(Input::Start);
    }
    let hello = ends[0].wires[0].pop_front().unwrap();
    ends[1].step(Input::Control(hello));
    let prefix = Prefix::from_bytes(&[1]);
    let nodes = [Node::Kids { prefix, within: 0, kids: vec![(1, 9)], rest: None }];
    let nodes = encode(&nodes, Form::Summed);
    let turn = Message::Nodes { set: WireSet::Data, sends: 0, nodes, wants: Vec::new() };
    for _ in 0..ROUNDS_MAX / 2 {
        say(&mut ends[1], &turn);
        assert_eq!(ends[1].fault, None);
    }
    say(&mut ends[1], &turn);
    assert_eq!(ends[1].fault, Some(CloseReason::Fault(SessionError::TooManyRounds)));
}

#[test]
fn batches_that_are_refused() {
    for over in [0, 1] {
        let mut ends = pair();
        for number in 0..(EXCLUDED_MAX + over) as u32 {
            ends[0].play(Entry::Holds(Set::Data, Thing(number, 4)));
            ends[1].play(Entry::Refuses(Thing(number, 4)));
        }
        start(&mut ends);
        assert_eq!(ends[1].fault.is_some(), over > 0);
    }
}

#[test]
fn keys_in_an_offer_or_a_want() {
    for (over, is_read) in [(0, true), (1, false)] {
        let keys = vec![1; (KEYS_PER_MESSAGE_MAX + over) * KEY_LENGTH];
        for message in [Message::Have { keys: keys.clone() }, Message::WantId { keys }] {
            assert_eq!(Message::decode(&message.encode()).is_ok(), is_read);
        }
    }
}

#[test]
fn the_length_of_a_prefix() {
    let mut ends = pair();
    ends[0].step(Input::Start);
    let hello = first_hello(&mut ends[0]);
    for (length, is_read) in
        [(FILTER_PREFIX_LENGTH_MAX, true), (FILTER_PREFIX_LENGTH_MAX + 1, false)]
    {
        let hello = Hello { filter: vec![vec![0; length]], ..hello.clone() };
        assert_eq!(Message::decode(&Message::Hello(hello).encode()).is_ok(), is_read);
    }
}

#[test]
fn the_length_of_a_control_message() {
    let of = |length| Message::Nodes {
        set: WireSet::Data,
        sends: 0,
        nodes: vec![7; length],
        wants: Vec::new(),
    };
    let around = of(1 << 15).encode().len() - (1 << 15);
    for (over, is_sent) in [(0, true), (1, false)] {
        let message = of(CONTROL_FRAME_MAX - around + over);
        let mut stream = Vec::new();
        assert_eq!(control::write(&message, &mut stream).is_ok(), is_sent);
        let bytes = message.encode();
        let mut stream = Vec::new();
        control::write_length(bytes.len(), &mut stream);
        stream.extend(bytes);
        let mut reader = ControlReader::default();
        reader.extend(&stream);
        assert_eq!(reader.next().is_ok(), is_sent);
    }
}

#[test]
fn the_length_of_a_frame() {
    for (over, is_read) in [(0, true), (1, false)] {
        let mut writer = DataWriter::default();
        writer.write(FrameKind::Batch, &vec![1; DATA_FRAME_MAX + over]).unwrap();
        let mut frames = 0;
        let read = DataReader::default().read(&writer.flush().unwrap(), |_: Frame| {
            frames += 1;
            Ok::<(), WireError>(())
        });
        assert_eq!((read.is_ok(), frames), (is_read, usize::from(is_read)));
    }
}

#[test]
fn forged_feature_bits_hold_nothing_up() {
    for version in [1, 2] {
        let mut ends = pair();
        ends[1].hold(Set::Data, content(1, 50_000));
        ends[0].step(Input::Start);
        let hello = first_hello(&mut ends[0]);
        let hello = Hello { features: u64::MAX, versions: (1, version), ..hello };
        say(&mut ends[1], &Message::Hello(hello));
        // It never names the begun batches that it claims to have.
        let nodes = Vec::new();
        let set = WireSet::Data;
        say(&mut ends[1], &Message::Nodes { set, sends: 0, nodes, wants: Vec::new() });
        let credit = Message::Credit { frames: 0, bytes: 0, repeated: 0 };
        say(&mut ends[1], &credit);
        assert!(ends[1].session.stats().batches_sent > 0, "version {version}");
    }
}

#[test]
fn the_numbers_of_the_design() {
    let table = [
        ("control message", CONTROL_FRAME_MAX, 64 * 1024),
        ("ratio of compression", EXPANSION_MAX as usize, 64),
        ("window of compression", 1 << WINDOW_LOG_MAX, 1 << 20),
        ("changes of a batch", fieldmesh_model::limits::BATCH_CHANGES_MAX, 64),
        ("raw bytes of a batch", fieldmesh_model::limits::BATCH_RAW_MAX, 64 * 1024),
        ("prefixes of a filter", FILTER_PREFIXES_MAX, 256),
        ("wants in flight", WANTS_IN_FLIGHT_MAX, 4_096),
        ("bytes of a device not ingested", INGEST_WINDOW_DEFAULT as usize, 1 << 20),
        ("bytes of a relay not ingested", INGEST_WINDOW_MAX as usize, 4 << 20),
        ("idle time before a check", IDLE_CHECK_MILLIS as usize, 60_000),
        ("pushes before a check", PUSHES_PER_CHECK as usize, 1_000),
    ];
    for (name, is, wanted) in table {
        assert_eq!(is, wanted, "{name}");
    }
    // A frame of 64 KiB, and at most that much lost by a cut; 8 MiB of wants in flight.
    const { assert!(FLUSH_GROUP_MAX + PART_MAX <= 64 * 1024) };
    const { assert!(INGEST_WINDOW_MAX <= 8 << 20) };
}
