//! What a connection carries through bad networks, at what price, and what ends it.
//!
//! Everything here happens in virtual time on the network in memory.

use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::{Instant, sleep};

use super::ether::{Fate, Passage, Weather};
use super::pair::{Pair, accept, content, endpoint_at, host, place, receive, send};
use super::*;
use crate::endpoint::{DIAL_TIMEOUT, IDLE_TIMEOUT};
use crate::{ClosedReason, DialError};

const SECOND: Duration = Duration::from_secs(1);

/// A lane each way at once, to the end.
async fn exchange(pair: &Pair, size: usize) {
    let take = async |connection: &Connection, lane| {
        receive(accept(connection, lane).await, lane, size).await;
    };
    tokio::join!(
        send(&pair.dialled, 1, size),
        send(&pair.accepted, 2, size),
        take(&pair.accepted, 1),
        take(&pair.dialled, 2),
    );
}

/// Fails unless both sent at most so many bytes more than what they had to: headers,
/// acknowledgements, and what was sent again.
#[track_caller]
fn assert_thrift(pair: &Pair, sent_before: usize, payload: usize, spare: usize) {
    let sent = pair.sent() - sent_before;
    println!("{sent} bytes sent for {payload}");
    assert!(sent <= payload + spare, "{sent} bytes sent for {payload}");
}

#[tokio::test(start_paused = true)]
async fn everything_arrives_whole_through_loss_repetition_and_disorder() {
    const SIZE: usize = 300_000;
    for seed in 1..=8 {
        let pair = Pair::new(seed, Weather::ROUGH).await;
        let before = pair.sent();
        exchange(&pair, SIZE).await;
        let log = pair.ether.log();
        let fell = |fate| log.iter().filter(|passage| passage.fate == fate).count();
        assert!(fell(Fate::Lost) > 10 && fell(Fate::ArrivesTwice) > 2, "the weather was fine");
        // A twentieth is lost, and disorder makes some look lost that are not.
        assert_thrift(&pair, before, 2 * SIZE, SIZE * 6 / 10);
    }
}

#[tokio::test(start_paused = true)]
async fn a_transfer_goes_on_after_a_short_partition_and_repeats_little() {
    const SIZE: usize = 400_000;
    let weather = Weather { rate: Some(1_000_000), queue: 60_000, ..Weather::CLEAR };
    let pair = Pair::new(1, weather).await;
    let before = pair.sent();
    let breaks = async {
        sleep(SECOND).await;
        pair.set(Weather::CUT);
        sleep(IDLE_TIMEOUT / 2).await;
        pair.set(weather);
    };
    let take = async { receive(accept(&pair.accepted, 1).await, 1, SIZE).await };
    let (took, (), ()) = tokio::join!(take, breaks, send(&pair.dialled, 1, SIZE));
    println!("whole after {took:?}");
    assert!(took > IDLE_TIMEOUT / 2 + Duration::from_secs(3), "it was in the middle");
    assert!(took < IDLE_TIMEOUT + Duration::from_secs(6), "{took:?}");
    assert_eq!(pair.dialled.close_reason(), None);
    // Beside headers: what slow start sent beyond the queue, and what was under way at the cut.
    assert_thrift(&pair, before, SIZE, 120_000);
}

#[tokio::test(start_paused = true)]
async fn a_long_partition_ends_the_connection_on_both_sides_and_the_next_dial_works() {
    let pair = Pair::new(1, Weather::CLEAR).await;
    pair.set(Weather::CUT);
    let began = Instant::now();
    let (here, there) = tokio::join!(pair.dialled.closed(), pair.accepted.closed());
    assert_eq!((here, there), (ClosedReason::TimedOut, ClosedReason::TimedOut));
    assert!(began.elapsed() <= IDLE_TIMEOUT + SECOND, "{:?}", began.elapsed());

    let began = Instant::now();
    let (address, tenant) = (place(1), pair.tenant.id());
    let error = pair.client.dial(address, tenant).await.unwrap_err();
    assert_eq!(error, DialError::NoAnswer { address });
    assert!(began.elapsed() <= DIAL_TIMEOUT + SECOND);
    pair.set(Weather::CLEAR);
    let dial = pair.client.dial(address, tenant);
    let (accepted, dialled) = tokio::join!(accept_peer(&pair.server), dial);
    converse(&accepted, &dialled.unwrap()).await;
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_cut_in_one_direction_only_is_noticed_on_both_sides() {
    let pair = Pair::new(1, Weather::CLEAR).await;
    pair.ether.set(host(1), Weather::CUT);
    let (dialled, accepted) = (pair.dialled.clone(), pair.accepted.clone());
    let began = Instant::now();
    let (here, there) = tokio::join!(dialled.closed(), accepted.closed());
    // The one that hears nothing gives up; the other hears nothing from then on.
    assert_eq!((here, there), (ClosedReason::TimedOut, ClosedReason::TimedOut));
    assert!(began.elapsed() <= 2 * IDLE_TIMEOUT + SECOND, "{:?}", began.elapsed());
}

/// A transfer during which something happens to the network after a second.
async fn transfer_with(pair: &Pair, size: usize, happens: impl FnOnce()) {
    let happening = async {
        sleep(SECOND).await;
        happens();
    };
    let take = async { receive(accept(&pair.accepted, 1).await, 1, size).await };
    let give = send(&pair.dialled, 1, size);
    let (took, (), ()) = tokio::join!(take, happening, give);
    println!("whole after {took:?}");
    assert!(took > 2 * SECOND, "it was in the middle: {took:?}");
    assert!(took < 20 * SECOND, "{took:?}");
}

/// A link on which a transfer of half a megabyte takes seconds.
const MODEST: Weather = Weather {
    rate: Some(1_000_000),
    queue: 60_000,
    delay: Duration::from_millis(20),
    ..Weather::CLEAR
};

/// What a move may cost: the new way is tried as carefully as a new connection would.
const MOVE_SPARE: usize = 240_000;

#[tokio::test(start_paused = true)]
async fn a_device_that_changes_to_another_network_goes_on_with_its_transfer() {
    const SIZE: usize = 500_000;
    let pair = Pair::new(1, MODEST).await;
    let before = pair.sent();
    transfer_with(&pair, SIZE, || {
        pair.ether.remove(place(2));
        pair.ether.set(host(3), MODEST);
        pair.client.move_to(pair.ether.socket(place(3))).unwrap();
    })
    .await;
    assert_eq!(pair.accepted.remote_address(), place(3));
    assert_eq!(pair.dialled.close_reason(), None);
    assert_thrift(&pair, before, SIZE, MOVE_SPARE);
}

#[tokio::test(start_paused = true)]
async fn a_router_that_forgets_a_device_does_not_end_its_transfer() {
    const SIZE: usize = 500_000;
    let pair = Pair::new(1, MODEST).await;
    let before = pair.sent();
    let outside = ([192, 0, 2, 1], 40_001).into();
    transfer_with(&pair, SIZE, || pair.ether.translate(place(2), outside)).await;
    assert_eq!(pair.accepted.remote_address(), outside);
    assert_eq!(pair.dialled.close_reason(), None);
    assert_thrift(&pair, before, SIZE, MOVE_SPARE);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_changes_its_address_is_lost_and_found_by_dialling() {
    let pair = Pair::new(1, Weather::CLEAR).await;
    pair.ether.remove(place(1));
    pair.server.move_to(pair.ether.socket(place(4))).unwrap();
    let dial = pair.client.dial(place(4), pair.tenant.id());
    let (accepted, dialled) = tokio::join!(accept_peer(&pair.server), dial);
    converse(&accepted, &dialled.unwrap()).await;
}

#[tokio::test(start_paused = true)]
async fn over_a_satellite_a_connection_takes_one_round_trip_and_a_question_another() {
    const ROUND_TRIP: Duration = Duration::from_millis(600);
    let began = Instant::now();
    let pair = Pair::new(1, Weather::SATELLITE).await;
    // The dialler is ready after one; the server hears of that half a round trip later.
    let connected = began.elapsed();
    assert!(connected < ROUND_TRIP * 3 / 2 + SECOND / 10, "{connected:?}");
    converse(&pair.accepted, &pair.dialled).await;
    let began = Instant::now();
    let take = async { receive(accept(&pair.accepted, 1).await, 1, 1_000_000).await };
    let (took, ()) = tokio::join!(take, send(&pair.dialled, 1, 1_000_000));
    println!("a megabyte after {took:?}, acknowledged after {:?}", began.elapsed());
    // Slow start doubles what is under way with each round trip.
    assert!(took < 9 * ROUND_TRIP, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_narrow_link_is_used_fully_and_its_small_queue_is_not_flooded() {
    const SIZE: usize = 64_000;
    let pair = Pair::new(1, Weather::NARROW).await;
    let before = pair.sent();
    let take = async { receive(accept(&pair.accepted, 1).await, 1, SIZE).await };
    let (took, ()) = tokio::join!(take, send(&pair.dialled, 1, SIZE));
    println!("{SIZE} bytes after {took:?}");
    // 8 s is what the link takes for the bytes alone.
    assert!(took >= 8 * SECOND && took < 12 * SECOND, "{took:?}");
    // Slow start finds the size of the queue by flooding it once.
    assert_thrift(&pair, before, SIZE, 36_000);
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_stays_and_costs_next_to_nothing() {
    let pair = Pair::new(1, Weather::ROUGH).await;
    converse(&pair.accepted, &pair.dialled).await;
    sleep(SECOND).await;
    let before = pair.sent();
    sleep(10 * 60 * SECOND).await;
    assert_eq!(pair.dialled.close_reason(), None);
    let per_minute = (pair.sent() - before) / 10;
    println!("{per_minute} bytes a minute");
    assert!(per_minute < 2_500, "{per_minute} bytes a minute");
}

#[tokio::test(start_paused = true)]
async fn strangers_are_refused_in_bad_weather_too() {
    for seed in 1..=4 {
        let pair = Pair::new(seed, Weather::ROUGH).await;
        let stranger = Tenant::new(40);
        let other = endpoint_at(&pair.ether, 3, &stranger, &device(12));
        pair.ether.set(host(3), Weather::ROUGH);
        let address = place(1);
        let refused = other.dial(address, stranger.id()).await.unwrap_err();
        let reason = ClosedReason::TenantNotServed;
        assert_eq!(refused, DialError::Refused { address, reason });
    }
}

/// What a rough hour looks like on the network.
fn rough_hour(seed: u64) -> Vec<Passage> {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let pair = Pair::new(seed, Weather::ROUGH).await;
        exchange(&pair, 60_000).await;
        pair.client.move_to(pair.ether.socket(place(3))).unwrap();
        let mut lane = pair.dialled.open_lane(0).await.unwrap();
        lane.write(&content(0, 30_000)).await.unwrap();
        sleep(60 * SECOND).await;
        pair.ether.log()
    })
}

#[test]
fn the_same_seed_gives_the_same_datagrams_at_the_same_moments() {
    let first = rough_hour(5);
    assert!(first.len() > 150, "{}", first.len());
    let again = rough_hour(5);
    let differs = first.iter().zip(&again).position(|(one, other)| one != other);
    assert_eq!(differs.map(|at| (at, first[at], again[at])), None);
    assert_eq!(first.len(), again.len());
    assert!(first != rough_hour(6));
}
