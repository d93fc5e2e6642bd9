//! The machine: probes, states, decisions and the one sync that may be under way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use fieldmesh_model::Moment;

use crate::api::{
    Cause, ConnectivityEvent, ConnectivityReport, Decision, Grade, SyncNow, SyncSettings,
};

use super::line::Line;
use super::meter::Meter;
use super::window::{Answer, Window};

/// How often relays are probed.
pub(crate) const PROBE_EVERY_MILLIS: i64 = 30_000;
/// How often a node that is online syncs although nothing happened.
pub(crate) const SYNC_EVERY_MILLIS: i64 = 300_000;
/// How long the network has to stay before a sync starts because of it.
pub(crate) const DEBOUNCE_MILLIS: i64 = 2_000;
/// How old what is shown may be while online.
pub(crate) const FRESH_MILLIS: i64 = 300_000;
/// Relays that are probed; more are not looked at.
pub(crate) const RELAYS_MAX: usize = 16;

const BUSY: &str = "Sync already in progress";
const OFFLINE: &str = "Device is offline";

/// What waits, and whether a relay is known to hold everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Changes that no relay is known to hold.
    pub(crate) pending: u64,
    /// Whether a relay that is connected holds the same.
    pub(crate) is_in_step: bool,
}

/// A sync that may be under way; the right to end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token(u64);

/// How a sync ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Outcome {
    /// Changes sent, and held by the other side.
    pub(crate) sent: u64,
    /// Changes received.
    pub(crate) received: u64,
    /// Batches that wait for a link that carries them.
    pub(crate) held_back: u64,
    /// Whether somebody is in step only in a part of the records.
    pub(crate) is_part: bool,
    /// The answer for whoever asked.
    pub(crate) answer: SyncNow,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Input {
    /// The program keeps connections from here on; the platform says whether there is a network.
    Started { is_online: bool },
    /// The addresses of relays.
    Relays(BTreeSet<String>),
    /// A connection to a relay came or went, or the platform says so.
    Signal { relay: String, is_up: bool },
    /// What came of [`Output::Probe`], or of a dial that says as much.
    Probed { relay: String, answer: Answer },
    /// How fast the last transfer was, in bits a second.
    Rate(u64),
    /// How many devices mDNS shows.
    Nearby(u64),
    /// What waits to be synced.
    Standing(Standing),
    /// Other settings hold.
    Configured(SyncSettings),
    /// So many changes have been moved by the sync under way.
    Moved(u64),
    /// A sync is over.
    Ended { token: Token, outcome: Outcome },
    /// An address failed so often that the user is to know.
    Exhausted { address: String, attempts: u32 },
    /// The moment of [`Machine::deadline`] has passed.
    Tick,
    /// The program ends: nothing happens after this.
    Destroyed,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Output {
    /// Ask a relay whether it is there, then say [`Input::Probed`].
    Probe { relay: String },
    /// Sync with everyone who may be reached, then say [`Input::Ended`].
    Start { token: Token },
    /// The network is back: failures of before mean nothing.
    ForgetFailures,
    /// Say so in the log.
    Log(Line),
    /// Tell those who listen.
    Event(ConnectivityEvent),
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Asked {
    /// There is nothing to wait for.
    Answer(SyncNow),
    /// Sync, then say [`Input::Ended`].
    Start(Token),
}

#[derive(Debug, Clone, Default)]
struct Relay {
    is_reachable: Option<bool>,
    window: Window,
    /// Whether it owes an answer.
    is_asked: bool,
}

#[derive(Debug, Clone)]
struct Running {
    token: Token,
    cause: Cause,
    meter: Meter,
}

/// The machine.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    settings: SyncSettings,
    relays: BTreeMap<String, Relay>,
    is_started: bool,
    is_online: bool,
    is_transitioning: bool,
    was_offline: bool,
    grade: Grade,
    rate: Option<u64>,
    nearby: u64,
    standing: Standing,
    running: Option<Running>,
    syncs_begun: u64,
    probe_due: Option<Moment>,
    decision_due: Option<Moment>,
    sync_due: Option<Moment>,
    last_success: Option<Moment>,
    last_result: Option<SyncNow>,
    decision: Option<Decision>,
    outputs: VecDeque<Output>,
}

impl Machine {
    /// A machine that waits to be started.
    pub(crate) fn new(settings: SyncSettings, last_success: Option<Moment>) -> Self {
        Self { settings, last_success, ..Self::default() }
    }

    /// Whether a relay answers, as far as is known.
    pub(crate) const fn is_online(&self) -> bool {
        self.is_online
    }

    pub(crate) const fn settings(&self) -> &SyncSettings {
        &self.settings
    }

    /// When to say [`Input::Tick`] if nothing else happens before.
    pub(crate) fn deadline(&self) -> Option<Moment> {
        [self.probe_due, self.decision_due, self.sync_due].into_iter().flatten().min()
    }

    /// The next output; drain until none is left.
    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Applies one input; afterwards drain [`Machine::poll`].
    pub(crate) fn handle(&mut self, now: Moment, input: Input) {
        match input {
            Input::Started { is_online } => self.start(now, is_online),
            Input::Relays(relays) => self.set_relays(now, relays),
            Input::Signal { relay, is_up } => self.signal(&relay, is_up),
            Input::Probed { relay, answer } => self.probed(now, &relay, answer),
            Input::Rate(rate) => {
                self.rate = Some(rate);
                self.regrade();
            }
            Input::Nearby(devices) => {
                if self.nearby != devices {
                    self.nearby = devices;
                    self.tell(ConnectivityEvent::Nearby { devices });
                }
            }
            Input::Standing(standing) => self.standing = standing,
            Input::Configured(settings) => self.settings = settings,
            Input::Moved(processed) => {
                let running = self.running.as_mut();
                if let Some(progress) = running.and_then(|one| one.meter.moved(processed)) {
                    self.tell(ConnectivityEvent::Progress(progress));
                }
            }
            Input::Ended { token, outcome } => self.ended(now, token, outcome),
            Input::Exhausted { address, attempts } => {
                self.tell(ConnectivityEvent::GaveUp { address, attempts });
            }
            Input::Tick => self.tick(now),
            Input::Destroyed => *self = Self::new(self.settings.clone(), self.last_success),
        }
    }

    /// Somebody wants a sync now.
    pub(crate) fn ask(&mut self, now: Moment) -> Asked {
        let refusal = |reason: &str| {
            let errors = vec![reason.to_owned()];
            Asked::Answer(SyncNow { errors, ..SyncNow::default() })
        };
        if self.running.is_some() {
            self.decide(now, Cause::Request, Err(BUSY));
            return refusal(BUSY);
        }
        if !self.is_online {
            self.decide(now, Cause::Request, Err(OFFLINE));
            return refusal(OFFLINE);
        }
        if self.standing.pending == 0 && self.standing.is_in_step {
            self.log(Line::NothingToPush);
            self.decide(now, Cause::Request, Err("No events to sync"));
            return Asked::Answer(SyncNow { success: true, ..SyncNow::default() });
        }
        self.decide(now, Cause::Request, Ok("somebody asked"));
        Asked::Start(self.begin(Cause::Request))
    }

    /// A sync that others began and that is not asked for here; nothing while one is under way.
    pub(crate) fn join(&mut self, now: Moment) -> Option<Token> {
        if self.running.is_some() {
            return None;
        }
        self.decide(now, Cause::Request, Ok("somebody asked"));
        Some(self.begin(Cause::Request))
    }

    /// The state, for people. What only the owner knows is left as it is by default.
    pub(crate) fn report(&self, now: Moment) -> ConnectivityReport {
        let fresh = self.last_success.is_some_and(|at| now.millis_since(at) <= FRESH_MILLIS);
        // Until a relay has answered, being online is the word of the platform alone.
        let is_shown = self.relays.values().any(|relay| relay.is_reachable == Some(true));
        ConnectivityReport {
            running: self.is_started,
            online: self.is_online,
            transitioning: self.is_transitioning || (self.is_online && !is_shown),
            grade: self.grade,
            nearby: self.nearby,
            pending: self.standing.pending,
            syncing: self.running.is_some(),
            progress: self.running.as_ref().map(|one| one.meter.shown()).unwrap_or_default(),
            last_success: self.last_success,
            stale: self.is_online && !fresh,
            decision: self.decision.clone(),
            last_result: self.last_result.clone(),
            failing: Vec::new(),
            held_back: Vec::new(),
            settings: self.settings.clone(),
        }
    }

    fn start(&mut self, now: Moment, is_online: bool) {
        self.is_started = true;
        self.was_offline = self.standing.pending > 0;
        self.is_online = is_online && !self.relays.is_empty();
        if self.is_online {
            self.decision_due = Some(now.plus_millis(DEBOUNCE_MILLIS));
            self.sync_due = Some(now.plus_millis(SYNC_EVERY_MILLIS));
        }
        self.regrade();
        self.probe(now);
    }

    fn set_relays(&mut self, now: Moment, relays: BTreeSet<String>) {
        self.relays.retain(|address, _| relays.contains(address));
        let mut has_new = false;
        for address in relays.into_iter().take(RELAYS_MAX) {
            let is_known = self.relays.contains_key(&address);
            if !is_known && self.relays.len() < RELAYS_MAX {
                self.relays.insert(address, Relay::default());
                has_new = true;
            }
        }
        if self.is_started {
            self.settle(now);
            if has_new {
                self.probe(now);
            }
        }
    }

    /// Asks every relay that does not owe an answer.
    fn probe(&mut self, now: Moment) {
        self.probe_due = Some(now.plus_millis(PROBE_EVERY_MILLIS));
        for relay in self.relays.keys().cloned().collect::<Vec<_>>() {
            self.probe_one(&relay);
        }
    }

    fn probe_one(&mut self, address: &str) {
        let Some(relay) = self.relays.get_mut(address) else { return };
        if !std::mem::replace(&mut relay.is_asked, true) {
            self.outputs.push_back(Output::Probe { relay: address.to_owned() });
        }
    }

    fn signal(&mut self, address: &str, is_up: bool) {
        let Some(relay) = self.relays.get(address).filter(|_| self.is_started) else { return };
        if relay.is_reachable == Some(is_up) {
            return;
        }
        let others = |(other, relay): (&String, &Relay)| {
            other != address && relay.is_reachable == Some(true)
        };
        // Losing one of several relays says nothing against being online.
        let is_contrary = is_up != self.is_online && !self.relays.iter().any(others);
        if is_contrary {
            self.set_transitioning(true);
        }
        self.probe_one(address);
    }

    fn probed(&mut self, now: Moment, address: &str, answer: Answer) {
        let Some(relay) = self.relays.get_mut(address).filter(|_| self.is_started) else { return };
        relay.is_asked = false;
        relay.window.add(answer);
        match answer {
            Answer::Ok { .. } => relay.is_reachable = Some(true),
            Answer::Lost => relay.is_reachable = Some(false),
            // It is there, but does not say that all is well: nothing changes.
            Answer::Odd => return self.regrade(),
        }
        self.settle(now);
    }

    /// Draws the consequences of what is known of the relays.
    fn settle(&mut self, now: Moment) {
        let states = || self.relays.values().map(|relay| relay.is_reachable);
        let is_reachable = states().any(|state| state == Some(true));
        // A relay that has not answered so far speaks for the state as it is.
        let is_open = states().any(|state| state.is_none());
        let is_online = is_reachable || (is_open && self.is_online);
        if is_reachable || !is_open {
            self.set_transitioning(false);
        }
        if is_online != self.is_online {
            self.is_online = is_online;
            if is_online { self.came_online(now) } else { self.went_offline() }
        }
        self.regrade();
    }

    fn came_online(&mut self, now: Moment) {
        self.was_offline = true;
        self.decision_due = Some(now.plus_millis(DEBOUNCE_MILLIS));
        self.sync_due = Some(now.plus_millis(SYNC_EVERY_MILLIS));
        self.log(Line::Online);
        self.log(Line::Restored);
        self.outputs.push_back(Output::ForgetFailures);
        self.tell(ConnectivityEvent::Online);
    }

    fn went_offline(&mut self) {
        self.was_offline = true;
        self.decision_due = None;
        self.sync_due = None;
        self.rate = None;
        self.log(Line::Offline);
        self.tell(ConnectivityEvent::Offline);
    }

    fn tick(&mut self, now: Moment) {
        let is_due = |due: Option<Moment>| due.is_some_and(|due| due <= now);
        if is_due(self.probe_due) {
            let owing: Vec<String> = self
                .relays
                .iter()
                .filter(|(_, relay)| relay.is_asked)
                .map(|(address, _)| address.clone())
                .collect();
            for relay in owing {
                self.probed(now, &relay, Answer::Lost);
            }
            self.probe(now);
        }
        if is_due(self.decision_due) {
            self.decision_due = None;
            self.after_reconnect(now);
        }
        if is_due(self.sync_due) {
            self.sync_due = Some(now.plus_millis(SYNC_EVERY_MILLIS));
            self.after_interval(now);
        }
    }

    fn after_reconnect(&mut self, now: Moment) {
        if self.running.is_some() {
            // It may have begun before the network came; this one is to see everything.
            self.decision_due = Some(now.plus_millis(DEBOUNCE_MILLIS));
            return;
        }
        let (was_offline, sync_on_reconnect) = (self.was_offline, self.settings.sync_on_reconnect);
        let auto_sync_enabled = self.settings.auto_sync_enabled && !self.settings.paused;
        self.log(Line::Conditions { was_offline, sync_on_reconnect, auto_sync_enabled });
        let reason = match (was_offline, sync_on_reconnect, self.settings.auto_sync_enabled) {
            _ if self.settings.paused => Err("automatic sync is paused"),
            (_, _, false) => Err("automatic sync is switched off"),
            (_, false, true) => Err("sync on reconnect is switched off"),
            (false, true, true) => Err("the device was not offline and nothing is pending"),
            (true, true, true) => Ok("the device was offline or had something pending"),
        };
        self.decide(now, Cause::Reconnect, reason);
        if reason.is_err() {
            self.log(Line::Skipped);
            return;
        }
        self.was_offline = false;
        self.log(Line::Triggered);
        self.log(Line::Reconnected);
        self.start_sync(Cause::Reconnect);
    }

    fn after_interval(&mut self, now: Moment) {
        let reason = match &self.running {
            _ if !self.is_online => Err(OFFLINE),
            _ if self.settings.paused => Err("automatic sync is paused"),
            _ if !self.settings.auto_sync_enabled => Err("automatic sync is switched off"),
            Some(_) => Err(BUSY),
            None => Ok("the interval is over"),
        };
        self.decide(now, Cause::Periodic, reason);
        match reason {
            Ok(_) => self.start_sync(Cause::Periodic),
            Err(reason) => self.log(Line::NotStarted { reason }),
        }
    }

    fn start_sync(&mut self, cause: Cause) {
        let token = self.begin(cause);
        self.outputs.push_back(Output::Start { token });
    }

    fn begin(&mut self, cause: Cause) -> Token {
        self.syncs_begun += 1;
        let token = Token(self.syncs_begun);
        let pending = self.standing.pending;
        self.running = Some(Running { token, cause, meter: Meter::new(pending) });
        let line =
            if pending == 0 { Line::NothingToPush } else { Line::Pushing { count: pending } };
        self.log(line);
        token
    }

    fn ended(&mut self, now: Moment, token: Token, outcome: Outcome) {
        // Somebody else's sync goes on.
        let Some(mut running) = self.running.take_if(|running| running.token == token) else {
            return;
        };
        let Outcome { sent, received, held_back, is_part, answer } = outcome;
        if sent > 0 {
            self.log(Line::Pushed { count: sent });
        }
        if received > 0 {
            self.log(Line::Pulled { count: received });
        }
        if held_back > 0 {
            self.log(Line::HeldBack { count: held_back });
        }
        if !answer.conflicts.is_empty() {
            self.log(Line::Conflicts { count: answer.conflicts.len() as u64 });
        }
        if !answer.errors.is_empty() {
            self.log(Line::Errors { count: answer.errors.len() as u64 });
        }
        if running.cause != Cause::Request {
            self.log(match (answer.success, is_part) {
                (true, false) => Line::Complete,
                (true, true) => Line::Part,
                (false, _) => Line::Failed,
            });
        }
        // Something may wait here or there for a link that carries everything.
        if answer.success && !is_part {
            self.last_success = Some(now);
            self.tell(ConnectivityEvent::Progress(running.meter.succeeded()));
        }
        self.last_result = Some(answer.clone());
        self.tell(ConnectivityEvent::Synced(answer));
    }

    fn decide(&mut self, at: Moment, cause: Cause, reason: Result<&str, &str>) {
        let started = reason.is_ok();
        let (Ok(reason) | Err(reason)) = reason;
        let decision = Decision { at, cause, started, reason: reason.to_owned() };
        self.decision = Some(decision.clone());
        self.tell(ConnectivityEvent::Decided(decision));
    }

    fn set_transitioning(&mut self, waits: bool) {
        if self.is_transitioning != waits {
            self.is_transitioning = waits;
            self.tell(ConnectivityEvent::Transitioning { waits });
        }
    }

    /// The grade is that of the best relay that answers.
    fn regrade(&mut self) {
        let reachable = self.relays.values().filter(|relay| relay.is_reachable != Some(false));
        let grades = reachable.map(|relay| relay.window.grade(self.rate));
        let rank = |grade: &Grade| match grade {
            Grade::Offline => 0,
            Grade::Poor => 1,
            Grade::Good => 2,
            Grade::Excellent => 3,
        };
        let best = grades.max_by_key(rank).filter(|_| self.is_online);
        let grade = best.unwrap_or(Grade::Offline);
        if self.grade != grade {
            self.grade = grade;
            self.tell(ConnectivityEvent::Graded { grade });
        }
    }

    fn log(&mut self, line: Line) {
        // Nobody drains a machine that was not started.
        if self.is_started {
            self.outputs.push_back(Output::Log(line));
        }
    }

    fn tell(&mut self, event: ConnectivityEvent) {
        if self.is_started {
            self.outputs.push_back(Output::Event(event));
        }
    }
}

#[cfg(test)]
mod tests;
