//! What the replica's outputs do in the world: send, store, load, close, tell.

use std::sync::Arc;

use fieldmesh_batch::{Batch, Receipt};
use fieldmesh_identity::{Item, Statement};
use fieldmesh_model::{BatchId, DeviceId, ItemId};
use fieldmesh_replica::{CloseReason, Doubt, Event, Input, LinkId, Output, SessionError};
use fieldmesh_store::{AppendError, Place, Tree};

use crate::clock;
use crate::ending;
use crate::entry::{Entry, FACT_BATCHES_MAX, Fact};
use crate::places::read_batch;
use crate::projection::fact_key;
use crate::rows;

use super::carried::changes;
use super::link::{Link, Parting};
use super::mending::hash_of;
use super::refusals::Refused;
use super::refusing::Lost;
use super::tally::sum;
use super::{Call, MeshEvent, MeshTask};

/// So far ahead of a receipt this store notes that it has signed, and so rarely. A copy of its
/// folder that is made while it runs and is put back later does not know what was signed so long
/// after.
const SIGNED_AHEAD_MILLIS: i64 = 10_000;

impl MeshTask {
    pub(super) fn perform(&mut self, output: Output) {
        match output {
            Output::Control { link, bytes } => {
                let sent = self.sending(link, bytes.len()).map(|link| link.send_control(bytes));
                if let Some(Err(unread)) = sent {
                    self.drop_link(link, &unread.to_string());
                }
            }
            Output::Data { link, lane, bytes } => {
                if let Some(link) = self.sending(link, bytes.len()) {
                    link.send_data(lane, bytes);
                }
            }
            Output::StoreBatches { link, batches, aside } => {
                self.store_batches(link, &batches, aside);
            }
            Output::StoreItems { link, items } => self.store_items(link, &items),
            Output::Load { link, ids } => self.load(link, ids),
            Output::Sign { link, receipt } => self.sign(link, &receipt),
            Output::RaiseEpoch { epoch } => self.raise_epoch(epoch),
            Output::Close { link, reason } => self.close(link, &reason),
            Output::Event(event) => self.tell(event),
        }
    }

    /// The link, about to send so many bytes.
    fn sending(&mut self, link: LinkId, bytes: usize) -> Option<&mut Link> {
        let stats = self.replica.stats(link);
        let link = self.links.get_mut(&link)?;
        link.stats = stats.unwrap_or(link.stats);
        self.tally.sent(bytes);
        self.books.sent(link.device, bytes);
        Some(link)
    }

    /// Signs once it is certain that no later run signs for that moment again.
    fn sign(&mut self, link: LinkId, receipt: &Receipt) {
        let bytes = receipt.sign(self.keys.signing_key());
        let signed = Call::Input(Input::Signed { link, bytes });
        if Some(receipt.at) <= self.signed_until {
            return self.mesh.urgent(signed);
        }
        let until = receipt.at.plus_millis(SIGNED_AHEAD_MILLIS);
        let (mesh, projector) = (self.mesh.clone(), self.projector.clone());
        let entries = vec![Entry::Fact(Fact::Signed(until)).encode()];
        self.store.append_hand_over(entries, move |result| match result {
            Ok(_) => {
                mesh.urgent(Call::SignedUntil(until));
                mesh.urgent(signed);
                projector.wake();
            }
            Err(error) => {
                tracing::warn!(%error, "a receipt could not be signed");
                mesh.urgent(Call::Input(Input::NotSigned { link }));
            }
        });
    }

    /// Counts that this store lacks what it has signed for: it was put back from an older copy,
    /// lost something or let it go. It signs nothing until that is durable.
    pub(super) fn raise_epoch(&mut self, epoch: u64) {
        // Whoever lets records go or finds damage has counted that, and told it, before.
        if self.counted_epoch() < epoch {
            tracing::error!(epoch, "this store has signed for what it lacks: was it put back?");
        }
        self.raising.begun(epoch);
        let (mesh, projector) = (self.mesh.clone(), self.projector.clone());
        let entries = vec![Entry::Fact(Fact::Restores(epoch)).encode()];
        self.store.append_hand_over(entries, move |result| match result {
            Ok(_) => {
                mesh.urgent(Call::EpochRaised(epoch));
                projector.wake();
            }
            Err(error) => {
                tracing::error!(%error, "the loss could not be counted; it is tried again");
                mesh.urgent(Call::EpochNotRaised);
            }
        });
    }

    /// How often this store was put back or lacks what it had signed for, as is on the disk.
    fn counted_epoch(&self) -> u64 {
        let known = rows::find(self.store.view(), Tree::Meta, fact_key(&Fact::Restores(0)));
        match known {
            Ok(Some(Fact::Restores(count))) => count,
            Ok(_) | Err(_) => 0,
        }
    }

    /// Writes batches, and before them what their counting depends on, in one piece.
    fn store_batches(&mut self, link: LinkId, batches: &[Batch], aside: bool) {
        let ids: Vec<BatchId> = batches.iter().map(Batch::id).collect();
        let lacks = |id: &BatchId| !self.harms.lacking([*id.as_bytes()]).is_empty();
        let is_again = ids.iter().all(|id| self.unheld.contains(id) || lacks(id));
        let standing = if aside {
            Some(Fact::Aside(ids.clone()))
        } else {
            let again: Vec<BatchId> =
                ids.iter().copied().filter(|id| self.unheld.contains(id)).collect();
            (!again.is_empty()).then_some(Fact::Admitted(again))
        };
        let skipped = usize::from(standing.is_some());
        let facts = standing.into_iter().map(|fact| Entry::Fact(fact).encode());
        let entries = batches.iter().map(|batch| Entry::Batch(batch.encode()).encode());
        let (healed, healing) = self.healing(ids.iter().map(|id| *id.as_bytes()), Some(link));
        let healing = healing.into_iter().map(|fact| Entry::Fact(fact).encode());
        let entries = facts.chain(entries).chain(healing).collect();
        let (mesh, places) = (self.mesh.clone(), Arc::clone(&self.places));
        let (projector, changes) = (self.projector.clone(), changes(batches));
        let written_at = |batch: &Batch| (batch.header().author, batch.header().last);
        let arrived = Call::Arrived(batches.iter().map(written_at).collect());
        let harms = Arc::clone(&self.harms);
        let done = move |result: Result<Vec<Place>, AppendError>| match result {
            Ok(written) => {
                mesh.freights.received(link, changes);
                places.insert_all(ids.iter().copied().zip(written.into_iter().skip(skipped)));
                harms.healed(&healed);
                mesh.urgent(arrived);
                mesh.urgent(Call::Input(Input::BatchesStored { ids }));
                projector.wake();
            }
            Err(error) => {
                let lost = Lost { batches: ids, items: Vec::new() };
                mesh.urgent(Call::StoreFailed { link, lost, error });
            }
        };
        // What was here before takes the room that it had.
        match is_again {
            true => self.store.append_with(entries, done),
            false => self.store.append_granted_with(entries, done),
        }
    }

    fn store_items(&mut self, link: LinkId, items: &[Item]) {
        let me = self.keys.device();
        let ends = |item: &Item| match item.statement() {
            Statement::Revocation(ended) => ended.device == me,
            _ => false,
        };
        if let Some(link) = self.links.get_mut(&link) {
            link.has_told_end |= items.iter().any(ends);
        }
        let ids: Vec<ItemId> = items.iter().map(Item::id).collect();
        let (healed, healing) = self.healing(items.iter().map(hash_of), Some(link));
        let healing = healing.into_iter().map(|fact| Entry::Fact(fact).encode());
        let entries = items.iter().map(|item| Entry::Item(item.encode().to_vec()).encode());
        let entries = entries.chain(healing).collect();
        let (mesh, projector) = (self.mesh.clone(), self.projector.clone());
        let harms = Arc::clone(&self.harms);
        self.store.append_with(entries, move |result| match result {
            Ok(_) => {
                harms.healed(&healed);
                mesh.urgent(Call::Input(Input::ItemsStored { ids }));
                projector.wake();
            }
            Err(error) => {
                let lost = Lost { batches: Vec::new(), items: ids };
                mesh.urgent(Call::StoreFailed { link, lost, error });
            }
        });
    }

    fn load(&mut self, link: LinkId, ids: Vec<BatchId>) {
        let (store, mesh) = (Arc::clone(&self.store), self.mesh.clone());
        let wanted: Vec<(BatchId, Option<Place>)> =
            ids.into_iter().map(|id| (id, self.places.find(&id))).collect();
        self.tasks.spawn_blocking(move || {
            let mut batches = Vec::with_capacity(wanted.len());
            let mut missing = Vec::new();
            for (id, place) in wanted {
                match place.and_then(|place| read_batch(&store, place).ok()) {
                    Some(batch) => batches.push(batch),
                    None => missing.push(id),
                }
            }
            if !missing.is_empty() {
                tracing::warn!(count = missing.len(), "batches cannot be read from the log");
                mesh.urgent(Call::Input(Input::LoadFailed { link, ids: missing }));
            }
            mesh.urgent(Call::Input(Input::BatchesLoaded { link, batches }));
        });
    }

    fn close(&mut self, link: LinkId, reason: &CloseReason) {
        if let CloseReason::Fault(SessionError::Reported { code, .. }) = reason
            && *code == CloseReason::Fault(SessionError::NotMember).code()
        {
            self.refused(link);
        }
        let mut complaint = None;
        if let Some(link) = self.links.get_mut(&link) {
            link.is_refused = ending::is_likely_again(reason);
            complaint = link.complaint.take();
        }
        tracing::debug!(link = link.0, reason = %reason, "the replica closes a link");
        let is_revoked = self.replica.policy().is_revoked(&self.keys.device());
        let words = complaint.unwrap_or_else(|| ending::of_link(reason, is_revoked));
        self.unlink(link, &words);
    }

    /// A peer takes this device for no member.
    fn refused(&mut self, link: LinkId) {
        let Some(known) = self.links.get(&link) else { return };
        let refused = Refused { link, device: known.device, has_told: known.has_told_end };
        let policies = self.mesh.news().borrow().policies;
        if self.refusals.note(refused, policies, LinkId(self.next_link)) {
            self.mesh.agreed();
        }
    }

    /// Ends a link for a reason of our own and tells the replica.
    pub(super) fn drop_link(&mut self, link: LinkId, reason: &str) {
        if self.links.contains_key(&link) {
            self.unlink(link, reason);
            self.feed(Input::LinkDown { link });
        }
    }

    /// A link ended by itself. Whoever dials, sees who answers and leaves in order before a word is
    /// said has failed in nothing: so does a device that looks whether an address is the relay's.
    pub(super) fn ended(&mut self, link: LinkId, reason: &str, parting: Parting) {
        let has_spoken = self.links.get(&link).is_some_and(|link| link.has_spoken);
        if parting == Parting::InOrder && !has_spoken {
            self.spare(link);
        }
        self.drop_link(link, reason);
    }

    /// Has the end of a link count as nobody's failure.
    pub(super) fn spare(&mut self, link: LinkId) {
        if let Some(link) = self.links.get_mut(&link) {
            link.has_agreed = true;
        }
    }

    /// Forgets a link and closes its connection.
    pub(super) fn unlink(&mut self, id: LinkId, reason: &str) {
        self.in_step.remove(&id);
        let Some(link) = self.links.remove(&id) else { return };
        let stats = self.replica.stats(id).unwrap_or(link.stats);
        let earlier = self.earlier.entry(link.device).or_default();
        *earlier = sum(earlier, &stats);
        if !link.has_agreed {
            self.books.failed(link.device, reason, clock::now());
        }
        tracing::info!(link = id.0, peer = %link.device.short(), reason, "link closed");
        let refused_at = (link.is_dialled && link.is_refused).then_some(link.address);
        self.announce(MeshEvent::Unlinked { link: id, reason: reason.into(), refused_at });
        if let Some(lost) = self.refusing.leave(id) {
            self.feed(lost);
        }
    }

    fn tell(&mut self, event: Event) {
        match &event {
            Event::InStep { link, stats } => {
                self.in_step.insert(*link);
                if let Some(link) = self.links.get(link)
                    && link.part.is_none()
                    && stats.refused == 0
                {
                    self.watch.agreed(link.device, clock::now(), self.store.end());
                }
                if let Some(link) = self.links.get_mut(link) {
                    let is_first = !std::mem::replace(&mut link.has_agreed, true);
                    let took = clock::steady().millis_since(link.begun);
                    let first_after = is_first.then(|| u64::try_from(took).unwrap_or(0));
                    self.books.agreed(link.device, first_after, clock::now());
                }
            }
            // A link stays in step while what is new is passed on as it comes.
            Event::Stalled { link, .. } => {
                self.in_step.remove(link);
            }
            Event::PolicyChanged => {
                self.publish_policy();
                // It says which of those who signed for something are relays.
                self.proofs_changed();
                self.mesh.marks.void();
            }
            Event::SetAside { batches } => self.note_standing(batches, Fact::Aside),
            Event::Readmitted { batches } => self.note_standing(batches, Fact::Admitted),
            Event::Receipt(receipt) => {
                self.proofs_changed();
                let signer = self.replica.policy().member(&receipt.signer);
                if signer.is_some_and(|member| member.role.is_relay()) {
                    self.mesh.marks.gain();
                }
                self.note(vec![Fact::Receipt(receipt.encode())]);
            }
            Event::StoreRestored { device, store, epoch } => {
                let (device, store, epoch) = (*device, *store, *epoch);
                self.note_first(&Fact::Restored { device, store, epoch });
                self.note_relay_lost(&device);
                self.proofs_changed();
                self.mesh.marks.void();
            }
            Event::StoreDoubted { doubt: Doubt { device, store, epoch, until }, .. } => {
                let (device, store, epoch) = (*device, *store, *epoch);
                if let Some(until) = *until {
                    self.note_first(&Fact::Doubted { device, store, epoch, until });
                }
                self.note_relay_lost(&device);
                self.watch.doubted(device);
                self.proofs_changed();
                self.mesh.marks.void();
            }
            Event::Greeted { link, device, skew_millis, version, .. } => {
                if let Some(link) = self.links.get_mut(link) {
                    link.has_spoken = true;
                }
                self.watch.greeted(*device, *skew_millis, *version);
                self.books.greeted(*device, *skew_millis, *version, clock::now());
            }
            Event::Refused { link: Some(link), .. } => self.not_taken(*link, 1),
            Event::Quarantined { link, batches } => self.not_taken(*link, batches.len() as u64),
            Event::Withheld { relay, batch } => self.watch.withheld(*relay, *batch),
            event => tracing::debug!(?event, "replica"),
        }
        self.announce(MeshEvent::Replica(event));
    }

    fn not_taken(&mut self, link: LinkId, batches: u64) {
        if let Some(link) = self.links.get(&link) {
            self.books.refused(link.device, batches);
        }
    }

    /// Has the view count batches otherwise than before.
    fn note_standing(&mut self, batches: &[BatchId], fact: impl Fn(Vec<BatchId>) -> Fact) {
        self.note(batches.chunks(FACT_BATCHES_MAX).map(|ids| fact(ids.to_vec())).collect());
    }

    /// What was let go before rests on what relays had signed for.
    fn note_relay_lost(&self, device: &DeviceId) {
        let member = self.replica.policy().member(device);
        if member.is_some_and(|member| member.role.is_relay()) {
            self.note_first(&Fact::RelayLost(clock::now()));
        }
    }

    /// Writes facts. What is lost of them, the next open makes good.
    fn note(&self, facts: Vec<Fact>) {
        let projector = self.projector.clone();
        let entries = facts.into_iter().map(|fact| Entry::Fact(fact).encode()).collect();
        self.store.append_with(entries, move |result| match result {
            Ok(_) => projector.wake(),
            Err(error) => tracing::error!(%error, "facts could not be written"),
        });
    }

    /// Writes a fact and waits until it is durable: what was believed before it must not come back
    /// after a crash, once anybody may have heard of it or anything follows from it.
    fn note_first(&self, fact: &Fact) {
        match self.store.append(vec![Entry::Fact(fact.clone()).encode()]) {
            Ok(_) => self.projector.wake(),
            Err(error) => tracing::error!(%error, "receipts could not be dropped for good"),
        }
    }

    fn announce(&self, event: MeshEvent) {
        self.mesh.announce(event);
    }
}
