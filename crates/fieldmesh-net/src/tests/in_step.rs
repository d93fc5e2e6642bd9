//! Two replicas that come into step through real connections in bad networks.
//!
//! Goal: what the session promises holds over QUIC as it holds over perfect wires, and costs what
//! it should. Method: stores in memory, a seeded network, virtual time.

use std::convert::Infallible;
use std::time::Duration;

use fieldmesh_replica::{LinkId, LinkStats};
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep, timeout};

use super::ether::{Passage, Weather};
use super::pair::{Pair, host, place};
use super::participant::{Participant, members};
use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// So many different storms.
const SEEDS: u64 = 24;

/// A link on which a hundred batches take half a second.
const MODEST: Weather = Weather { rate: Some(1_000_000), queue: 60_000, ..Weather::CLEAR };

/// A pair whose ends are replicas: Ana has accepted, Ben has dialled.
struct Meeting {
    pair: Pair,
    ana: Participant,
    ben: Participant,
}

impl Meeting {
    /// Each holds so many batches with changes of so many bytes; the conversation has not begun.
    async fn new(seed: u64, weather: Weather, counts: [usize; 2], size: usize) -> Self {
        let (tenant, keys) = (Tenant::new(1), [device(10), device(11)]);
        let items = members(&tenant, [&keys[0], &keys[1]]);
        let [ana, ben] = [&keys[0], &keys[1]].map(|keys| Participant::new(items.clone(), keys));
        for (participant, count) in [(&ana, counts[0]), (&ben, counts[1])] {
            (0..count).for_each(|_| participant.record(size));
        }
        let pair = Pair::of(seed, weather, tenant, [&keys[0], &keys[1]]).await;
        Self { pair, ana, ben }
    }

    /// Begins the conversation over the connection that is there.
    /// Both give it the same number.
    fn begin(&self) -> LinkId {
        let link = self.ana.attach(self.pair.accepted.clone());
        assert_eq!(self.ben.attach(self.pair.dialled.clone()), link);
        link
    }

    /// Waits until both hold so many batches and know that they are in step.
    async fn until_in_step(&self, count: usize) {
        let is_so = |one: &Participant| one.count() == count && one.in_step().is_some();
        tokio::join!(self.ana.until(is_so), self.ben.until(is_so));
        assert_eq!(self.ana.root(), self.ben.root());
    }

    /// Ben dials again, and the conversation goes on over the new connection.
    async fn dial_again(&mut self) {
        let dial = self.pair.client.dial(place(1), self.pair.tenant.id());
        let (accepted, dialled) = tokio::join!(accept_peer(&self.pair.server), dial);
        (self.pair.accepted, self.pair.dialled) = (accepted, dialled.unwrap());
        self.begin();
    }
}

impl Drop for Meeting {
    fn drop(&mut self) {
        self.ana.leave();
        self.ben.leave();
    }
}

/// Bytes of application data that a link moved, both ways.
fn moved(stats: &LinkStats) -> u64 {
    stats.data_bytes_in + stats.data_bytes_out + stats.control_bytes_in + stats.control_bytes_out
}

#[tokio::test(start_paused = true)]
async fn two_devices_come_into_step_in_any_weather_and_nothing_is_sent_twice() {
    let weathers = [
        ("clear", Weather::CLEAR, 1, 1),
        ("satellite", Weather::SATELLITE, 1, 4),
        ("narrow", Weather::NARROW, 1, 12),
        ("rough", Weather::ROUGH, 1, 4),
        ("rough", Weather::ROUGH, 2, 4),
        ("rough", Weather::ROUGH, 3, 4),
    ];
    for (name, weather, seed, seconds) in weathers {
        let meeting = Meeting::new(seed, weather, [120, 80], 600).await;
        let (before, began) = (meeting.pair.sent(), Instant::now());
        meeting.begin();
        meeting.until_in_step(200).await;
        let (_, stats) = meeting.ana.in_step().unwrap();
        let (took, sent) = (began.elapsed(), meeting.pair.sent() - before);
        println!("{name}, seed {seed}: {took:?}, {sent} bytes sent, {stats:?}");
        assert_eq!((stats.batches_sent, stats.batches_received), (120, 80));
        assert_eq!(stats.repeated, 0, "{name}, seed {seed}");
        assert!(took < seconds * SECOND, "{name}, seed {seed}: {took:?}");
        // What the transport adds: headers, what is lost, and a queue that slow start floods.
        let moved = usize::try_from(moved(&stats)).unwrap();
        assert!(sent < moved * 13 / 10 + 30_000, "{sent} bytes sent to move {moved}");
    }
}

#[tokio::test(start_paused = true)]
async fn asking_whether_anything_is_new_costs_one_round_trip_and_fourteen_bytes() {
    let meeting = Meeting::new(1, Weather::SATELLITE, [30, 0], 300).await;
    let link = meeting.begin();
    meeting.until_in_step(30).await;
    sleep(10 * SECOND).await;
    for asks in [&meeting.ben, &meeting.ana] {
        let (checks, log) = (asks.checks(), meeting.pair.ether.log().len());
        let before = moved(&asks.stats(link).unwrap());
        let began = Instant::now();
        asks.check();
        asks.until(|one| one.checks() > checks).await;
        let took = began.elapsed();
        assert!((600..605).contains(&took.as_millis()), "{took:?}");
        let cost = moved(&asks.in_step().unwrap().1) - before;
        let datagrams = meeting.pair.ether.log().split_off(log);
        println!("{cost} bytes in {datagrams:?}");
        assert!(cost <= 20, "{cost} bytes");
        let bytes: usize = datagrams.iter().map(|passage| passage.size).sum();
        assert!(datagrams.len() <= 4 && bytes < 250, "{datagrams:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_record_reaches_a_connected_peer_in_half_a_round_trip() {
    let meeting = Meeting::new(1, Weather::SATELLITE, [5, 5], 300).await;
    meeting.begin();
    meeting.until_in_step(10).await;
    sleep(10 * SECOND).await;
    let began = Instant::now();
    meeting.ben.record(300);
    meeting.ana.until(|ana| ana.count() == 11).await;
    assert!(began.elapsed() < Duration::from_millis(310), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_sync_survives_a_change_of_network_and_a_forgetful_router() {
    let weather = Weather { rate: Some(256_000), queue: 30_000, ..Weather::SATELLITE };
    let meeting = Meeting::new(1, weather, [300, 200], 1_000).await;
    meeting.begin();
    meeting.ana.until(|ana| ana.count() >= 340).await;
    meeting.pair.ether.remove(place(2));
    meeting.pair.ether.set(host(3), weather);
    meeting.pair.client.move_to(meeting.pair.ether.socket(place(3))).unwrap();
    meeting.ana.until(|ana| ana.count() >= 420).await;
    let outside = ([192, 0, 2, 1], 40_001).into();
    meeting.pair.ether.translate(place(3), outside);
    meeting.until_in_step(500).await;
    assert_eq!(meeting.pair.accepted.remote_address(), outside);
    assert_eq!(meeting.ana.in_step().unwrap().1.repeated, 0);
}

#[tokio::test(start_paused = true)]
async fn a_sync_that_a_partition_broke_goes_on_where_it_was() {
    let weather = Weather { rate: Some(256_000), queue: 30_000, ..Weather::CLEAR };
    let mut meeting = Meeting::new(1, weather, [0, 400], 1_000).await;
    let link = meeting.begin();
    meeting.ana.until(|ana| ana.count() >= 150).await;
    meeting.pair.set(Weather::CUT);
    // What was on its way arrives.
    sleep(5 * SECOND).await;
    let received_before = meeting.ana.stats(link).unwrap().data_bytes_in;
    let is_down = |one: &Participant| one.stats(link).is_none();
    tokio::join!(meeting.ana.until(is_down), meeting.ben.until(is_down));
    let arrived = meeting.ana.count();
    meeting.pair.set(weather);
    meeting.dial_again().await;
    meeting.until_in_step(400).await;
    let (_, stats) = meeting.ana.in_step().unwrap();
    assert_eq!(stats.batches_received, 400 - arrived as u64);
    assert_eq!(stats.repeated, 0);

    let unbroken = Meeting::new(1, Weather::CLEAR, [0, 400], 1_000).await;
    unbroken.begin();
    unbroken.until_in_step(400).await;
    let least = unbroken.ana.in_step().unwrap().1.data_bytes_in;
    let received = received_before + stats.data_bytes_in;
    println!("{arrived} batches before, {received} bytes received, {least} without the cut");
    assert!(received < least + 64 * 1024, "{received} bytes received instead of {least}");
}

#[tokio::test(start_paused = true)]
async fn short_partitions_of_every_kind_cost_no_conversation() {
    let weather = Weather { rate: Some(512_000), queue: 30_000, ..Weather::ROUGH };
    let meeting = Meeting::new(1, weather, [300, 300], 1_000).await;
    meeting.begin();
    for (index, hosts) in [&[1][..], &[2], &[1, 2]].into_iter().enumerate() {
        meeting.ana.until(|ana| ana.count() > 330 + 60 * index).await;
        hosts.iter().for_each(|number| meeting.pair.ether.set(host(*number), Weather::CUT));
        sleep(5 * SECOND).await;
        meeting.pair.set(weather);
    }
    meeting.until_in_step(600).await;
    let (_, stats) = meeting.ana.in_step().unwrap();
    assert_eq!((stats.batches_sent, stats.batches_received, stats.repeated), (300, 300, 0));
    assert_eq!(meeting.pair.dialled.close_reason(), None);
}

/// Changes the weather and the place of host 2 again and again, and dials when the connection is
/// lost; never ends.
async fn storm(pair: &Pair, ben: &Participant) -> Infallible {
    let weathers = [Weather::CLEAR, Weather::ROUGH, Weather::SATELLITE, MODEST, Weather::CUT];
    let mut connection = pair.dialled.clone();
    let mut own = place(2);
    for step in 0.. {
        let any = || weathers[usize::try_from(pair.ether.draw(5)).unwrap()];
        pair.ether.set(host(1), any());
        pair.ether.set(own.ip(), any());
        match pair.ether.draw(6) {
            0 => {
                pair.ether.remove(own);
                own = ([10, 0, 1, u8::try_from(step % 250).unwrap()], 7843).into();
                pair.client.move_to(pair.ether.socket(own)).unwrap();
            }
            1 => pair.ether.translate(own, ([192, 0, 2, 1], 20_000 + step).into()),
            _ => {}
        }
        sleep(Duration::from_millis(500 + pair.ether.draw(9_500))).await;
        if connection.close_reason().is_some()
            && let Ok(again) = pair.client.dial(place(1), pair.tenant.id()).await
        {
            ben.attach(again.clone());
            connection = again;
        }
    }
    unreachable!("a storm does not end")
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_to_the_network_two_devices_come_into_step_again_and_again() {
    for seed in 1..=SEEDS {
        let meeting = Meeting::new(seed, MODEST, [0, 0], 800).await;
        meeting.begin();
        let accepts = async {
            while let Some(Incoming::Peer(connection)) = meeting.pair.server.accept().await {
                meeting.ana.attach(connection);
            }
            panic!("the server is gone")
        };
        let works = async {
            let hour = 3_600 * SECOND;
            for round in 1..=10 {
                (0..60).for_each(|_| meeting.ana.record(800));
                (0..40).for_each(|_| meeting.ben.record(800));
                sleep(Duration::from_secs(meeting.pair.ether.draw(60))).await;
                timeout(hour, meeting.until_in_step(round * 100)).await.unwrap();
                let checks = meeting.ana.checks();
                meeting.ana.check();
                timeout(hour, meeting.ana.until(|ana| ana.checks() > checks)).await.unwrap();
            }
        };
        tokio::select! {
            biased;
            () = works => {}
            () = accepts => {}
            _ = storm(&meeting.pair, &meeting.ben) => {}
        }
        let (took, stats) = meeting.ana.in_step().unwrap();
        println!("seed {seed}: {took:?}, {} links, {stats:?}", meeting.ana.links());
    }
}

/// What a meeting in rough weather looks like on the network.
fn rough_meeting(seed: u64) -> Vec<Passage> {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let meeting = Meeting::new(seed, Weather::ROUGH, [60, 40], 500).await;
        meeting.begin();
        meeting.until_in_step(100).await;
        meeting.pair.ether.log()
    })
}

#[test]
fn a_meeting_with_the_same_seed_takes_the_same_datagrams() {
    let first = rough_meeting(5);
    let again = rough_meeting(5);
    let differs = first.iter().zip(&again).position(|(one, other)| one != other);
    assert_eq!(differs.map(|at| (at, first[at], again[at])), None);
    assert_eq!(first.len(), again.len());
    assert!(first != rough_meeting(6));
}
