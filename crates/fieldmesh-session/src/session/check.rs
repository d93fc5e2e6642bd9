//! Comparing roots: the dialling side asks, the accepting side answers.

use fieldmesh_model::Moment;
use fieldmesh_trie::{Digest, wire_root};

use super::{Phase, Session};
use crate::error::SessionError;
use crate::interface::{Output, Reader, Set, Sets, Side};
use crate::limits::IDLE_CHECK_MILLIS;
use crate::wire::Message;

/// The roots as they are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Roots {
    pub(super) both: [u8; 8],
    pub(super) policy: [u8; 3],
    /// The front of the root of what is set aside; None if nothing is.
    pub(super) quarantine: Option<[u8; 3]>,
}

/// The roots of this side when they were computed last.
///
/// What is refused but counts as held is in none of the lent sets, so that it has to be put into
/// them, hashed and taken out again: a peer that shows its roots without end must not have that
/// done each time.
#[derive(Debug, Default)]
pub(super) struct KnownRoots {
    known: Option<(Basis, Roots)>,
    /// How often they were computed.
    #[cfg(test)]
    pub(super) computed: usize,
}

/// What roots follow from; two conversations never share them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Basis {
    /// The roots of the lent sets.
    sets: [Digest; 3],
    /// How often what counts as held has changed.
    exclusions: u64,
    has_lanes: bool,
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
                let Roots { both, policy, quarantine } = self.roots(sets);
                self.phase = Phase::Checking;
                self.pace.asked(now);
                match quarantine {
                    Some(quarantine) if self.has_lanes() => {
                        self.send(&Message::RootAside { both, policy, quarantine })
                    }
                    _ => self.send(&Message::Root { both, policy }),
                }
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

    /// The roots are to be compared at this moment or before.
    pub(super) fn request_check_by(&mut self, at: Moment) {
        self.owes_again |= self.settings.side == Side::Accepted;
        self.pace.check_by(at);
    }

    pub(super) fn take_root(
        &mut self,
        now: Moment,
        theirs: &Roots,
        sets: &mut Sets<'_>,
    ) -> Result<(), SessionError> {
        if self.settings.side != Side::Accepted {
            return Err(SessionError::OutOfTurn { name: "Root" });
        }
        if !self.pace.takes_check(now) {
            self.owes_again = true;
            return self.send(&Message::Busy);
        }
        let mine = self.roots(sets);
        let is_equal = (mine.policy == theirs.policy, mine.both == theirs.both);
        let is_ready = matches!(self.phase, Phase::Resting) && self.is_quiet(sets);
        if is_equal != (true, true) && !is_ready {
            self.request_check();
            return self.send(&Message::Busy);
        }
        self.owes_again = false;
        // A front of the policy root that is equal by chance leads nowhere; the sets take turns.
        let is_doubtful = is_equal == (true, false) && self.pace.is_fruitless();
        let differs_aside = self.has_lanes() && mine.quarantine != theirs.quarantine;
        if is_equal == (true, true)
            && differs_aside
            && is_ready
            && sets.reader == Reader::Member
            && self.pace.takes_quarantine(now)
        {
            self.in_step(now);
            return self.begin_exchange(Set::Quarantine, 1, sets);
        }
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
        self.compare_aside(now, sets);
        Ok(())
    }

    pub(super) fn take_equal(
        &mut self,
        now: Moment,
        sets: &mut Sets<'_>,
    ) -> Result<(), SessionError> {
        self.end_check("Equal")?;
        if self.offers.is_empty() && !self.has_lost_offers {
            self.in_step(now);
            self.compare_aside(now, sets);
            return Ok(());
        }
        // The roots were equal before something new came; that has to arrive first.
        self.pace.outdated(now);
        self.release_offers(sets);
        Ok(())
    }

    pub(super) fn take_busy(&mut self, now: Moment, sets: &Sets<'_>) -> Result<(), SessionError> {
        self.end_check("Busy")?;
        self.pace.check_at(now.plus_millis(IDLE_CHECK_MILLIS));
        self.release_offers(sets);
        Ok(())
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

    /// What is set aside is compared once in each conversation, and whenever the roots are.
    fn compare_aside(&mut self, now: Moment, sets: &Sets<'_>) {
        let is_first = !std::mem::replace(&mut self.has_compared_aside, true);
        if is_first && self.has_lanes() && !sets.quarantine.is_empty() {
            self.request_check_by(now);
        }
    }

    pub(super) fn in_step(&mut self, now: Moment) {
        self.pace.equal(now);
        self.outputs.push_back(Output::InStep);
    }

    fn roots(&mut self, sets: &mut Sets<'_>) -> Roots {
        let basis = Basis {
            sets: [sets.policy.root(), sets.data.root(), sets.quarantine.root()],
            exclusions: self.exclusions,
            has_lanes: self.has_lanes(),
        };
        if let Some((_, roots)) = self.known_roots.known.filter(|(known, _)| *known == basis) {
            return roots;
        }
        let roots = self.compute_roots(sets);
        self.known_roots.known = Some((basis, roots));
        #[cfg(test)]
        {
            self.known_roots.computed += 1;
        }
        roots
    }

    fn compute_roots(&self, sets: &mut Sets<'_>) -> Roots {
        let policy = self.with_held(Set::Policy, sets.policy, |policy| {
            wire_root(policy, &self.key()).to_be_bytes()
        });
        let data =
            self.with_held(Set::Data, sets.data, |data| wire_root(data, &self.key()).to_be_bytes());
        let both = blake3::keyed_hash(&self.wire_secret, &[policy, data].concat());
        let is_aside = self.has_lanes() && !sets.quarantine.is_empty();
        let quarantine = is_aside.then(|| {
            let root = self.with_held(Set::Quarantine, sets.quarantine, |it| {
                wire_root(it, &self.key()).to_be_bytes()
            });
            front(&root)
        });
        Roots { both: front(both.as_bytes()), policy: front(&policy), quarantine }
    }
}

fn front<const LENGTH: usize>(bytes: &[u8]) -> [u8; LENGTH] {
    let mut front = [0; LENGTH];
    front.copy_from_slice(&bytes[..LENGTH]);
    front
}
