//! Parts of requests that are no operations, kept for a person to look at: of each sender the last
//! ones, so that a phone which sends nonsense pushes out nothing of anybody else's.

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh::Error;
use fieldmesh::gateway::Access;
use fieldmesh_dialect::command::Refused;
use fieldmesh_model::Moment;
use serde::{Deserialize, Serialize};

use crate::push::Writing;
use crate::stored::{self, StateRow};
use crate::{Failure, keys};

/// Parts that are kept of one person; further ones take the places of his oldest.
const PARTS_OF_PERSON_MAX: u64 = 1_000;
/// Parts that are kept of all; beyond them whoever has most makes room.
const PARTS_MAX: u64 = 4_000;
/// Bytes that are kept of one.
const PART_SIZE_MAX: usize = 64 << 10;
/// Bytes that are kept of what it calls its device, which nobody has checked.
const DEVICE_SIZE_MAX: usize = 256;

/// A part of a request that is no operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PartRow {
    pub(crate) user: String,
    pub(crate) device: String,
    pub(crate) contract: Option<String>,
    pub(crate) at: Moment,
    pub(crate) content: String,
    pub(crate) faults: Vec<(String, String)>,
    /// Under which key it is known when it comes again.
    known: Vec<u8>,
}

/// What the first gateways kept of one: the content and what is wrong with it.
type FirstRow = (String, Vec<(String, String)>);

impl PartRow {
    /// Decodes a note of the first gateways, which did not say whose it is.
    pub(crate) fn decode_first(note: &[u8]) -> Result<Self, Error> {
        let (content, faults): FirstRow = stored::decode(note)?;
        let (user, device, known) = (String::new(), String::new(), Vec::new());
        Ok(Self { user, device, contract: None, at: Moment::ZERO, content, faults, known })
    }
}

/// Which parts of somebody are kept: those with the numbers from `first` on, up to `next`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Ring {
    first: u64,
    next: u64,
}

impl Ring {
    const fn count(self) -> u64 {
        self.next.saturating_sub(self.first)
    }
}

/// Whose parts are kept, by what stands for a person in their keys, and how many made room.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Kept {
    of: BTreeMap<Vec<u8>, Ring>,
    pub(crate) dropped: u64,
}

impl Kept {
    /// What is kept, by its note.
    pub(crate) fn read(
        note: impl Fn(&[u8]) -> Result<Option<Vec<u8>>, Error>,
    ) -> Result<Self, Error> {
        if let Some(kept) = note(keys::PARTS_KEPT)? {
            return stored::decode(&kept);
        }
        // Those that were kept while nobody told people apart are together somebody's.
        let Some(before) = note(keys::PARTS_KEPT_BEFORE)? else { return Ok(Self::default()) };
        let ring: Ring = stored::decode(&before)?;
        Ok(Self { of: [(Vec::new(), ring)].into(), dropped: ring.first })
    }

    /// Takes one more of `person` in: its number, and the parts that make room, by whose they are.
    fn take_in(&mut self, person: &[u8]) -> (u64, Vec<(Vec<u8>, u64)>) {
        let ring = self.of.entry(person.to_vec()).or_default();
        let number = ring.next;
        ring.next += 1;
        let mut gone = Vec::new();
        if ring.count() > PARTS_OF_PERSON_MAX {
            gone.extend(self.drop_oldest(person));
        }
        while self.of.values().map(|ring| ring.count()).sum::<u64>() > PARTS_MAX {
            // Of several that have most, whoever sends makes room himself.
            let most = self.of.iter().max_by_key(|(whose, ring)| (ring.count(), *whose == person));
            let Some(most) = most.map(|(whose, _)| whose.clone()) else { break };
            gone.extend(self.drop_oldest(&most));
        }
        (number, gone)
    }

    fn drop_oldest(&mut self, person: &[u8]) -> Option<(Vec<u8>, u64)> {
        let ring = self.of.get_mut(person)?;
        let oldest = ring.first;
        ring.first += 1;
        self.dropped += 1;
        if ring.count() == 0 {
            self.of.remove(person);
        }
        Some((person.to_vec(), oldest))
    }
}

impl Writing<'_> {
    /// Keeps parts of a request that are no operations, each once.
    pub(crate) fn keep_refused(
        &mut self,
        refused: &[Refused],
        device: Option<&str>,
    ) -> Result<(), Failure> {
        if refused.is_empty() {
            return Ok(());
        }
        let access = self.task.access;
        let mut kept = Kept::read(|key| self.write.noted(access, key))?;
        let before = kept.clone();
        let (lasting, passed_over) = lasting(refused);
        let mut count = 0;
        for refused in lasting {
            count += u64::from(self.keep_part(refused, device, &mut kept)?);
        }
        // Where the last ones are known, the same request came again.
        if count > 0 {
            count += passed_over;
            kept.dropped += passed_over;
        }
        if kept != before {
            self.write.note(keys::PARTS_KEPT.to_vec(), Some(stored::encode(&kept)));
            if self.write.noted(access, keys::PARTS_KEPT_BEFORE)?.is_some() {
                self.write.note(keys::PARTS_KEPT_BEFORE.to_vec(), None);
            }
        }
        self.count_at_once(StateRow::FAILED, count)
    }

    /// Whether the part was not kept so far.
    fn keep_part(
        &mut self,
        refused: &Refused,
        device: Option<&str>,
        kept: &mut Kept,
    ) -> Result<bool, Failure> {
        let access = self.task.access;
        let user = self.task.caller.user.clone();
        let known = keys::part_known(access, &user, &refused.content);
        if self.write.noted(access, &known)?.is_some() {
            return Ok(false);
        }
        let person = keys::person_of_parts(access, &user);
        let device = refused.device.as_deref().or(device).unwrap_or_default();
        let row = PartRow {
            user,
            device: start_of(device, DEVICE_SIZE_MAX).to_owned(),
            contract: self.contract(),
            at: self.task.at,
            content: start_of(&refused.content, PART_SIZE_MAX).to_owned(),
            faults: refused.faults.iter().cloned().map(|it| (it.field, it.message)).collect(),
            known: known.clone(),
        };
        let (number, gone) = kept.take_in(&person);
        self.write.note(keys::part(&person, number), Some(stored::encode(&row)));
        self.write.note(known, Some(stored::encode(&number)));
        for (whose, number) in gone {
            self.drop_part(access, &keys::part(&whose, number))?;
        }
        Ok(true)
    }

    fn drop_part(&mut self, access: &Access, key: &[u8]) -> Result<(), Failure> {
        if let Some(note) = self.write.noted(access, key)? {
            self.write.note(stored::decode::<PartRow>(&note)?.known, None);
        }
        self.write.note(key.to_vec(), None);
        Ok(())
    }
}

/// Those parts of a request that there is room for, each once, and how many there are besides: what
/// the parts behind them would push out at once is not written first.
fn lasting(refused: &[Refused]) -> (Vec<&Refused>, u64) {
    let mut seen = BTreeSet::new();
    let once = refused.iter().rev().filter(|part| seen.insert(part.content.as_str()));
    let mut once: Vec<&Refused> = once.collect();
    let room = usize::try_from(PARTS_OF_PERSON_MAX).unwrap_or(usize::MAX);
    let passed_over = once.len().saturating_sub(room) as u64;
    once.truncate(room);
    once.reverse();
    (once, passed_over)
}

/// The start of a text, whole characters.
fn start_of(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept_of(kept: &Kept, person: &[u8]) -> u64 {
        kept.of.get(person).map_or(0, |ring| ring.count())
    }

    #[test]
    fn whoever_has_most_makes_room_and_nobody_else() {
        let mut kept = Kept::default();
        for _ in 0..PARTS_OF_PERSON_MAX + 10 {
            kept.take_in(b"a");
        }
        assert_eq!((kept_of(&kept, b"a"), kept.dropped), (PARTS_OF_PERSON_MAX, 10));
        let people: Vec<Vec<u8>> = (0..8_u8).map(|person| vec![person]).collect();
        for person in &people {
            for _ in 0..400 {
                kept.take_in(person);
            }
        }
        // 1,000 and 3,200 are 200 too many.
        assert_eq!((kept_of(&kept, b"a"), kept.dropped), (800, 210));
        assert!(people.iter().all(|person| kept_of(&kept, person) == 400));
        let (number, gone) = kept.take_in(b"new");
        assert_eq!((number, gone), (0, vec![(b"a".to_vec(), 210)]));
    }

    #[test]
    fn where_all_have_as_many_whoever_sends_makes_room_himself() {
        let mut kept = Kept::default();
        for person in 0..u16::try_from(PARTS_MAX).unwrap() {
            kept.take_in(&person.to_be_bytes());
        }
        let (number, gone) = kept.take_in(&7_u16.to_be_bytes());
        assert_eq!((number, gone), (1, vec![(7_u16.to_be_bytes().to_vec(), 0)]));
        assert_eq!((kept.of.len() as u64, kept.dropped), (PARTS_MAX, 1));
    }

    #[test]
    fn parts_that_were_kept_before_people_were_told_apart_stay_and_make_room_in_their_turn() {
        let before = stored::encode(&Ring { first: 3, next: 1_003 });
        let note = |key: &[u8]| Ok((key == keys::PARTS_KEPT_BEFORE).then(|| before.clone()));
        let mut kept = Kept::read(note).unwrap();
        assert_eq!((kept_of(&kept, b""), kept.dropped), (1_000, 3));
        for person in [b"a", b"b", b"c", b"d"] {
            for _ in 0..PARTS_OF_PERSON_MAX {
                kept.take_in(person);
            }
        }
        assert_eq!((kept_of(&kept, b""), kept.dropped), (800, 1_003));
        let noted = stored::encode(&kept);
        let note = |key: &[u8]| Ok((key == keys::PARTS_KEPT).then(|| noted.clone()));
        assert_eq!(Kept::read(note).unwrap(), kept);
    }
}
