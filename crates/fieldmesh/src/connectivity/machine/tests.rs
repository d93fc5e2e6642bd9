//! Goal: every row of the requirements' tables about connectivity and the sync engine that has no
//! screen holds at its edges. Method: the machine alone, with moments of our own; each test names
//! the rows it is about.

use super::*;
use crate::api::SyncProgress;

const RELAY: &str = "relay.example.org:7843";
const OTHER: &str = "other.example.org:7843";

struct Scene {
    machine: Machine,
    now: Moment,
}

impl Scene {
    fn with(settings: SyncSettings, is_online: bool, pending: u64) -> Self {
        let mut machine = Machine::new(settings, None);
        let now = Moment::from_millis(1_000_000);
        machine.handle(now, Input::Relays([RELAY.to_owned()].into()));
        machine.handle(now, Input::Standing(Standing { pending, is_in_step: false }));
        machine.handle(now, Input::Started { is_online });
        Self { machine, now }
    }

    fn offline() -> Self {
        Self::with(SyncSettings::default(), false, 0)
    }

    fn online(settings: SyncSettings) -> Self {
        let mut scene = Self::with(settings, true, 0);
        scene.answers(RELAY, Answer::Ok { millis: Some(20) });
        scene.drain();
        scene
    }

    fn feed(&mut self, input: Input) -> Vec<Output> {
        self.machine.handle(self.now, input);
        self.drain()
    }

    fn drain(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.machine.poll()).collect()
    }

    fn answers(&mut self, relay: &str, answer: Answer) -> Vec<Output> {
        self.feed(Input::Probed { relay: relay.into(), answer })
    }

    fn signal(&mut self, is_up: bool) -> Vec<Output> {
        self.feed(Input::Signal { relay: RELAY.into(), is_up })
    }

    /// Lets time pass, with every relay answering as it did, and gives what came out.
    fn pass(&mut self, millis: i64) -> Vec<Output> {
        let (end, mut seen) = (self.now.plus_millis(millis), Vec::new());
        while let Some(due) = self.machine.deadline().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            let mut new = self.feed(Input::Tick);
            for output in new.clone() {
                if let Output::Probe { relay } = output {
                    let answer = match self.machine.relays[&relay].is_reachable {
                        Some(true) => Answer::Ok { millis: Some(20) },
                        _ => Answer::Lost,
                    };
                    new.extend(self.answers(&relay, answer));
                }
            }
            seen.extend(new);
        }
        self.now = end;
        seen
    }

    fn finish(&mut self, token: Token, answer: SyncNow) -> Vec<Output> {
        self.feed(Input::Ended { token, outcome: Outcome { answer, ..Outcome::default() } })
    }
}

fn started(outputs: &[Output]) -> Option<Token> {
    outputs.iter().find_map(|output| match output {
        Output::Start { token } => Some(*token),
        _ => None,
    })
}

fn lines(outputs: &[Output]) -> Vec<String> {
    let line = |output: &Output| match output {
        Output::Log(line) => Some(line.to_string()),
        _ => None,
    };
    outputs.iter().filter_map(line).collect()
}

fn events(outputs: &[Output]) -> Vec<ConnectivityEvent> {
    let event = |output: &Output| match output {
        Output::Event(event) => Some(event.clone()),
        _ => None,
    };
    outputs.iter().filter_map(event).collect()
}

fn success() -> SyncNow {
    SyncNow { success: true, ..SyncNow::default() }
}

const OK: Answer = Answer::Ok { millis: Some(20) };

#[test]
fn cl_10_the_platform_says_how_it_begins_where_a_relay_is_known() {
    assert!(Scene::with(SyncSettings::default(), true, 0).machine.is_online());
    assert!(!Scene::with(SyncSettings::default(), false, 0).machine.is_online());
    let mut alone = Machine::new(SyncSettings::default(), None);
    alone.handle(Moment::ZERO, Input::Started { is_online: true });
    assert!(!alone.is_online());
}

#[test]
fn cl_10_online_and_offline_are_told_once_each_time() {
    use ConnectivityEvent::{Offline, Online};
    let mut scene = Scene::offline();
    let mut told = Vec::new();
    for answer in [OK, OK, Answer::Odd, Answer::Lost, Answer::Lost, OK] {
        told.extend(events(&scene.answers(RELAY, answer)));
    }
    told.retain(|event| matches!(event, Online | Offline));
    assert_eq!(told, [Online, Offline, Online]);
}

#[test]
fn cl_11_every_30_seconds_one_probe_and_none_before() {
    let mut scene = Scene::offline();
    let probe = vec![Output::Probe { relay: RELAY.into() }];
    assert_eq!(scene.drain(), probe);
    scene.answers(RELAY, Answer::Lost);
    assert_eq!(scene.machine.deadline(), Some(scene.now.plus_millis(30_000)));
    scene.now = scene.now.plus_millis(29_999);
    assert_eq!(scene.feed(Input::Tick), []);
    scene.now = scene.now.plus_millis(1);
    assert_eq!(scene.feed(Input::Tick), probe);
}

#[test]
fn cl_11_an_answer_that_is_not_ok_changes_nothing() {
    for is_online in [false, true] {
        let mut scene = Scene::with(SyncSettings::default(), is_online, 0);
        scene.drain();
        scene.answers(RELAY, Answer::Odd);
        assert_eq!(scene.machine.is_online(), is_online);
        scene.answers(RELAY, if is_online { Answer::Lost } else { OK });
        assert_ne!(scene.machine.is_online(), is_online);
    }
}

#[test]
fn cl_11_a_probe_that_is_owed_when_the_next_is_due_is_lost() {
    let mut scene = Scene::with(SyncSettings::default(), true, 0);
    scene.drain();
    scene.now = scene.now.plus_millis(30_000);
    scene.feed(Input::Tick);
    assert!(!scene.machine.is_online());
}

#[test]
fn cl_11_one_of_two_relays_is_enough_to_be_online() {
    let mut scene = Scene::offline();
    scene.feed(Input::Relays([RELAY.to_owned(), OTHER.to_owned()].into()));
    scene.answers(RELAY, OK);
    scene.answers(OTHER, Answer::Lost);
    assert!(scene.machine.is_online());
    scene.answers(OTHER, OK);
    scene.answers(RELAY, Answer::Lost);
    assert!(scene.machine.is_online());
    scene.answers(OTHER, Answer::Lost);
    assert!(!scene.machine.is_online());
}

#[test]
fn cl_11_without_a_relay_a_device_is_offline_and_probes_nobody() {
    let mut scene = Scene::online(SyncSettings::default());
    scene.feed(Input::Relays(BTreeSet::new()));
    assert!(!scene.machine.is_online());
    assert!(!scene.pass(60_000).iter().any(|output| matches!(output, Output::Probe { .. })));
}

#[test]
fn cl_12_somebody_else_who_answers_does_not_make_it_online() {
    let mut scene = Scene::offline();
    // What does not prove that it is the relay is no answer, whatever it says.
    scene.answers(RELAY, Answer::Lost);
    scene.answers("stranger.example.org:443", OK);
    assert!(!scene.machine.is_online());
}

#[test]
fn cl_13_a_contrary_sign_waits_for_the_probe_that_it_causes() {
    let mut scene = Scene::online(SyncSettings::default());
    let outputs = scene.signal(false);
    assert!(outputs.contains(&Output::Probe { relay: RELAY.into() }));
    assert_eq!(events(&outputs), [ConnectivityEvent::Transitioning { waits: true }]);
    assert!(scene.machine.is_online());
    assert_eq!(scene.signal(false), []);
    scene.answers(RELAY, Answer::Odd);
    assert!(scene.machine.report(scene.now).transitioning);
    scene.signal(false);
    scene.answers(RELAY, OK);
    assert!(!scene.machine.report(scene.now).transitioning);
    assert!(scene.machine.is_online());
}

#[test]
fn cl_13_a_sign_that_agrees_is_no_transition() {
    let mut scene = Scene::online(SyncSettings::default());
    assert_eq!(scene.signal(true), []);
    scene.answers(RELAY, Answer::Lost);
    assert_eq!(scene.signal(false), []);
    assert!(
        events(&scene.signal(true)).contains(&ConnectivityEvent::Transitioning { waits: true })
    );
    assert!(!scene.machine.is_online(), "a sign is no proof");
}

#[test]
fn cl_14_a_grade_is_told_when_it_changes_and_offline_is_one() {
    let mut scene = Scene::offline();
    let graded = |grade| ConnectivityEvent::Graded { grade };
    let slow = Answer::Ok { millis: Some(600) };
    assert!(events(&scene.answers(RELAY, slow)).contains(&graded(Grade::Poor)));
    assert_eq!(scene.answers(RELAY, slow), []);
    for _ in 0..5 {
        scene.answers(RELAY, OK);
    }
    assert_eq!(scene.machine.report(scene.now).grade, Grade::Excellent);
    assert_eq!(events(&scene.feed(Input::Rate(999_999))), [graded(Grade::Good)]);
    assert!(events(&scene.answers(RELAY, Answer::Lost)).contains(&graded(Grade::Offline)));
}

#[test]
fn cl_15_back_online_after_two_seconds_a_sync_starts_and_says_why() {
    let mut scene = Scene::offline();
    let outputs = scene.answers(RELAY, OK);
    assert_eq!(
        lines(&outputs),
        ["Device is online", "[NetworkMonitor] Network connection restored"]
    );
    assert!(outputs.contains(&Output::ForgetFailures));
    assert_eq!(started(&scene.pass(1_999)), None);
    let outputs = scene.pass(1);
    assert!(started(&outputs).is_some());
    assert_eq!(
        lines(&outputs),
        [
            "[NetworkMonitor] wasOffline: true, syncOnReconnect: true, autoSyncEnabled: true",
            "[NetworkMonitor] Conditions met, triggering auto-sync",
            "Connectivity restored. Auto-syncing...",
            "No events to sync",
        ]
    );
}

#[test]
fn cl_15_each_condition_alone_keeps_the_sync_from_starting() {
    let on = SyncSettings::default();
    let cases = [
        (SyncSettings { sync_on_reconnect: false, ..on.clone() }, 1, "true, false, true"),
        (SyncSettings { auto_sync_enabled: false, ..on.clone() }, 1, "true, true, false"),
        (SyncSettings { paused: true, ..on.clone() }, 1, "true, true, false"),
        (on.clone(), 0, "false, true, true"),
    ];
    for (settings, pending, values) in cases {
        let mut scene = Scene::with(settings, true, pending);
        scene.answers(RELAY, OK);
        let outputs = scene.pass(2_000);
        let [was, on_reconnect, enabled] = values.split(", ").collect::<Vec<_>>()[..] else {
            panic!("three values")
        };
        assert_eq!(
            lines(&outputs),
            [
                format!(
                    "[NetworkMonitor] wasOffline: {was}, syncOnReconnect: {on_reconnect}, \
                     autoSyncEnabled: {enabled}"
                ),
                "[NetworkMonitor] Auto-sync skipped - conditions not met".into(),
            ]
        );
        assert_eq!(started(&outputs), None);
        let decision = scene.machine.report(scene.now).decision.unwrap();
        assert!(!decision.started && !decision.reason.is_empty(), "{decision:?}");
    }
}

#[test]
fn cl_15_a_start_with_something_pending_counts_as_having_been_offline() {
    let mut scene = Scene::with(SyncSettings::default(), true, 3);
    scene.answers(RELAY, OK);
    let outputs = scene.pass(2_000);
    assert!(started(&outputs).is_some());
    assert_eq!(lines(&outputs).last().unwrap(), "Syncing 3 events to cloud...");
}

#[test]
fn cl_15_a_flapping_network_starts_one_sync_when_it_stays() {
    let mut scene = Scene::offline();
    scene.drain();
    for _ in 0..5 {
        scene.answers(RELAY, OK);
        assert_eq!(started(&scene.pass(1_500)), None);
        scene.answers(RELAY, Answer::Lost);
        assert_eq!(started(&scene.pass(1_500)), None);
    }
    scene.answers(RELAY, OK);
    let starts = scene.pass(100_000);
    assert_eq!(starts.iter().filter(|output| matches!(output, Output::Start { .. })).count(), 1);
}

#[test]
fn cl_15_a_reconnect_during_a_sync_is_seen_after_it() {
    let mut scene = Scene::offline();
    let token = scene.machine.join(scene.now).unwrap();
    scene.answers(RELAY, OK);
    assert_eq!(started(&scene.pass(10_000)), None);
    scene.finish(token, success());
    assert!(started(&scene.pass(2_000)).is_some());
}

#[test]
fn cl_16_every_five_minutes_while_online_and_never_while_offline() {
    let mut scene = Scene::online(SyncSettings::default());
    assert_eq!(started(&scene.pass(299_999)), None);
    let token = started(&scene.pass(1)).unwrap();
    let failed = SyncNow { errors: vec!["no answer".into()], ..SyncNow::default() };
    let outputs = scene.finish(token, failed);
    assert_eq!(lines(&outputs), ["✗ 1 errors during sync", "❌ Auto-sync failed"]);
    // The next attempt is at the next interval and not before.
    assert_eq!(started(&scene.pass(299_999)), None);
    let token = started(&scene.pass(1)).unwrap();
    assert_eq!(lines(&scene.finish(token, success())), ["✅ Auto-sync complete"]);
    scene.answers(RELAY, Answer::Lost);
    assert_eq!(started(&scene.pass(3_000_000)), None);
}

#[test]
fn cl_16_a_periodic_sync_says_why_it_does_not_start() {
    let paused = SyncSettings { paused: true, ..SyncSettings::default() };
    let off = SyncSettings { auto_sync_enabled: false, ..SyncSettings::default() };
    for (settings, reason) in
        [(paused, "automatic sync is paused"), (off, "automatic sync is switched off")]
    {
        let mut scene = Scene::online(settings);
        let outputs = scene.pass(300_000);
        assert_eq!(lines(&outputs).last(), Some(&format!("Periodic sync not started: {reason}")));
        assert_eq!(started(&outputs), None);
    }
    let mut scene = Scene::online(SyncSettings::default());
    scene.machine.join(scene.now).unwrap();
    let last = lines(&scene.pass(300_000)).pop();
    assert_eq!(last.as_deref(), Some("Periodic sync not started: Sync already in progress"));
}

#[test]
fn cl_17_devices_nearby_are_counted_and_do_not_make_it_online() {
    let mut scene = Scene::offline();
    scene.drain();
    let nearby = |devices| vec![Output::Event(ConnectivityEvent::Nearby { devices })];
    assert_eq!(scene.feed(Input::Nearby(2)), nearby(2));
    assert_eq!(scene.feed(Input::Nearby(2)), []);
    assert_eq!(scene.feed(Input::Nearby(0)), nearby(0));
    assert!(!scene.machine.is_online());
}

#[test]
fn cl_18_after_the_end_nothing_is_due_and_nothing_comes() {
    let mut scene = Scene::online(SyncSettings::default());
    scene.signal(false);
    assert_eq!(scene.feed(Input::Destroyed), []);
    assert_eq!(scene.machine.deadline(), None);
    assert_eq!(scene.answers(RELAY, OK), []);
    assert_eq!(scene.signal(true), []);
    assert_eq!(scene.pass(1_000_000), []);
}

#[test]
fn cl_21_a_second_request_is_told_that_one_is_in_progress() {
    let mut scene = Scene::online(SyncSettings::default());
    let Asked::Start(token) = scene.machine.ask(scene.now) else { panic!("it starts") };
    let errors = vec!["Sync already in progress".to_owned()];
    let busy = Asked::Answer(SyncNow { errors, ..SyncNow::default() });
    assert_eq!(scene.machine.ask(scene.now), busy);
    assert!(scene.machine.join(scene.now).is_none());
    scene.finish(token, SyncNow { errors: vec!["lost".into()], ..SyncNow::default() });
    assert!(matches!(scene.machine.ask(scene.now), Asked::Start(_)), "the flag is cleared");
}

#[test]
fn cl_21_offline_is_an_answer_and_no_attempt() {
    let mut scene = Scene::offline();
    scene.drain();
    let errors = vec!["Device is offline".to_owned()];
    let offline = Asked::Answer(SyncNow { errors, ..SyncNow::default() });
    assert_eq!(scene.machine.ask(scene.now), offline);
    assert_eq!(started(&scene.drain()), None);
    assert!(!scene.machine.report(scene.now).syncing);
}

#[test]
fn cl_21_nothing_to_do_is_a_success_without_a_request() {
    let mut scene = Scene::online(SyncSettings::default());
    scene.feed(Input::Standing(Standing { pending: 0, is_in_step: true }));
    assert_eq!(scene.machine.ask(scene.now), Asked::Answer(success()));
    assert_eq!(lines(&scene.drain()), ["No events to sync"]);
    scene.feed(Input::Standing(Standing { pending: 1, is_in_step: true }));
    assert!(matches!(scene.machine.ask(scene.now), Asked::Start(_)));
}

#[test]
fn cl_21_a_request_is_honoured_while_automatic_sync_is_paused() {
    let mut scene = Scene::online(SyncSettings { paused: true, ..SyncSettings::default() });
    assert!(matches!(scene.machine.ask(scene.now), Asked::Start(_)));
}

#[test]
fn cl_22_the_end_of_one_sync_does_not_end_another() {
    let mut scene = Scene::online(SyncSettings::default());
    let first = scene.machine.join(scene.now).unwrap();
    scene.finish(first, success());
    let second = scene.machine.join(scene.now).unwrap();
    scene.drain();
    assert_eq!(scene.finish(first, success()), []);
    assert!(scene.machine.report(scene.now).syncing);
    scene.finish(second, success());
    assert!(!scene.machine.report(scene.now).syncing);
}

#[test]
fn cl_22_a_result_is_logged_told_and_kept() {
    let mut scene = Scene::online(SyncSettings::default());
    let token = scene.machine.join(scene.now).unwrap();
    scene.drain();
    let answer = SyncNow { synced_count: 4, ..success() };
    let outcome =
        Outcome { sent: 4, received: 2, held_back: 7, is_part: false, answer: answer.clone() };
    let outputs = scene.feed(Input::Ended { token, outcome });
    let waiting = "7 batches wait for an unmetered link";
    assert_eq!(lines(&outputs), ["✓ Synced 4 events", "Received 2 events", waiting]);
    assert!(events(&outputs).contains(&ConnectivityEvent::Synced(answer.clone())));
    assert_eq!(scene.machine.report(scene.now).last_result, Some(answer));
}

#[test]
fn what_waits_for_a_cheaper_link_is_not_hidden_behind_a_sync_that_is_complete() {
    let mut scene = Scene::offline();
    scene.answers(RELAY, OK);
    let token = started(&scene.pass(DEBOUNCE_MILLIS)).unwrap();
    let outcome = Outcome { held_back: 7, is_part: true, answer: success(), ..Outcome::default() };
    let outputs = scene.feed(Input::Ended { token, outcome });
    let told =
        ["7 batches wait for an unmetered link", "Auto-sync of a part is done, the rest waits"];
    assert_eq!(lines(&outputs), told);
    let is_progress = |event: &ConnectivityEvent| matches!(event, ConnectivityEvent::Progress(_));
    assert!(!events(&outputs).iter().any(is_progress));
    let report = scene.machine.report(scene.now);
    assert_eq!((report.last_success, report.stale), (None, true));
}

#[test]
fn cl_24_progress_is_told_as_it_grows_and_ends_at_100_only_with_success() {
    for is_success in [true, false] {
        let mut scene = Scene::online(SyncSettings::default());
        scene.feed(Input::Standing(Standing { pending: 4, is_in_step: false }));
        let token = scene.machine.join(scene.now).unwrap();
        scene.drain();
        let mut outputs: Vec<Output> =
            [1, 1, 4, 8].map(|moved| scene.feed(Input::Moved(moved))).concat();
        outputs.extend(scene.finish(token, SyncNow { success: is_success, ..success() }));
        let shown: Vec<u8> = events(&outputs)
            .iter()
            .filter_map(|event| match event {
                ConnectivityEvent::Progress(SyncProgress { percentage, .. }) => Some(*percentage),
                _ => None,
            })
            .collect();
        let expected: &[u8] = if is_success { &[25, 99, 99, 100] } else { &[25, 99, 99] };
        assert_eq!(shown, expected);
        assert_eq!(scene.feed(Input::Moved(9)), [], "no sync, no progress");
    }
}

#[test]
fn cl_27_an_address_that_failed_too_often_is_told() {
    let mut scene = Scene::online(SyncSettings::default());
    let outputs = scene.feed(Input::Exhausted { address: "10.0.0.7:1".into(), attempts: 10 });
    let told = ConnectivityEvent::GaveUp { address: "10.0.0.7:1".into(), attempts: 10 };
    assert_eq!(events(&outputs), [told]);
}

#[test]
fn cl_29_what_is_shown_is_stale_five_minutes_after_a_sync_but_never_offline() {
    let mut scene = Scene::online(SyncSettings::default());
    assert!(scene.machine.report(scene.now).stale, "never synced");
    let token = scene.machine.join(scene.now).unwrap();
    scene.finish(token, success());
    let stale = |scene: &Scene, millis| scene.machine.report(scene.now.plus_millis(millis)).stale;
    assert!(!stale(&scene, 300_000));
    assert!(stale(&scene, 300_001));
    scene.answers(RELAY, Answer::Lost);
    assert!(!stale(&scene, 300_001));
}
