//! Comparing roots: the dialling side asks, the accepting side answers.

use fieldmesh_model::Moment;
use fieldmesh_trie::wire_root;

use super::{Phase, Session};
use crate::error::SessionError;
use crate::interface::{Output, Reader, Set, Sets, Side};
use crate::limits::IDLE_CHECK_MILLIS;
use crate::wire::Message;

/// Both roots as they are compared.
struct Roots {
    both: [u8; 8],
    policy: [u8; 3],
}

impl Session {
    /// Compares, or asks to, if it is time and nothing is under way.
    pub(super) fn compare_if_due(
        &mut self,
        now: Moment,
        is_quiet: bool,
        sets: &mut Sets<'_>,
    ) -> Result<(), SessionError> {
        if !matches!(self.phase, Phase::Resting) || !is_quiet || !self.pace.is_check_due(now) {
            return Ok(());
        }
        match self.settings.side {
            Side::Dialled => {
                let Roots { both, policy } = self.roots(sets);
                self.phase = Phase::Checking;
                self.send(&Message::Root { both, policy })
            }
            Side::Accepted if self.owes_again => {
                self.owes_again = false;
                self.send(&Message::Again)
            }
            Side::Accepted => Ok(()),
        }
    }

    /// The roots are to be compared as soon as nothing is under way.
    pub(super) fn request_check(&mut self) {
        self.owes_again = self.settings.side == Side::Accepted;
        self.pace.check_again();
    }

    pub(super) fn take_root(
        &mut self,
        now: Moment,
        theirs: ([u8; 8], [u8; 3]),
        sets: &mut Sets<'_>,
    ) -> Result<(), SessionError> {
        if self.settings.side != Side::Accepted {
            return Err(SessionError::OutOfTurn { name: "Root" });
        }
        let mine = self.roots(sets);
        let is_equal = (mine.policy == theirs.1, mine.both == theirs.0);
        let is_ready = matches!(self.phase, Phase::Resting) && self.is_quiet(sets);
        if is_equal != (true, true) && !is_ready {
            self.request_check();
            return self.send(&Message::Busy);
        }
        if !self.pace.takes_check(now) {
            self.owes_again = true;
            return self.send(&Message::Busy);
        }
        self.owes_again = false;
        // A front of the policy root that is equal by chance leads nowhere; the other set is next.
        let is_doubtful = is_equal == (true, false) && self.pace.is_fruitless();
        self.judge(now, (is_equal.0 && !is_doubtful, is_equal.1), (1, 1), sets)
    }

    /// Says what follows from the peer's roots and its counts.
    pub(super) fn judge(
        &mut self,
        now: Moment,
        (is_policy_equal, is_data_equal): (bool, bool),
        (policy_count, data_count): (u64, u64),
        sets: &mut Sets<'_>,
    ) -> Result<(), SessionError> {
        if !is_policy_equal {
            return self.begin_exchange(Set::Policy, policy_count, sets);
        }
        if sets.reader == Reader::Unknown {
            return Err(SessionError::NotMember);
        }
        if !is_data_equal {
            return self.begin_exchange(Set::Data, data_count, sets);
        }
        self.send(&Message::Equal)?;
        self.in_step(now);
        Ok(())
    }

    pub(super) fn take_equal(&mut self, now: Moment) -> Result<(), SessionError> {
        self.end_check("Equal")?;
        if self.offers.is_empty() && !self.has_lost_offers {
            self.in_step(now);
            return Ok(());
        }
        // The roots were equal before something new came; that has to arrive first.
        self.pace.outdated(now);
        self.release_offers()
    }

    pub(super) fn take_busy(&mut self, now: Moment) -> Result<(), SessionError> {
        self.end_check("Busy")?;
        self.pace.check_at(now.plus_millis(IDLE_CHECK_MILLIS));
        self.release_offers()
    }

    pub(super) fn take_again(&mut self) -> Result<(), SessionError> {
        if self.settings.side != Side::Dialled {
            return Err(SessionError::OutOfTurn { name: "Again" });
        }
        self.pace.check_again();
        Ok(())
    }

    fn end_check(&mut self, name: &'static str) -> Result<(), SessionError> {
        if !matches!(self.phase, Phase::Checking) {
            return Err(SessionError::OutOfTurn { name });
        }
        self.phase = Phase::Resting;
        Ok(())
    }

    fn in_step(&mut self, now: Moment) {
        self.pace.equal(now);
        self.outputs.push_back(Output::InStep);
    }

    fn roots(&self, sets: &mut Sets<'_>) -> Roots {
        sets.policy.rehash();
        let policy = wire_root(sets.policy, &self.key).to_be_bytes();
        let data = self.with_held(sets.data, |data| wire_root(data, &self.key).to_be_bytes());
        let both = blake3::keyed_hash(&self.key.0, &[policy, data].concat());
        let (mut roots, front) = (Roots { both: [0; 8], policy: [0; 3] }, &policy[..3]);
        roots.both.copy_from_slice(&both.as_bytes()[..8]);
        roots.policy.copy_from_slice(front);
        roots
    }
}
