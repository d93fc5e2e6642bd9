//! A peer that sends anything. Goal: no panic, and nothing that costs more than the limits allow.
//! Method: random bytes, flipped bits and random nodes from seeds.

use std::collections::BTreeSet;

use fieldmesh_trie::wire::{DESCRIBED, IDS_MAX, NODES_MAX};
use fieldmesh_trie::{
    Budget, DecodeError, Form, Key, Node, Prefix, Rest, Trie, Want, answer, decode, decode_wants,
    encode, encode_wants, first_answer, named,
};

use crate::crew::{CHANNEL, Seeded, Year, trie};

const FORM: Form = CHANNEL.form();

/// A hash or an id that fits the form.
fn short(seeded: &mut Seeded) -> u64 {
    seeded.next() >> (64 - 8 * FORM.hash_length())
}

fn crew_trie(size: usize) -> Trie {
    trie(&Year::new(3, 2).work(size), &[])
}

/// A prefix that leads somewhere in `keys`, or strays from there.
fn prefix(seeded: &mut Seeded, keys: &[Key]) -> Prefix {
    let key = &keys[seeded.below(keys.len())];
    let prefix = Prefix::of(key, seeded.below(40));
    if seeded.below(4) == 0 { prefix.child(seeded.below(16)) } else { prefix }
}

fn node(seeded: &mut Seeded, keys: &[Key]) -> Node {
    let prefix = prefix(seeded, keys);
    if seeded.below(2) == 0 {
        let known = |seeded: &mut Seeded| CHANNEL.short_id(&keys[seeded.below(keys.len())]);
        let ids = (0..seeded.below(40)).map(|_| match seeded.below(2) {
            0 => known(seeded),
            _ => short(seeded),
        });
        return Node::Ids { prefix, ids: ids.collect() };
    }
    let within = seeded.below(prefix.len() + 1);
    let bitmap = 1 + seeded.below(0xffff);
    let kids = (0..16).filter(|nibble| bitmap & 1 << nibble != 0);
    let kids = kids.map(|nibble| (nibble, [DESCRIBED, short(seeded)][seeded.below(2)])).collect();
    let others = !bitmap & 0xffff & seeded.below(0x1_0000);
    let rest = u16::try_from(others).ok().filter(|kids| *kids != 0);
    let rest = rest.map(|kids| Rest { kids, hash: short(seeded) });
    Node::Kids { prefix, within, kids, rest }
}

#[test]
fn random_bytes_are_refused_or_read_and_never_panic() {
    let mut seeded = Seeded(1);
    for _ in 0..30_000 {
        let length = seeded.below(80);
        let mut bytes: Vec<u8> =
            (0..length).map(|_| u8::try_from(seeded.below(256)).unwrap()).collect();
        if seeded.below(2) == 0 {
            bytes.iter_mut().for_each(|byte| *byte &= 0x83);
        }
        if let Ok(nodes) = decode(&bytes, FORM) {
            assert_eq!(decode(&encode(&nodes, FORM), FORM), Ok(nodes));
        }
        if let Ok(wants) = decode_wants(&bytes) {
            assert_eq!(encode_wants(&wants), bytes);
        }
    }
}

#[test]
fn a_message_with_a_flipped_bit_is_refused_or_answered_within_the_budget() {
    let mut seeded = Seeded(2);
    let mine = crew_trie(4_000);
    let bytes = encode(&first_answer(&crew_trie(3_900), &CHANNEL), FORM);
    for _ in 0..1_500 {
        let mut bytes = bytes.clone();
        let at = seeded.below(bytes.len());
        bytes[at] ^= 1 << seeded.below(8);
        if let Ok(nodes) = decode(&bytes, FORM) {
            check_answer(&mine, &nodes, Budget::default());
        }
    }
}

#[test]
fn any_nodes_are_answered_within_the_budget() {
    let mut seeded = Seeded(3);
    let mine = crew_trie(5_000);
    let keys: Vec<Key> = mine.iter().copied().collect();
    for round in 0..150 {
        let count = [3, 60, 2_000][round % 3];
        let mut nodes: Vec<Node> = (0..count).map(|_| node(&mut seeded, &keys)).collect();
        if round % 2 == 0 {
            nodes.sort_by_key(Node::region);
            nodes.dedup_by_key(|node| node.region());
            assert_eq!(decode(&encode(&nodes, FORM), FORM).as_ref(), Ok(&nodes));
        }
        let keys = [50, 65_536][seeded.below(2)];
        check_answer(&mine, &nodes, Budget { bytes: 8_192 * seeded.below(7), keys });
        let bits: Vec<u8> = (0..64).map(|_| u8::try_from(seeded.below(256)).unwrap()).collect();
        nodes.iter().for_each(|node| assert!(named(&mine, &CHANNEL, node, &bits).len() <= 512));
    }
}

#[test]
fn a_made_up_id_has_no_more_of_a_store_hashed_than_may_be_sent() {
    let mine = crew_trie(3_000);
    let nodes = [Node::Ids { prefix: Prefix::ALL, ids: vec![7] }];
    let small = Budget { keys: 100, ..Budget::default() };
    let reply = answer(&mine, &CHANNEL, &nodes, small);
    assert!(reply.is_cut && reply.lacks.len() == 100 && reply.nodes.is_empty());
    assert!(reply.wants.is_empty(), "that it is lacking shows only once all is hashed");
    let reply = answer(&mine, &CHANNEL, &nodes, Budget::default());
    assert!(!reply.is_cut && reply.lacks.len() == 3_000);
    assert_eq!(reply.wants, [Want { node: 0, bits: vec![1] }]);
}

/// The answer keeps to the budget, ends some time, and sends nothing twice.
fn check_answer(mine: &Trie, nodes: &[Node], budget: Budget) {
    let reply = answer(mine, &CHANNEL, nodes, budget);
    let bytes = encode(&reply.nodes, FORM);
    assert!(bytes.len() <= budget.bytes.max(Budget::BYTES_MIN), "{} B", bytes.len());
    assert!(reply.nodes.len() <= NODES_MAX && reply.lacks.len() <= budget.keys);
    assert_eq!(decode(&bytes, FORM).as_ref(), Ok(&reply.nodes));
    assert_eq!(decode_wants(&encode_wants(&reply.wants)).as_ref(), Ok(&reply.wants));
    if bytes.len() <= Budget::default().bytes {
        assert!(bytes.len() + encode_wants(&reply.wants).len() < 60 * 1024);
    }
    let lacks: BTreeSet<&Key> = reply.lacks.iter().collect();
    assert_eq!(lacks.len(), reply.lacks.len());
    let asked: BTreeSet<Prefix> = nodes.iter().map(Node::region).collect();
    let summed = |node: &Node| matches!(node, Node::Kids { rest: Some(_), .. });
    let sums: BTreeSet<Prefix> =
        nodes.iter().filter(|node| summed(node)).map(|node| *node.prefix()).collect();
    for node in &reply.nodes {
        assert!(!summed(node), "only a first answer has sums, so that exchanges end");
        let Node::Kids { .. } = node else { continue };
        let region = node.region();
        if sums.contains(&region) {
            continue;
        }
        let is_asked = |length| asked.contains(&region.first(length));
        assert!((0..region.len()).any(is_asked), "{region:?} is no part of what was asked");
    }
}

#[test]
fn the_dearest_messages_are_refused() {
    let ids = |count| Node::Ids { prefix: Prefix::ALL, ids: vec![1; count] };
    let too_many = Err(DecodeError::TooManyIds { count: IDS_MAX + 1 });
    assert_eq!(decode(&encode(&[ids(IDS_MAX + 1)], FORM), FORM), too_many);
    assert!(decode(&encode(&[ids(IDS_MAX)], FORM), FORM).is_ok());
    assert_eq!(
        decode(&encode(&[ids(1), ids(1)], FORM), FORM),
        Err(DecodeError::Order { index: 1 })
    );
    let mut key = [0; 46];
    let nodes: Vec<Node> = (0..=NODES_MAX)
        .map(|index| {
            key[..2].copy_from_slice(&u16::try_from(index).unwrap().to_be_bytes());
            Node::Ids { prefix: Prefix::from_bytes(&key[..2]), ids: vec![] }
        })
        .collect();
    assert_eq!(decode(&encode(&nodes, FORM), FORM), Err(DecodeError::TooManyNodes));
    assert_eq!(
        decode(&[0x80, 0, 0xff, 0xff], FORM),
        Err(DecodeError::TooManyIds { count: 0x7fff })
    );
    assert_eq!(decode(&[0x80, 0, 3, 0], FORM), Err(DecodeError::Short));
    assert_eq!(decode(&[1, 0], FORM), Err(DecodeError::Prefix));
    assert_eq!(decode(&[0, 0, 0, 0, 0], FORM), Err(DecodeError::NoKids));
    let hash = [0; FORM.hash_length()];
    let sum = |kids| [&[0, 0x80, 0, 0, 1][..], &hash, &[0, kids], &hash].concat();
    assert!(decode(&sum(2), FORM).is_ok());
    assert_eq!(decode(&sum(1), FORM), Err(DecodeError::NoKids), "a child is named once");
    assert_eq!(decode(&sum(0), FORM), Err(DecodeError::NoKids));
    assert_eq!(decode(&[0x80, 0x80, 0], FORM), Err(DecodeError::Prefix));
    let wants = [Want { node: 3, bits: vec![1] }, Want { node: 3, bits: vec![1] }];
    assert_eq!(decode_wants(&encode_wants(&wants)), Err(DecodeError::Want { index: 1 }));
    assert!(decode_wants(&encode_wants(&[Want { node: 3, bits: vec![1; 65] }])).is_err());
}

#[test]
fn the_bytes_of_a_message_are_pinned() {
    let key = Key::new([0x12; 8], 0x0102, [0xab; 32]);
    let prefix = Prefix::of(&key, 3);
    let kids = vec![(2, DESCRIBED), (15, 0x0304_0506_0708)];
    let nodes = [
        Node::Kids { prefix, within: 1, kids, rest: Some(Rest { kids: 0x0101, hash: 9 }) },
        Node::Ids { prefix: prefix.child(2), ids: vec![0x1314_1516_1718] },
    ];
    let bytes = encode(&nodes, Form::Summed);
    let expected = [
        &[0x00, 0x83, 0x12, 0x10, 0x82, 0x80, 0x04, 0x00, 0x04, 3, 4, 5, 6, 7, 8][..],
        &[1, 1, 0, 0, 0, 0, 0, 9],
        &[0x83, 1, 0x20, 1, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18],
    ];
    assert_eq!(bytes, expected.concat());
    assert_eq!(decode(&bytes, Form::Summed).unwrap(), nodes);
    let bytes = encode(&nodes, Form::Plain);
    let expected = [
        &[0x00, 0x83, 0x12, 0x10, 0x82, 0x80, 0x04, 0x00, 0x04, 0, 0, 3, 4, 5, 6, 7, 8][..],
        &[1, 1, 0, 0, 0, 0, 0, 0, 0, 9],
        &[0x83, 1, 0x20, 1, 0, 0, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18],
    ];
    assert_eq!(bytes, expected.concat());
    assert_eq!(decode(&bytes, Form::Plain).unwrap(), nodes);
}
