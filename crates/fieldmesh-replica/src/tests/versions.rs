//! Peers of the first version, which know no runs and no parts of the sets.

use fieldmesh_identity::Access;
use fieldmesh_model::Role;

use super::crew::{Crew, Node, Office, keys};
use crate::{CloseReason, SessionError};

#[test]
fn an_old_peer_gets_every_batch_with_its_signature_and_completes_those_of_others() {
    let (mut crew, _) = Crew::new(3);
    crew.nodes[2].replica.speak_first_version();
    for number in 0..20_u8 {
        crew.seal(0, &[number]);
    }
    crew.connect(0, 1);
    crew.run();
    let unsigned = |node: &Node| node.disk.values().filter(|batch| !batch.is_signed()).count();
    assert!(unsigned(&crew.nodes[1]) > 10);
    crew.connect(1, 2);
    crew.run();
    assert!(crew.nodes[2].in_step().is_some());
    assert_eq!(crew.nodes[2].replica.len(), 20 - unsigned(&crew.nodes[1]));
    crew.connect(2, 0);
    crew.pass(300_000);
    crew.assert_equal();
    assert_eq!(unsigned(&crew.nodes[2]), 0);
    assert_eq!(unsigned(&crew.nodes[1]), 0, "what lacked a signature has it");
    assert!(crew.nodes.iter().all(|node| node.closed.is_empty() && node.refused() == 0));
}

#[test]
fn an_old_peer_that_may_read_a_part_only_is_told_so_and_gets_nothing() {
    let mut office = Office::new(200);
    office.certify(&keys(1), Role::Operator);
    let read = Access { partitions: [7].into(), ..Access::ALL };
    office.certify_for(&keys(2), Role::Client, read);
    let nodes = [1, 2].map(|seed| Node::new(seed, &office)).into();
    let mut crew = Crew::of(nodes);
    crew.nodes[1].replica.speak_first_version();
    crew.seal(0, b"entry");
    crew.connect(1, 0);
    crew.run();
    let faults =
        crew.nodes.iter().flat_map(|node| &node.closed).filter(|(_, reason)| {
            matches!(reason, CloseReason::Fault(SessionError::Version { .. }))
        });
    assert!(faults.count() >= 1);
    assert!(crew.nodes[1].replica.is_empty());
}
