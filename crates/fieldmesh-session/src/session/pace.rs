//! When to compare, when to give a sign of life, and when to give up waiting.

use fieldmesh_model::Moment;

use crate::error::SessionError;
use crate::limits::{
    CHECKS_PER_SECOND_MAX, IDLE_CHECK_MILLIS, PAUSE_MILLIS, PING_MILLIS, PUSHES_PER_CHECK,
    QUARANTINE_EARLIEST_MILLIS, QUARANTINE_MILLIS, REST_MAX_MILLIS, SILENCE_MAX_MILLIS,
    SMALL_ROUND_ITEMS, SMALL_ROUNDS_FREE,
};

/// The timers of one conversation.
#[derive(Debug)]
pub(super) struct Pace {
    last_heard: Moment,
    last_sent: Moment,
    /// Since when the peer owes an answer.
    waits_since: Option<Moment>,
    /// When the roots are to be compared, as soon as nothing is under way.
    check_at: Moment,
    /// Whether that is the check of an idle link, which waits until it is idle; all others are needed
    /// whatever else travels.
    is_routine: bool,
    is_quiet: bool,
    pushes: u32,
    small_rounds: u32,
    fruitless_rounds: u32,
    /// Comparisons answered since the moment.
    answered: (u32, Moment),
    /// When the last exchange about what is set aside began, or was asked for.
    quarantine_at: Option<Moment>,
    /// When this side asked for a comparison.
    asked_at: Moment,
}

/// What the last exchange led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Go on comparing, at once or after a pause.
    Going,
    /// Comparing does not help.
    Stalled,
}

impl Pace {
    pub(super) const fn new(now: Moment) -> Self {
        Self {
            last_heard: now,
            last_sent: now,
            waits_since: None,
            check_at: now,
            is_routine: false,
            is_quiet: true,
            pushes: 0,
            small_rounds: 0,
            fruitless_rounds: 0,
            answered: (0, now),
            quarantine_at: None,
            asked_at: now,
        }
    }

    pub(super) const fn last_heard(&self) -> Moment {
        self.last_heard
    }

    pub(super) fn heard(&mut self, now: Moment) {
        self.last_heard = now;
    }

    pub(super) fn sent(&mut self, now: Moment) {
        self.last_sent = now;
    }

    /// Something other than a sign of life travelled: the idle time begins anew.
    pub(super) fn active(&mut self, now: Moment) {
        if self.is_routine && self.check_at > now {
            self.check_at = self.check_at.max(now.plus_millis(IDLE_CHECK_MILLIS));
        }
    }

    pub(super) fn check_at(&mut self, at: Moment) {
        self.is_routine = false;
        self.check_at = at;
    }

    /// Compare at this moment or before.
    pub(super) fn check_by(&mut self, at: Moment) {
        if at < self.check_at {
            self.check_at(at);
        }
    }

    /// Whether what is set aside may be compared again.
    pub(super) fn takes_quarantine(&mut self, now: Moment) -> bool {
        let takes = self.quarantine_at.is_none_or(|at| now.millis_since(at) >= QUARANTINE_MILLIS);
        if takes {
            self.quarantine_at = Some(now);
        }
        takes
    }

    /// The dialling side asks for a comparison.
    pub(super) fn asked(&mut self, now: Moment) {
        self.asked_at = now;
    }

    /// The peer has begun an exchange about what is set aside: too early after the last one?
    ///
    /// It began the last one after it was asked and begins this one before it is heard, so what
    /// passes between these is never less than what the peer let pass, whatever the way takes.
    pub(super) fn begun_quarantine(&mut self, now: Moment) -> Result<(), SessionError> {
        let before = self.quarantine_at.replace(self.asked_at);
        let passed = before.map(|before| now.millis_since(before));
        match passed {
            Some(millis) if (0..QUARANTINE_EARLIEST_MILLIS).contains(&millis) => {
                Err(SessionError::TooOften { millis })
            }
            _ => Ok(()),
        }
    }

    /// Compare as soon as nothing is under way.
    pub(super) fn check_again(&mut self) {
        self.check_at(Moment::from_millis(i64::MIN));
    }

    pub(super) fn is_check_due(&self, now: Moment) -> bool {
        self.check_at <= now
    }

    /// One more batch was passed on; true if it is time to compare.
    pub(super) fn pushed(&mut self) -> bool {
        self.pushes += 1;
        self.pushes >= PUSHES_PER_CHECK
    }

    pub(super) fn equal(&mut self, now: Moment) {
        self.small_rounds = 0;
        self.fruitless_rounds = 0;
        self.pushes = 0;
        self.check_at = now.plus_millis(IDLE_CHECK_MILLIS);
        self.is_routine = true;
    }

    /// An exchange that moved so many items is over: when is the next comparison? After `patience`
    /// in a row that moved nothing, comparing does not help for the moment.
    pub(super) fn exchanged(&mut self, now: Moment, moved: u64, patience: u32) -> Progress {
        self.pushes = 0;
        self.fruitless_rounds = if moved == 0 { self.fruitless_rounds + 1 } else { 0 };
        if moved >= SMALL_ROUND_ITEMS {
            self.small_rounds = 0;
        }
        if self.fruitless_rounds >= patience {
            self.check_at(now.plus_millis(IDLE_CHECK_MILLIS));
            return Progress::Stalled;
        }
        self.outdated(now);
        Progress::Going
    }

    /// A comparison was overtaken by changes: the next one comes soon, or, after many in a row,
    /// later and later.
    pub(super) fn outdated(&mut self, now: Moment) {
        let doublings = self.small_rounds.saturating_sub(SMALL_ROUNDS_FREE).min(10);
        let pause = if doublings == 0 { 0 } else { PAUSE_MILLIS << (doublings - 1) };
        self.small_rounds = self.small_rounds.saturating_add(1);
        self.check_at(now.plus_millis(pause.min(IDLE_CHECK_MILLIS)));
    }

    /// Whether the accepting side may answer one more comparison within this second.
    pub(super) fn takes_check(&mut self, now: Moment) -> bool {
        if now.millis_since(self.answered.1) >= 1_000 {
            self.answered = (0, now);
        }
        self.answered.0 += 1;
        let takes = self.answered.0 <= CHECKS_PER_SECOND_MAX;
        if !takes {
            self.check_at(self.answered.1.plus_millis(1_000));
        }
        takes
    }

    pub(super) fn note_quiet(&mut self, is_quiet: bool) {
        self.is_quiet = is_quiet;
    }

    pub(super) fn note_waiting(&mut self, now: Moment, waits_for_peer: bool) {
        self.waits_since = waits_for_peer.then(|| self.waits_since.unwrap_or(now));
    }

    pub(super) fn is_silent(&self, now: Moment) -> bool {
        self.silent_at() <= now
    }

    /// When a peer that says nothing until then is given up.
    fn silent_at(&self) -> Moment {
        match self.waits_since {
            Some(since) => self.last_heard.max(since).plus_millis(SILENCE_MAX_MILLIS),
            None => self.last_heard.plus_millis(REST_MAX_MILLIS),
        }
    }

    /// Whether the peer waits for this side and should hear that it lives.
    pub(super) fn takes_ping(&self, now: Moment, is_resting: bool) -> bool {
        (!is_resting || !self.is_quiet) && now.millis_since(self.last_sent) >= PING_MILLIS
    }

    /// Whether the last comparison led to nothing; of several in a row every other one.
    pub(super) const fn is_fruitless(&self) -> bool {
        self.fruitless_rounds % 2 == 1
    }

    pub(super) fn deadline(&self, is_resting: bool, compares: bool) -> Moment {
        let mut deadline = self.silent_at();
        if !is_resting || !self.is_quiet {
            deadline = deadline.min(self.last_sent.plus_millis(PING_MILLIS));
        }
        // While something is under way, its end brings the comparison about.
        if is_resting && self.is_quiet && compares {
            deadline = deadline.min(self.check_at);
        }
        deadline
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_a_comparison_left_out_is_found_although_other_work_keeps_coming() {
        let at = |seconds: i64| Moment::from_millis(seconds * 1_000);
        let mut pace = Pace::new(at(0));
        assert_eq!(pace.exchanged(at(0), 0, 2), Progress::Going);
        assert_eq!(pace.exchanged(at(0), 0, 2), Progress::Stalled);
        (1..60).for_each(|second| pace.active(at(second)));
        assert!(!pace.is_check_due(at(59)) && pace.is_check_due(at(60)));
        pace.equal(at(100));
        (100..200).for_each(|second| pace.active(at(second)));
        assert!(!pace.is_check_due(at(258)) && pace.is_check_due(at(259)), "an idle check waits");
        pace.check_by(at(205));
        pace.active(at(204));
        assert!(pace.is_check_due(at(205)), "one that was asked for does not");
    }
}
