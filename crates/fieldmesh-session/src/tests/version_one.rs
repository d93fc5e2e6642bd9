//! Conversations of version 1 as they were recorded, held again with this program at one side.
//!
//! What the recorded side is told stays as it was, so every byte this side gives back has to be
//! the recorded one, except that its hello says that it knows version 2 and its faults
//! as well.

use super::ends::End;
use super::transcript::{Entry, decode};
use crate::wire::{ControlReader, DataReader, Frame, Message};
use crate::{Side, WireError};

fn replay(file: &[u8], side: Side) {
    let mut end = End::new(side);
    let (mut wanted, mut given) = (<[Vec<u8>; 2]>::default(), <[Vec<u8>; 2]>::default());
    for entry in decode(file) {
        match entry {
            Entry::ControlSent(bytes) => wanted[0].extend(bytes),
            Entry::DataSent(bytes) => wanted[1].extend(bytes),
            // The first byte of a stream names its lane; the transport reads it.
            Entry::Data(bytes) if !end.has_data => {
                end.has_data = true;
                end.play(Entry::Data(bytes[1..].to_vec()));
            }
            entry => end.play(entry),
        }
        for sent in std::mem::take(&mut end.log) {
            match sent {
                Entry::ControlSent(bytes) => given[0].extend(bytes),
                Entry::DataSent(bytes) => given[1].extend(bytes),
                other => panic!("{other:?} is nothing that is sent"),
            }
        }
        assert_eq!(end.fault, None);
    }
    let given_messages: Vec<Message> =
        messages(&given[0]).into_iter().map(in_version_one).collect();
    assert_eq!(given_messages, messages(&wanted[0]));
    assert_eq!(frames(&given[1]), frames(wanted[1].get(1..).unwrap_or_default()));
}

fn in_version_one(message: Message) -> Message {
    match message {
        Message::Hello(mut hello) => {
            assert_eq!(hello.versions, (1, 2));
            hello.versions = (1, 1);
            assert_eq!(hello.features, 2);
            hello.features = 0;
            Message::Hello(hello)
        }
        other => other,
    }
}

fn messages(bytes: &[u8]) -> Vec<Message> {
    let mut reader = ControlReader::default();
    reader.extend(bytes);
    std::iter::from_fn(|| reader.next().unwrap()).collect()
}

fn frames(bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    let read = DataReader::default().read(bytes, |frame| {
        frames.push(frame);
        Ok::<(), WireError>(())
    });
    read.unwrap();
    frames
}

#[test]
fn a_cold_conversation_of_version_one_gets_the_same_bytes() {
    replay(include_bytes!("../../tests/fixtures/v1-cold-dialled.bin"), Side::Dialled);
    replay(include_bytes!("../../tests/fixtures/v1-cold-accepted.bin"), Side::Accepted);
}

#[test]
fn differences_both_ways_in_version_one_get_the_same_bytes() {
    replay(include_bytes!("../../tests/fixtures/v1-both-dialled.bin"), Side::Dialled);
    replay(include_bytes!("../../tests/fixtures/v1-both-accepted.bin"), Side::Accepted);
}

#[test]
fn pushes_names_and_checks_in_version_one_get_the_same_bytes() {
    replay(include_bytes!("../../tests/fixtures/v1-live-dialled.bin"), Side::Dialled);
    replay(include_bytes!("../../tests/fixtures/v1-live-accepted.bin"), Side::Accepted);
}
