//! Two links to one peer: both sides keep the same one.

use super::crew::{Crew, at};
use crate::{CloseReason, Input, LinkId};

fn open_links(crew: &Crew) -> Vec<Vec<LinkId>> {
    crew.nodes.iter().map(|node| node.replica.links().map(|(link, _)| link).collect()).collect()
}

/// The index of the node with the smaller device id, then the other.
fn by_id(crew: &Crew) -> (usize, usize) {
    if crew.nodes[0].device() < crew.nodes[1].device() { (0, 1) } else { (1, 0) }
}

#[test]
fn of_two_links_dialled_at_once_both_keep_that_of_the_smaller_device() {
    let (mut crew, _) = Crew::new(2);
    let (small, large) = by_id(&crew);
    let (worse, _) = crew.connect(large, small);
    let (better, better_end) = crew.connect(small, large);
    crew.run();
    crew.seal(0, b"a");
    crew.pass(5_000);
    let open = open_links(&crew);
    assert_eq!(open[small], [better]);
    assert_eq!(open[large], [better_end]);
    let reasons = &crew.nodes[large].closed;
    assert!(reasons.iter().all(|(_, reason)| !reason.is_fault()), "{reasons:?}");
    assert!(reasons.iter().any(|(link, _)| *link == worse));
    crew.assert_equal();
}

#[test]
fn a_later_link_of_the_same_dialler_replaces_the_earlier() {
    let (mut crew, _) = Crew::new(2);
    crew.connect(0, 1);
    crew.run();
    let (later, later_end) = crew.connect(0, 1);
    crew.run();
    assert_eq!(open_links(&crew), [vec![later], vec![later_end]]);
    assert!(crew.nodes.iter().all(|node| node.in_step().is_some()));
}

#[test]
fn of_two_links_that_one_device_dialled_at_once_both_keep_the_same() {
    let (mut crew, _) = Crew::new(2);
    let (earlier, earlier_end) = crew.connect(0, 1);
    let (later, later_end) = crew.connect(0, 1);
    crew.deliver(0, earlier);
    crew.deliver(1, earlier_end);
    crew.deliver(0, later);
    // The other side gives the earlier link up, but the later one's answer arrives before that.
    crew.deliver(1, later_end);
    crew.run();
    assert_eq!(open_links(&crew), [vec![later], vec![later_end]]);
    crew.seal(0, b"a");
    crew.run();
    crew.assert_equal();
}

#[test]
fn a_dead_better_link_gives_way_to_a_worse_one_that_lives() {
    let (mut crew, _) = Crew::new(2);
    let (small, large) = by_id(&crew);
    let (dead, dead_end) = crew.connect(small, large);
    crew.run();
    crew.now += 30_000;
    // Only the larger device notices that the link is gone.
    crew.input(large, Input::LinkDown { link: dead_end });
    let (alive, alive_end) = crew.connect(large, small);
    crew.run();
    assert_eq!(open_links(&crew)[small].len(), 2);
    crew.pass(4_000);
    assert_eq!(open_links(&crew)[small], [alive_end]);
    assert_eq!(open_links(&crew)[large], [alive]);
    assert!(crew.nodes[small].closed.contains(&(dead, CloseReason::Duplicate)));
    crew.seal(0, b"a");
    crew.run();
    crew.assert_equal();
}

#[test]
fn who_starts_anew_at_once_is_not_turned_away_for_its_own_dead_link() {
    let (mut crew, _) = Crew::new(2);
    for _ in 0..3 {
        crew.connect(0, 1);
        crew.run();
    }
    crew.kill(0);
    crew.now += 10;
    let (alive, alive_end) = crew.connect(0, 1);
    crew.run();
    assert_eq!(open_links(&crew), [vec![alive], vec![alive_end]]);
    assert!(crew.nodes[0].in_step().is_some());
}

#[test]
fn a_silent_peer_is_given_up_and_a_number_in_use_is_refused() {
    let (mut crew, _) = Crew::new(2);
    let (link, end) = crew.connect(0, 1);
    crew.run();
    crew.input(1, Input::LinkDown { link: end });
    let again = Input::LinkUp {
        link,
        peer: crew.nodes[1].device(),
        side: crate::Side::Dialled,
        channel_key: [0; 32],
        filter: None,
    };
    assert!(crew.nodes[0].replica.handle(at(crew.now), again).is_err());
    crew.pass(300_000);
    assert!(open_links(&crew)[0].is_empty());
    assert_eq!(crew.nodes[0].closed.len(), 1);
}
