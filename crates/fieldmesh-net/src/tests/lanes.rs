//! Data streams by lane: what names them, which goes first, and what a peer may not do.

use std::time::Duration;

use tokio::time::timeout;

use super::ether::Weather;
use super::pair::{Pair, accept, content, host, receive, send};
use crate::endpoint::STREAM_WINDOW;
use crate::{CloseCode, ClosedReason, LaneError};

#[tokio::test(start_paused = true)]
async fn every_lane_carries_its_own_bytes_both_ways() {
    let pair = Pair::new(1, Weather::CLEAR).await;
    for (from, to) in [(&pair.dialled, &pair.accepted), (&pair.accepted, &pair.dialled)] {
        let take = async {
            for lane in [0, 1, 2] {
                receive(accept(to, lane).await, lane, 5_000).await;
            }
        };
        let give = async {
            for lane in [0, 1, 2] {
                send(from, lane, 5_000).await;
            }
        };
        tokio::join!(take, give);
    }
}

#[tokio::test(start_paused = true)]
async fn the_older_single_stream_and_a_lane_are_the_same_bytes() {
    let pair = Pair::new(1, Weather::CLEAR).await;
    let mut by_hand = pair.dialled.open_data().await.unwrap();
    by_hand.write(&[1, b'h', b'i']).await.unwrap();
    let mut receiver = accept(&pair.accepted, 1).await;
    assert_eq!(receiver.read_chunk(9).await, Ok(Some(b"hi".to_vec())));
    let mut lane = pair.accepted.open_lane(1).await.unwrap();
    lane.write(b"ho").await.unwrap();
    let mut receiver = pair.dialled.accept_data().await.unwrap();
    let mut bytes = Vec::new();
    while bytes.len() < 3 {
        bytes.extend(receiver.read_chunk(9).await.unwrap().unwrap());
    }
    assert_eq!(bytes, [1, b'h', b'o']);
}

#[tokio::test(start_paused = true)]
async fn urgent_work_overtakes_a_backfill_that_fills_a_slow_link() {
    const BACKFILL: usize = 60_000;
    let pair = Pair::new(1, Weather::NARROW).await;
    let backfill = tokio::spawn({
        let dialled = pair.dialled.clone();
        async move { send(&dialled, 2, BACKFILL).await }
    });
    let receiver = accept(&pair.accepted, 2).await;
    let backfilled = tokio::spawn(receive(receiver, 2, BACKFILL));
    let waits = async {
        send(&pair.dialled, 0, 1_000).await;
        tokio::time::Instant::now()
    };
    let urgent = async { receive(accept(&pair.accepted, 0).await, 0, 1_000).await };
    let (_, urgent) = tokio::join!(waits, urgent);
    let backfilled = backfilled.await.unwrap();
    backfill.await.unwrap();
    println!("urgent after {urgent:?}, backfill after {backfilled:?}");
    assert!(backfilled > Duration::from_secs(7), "the link is slow: {backfilled:?}");
    assert!(urgent < Duration::from_millis(2_500), "{urgent:?} behind the backfill");
}

#[tokio::test(start_paused = true)]
async fn control_messages_pass_by_lanes_that_have_much_to_send() {
    let pair = Pair::new(1, Weather::NARROW).await;
    let (mut ask, mut told) = pair.dialled.control().await.unwrap();
    ask.write(b"?").await.unwrap();
    let (mut tell, mut asked) = pair.accepted.control().await.unwrap();
    assert_eq!(asked.read_chunk(9).await, Ok(Some(b"?".to_vec())));
    let mut lane = pair.accepted.open_lane(0).await.unwrap();
    // All of it fits the sender's window and waits there for the link.
    lane.write(&content(0, 200_000)).await.unwrap();
    let began = tokio::time::Instant::now();
    tell.write(b"!").await.unwrap();
    assert_eq!(told.read_chunk(9).await, Ok(Some(b"!".to_vec())));
    assert!(began.elapsed() < Duration::from_millis(2_500), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_neither_backfill_nor_recent_still_hears_what_is_urgent() {
    let pair = Pair::new(1, Weather::CLEAR).await;
    let mut unread = Vec::new();
    for code in [2, 1] {
        let mut lane = pair.dialled.open_lane(code).await.unwrap();
        let mut written = 0;
        let piece = content(code, 64 * 1024);
        while timeout(Duration::from_secs(30), lane.write(&piece)).await.is_ok() {
            written += piece.len();
        }
        assert!(written < STREAM_WINDOW as usize, "{written} bytes are kept for a slow reader");
        unread.push(lane);
    }
    // Dropping a receiver would tell the sender to stop.
    let _backfill = accept(&pair.accepted, 2).await;
    let _recent = accept(&pair.accepted, 1).await;
    let urgent = async { receive(accept(&pair.accepted, 0).await, 0, 500_000).await };
    let (took, ()) = tokio::join!(urgent, send(&pair.dialled, 0, 500_000));
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_nobody_knows_ends_the_connection_with_a_reason() {
    let pair = Pair::new(1, Weather::CLEAR).await;
    let unknown = LaneError::Unknown { code: 3 };
    assert_eq!(pair.dialled.open_lane(3).await.unwrap_err(), unknown);
    assert_eq!(pair.dialled.close_reason(), None, "an own mistake costs no connection");
    pair.dialled.open_data().await.unwrap().write(&[3]).await.unwrap();
    assert_eq!(pair.accepted.accept_lane().await.unwrap_err(), unknown);
    let text = unknown.to_string();
    let reason = ClosedReason::There { code: CloseCode::Protocol, text };
    assert_eq!(pair.dialled.closed().await, reason);
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_is_opened_twice_ends_the_connection() {
    let pair = Pair::new(1, Weather::CLEAR).await;
    let _first = pair.dialled.open_lane(1).await.unwrap();
    let _second = pair.dialled.open_lane(1).await.unwrap();
    let _first = accept(&pair.accepted, 1).await;
    let repeated = LaneError::Repeated { code: 1 };
    assert_eq!(pair.accepted.accept_lane().await.unwrap_err(), repeated);
    assert!(matches!(
        pair.dialled.closed().await,
        ClosedReason::There { code: CloseCode::Protocol, .. }
    ));
}

#[tokio::test(start_paused = true)]
async fn a_peer_cannot_hold_more_streams_open_than_there_are_lanes() {
    let pair = Pair::new(1, Weather::CLEAR).await;
    let mut open = Vec::new();
    for lane in [0, 1, 2] {
        open.push(pair.dialled.open_lane(lane).await.unwrap());
    }
    let fourth = timeout(Duration::from_secs(60), pair.dialled.open_data()).await;
    assert!(fourth.is_err(), "{fourth:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lane_whose_first_datagram_is_lost_does_not_hold_up_the_next() {
    let pair = Pair::new(1, Weather::CLEAR).await;
    let cut = Weather::CUT;
    pair.ether.set(host(2), cut);
    let _late = pair.dialled.open_lane(2).await.unwrap();
    // Long enough to be sent, too short for a second try.
    tokio::time::sleep(Duration::from_millis(2)).await;
    pair.ether.set(host(2), Weather::CLEAR);
    let mut early = pair.dialled.open_lane(0).await.unwrap();
    early.write(b"go").await.unwrap();
    let (first, _) = pair.accepted.accept_lane().await.unwrap();
    let (second, _) = pair.accepted.accept_lane().await.unwrap();
    assert_eq!((first, second), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_lane_can_be_given_up_without_losing_it() {
    let pair = Pair::new(1, Weather::SATELLITE).await;
    let opens = async {
        let mut lane = pair.dialled.open_lane(1).await.unwrap();
        lane.write(b"here").await.unwrap();
        lane
    };
    let takes = async {
        loop {
            // The stream arrives in one of these waits; each is dropped.
            let wait = Duration::from_millis(7);
            if let Ok(lane) = timeout(wait, pair.accepted.accept_lane()).await {
                break lane.unwrap();
            }
        }
    };
    let (_lane, (code, mut receiver)) = tokio::join!(opens, takes);
    assert_eq!(code, 1);
    assert_eq!(receiver.read_chunk(9).await, Ok(Some(b"here".to_vec())));
}
