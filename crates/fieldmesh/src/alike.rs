//! Records that were made for the same thing: which of them somebody has to decide about, and
//! which is shown meanwhile.
//!
//! Records are alike that share what their collection says no two of its records share. What
//! follows from that depends on the records alone, so every replica comes to the same items.

pub(crate) mod row;

use std::collections::{BTreeMap, BTreeSet};

use fieldmesh_document::{Kinship, alike_id};
use fieldmesh_model::DocumentId;

/// Records of one group that are compared with each other; the item tells of more.
pub(crate) const MEMBERS_MAX: usize = 64;

/// A record of a group, and what it says of others.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) id: DocumentId,
    pub(crate) kinship: Kinship,
}

impl Member {
    fn is_live(&self) -> bool {
        !self.kinship.is_deleted
    }

    fn is_apart(&self, other: &Self) -> bool {
        self.kinship.apart_from.contains(&other.id) || other.kinship.apart_from.contains(&self.id)
    }
}

/// What follows from a group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Verdict {
    /// The records about which somebody has to decide, by id; none if nobody has.
    pub(crate) open: BTreeSet<DocumentId>,
    /// The records that do not count meanwhile, each with the one that is shown in its place.
    pub(crate) behind: BTreeMap<DocumentId, DocumentId>,
    /// The deleted records of which one counts meanwhile, since none is left.
    pub(crate) instead: BTreeSet<DocumentId>,
}

/// Judges the records of a group, of which no two have one id.
///
/// Somebody has to decide while any two records are there of which nobody has said that both are
/// meant. The same holds where people have settled it differently without knowing of each other:
/// each keeps another record, so that none is left, or one says that both are meant and the other
/// keeps one.
pub(crate) fn judge(members: &[Member]) -> Verdict {
    let mut verdict = Verdict::default();
    let mut live: Vec<&Member> = members.iter().filter(|member| member.is_live()).collect();
    live.sort_by_key(|member| member.id);
    let mut shown: Vec<&Member> = Vec::new();
    for (index, member) in live.iter().enumerate() {
        for other in live[..index].iter().filter(|other| !member.is_apart(other)) {
            verdict.open.extend([member.id, other.id]);
        }
        match shown.iter().find(|other| !member.is_apart(other)) {
            Some(first) => {
                verdict.behind.insert(member.id, first.id);
            }
            None => shown.push(*member),
        }
    }
    let lost = lost(members);
    // What was done was done once, whichever of the records it is that stays.
    let is_alone =
        |member: &&Member| lost.contains(&member.id) && live.iter().all(|it| it.is_apart(member));
    verdict.instead = members.iter().filter(is_alone).map(|member| member.id).collect();
    verdict.open.extend(lost);
    for member in members.iter().filter(|member| !member.is_live()) {
        let is_contrary = |other: &&Member| {
            member.kinship.superseded_by.contains(&other.id) && member.is_apart(other)
        };
        for other in members.iter().filter(is_contrary) {
            verdict.open.extend([member.id, other.id]);
        }
    }
    verdict
}

/// The deleted records in whose place others stand that are gone in the same way, so that what was
/// kept by one person is gone by the word of another.
fn lost(members: &[Member]) -> BTreeSet<DocumentId> {
    let known: BTreeSet<DocumentId> = members.iter().map(|member| member.id).collect();
    let is_settled = |member: &&Member| member.is_live() || member.kinship.superseded_by.is_empty();
    let (settled, mut lost): (Vec<&Member>, Vec<&Member>) = members.iter().partition(is_settled);
    let mut settled: BTreeSet<DocumentId> = settled.into_iter().map(|member| member.id).collect();
    loop {
        let is_lost = |member: &&Member| {
            let mut kept = member.kinship.superseded_by.iter();
            kept.all(|id| known.contains(id) && !settled.contains(id))
        };
        let (still, found): (Vec<&Member>, Vec<&Member>) = lost.into_iter().partition(is_lost);
        lost = still;
        if found.is_empty() {
            return lost.into_iter().map(|member| member.id).collect();
        }
        settled.extend(found.into_iter().map(|member| member.id));
    }
}

/// The record that is left in the place of this one when it is deleted: the first that is there
/// beside which it is not meant.
///
/// Whoever deletes one of several that are alike counts on what is left. Said in the tombstone, it
/// is asked again if somebody else, who counted on this one, has deleted that.
pub(crate) fn left_instead(members: &[Member], id: DocumentId) -> Option<DocumentId> {
    let deleted = members.iter().find(|member| member.id == id && member.is_live())?;
    let is_left = |other: &&Member| other.id != id && other.is_live() && !other.is_apart(deleted);
    members.iter().filter(is_left).map(|other| other.id).min()
}

/// The records that go when this one is kept. Those beside which it is meant stay, unless that is
/// what is asked: somebody has deleted one of the two.
pub(crate) fn gone_for(members: &[Member], kept: DocumentId) -> Vec<DocumentId> {
    let Some(kept) = members.iter().find(|member| member.id == kept) else { return Vec::new() };
    let stays = |other: &Member| other.is_live() && kept.is_live() && other.is_apart(kept);
    let gone = members.iter().filter(|other| other.id != kept.id && !stays(other));
    gone.map(|other| other.id).collect()
}

/// The id of an item: the same on every replica, whatever came first.
pub(crate) fn item_id(collection: u16, unique: usize, members: &BTreeSet<DocumentId>) -> String {
    alike_id(collection, unique, members).to_string()
}

#[cfg(test)]
mod tests;
