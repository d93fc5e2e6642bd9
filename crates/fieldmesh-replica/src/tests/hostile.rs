//! What a peer that breaks the rules gets: a closed link, and nothing else changes.

use fieldmesh_batch::Batch;
use fieldmesh_model::{Moment, Role};

use super::crew::{Author, Crew, Node, Office, at, input, key_of, keys};
use crate::{CloseReason, Event, Held, Input, LinkId, Output, RefuseReason, Side};

/// A deterministic stream of bytes.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next().to_be_bytes()[3]).collect()
    }
}

#[test]
fn random_bytes_never_panic_and_end_the_link() {
    for seed in 1..200 {
        let mut noise = Noise(seed);
        let (mut crew, _) = Crew::new(2);
        crew.seal(0, b"a");
        let side = if seed % 2 == 0 { Side::Dialled } else { Side::Accepted };
        let link = LinkId(1);
        let peer = crew.nodes[1].device();
        crew.input(0, Input::LinkUp { link, peer, side, channel_key: [1; 32], filter: None });
        for _ in 0..20 {
            let length = 1 + noise.below(300);
            let bytes = noise.bytes(length);
            crew.input(0, input(link, noise.below(4), bytes));
        }
        crew.pass(200_000);
        assert_eq!(crew.nodes[0].closed.len(), 1, "seed {seed}");
        assert_eq!(crew.nodes[0].replica.len(), 1);
    }
}

#[test]
fn a_conversation_with_one_byte_changed_never_panics_and_honest_work_goes_on() {
    for seed in 1..300_u64 {
        let mut noise = Noise(seed);
        let (mut crew, _) = Crew::new(2);
        for index in 0..10_u8 {
            crew.seal(0, &[index; 40]);
            crew.seal(1, &[index; 50]);
        }
        crew.connect(0, 1);
        crew.chunk = 1 + noise.below(60);
        crew.fault = Some((noise.below(4_000), noise.next().to_be_bytes()[0] | 1));
        crew.run();
        crew.pass(200_000);
        for node in [0, 1] {
            let links: Vec<LinkId> = crew.nodes[node].replica.links().map(|(id, _)| id).collect();
            for link in links {
                crew.cut(node, link);
            }
        }
        crew.connect(0, 1);
        crew.pass(1_000);
        crew.assert_equal();
        assert_eq!(crew.nodes[0].replica.len(), 20, "seed {seed}");
    }
}

#[test]
fn another_tenants_device_gets_no_conversation() {
    let (mut crew, _) = Crew::new(1);
    let mut other = Office::new(99);
    other.certify(&keys(5), Role::Operator);
    crew.nodes.push(Node::new(5, &other));
    crew.seal(0, b"secret");
    crew.connect(1, 0);
    crew.run();
    assert!(matches!(&crew.nodes[0].closed[..], [(_, CloseReason::Fault(_))]));
    assert_eq!(crew.nodes[1].replica.len(), 0);
    let shown = crew.nodes[1].events.len();
    assert_eq!(shown, 0, "not even a greeting");
}

#[test]
fn a_device_without_a_certificate_learns_nothing_of_the_batches() {
    let (mut crew, office) = Crew::new(1);
    crew.nodes.push(Node::new(7, &office));
    crew.seal(0, b"secret");
    crew.connect(1, 0);
    crew.run();
    assert_eq!(crew.nodes[1].replica.len(), 0);
    assert!(crew.nodes.iter().any(|node| !node.closed.is_empty()));
}

/// Makes a node offer a batch although its policy would refuse it.
fn smuggle(node: &mut Node, batch: &Batch) {
    node.disk.insert(batch.id(), batch.clone());
    node.replica.smuggle(&Held::of(batch));
}

/// A replica that holds `batches` although its policy would refuse them.
fn with_smuggled(batches: &[Batch]) -> Crew {
    let (mut crew, _) = Crew::new(2);
    for batch in batches {
        smuggle(&mut crew.nodes[0], batch);
    }
    crew.seal(0, b"honest");
    crew
}

#[test]
fn refused_batches_settle_in_step_and_are_not_fetched_again() {
    let tenant = Office::new(200).tenant;
    let unknown = Author::new(50, tenant).seal(1, b"unknown author");
    let foreign = Author::new(1, Office::new(98).tenant).seal(1, b"foreign tenant");
    let mut bytes = Author::new(2, tenant).seal(1, b"bad signature").encode();
    bytes[fieldmesh_batch::HEADER_LENGTH] ^= 1;
    let forged = Batch::decode(&bytes).unwrap();
    let mut crew = with_smuggled(&[unknown, foreign, forged]);
    crew.connect(0, 1);
    crew.run();
    assert_eq!(crew.nodes[1].replica.len(), 1);
    assert_eq!(crew.nodes[1].in_step().unwrap().refused, 3);
    let reasons: Vec<&RefuseReason> = crew.nodes[1]
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Refused { reason, .. } => Some(reason),
            _ => None,
        })
        .collect();
    assert!(reasons.iter().any(|reason| matches!(reason, RefuseReason::Tenant { .. })));
    assert!(reasons.iter().any(|reason| matches!(reason, RefuseReason::Signature(_))));
    assert!(reasons.iter().any(|reason| matches!(reason, RefuseReason::Policy(_))));
    crew.delivered = [0, 0];
    crew.pass(600_000);
    assert_eq!(crew.delivered[1], 0);
    assert_eq!(crew.nodes[1].refused(), 3);
}

#[test]
fn a_bad_copy_does_not_stand_in_the_way_of_the_good_one() {
    let (mut crew, _) = Crew::new(3);
    let good = crew.seal(2, b"good");
    let mut bytes = good.encode();
    bytes[fieldmesh_batch::HEADER_LENGTH + 5] ^= 1;
    smuggle(&mut crew.nodes[0], &Batch::decode(&bytes).unwrap());
    crew.connect(0, 1);
    crew.run();
    assert!(!crew.nodes[1].replica.contains(&key_of(&good)));
    crew.connect(2, 1);
    crew.run();
    assert!(crew.nodes[1].replica.contains(&key_of(&good)));
}

#[test]
fn a_peer_that_only_sends_refused_batches_is_closed() {
    let mut stranger = Author::new(50, Office::new(200).tenant);
    let count = fieldmesh_session::limits::EXCLUDED_MAX + 1;
    let batches: Vec<Batch> = (0..count).map(|_| stranger.seal(1, b"x")).collect();
    let mut crew = with_smuggled(&batches);
    crew.connect(0, 1);
    crew.run();
    assert!(matches!(&crew.nodes[1].closed[..], [(_, CloseReason::Fault(_))]));
    assert!(crew.nodes[1].replica.waiting_count() < count + 1);
}

#[test]
fn an_honest_sender_waits_for_the_disk_of_its_peer() {
    let (mut crew, _) = Crew::new(2);
    crew.nodes[1].is_slow = true;
    crew.connect(0, 1);
    crew.run();
    let mut noise = Noise(9);
    for _ in 0..60 {
        crew.seal(0, &noise.bytes(60_000));
        crew.run();
    }
    let waiting = crew.nodes[1].writing.len() * 60_000;
    assert!((900_000..1_100_000).contains(&waiting), "{waiting}");
    crew.nodes[1].is_slow = false;
    let now = at(crew.now);
    crew.nodes[1].finish_writing(now);
    crew.perform(1);
    crew.run();
    crew.assert_equal();
}

#[test]
fn a_recorded_conversation_replayed_into_a_fresh_link_changes_nothing() {
    let (mut crew, _) = Crew::new(2);
    for index in 0..30_u8 {
        crew.seal(0, &[index; 100]);
    }
    let now = Moment::from_millis(0);
    crew.recorded = Some(Vec::new());
    crew.connect(0, 1);
    crew.run();
    let recorded = crew.recorded.take().unwrap();
    let root = crew.nodes[1].replica.root();
    let link = LinkId(900);
    let peer = crew.nodes[0].device();
    for side in [Side::Accepted, Side::Dialled] {
        crew.input(1, Input::LinkUp { link, peer, side, channel_key: [8; 32], filter: None });
        for (stream, bytes) in &recorded {
            let bytes = bytes.clone();
            crew.nodes[1].replica.handle(now, input(link, *stream, bytes)).unwrap();
            while let Some(output) = crew.nodes[1].replica.poll() {
                assert!(!matches!(output, Output::StoreBatches { .. }));
            }
        }
        crew.input(1, Input::LinkDown { link });
        assert_eq!(crew.nodes[1].replica.root(), root);
    }
}
