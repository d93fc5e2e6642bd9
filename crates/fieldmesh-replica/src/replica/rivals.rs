//! Two links to one peer: both sides keep the same one.
//!
//! The link that the smaller device dialled is the better one, of two that one side dialled the
//! later. A worse link that comes up while the better one exists is a sign that the better one may
//! be dead without this side knowing: it has a few seconds to show that it lives.

use std::collections::BTreeMap;

use fieldmesh_model::{DeviceId, Moment};
use fieldmesh_session::{CloseReason, LinkId, Side};

use super::{Link, Replica};
use crate::limits::{FRESH_MILLIS, LINKS_PER_PEER_MAX, PROBE_MILLIS};

/// Better links that are being probed: the worse one, and since when.
#[derive(Debug, Default)]
pub(super) struct Rivals {
    /// The number of the newest conversation of this device.
    newest: u64,
    probes: BTreeMap<LinkId, (LinkId, Moment)>,
}

impl Rivals {
    /// The number of a conversation that begins: greater than any before, also than those of an
    /// earlier run, whose links the peer may take for alive for a while.
    pub(super) fn number(&mut self, now: Moment) -> u64 {
        self.newest = now.to_u48().max(self.newest + 1);
        self.newest
    }

    pub(super) fn forget(&mut self, link: LinkId) {
        self.probes.retain(|better, (worse, _)| *better != link && *worse != link);
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        let since = self.probes.values().map(|(_, since)| *since).min()?;
        Some(since.plus_millis(PROBE_MILLIS))
    }
}

impl Link {
    /// Greater is better, the same on both sides.
    fn rank(&self, own: &DeviceId) -> Option<(bool, u64)> {
        let dialled_by_smaller = match self.side {
            Side::Dialled => *own < self.peer,
            Side::Accepted => self.peer < *own,
        };
        Some((dialled_by_smaller, self.conversation?))
    }
}

impl Replica {
    /// Both sides know each other on the link `id`: is there a better or worse one?
    pub(super) fn settle_greeted(&mut self, now: Moment, id: LinkId) {
        let Some(link) = self.links.get(&id) else { return };
        let (peer, rank) = (link.peer, link.rank(&self.config.device));
        let others: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(other, link)| **other != id && link.peer == peer)
            .filter(|(_, link)| link.conversation.is_some())
            .map(|(other, _)| *other)
            .collect();
        for other in others {
            let Some(link) = self.links.get_mut(&other) else { continue };
            if link.rank(&self.config.device) < rank {
                self.close(now, other, CloseReason::Duplicate);
            } else if now.millis_since(link.session.last_heard()) < FRESH_MILLIS {
                self.close(now, id, CloseReason::Duplicate);
            } else {
                link.session.ping(now);
                self.rivals.probes.insert(other, (id, now));
                self.drain(now, other);
            }
        }
    }

    /// Settles the probes that were answered or took too long.
    pub(super) fn settle_rivals(&mut self, now: Moment) {
        for (better, (worse, since)) in self.rivals.probes.clone() {
            let heard = self.links.get(&better).map(|link| link.session.last_heard());
            if heard.is_some_and(|heard| heard > since) {
                self.close(now, worse, CloseReason::Duplicate);
            } else if now.millis_since(since) >= PROBE_MILLIS {
                self.close(now, better, CloseReason::Duplicate);
            }
        }
    }

    /// Keeps the number of links to `peer` within its limit by giving up the oldest.
    pub(super) fn bound_links(&mut self, now: Moment, peer: DeviceId) {
        let of_peer = |link: &Link| link.peer == peer;
        let ids: Vec<LinkId> =
            self.links.iter().filter(|(_, link)| of_peer(link)).map(|(id, _)| *id).collect();
        let excess = ids.len().saturating_sub(LINKS_PER_PEER_MAX);
        for id in ids.into_iter().take(excess) {
            self.close(now, id, CloseReason::Duplicate);
        }
    }
}
