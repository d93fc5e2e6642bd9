//! What a pass did, as people and programs see it.

use std::sync::atomic::Ordering;

use fieldmesh_replica::LinkStats;

use crate::api::{PeerSync, Progress, Remaking, SyncReport, SyncResult};
use crate::error::Error;
use crate::filter;
use crate::mesh::{Call, Carried};

use super::super::notes;
use super::attempt::{Attempt, State};
use super::pass::Pass;

/// The first version whose peers compare what is set aside and sign receipts.
const VERSION_LANES: u16 = 2;

/// What came of a pass.
pub(in super::super) struct Passed {
    pub(in super::super) report: SyncReport,
    /// The changes that passed between this device and those it is in step with.
    pub(in super::super) carried: Carried,
    /// Whether somebody is in step only in a part of the records.
    pub(in super::super) is_part: bool,
}

impl Pass<'_> {
    /// The changes that passed over the links that are in step.
    pub(super) fn carried(&self) -> Carried {
        let all = self.node.inner.mesh.carried();
        let in_step =
            self.attempts.iter().filter(|attempt| matches!(attempt.state, State::InStep(_)));
        in_step.filter_map(|attempt| attempt.link).fold(Carried::default(), |sum, link| {
            let before = self.carried_before.get(&link).copied().unwrap_or_default();
            let passed = all.get(&link).copied().unwrap_or_default().since(before);
            Carried { received: sum.received + passed.received, sent: sum.sent + passed.sent }
        })
    }

    /// Whether somebody is in step only in a part of the records.
    pub(super) fn is_part(&self) -> bool {
        let links = self.attempts.iter().filter(|attempt| !attempt.is_failed());
        let mut seen = links.filter_map(|attempt| self.links.get(&attempt.link?));
        seen.any(|seen| seen.is_part)
    }

    pub(super) fn progress(&self) -> Progress {
        let (mut received, mut sent) = (0, 0);
        for attempt in &self.attempts {
            if let State::InStep(stats) = attempt.state {
                received += stats.batches_received.saturating_sub(attempt.before.batches_received);
                sent += stats.batches_sent.saturating_sub(attempt.before.batches_sent);
            }
        }
        Progress::Sync { received, sent }
    }

    /// Ends the links that were made for this pass, unless the node keeps connections by itself.
    pub(super) fn part(&self) {
        if self.node.inner.is_running.load(Ordering::Relaxed) && !self.node.inner.watch.is_paused()
        {
            return;
        }
        for link in self.attempts.iter().filter_map(|attempt| attempt.link) {
            self.node.inner.mesh.urgent(Call::Detach(link));
        }
    }

    /// What the pass did; `None` if there was nobody to try.
    pub(super) async fn report(&self) -> Result<Option<SyncReport>, Error> {
        let reached = self.attempts.iter().any(|attempt| matches!(attempt.state, State::InStep(_)));
        let peers: Vec<PeerSync> = self
            .attempts
            .iter()
            // Somebody who was merely seen nearby and does not answer is no failure of the pass.
            .filter(|attempt| !(reached && attempt.is_chance && attempt.is_failed()))
            .filter_map(|attempt| self.peer(attempt))
            .fold(Vec::new(), add_peer);
        if peers.is_empty() {
            return Ok(None);
        }
        let failed = peers.iter().filter(|peer| peer.error.is_some()).count();
        let result = match failed {
            0 => SyncResult::Ok,
            failed if failed == peers.len() => SyncResult::Failed,
            _ => SyncResult::Partial,
        };
        let (conflicts, remaking) = self
            .node
            .blocking(|ledger| {
                // Before they are counted: they are those of what is made so far.
                let remaking = ledger.remaking();
                match remaking {
                    Some(_) => ledger.catch_up_noted()?,
                    None => ledger.catch_up()?,
                }
                Ok((ledger.open_conflicts()?, remaking))
            })
            .await?;
        let only = filter::words(&self.node.inner.ledger.only);
        let mut notes: Vec<String> = remaking.iter().map(Remaking::words).collect();
        notes.extend(self.notes(&peers).await);
        let ledger = &self.node.inner.ledger;
        let revoked = ledger.policy().is_revoked(&ledger.device());
        Ok(Some(SyncReport { result, peers, conflicts, remaking, only, notes, revoked }))
    }

    /// What somebody should know beside the numbers.
    async fn notes(&self, peers: &[PeerSync]) -> Vec<String> {
        let inner = &self.node.inner;
        let policy = inner.mesh.policy();
        let own = self.node.blocking(|ledger| Ok(ledger.own_notes())).await;
        let mut notes = own.unwrap_or_default();
        let Some(snapshot) = inner.mesh.snapshot().await else { return notes };
        for peer in peers.iter().filter(|peer| peer.error.is_none()) {
            let greeted = peer.device.and_then(|device| snapshot.watch.greetings.get(&device));
            if greeted.is_some_and(|greeted| greeted.version < VERSION_LANES) {
                let name = peer.name.as_ref().unwrap_or(&peer.address);
                notes.push(format!(
                    "{name} runs an older version: it was not shown what is kept aside, and does \
                     not sign for what it holds"
                ));
            }
        }
        notes.extend(notes::notes(&snapshot, &policy));
        notes
    }

    fn peer(&self, attempt: &Attempt) -> Option<PeerSync> {
        let (stats, error) = match &attempt.state {
            State::Elsewhere => return None,
            State::InStep(stats) => (*stats, None),
            State::Failed(error) => (LinkStats::default(), Some(error.clone())),
            State::Trying => (LinkStats::default(), Some("not finished".to_owned())),
        };
        let before = &attempt.before;
        let policy = self.node.inner.mesh.policy();
        let member = attempt.device.and_then(|device| policy.known(&device));
        let bytes_in = stats.control_bytes_in + stats.data_bytes_in;
        let bytes_out = stats.control_bytes_out + stats.data_bytes_out;
        Some(PeerSync {
            device: attempt.device,
            name: member.map(|member| member.name.clone()),
            address: attempt.address.clone(),
            received: stats.batches_received.saturating_sub(before.batches_received),
            sent: stats.batches_sent.saturating_sub(before.batches_sent),
            bytes_in: bytes_in.saturating_sub(before.control_bytes_in + before.data_bytes_in),
            bytes_out: bytes_out.saturating_sub(before.control_bytes_out + before.data_bytes_out),
            rounds: stats.rounds.saturating_sub(before.rounds),
            error,
        })
    }
}

/// Adds what passed over one link to what passed over others with the same device: while two
/// devices dial each other there are two for a moment.
fn add_peer(mut peers: Vec<PeerSync>, peer: PeerSync) -> Vec<PeerSync> {
    let same = |known: &&mut PeerSync| {
        known.device.is_some() && known.device == peer.device && known.error.is_none()
    };
    match peers.iter_mut().find(same).filter(|_| peer.error.is_none()) {
        Some(known) => {
            known.received += peer.received;
            known.sent += peer.sent;
            known.bytes_in += peer.bytes_in;
            known.bytes_out += peer.bytes_out;
            known.rounds += peer.rounds;
        }
        None => peers.push(peer),
    }
    peers
}
